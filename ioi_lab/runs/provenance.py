"""The provenance of a run: the code, the packages and the machine that its results come from."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = (
    "ioi-lab", "torch", "transformers", "transformer-lens", "hydra-core", "omegaconf", "wandb", "numpy", "matplotlib",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Return the provenance that every run has: code, packages, machine and peak memory."""
    return {**_environment(), "peak_memory_mb": _peak_memory_mb()}


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    """Return the part that cannot change while the process runs, which has read its code when it started."""
    commit = _git("rev-parse", "HEAD")
    return {
        "git_commit": commit,
        "git_dirty": None if commit is None else bool(_git("status", "--porcelain", "--untracked-files=no")),
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _git(*arguments: str) -> str | None:
    """Return the output of a git command on the lab's own checkout; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _peak_memory_mb() -> float:
    """Return the peak resident memory of this process so far, in MB (10⁶ bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
