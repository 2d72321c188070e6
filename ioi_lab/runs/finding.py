"""Finding run folders, among links and what cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from ioi_lab.errors import LabError
from ioi_lab.runs.reading import STATUS, read_run, read_status

LATEST: Final = "latest"
"""What stands for the latest finished run in `runs/`."""

RUNS: Final = "runs"


def find_run(place: str | Path, key: str = "") -> Path:
    """Return the run folder that a user means.

    Args:
        place: A run folder, whatever the state of its run; or a folder such as `runs/demo`, for the latest finished run
            in it; or `latest`, for that of all in `runs/`. The jobs of sweeps are not looked at.
        key: The config key that names it, for errors.

    Raises:
        LabError: It is neither.

    """
    folder = Path(os.path.expanduser(place))
    if str(place) == LATEST and not folder.exists():
        folder = Path(RUNS)
    start = f"{key}: " if key else ""
    if os.path.lexists(folder / STATUS):
        return folder
    if not folder.is_dir():
        near = get_close_matches(folder.name, _names_in(folder.parent), n=1)
        hint = f" (did you mean {str(folder.with_name(near[0]))!r}?)" if near else ""
        raise LabError(f"{start}{str(place)!r} is not a run folder: it has no {STATUS}{hint}")
    if is_sweep(folder):
        raise LabError(f"{start}{str(place)!r} is the folder of a sweep; expected one of its runs, such as {folder}/0")
    runs = {run: read_status(run) for run in run_folders(folder)}
    single = {run: status for run, status in runs.items() if not is_sweep(run.parent)}
    done = [run for run, status in single.items() if status.get("status") == "done"]
    for run in sorted(done, key=lambda run: (str(single[run].get("started")), run.name), reverse=True):
        if read_run(run).is_done:
            return run
    found = f"none of the {len(single)} runs in it is done" if single else f"it has no {STATUS}, and no run is in it"
    if runs and not single:
        sweep = max(run.parent for run in runs)
        found = f"it has sweeps only; expected one of their runs, such as {sweep}/0"
    raise LabError(f"{start}{str(place)!r} is not a run folder: {found}")


def folder_of_runs(place: str | Path) -> Path:
    """Return a folder with runs: `place`, or for `latest` that of the latest finished run, or of its whole sweep."""
    if str(place) != LATEST or Path(place).exists():
        return Path(os.path.expanduser(place))
    done = {run: status for run in run_folders(Path(RUNS)) if (status := read_status(run)).get("status") == "done"}
    if not done:
        raise LabError(f"{str(place)!r}: there is no finished run in {RUNS!r}")
    run = max(done, key=lambda run: (str(done[run].get("started")), run.name))
    return run.parent if is_sweep(run.parent) else run


def is_sweep(folder: Path) -> bool:
    """Return whether a folder is that of a multirun."""
    return (folder / "multirun.yaml").is_file()


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return []


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
