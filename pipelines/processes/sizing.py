"""What an engine is given of its machine: cores, memory, and the environment vLLM reads when it is imported.

Every value yields to one that the user set. Knows nothing of jobs.
"""

import errno
import hashlib
import os
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from batch.machine.resources import gpu_count

GIB = 1 << 30
MAX_CPU_KV_CACHE_BYTES = 16 * GIB
ROWS_WORTH_COMPILING = 50_000
KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
"""For glibc: memory that a step has freed stays for the next one. Given back, it comes page by page, each a fault."""
INTEL_OPENMP = Path(sys.prefix, "lib", "libiomp5.so")
"""Comes with the CPU build of vLLM on x86."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What one engine may use: its cores by number, and bytes of free memory."""

    cores: tuple[int, ...]
    free_memory_bytes: int


def this_machine(share: int, of: int) -> Machine:
    """Return the part of this machine that engine number `share` out of `of` gets."""
    cores = sorted(os.sched_getaffinity(0))
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(_part(tuple(cores), share, of), free // of)


def cpu_environment(machine: Machine, world_size: int) -> dict[str, str]:
    """Return the environment of a vLLM CPU engine that may use the whole of `machine`.

    The default binding of vLLM keeps a core free; with it a two-core machine gives the model one core
    (measured: 44 rows/s instead of 65). How its threads wait: docs/decisions/0008.
    """
    ranks = [_part(machine.cores, rank, world_size) for rank in range(world_size)]
    binding = {
        "VLLM_CPU_OMP_THREADS_BIND": "|".join(",".join(str(core) for core in cores) for cores in ranks),
        "OMP_NUM_THREADS": str(len(ranks[0])),
    }
    return binding | _thread_waiting() | KEPT_MEMORY


def cpu_kv_cache_bytes(machine: Machine, useful: int) -> int:
    """Return the size of a CPU engine's KV cache: a quarter of the free memory, and no more than is `useful`."""
    return min(useful, MAX_CPU_KV_CACHE_BYTES, max(GIB, machine.free_memory_bytes // 4))


def _thread_waiting() -> dict[str, str]:
    """Intel's OpenMP, where it is installed, spins between two kernels and sleeps after 1 ms; GNU's sleeps at once.

    After a fork Intel's binds each thread to a core unless told not to: such a thread waits where another has its core.
    """
    if INTEL_OPENMP.exists():
        spinning = {"KMP_LIBRARY": "turnaround", "KMP_BLOCKTIME": "1", "KMP_AFFINITY": "none"}
        return {"LD_PRELOAD": str(INTEL_OPENMP)} | spinning
    return {"OMP_WAIT_POLICY": "passive"}


def cpu_engine_arguments(rows: int) -> dict[str, int | bool]:
    """Return the defaults of a vLLM CPU engine for a job of `rows`, by the names of its engine arguments.

    Compiled kernels are faster, and the engine starts later (measured on two cores with chats of 110 tokens: 0.5 ms
    less for a row with 13 million parameters, nothing with 3; 10 s later, 25 to 36 s the first time for a model).
    """
    return {"block_size": 32, "enforce_eager": rows < ROWS_WORTH_COMPILING}


def engine_environment(machine: Machine, world_size: int, *, weights: Iterable[str]) -> dict[str, str]:
    """Return what an engine's environment has to have more than this process's; what the user has set stays.

    Libraries read it when they are imported, or when the engine starts. `weights`: where model and adapters are.
    """
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"}
    if all("://" in place or Path(place).exists() for place in weights):  # no hub is named, so none may be looked for
        environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if not gpu_count():
        environment |= cpu_environment(machine, world_size)
    # Ray sets OMP_NUM_THREADS to an actor's one logical CPU; the model gets the cores it is bound to.
    not_the_users = set() if "VLLM_CPU_OMP_THREADS_BIND" in os.environ else {"OMP_NUM_THREADS"}
    return {name: value for name, value in environment.items() if name in not_the_users or name not in os.environ}


def _part(cores: tuple[int, ...], share: int, of: int) -> tuple[int, ...]:
    """One of `of` equal parts; all cores where there are too few to part."""
    return cores[share * len(cores) // of : (share + 1) * len(cores) // of] or cores


def claim_share(name: str, of: int) -> int:
    """Return a number below `of` that no other live process of this user on this machine holds under `name`.

    The claim is a socket without a file, so it ends with the process and leaves nothing. Where all are taken, as when a
    second cluster shares the machine, or none can be had, it is 0.
    """
    digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    for share in range(of):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0batchctl-{os.getuid()}-{digest}-{share}")
        except OSError as error:
            claim.close()
            if error.errno == errno.EADDRINUSE:
                continue
            return 0
        claim.detach()  # it stays open
        return share
    return 0
