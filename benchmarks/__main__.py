"""`python -m benchmarks [throughput|overhead|memory|simulation|all]`: measures, records each run, prints the tables.

`python -m benchmarks plot` draws what was recorded.
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks import memory, overhead, throughput
from benchmarks.arms.base import ArmFailed
from benchmarks.machine import setting
from benchmarks.measuring import BUILD
from pipelines.models.random_weights import NAMED_SHAPES

BENCHMARKS = ("throughput", "overhead", "memory", "simulation")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; return the exit code."""
    options = parse_options(arguments)
    if options.benchmark == "plot":
        from benchmarks import plotting  # the measurements need no matplotlib

        print(*plotting.write_plots(), sep="\n")
        return 0
    where = setting()
    print(f"{where.device}; commit {where.commit}; {where.versions}", flush=True)
    try:
        for name in BENCHMARKS if options.benchmark == "all" else (options.benchmark,):
            print(f"\n{name}\n", flush=True)
            match name:
                case "throughput":
                    result = throughput.run(
                        throughput.Sizes(
                            options.parameters,
                            options.chat_rows,
                            options.workload,
                            options.repeats,
                            options.max_num_seqs,
                            options.max_num_batched_tokens,
                            options.peers,
                            options.steps,
                        ),
                        where,
                    )
                case "overhead":
                    result = overhead.run(options.tiny_rows, options.repeats, where)
                case "memory":
                    result = memory.run(options.memory_rows, where)
                case _:
                    from benchmarks import simulation  # it imports vLLM, and the others measure processes

                    workload = throughput.WORKLOADS[options.workload](BUILD / "workloads", options.chat_rows)
                    result = simulation.run(workload, options.engines)
            print(f"\n{result}", flush=True)
    except (ArmFailed, TimeoutError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; argparse ends the process at a bad one."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("benchmark", nargs="?", choices=(*BENCHMARKS, "all", "plot"), default="all")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each arm (default: 5)")
    parser.add_argument(
        "--parameters", choices=NAMED_SHAPES, default="3M", help="size of the throughput benchmark's model"
    )
    parser.add_argument("--chat-rows", type=int, default=2_000, help="rows of throughput and simulation")
    parser.add_argument("--workload", choices=throughput.WORKLOADS, default="chat", help="of throughput and simulation")
    parser.add_argument(
        "--peers", nargs="+", default=[], metavar="ARM", help="only these beside ours, such as 'run_batch, tuned'"
    )
    parser.add_argument("--steps", action="store_true", help="count the steps of throughput's engines: a third table")
    parser.add_argument("--tiny-rows", type=int, default=100_000, help="rows of the overhead benchmark")
    parser.add_argument("--memory-rows", type=int, nargs="+", default=[100_000, 1_000_000], metavar="N")
    parser.add_argument("--engines", type=int, nargs="+", default=[1, 8], metavar="N", help="of the simulation")
    parser.add_argument("--max-num-seqs", type=int, default=256, help="what ours uses here, for the tuned arms")
    parser.add_argument("--max-num-batched-tokens", type=int, default=4_096, help="likewise")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
