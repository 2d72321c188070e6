"""Finding run folders, among links and what cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ioi_lab.runs.reading import STATUS


def run_folders(root: Path) -> Iterator[Path]:
    """Yield the run folders in `root` and below it; the folders inside a run folder are not searched.

    What is in the place of a run folder and cannot be read is yielded too: a folder without permission, a broken link,
    a file with the number of a job as its name. Linked folders come last, and no folder comes twice.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        links: list[Path] = []
        for folder in waiting:
            yield from _run_folders(folder, seen, links)
        waiting = links


def _run_folders(folder: Path, seen: set[tuple[int, int]], links: list[Path]) -> Iterator[Path]:
    """Yield the run folders in a folder and below it, except behind links, which are added to `links`."""
    try:
        about = folder.stat()
        if (about.st_dev, about.st_ino) in seen:
            return
        seen.add((about.st_dev, about.st_ino))
        if os.path.lexists(folder / STATUS):
            yield folder
            return
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:  # it has vanished meanwhile, or was never there
        if folder.is_symlink():
            yield folder
        return
    except NotADirectoryError:
        return
    except OSError:
        yield folder
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name == "wandb":
            continue
        if entry.is_symlink():
            if path.is_dir() or not path.exists():
                links.append(path)
        elif entry.is_dir():
            yield from _run_folders(path, seen, links)
        elif entry.name.isdecimal():
            yield path
