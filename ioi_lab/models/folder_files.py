"""The files of a model folder, checked before anything is read whole or allocated."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from ioi_lab.errors import LabError, folded
from ioi_lab.models.hub import TEXT_FILES, WEIGHT_FILES

_OBJECTS: Final = ("config.json", "tokenizer.json", "tokenizer_config.json")

_POINTER: Final = b"version https://git-lfs"
"""How the file starts that git checks out in place of a large one."""

_WHOLE: Final = "model.safetensors"
"""The file that Transformers reads if there is one."""

_INDEX: Final = "model.safetensors.index.json"
"""The file that says which tensor is in which of several weight files."""


@dataclass(frozen=True)
class Weights:
    """How much is in the weight files."""

    n_tensors: int
    n_numbers: int


class FileState(NamedTuple):
    """A file that has not changed as long as its state is the same."""

    file: str
    """The path: a text, which is compared in a tenth of the time of a `Path`, as each job of a multirun does."""

    size: int
    modified_ns: int


Version = tuple[FileState, ...]
"""Files, sorted by name, as they are."""


class ModelFiles(NamedTuple):
    """The files of a model folder as they are."""

    weights: Version
    texts: Version
    """Those of the config and the tokenizer."""


def check_files(folder: Path) -> ModelFiles:
    """Return the states of a model folder's files.

    Files that have not changed since are not read again.

    Raises a `LabError` for one that is a device, a pipe, a git-lfs pointer, or cut off.
    """
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    found = ModelFiles(
        *(
            tuple(_state(os.path.join(folder, name)) for name in names if _is_like(patterns, name))
            for patterns in (WEIGHT_FILES, TEXT_FILES)
        )
    )
    _check_contents(folder, found)
    return found


def _is_like(patterns: Sequence[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@lru_cache(maxsize=8)
def _check_contents(folder: Path, files: ModelFiles) -> None:
    for state in (*files.weights, *files.texts):
        _check_is_no_pointer(Path(state.file))
    for name in _OBJECTS:
        if (folder / name).exists():
            _json_object(folder / name)
    if (folder / _INDEX).is_file() and not (folder / _WHOLE).is_file():
        _check_index(folder)
    for file in folder.glob("*.safetensors"):
        _shapes(file)


def weights_in(folder: Path) -> Weights | None:
    """Return how much is in the folder's safetensors files; None if there are none, as other formats do not say."""
    shapes = [shape for file in folder.glob("*.safetensors") for shape in _shapes(file)]
    return Weights(len(shapes), sum(map(math.prod, shapes))) if shapes else None


def _state(file: str) -> FileState:
    """Return the state of a file; raises a `LabError` for a device, a pipe, a folder or a broken link."""
    try:
        state = os.stat(file)
    except OSError as error:
        raise LabError(f"model.path: cannot read {file!r}: {error.strerror}") from error
    if not stat.S_ISREG(state.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(state.st_mode), "a device")
        raise LabError(f"model.path: {file!r} is {kind}, expected a file")
    return FileState(file, state.st_size, state.st_mtime_ns)


def _check_is_no_pointer(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            start = opened.read(len(_POINTER))
    except OSError as error:
        raise LabError(f"model.path: cannot read {str(file)!r}: {error.strerror}") from error
    if start == _POINTER:
        raise LabError(f"model.path: {str(file)!r} is a git-lfs pointer, not the file itself; run: git lfs pull")


def _json_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LabError(f"model.path: cannot read {str(file)!r} as JSON: {error}") from error
    if not isinstance(value, dict):
        raise LabError(f"model.path: {str(file)!r} is not a JSON object")
    return value


def _check_index(folder: Path) -> None:
    """Raise a `LabError` unless the index names files of the folder alone."""
    files = _json_object(folder / _INDEX).get("weight_map")
    names = set(map(str, files.values())) if isinstance(files, dict) else set()
    absent = sorted(name for name in names if Path(name).name != name or not (folder / name).is_file())
    if absent or not names:
        what = f"names {absent[0]!r}, which is not in the folder" if absent else "names no weight files"
        raise LabError(f"model.path: {str(folder / _INDEX)!r} {what}")


def _shapes(file: Path) -> list[list[int]]:
    """Return the shapes of the tensors in a safetensors file, from its header alone.

    Raises a `LabError` for a file that is not of this format, or shorter or longer than its header says.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            return [opened.get_slice(name).get_shape() for name in opened.keys()]  # noqa: SIM118 (no iterator)
    except (SafetensorError, OSError) as error:
        raise LabError(
            f"model.path: {str(file)!r} is not a whole safetensors file ({folded(error)}); copy or download it again"
        ) from error
