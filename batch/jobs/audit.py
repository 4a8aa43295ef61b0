"""The commits that may stand in a ledger: those whose parts are there as they were written. Deletes nothing."""

import logging
from dataclasses import dataclass

from batch import layout
from batch.jobs.store import JobStore
from batch.planning.plan import Plan
from batch.records.objects import Commit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Audit:
    """The commits that count, by shard, and what was wrong with the parts of those that count no more."""

    commits: dict[int, Commit]
    problems: list[str]


def audit(job: JobStore, *, thorough: bool) -> Audit:
    """Look at the parts of every commit, and make void those whose parts are not as they were written.

    `thorough`: by their digests, not only by their sizes.
    """
    commits = job.commits()
    owners: dict[str, Commit] = {}
    strangers = []
    for commit in commits.values():
        for kind, part in commit.output.by_kind:
            if layout.is_part(kind, part.key) and part.key not in owners:
                owners[part.key] = commit
            else:
                strangers.append((commit, part, f"is no part of shard {commit.shard}"))
    own = [part for commit in commits.values() for part in commit.output.parts if owners.get(part.key) is commit]
    damaged = [(owners[part.key], part, problem) for part, problem in job.damage(own, thorough=thorough)]
    found = strangers + damaged
    for commit, part, problem in found:
        logger.warning("%s/%s %s: shard %d is run again", job.uri, part.key, problem, commit.shard)
        if job.manifest() is None:  # else another attempt has ended the job, and tidied up
            job.void(commit, f"{part.key} {problem}")
    void = {commit.shard for commit, _, _ in found}
    standing = {shard: commit for shard, commit in commits.items() if shard not in void}
    return Audit(standing, [f"{job.uri}/{part.key} {problem}" for _, part, problem in found])


def waiting_shards(job: JobStore, plan: Plan) -> list[int]:
    """Return the numbers of the shards that have no commit yet, or none whose parts are all there."""
    committed = audit(job, thorough=False).commits
    return [shard.index for shard in plan.shards if shard.index not in committed]
