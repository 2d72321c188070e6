"""Which files the dashboard may read and send: those inside of the runs folder, after links have been followed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SENT: Final = (".html", ".png", ".pdf", ".svg", ".csv", ".txt", ".json", ".yaml", ".parquet", ".safetensors")
"""The ends of the names of files that are sent to the browser."""


def name_in(folder: str, name: str) -> str:
    """Return the name of a file in the folder of a run or a sweep; `.` or nothing is the runs folder itself."""
    return name if folder in ("", ".") else f"{folder}/{name}"


@dataclass(frozen=True)
class RunsFolder:
    """The folder with the runs. A run is named by its path in it, such as `demo/2026-01-01_12-00-00/3`."""

    path: Path
    real: str = field(init=False)
    """The path without links."""

    _parents: dict[str, str] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "real", os.path.realpath(self.path))

    def name_of(self, folder: Path) -> str | None:
        """Return the name of a folder in this one; None if links lead out of here, or if its name is not Unicode."""
        name = os.path.relpath(folder, self.path) if folder == self.path else str(folder)[len(str(self.path)) + 1 :]
        try:
            name.encode()
        except UnicodeEncodeError:
            return None
        return name if self._is_inside(self._real_path(str(folder))) else None

    def file(self, name: str) -> Path | None:
        """Return the file or folder of a name; None if it does not exist, or is not inside of this folder.

        The name may come from anybody: absolute paths, `..`, hidden files and links that lead out are refused.
        """
        parts = name.split("/")
        is_plain = name.isprintable() and all(part and not part.startswith(".") for part in parts)
        if name != "." and (not is_plain or "\\" in name):
            return None
        path = self.path / name
        try:
            return path if self._is_inside(os.path.realpath(path, strict=True)) else None
        except (OSError, ValueError):
            return None

    def sent_file(self, name: str) -> Path | None:
        """Return the file of a name that the browser asks for; None unless it is a plain file that may be sent."""
        path = self.file(name)
        return path if path is not None and path.suffix in SENT and path.is_file() else None

    def _is_inside(self, real: str) -> bool:
        return real == self.real or real.startswith(self.real.rstrip(os.sep) + os.sep)

    def _real_path(self, folder: str) -> str:
        """Return a path without links; that of its parent is remembered, since a sweep has thousands of folders."""
        if os.path.islink(folder):
            return os.path.realpath(folder)
        parent, _, name = folder.rpartition(os.sep)
        if parent not in self._parents:
            self._parents[parent] = os.path.realpath(parent)
        return os.path.join(self._parents[parent], name)
