"""Hostile files, each made by one process and accounted for by another: `python hostile_accounts.py FIRST LAST FOLDER`.

Prints a line for each: its seed, how it ended, the peak of its process in MiB, its suffix and size.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dataset_files import written
from hostile_files import hostile_file
from specs import job_spec

from batch.errors import UsageError
from batch.planning.plan import make_plan
from batch.planning.shard_rows import read_rows
from batch.planning.validation import validate
from batch.rows.request import Decoder
from batch.spec.job_spec import JobSpec
from connectors.datasets.reader import PieceReader

SPECS: list[dict[str, object]] = [{}, {"prompt_template": "{prompt}"}, {"max_line_bytes": 1500, "shard_rows": 7}]
ENDS = ["read", "refused", "broken"]
OUR_FAULTS = (AssertionError, AttributeError, NameError, RecursionError)


def account(spec: JobSpec) -> int:
    """Plan a file, decode all of it, and read some of its shards as engines do; return which of ENDS it was."""
    try:
        plan = make_plan(spec)
    except UsageError as refusal:
        is_clear = re.search(r"/f\.[a-z.]+[ :]", str(refusal)) and "\n" not in str(refusal)
        return ENDS.index("refused" if is_clear and not is_our_fault(refusal) else "broken")
    found = validate(spec, plan)
    assert found.lines == found.blank + found.rows
    assert sum(shard.rows for shard in plan.shards) == found.rows
    reader, decoder = PieceReader(max_line_bytes=spec.max_line_bytes), Decoder(spec)
    for shard in (*plan.shards[:3], *plan.shards[-1:]):
        rows = list(read_rows(plan, shard, reader))
        assert len(rows) == shard.rows
        for row in rows:
            decoder.decode(plan.inputs[row.input].uri, row.line)
    return ENDS.index("read")


def is_our_fault(error: BaseException | None) -> bool:
    """Whether a refusal of the file was made of a fault of the program."""
    return error is not None and (isinstance(error, OUR_FAULTS) or is_our_fault(error.__cause__))


def make(seed: int, folder: Path) -> int:
    """Write the file of a seed."""
    suffix, content = hostile_file(seed)
    written(folder, f"f.{suffix}", content)
    return ENDS.index("read")


def in_a_process(do: Callable[[], int]) -> tuple[str, int]:
    """Return how a process of its own ended that did this, and its peak in MiB."""
    child = os.fork()
    if not child:
        try:
            os._exit(do())
        except BaseException:  # noqa: BLE001 - a child must not go on as its parent
            traceback.print_exc()
            os._exit(ENDS.index("broken"))
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return ENDS[code] if code >= 0 else f"signal {-code}", usage.ru_maxrss // 1024


def main(first: int, last: int, folder: Path) -> None:
    """Make and account for the files of the seeds from `first` up to `last`."""
    for seed in range(first, last):
        in_a_process(partial(make, seed, folder))
        (path,) = folder.iterdir()
        spec = job_spec(inputs=(f"file://{path}",), **SPECS[seed % len(SPECS)])
        end, peak_mib = in_a_process(partial(account, spec))
        print(seed, end.replace(" ", "-"), peak_mib, path.name, path.stat().st_size, flush=True)
        path.unlink()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
