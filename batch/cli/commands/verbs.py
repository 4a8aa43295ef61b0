"""The verbs that take a noun, as firectl has them: `create dataset`, `get bij`, `cancel OUT`. A table, no logic."""

from batch.cli.lazy import Entry, LazyGroup

DATASET, JOB = "dataset", "batch-inference-job"
NOUN_ALIASES = {
    "datasets": DATASET,
    "ds": DATASET,
    "batch-inference-jobs": JOB,
    "bij": JOB,
    "bijs": JOB,
    "batch-job": JOB,
    "batch-jobs": JOB,
}
_HELP = {DATASET: "A dataset: an immutable set of files.", JOB: "A batch inference job (bij)."}
_MODULES = {DATASET: "batch.cli.commands.datasets", JOB: "batch.cli.commands.jobs"}


def _verb(name: str, text: str, *nouns: str, fallback: Entry | None = None) -> LazyGroup:
    function = name.replace("list", "list_")
    entries = {noun: Entry(f"{_MODULES[noun]}:{function}", _HELP[noun]) for noun in nouns}
    return LazyGroup(name=name, help=text, entries=entries, aliases=NOUN_ALIASES, fallback=fallback)


create = _verb("create", "Create a dataset or a batch inference job.", DATASET, JOB)
get = _verb("get", "Show one dataset or job.", DATASET, JOB)
list_ = _verb("list", "List datasets or jobs.", DATASET, JOB)
update = _verb("update", "Change a dataset's display name.", DATASET)
delete = _verb("delete", "Delete a dataset or a job.", DATASET, JOB)
download = _verb("download", "Copy a dataset's files to a folder.", DATASET)
cancel = _verb(
    "cancel",
    "Cancel a job, by its id, by `batch-inference-job ID`, or by the output folder of `batchctl run`.",
    JOB,
    fallback=Entry("batch.cli.commands.jobs:cancel", ""),
)
resume = _verb(
    "resume",
    "Go on with a job, by its id, by `batch-inference-job ID`, or by the output folder of `batchctl run`. With "
    "--retry-failed [CODE]... after it: run the failed rows of an ended job as a new one.",
    JOB,
    fallback=Entry("batch.cli.commands.jobs:resume_here", ""),
)
