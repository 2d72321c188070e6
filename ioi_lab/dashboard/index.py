"""The index of runs: what was read of each, kept in the user's cache folder and brought up to date by file times."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from ioi_lab.dashboard.entries import Entry, read_entry
from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.runs.finding import run_folders
from ioi_lab.runs.reading import STATUS

_VERSION: Final = 3
"""Raised when entries get other fields, so that earlier files of the index are made anew."""

_CHUNK: Final = 100
"""How many runs are read between two times that the table in the browser may grow."""

_STEP: Final = re.compile(r"\d\d-")
"""How the names of the folders of a study's steps begin."""

Stamp = str
"""The times and the size that change whenever a run changes."""

Kept = tuple[str, Stamp, dict[str, Any]]
"""Folder, stamp and entry of a run."""


@dataclass(frozen=True)
class Changes:
    """What has changed since a version of the index."""

    version: int
    added: list[Entry]
    updated: list[Entry]
    removed: list[str]


class Index:
    """The runs of a folder. One thread refreshes it, others read it; nothing is written into the folder."""

    def __init__(self, runs: RunsFolder, cache: Path | None = None) -> None:
        self.runs = runs
        self.left_out = 0
        """How many run folders are not shown, since links lead out of the runs folder or names are not Unicode."""

        self.waiting = 0
        """How many runs are still to be read."""

        self._lock = threading.RLock()
        self._refreshing = threading.Lock()
        self._store, kept = _Store.open(cache, runs.real)
        self._entries: dict[str, Entry] = {}
        self._stamps: dict[str, Stamp] = {}
        self._version = 1
        self._changed: dict[str, int] = {}
        self._added: dict[str, int] = {}
        for folder, stamp, about in kept:
            self._entries[folder], self._stamps[folder] = Entry(**about), stamp
            self._changed[folder] = self._added[folder] = 1

    @property
    def version(self) -> int:
        """A number that rises whenever something changes."""
        return self._version

    def entries(self) -> list[Entry]:
        """Return the entries of all runs, the newest first."""
        with self._lock:
            return sorted(self._entries.values(), key=lambda entry: (-(entry.updated or 0.0), entry.folder))

    def get(self, folder: str) -> Entry | None:
        """Return the entry of a run; None for what is no run."""
        return self._entries.get(folder or ".")

    def changes(self, since: int) -> Changes:
        """Return what has changed since a version; everything is new since version 0."""
        with self._lock:
            changed = [name for name, version in self._changed.items() if version > since]
            known = {name for name in changed if self._added[name] <= since}
            return Changes(
                version=self._version,
                added=[self._entries[name] for name in changed if name in self._entries and name not in known],
                updated=[self._entries[name] for name in changed if name in self._entries and name in known],
                removed=[name for name in changed if name not in self._entries and name in known],
            )

    def details(self, folders: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the keys and metrics of runs, by folder."""
        with self._lock:
            return self._store.details(list(folders))

    def refresh(self) -> None:
        """Bring the index up to date: read the runs that are new or have changed, and forget those that are gone."""
        with self._refreshing:
            found = self._walk()
            to_read = [name for name, stamp in found.items() if self._stamps.get(name) != stamp]
            to_read += [name for name, entry in self._entries.items() if entry.status == "running" and name in found]
            to_read = sorted(set(to_read), key=lambda name: found[name], reverse=True)  # the newest first
            self._forget([name for name in self._entries if name not in found])
            for start in range(0, len(to_read), _CHUNK):
                self.waiting = len(to_read) - start
                chunk = to_read[start : start + _CHUNK]
                self._add([(name, found[name], *read_entry(self.runs, name)) for name in chunk])
            self.waiting = 0

    def _walk(self) -> dict[str, Stamp]:
        """Return the stamps of all run folders."""
        found, left_out = {}, 0
        for folder in folders_of_runs(self.runs.path):
            name = self.runs.name_of(folder)
            if name is None:
                left_out += 1
            else:
                found[name] = stamp_of(folder)
        self.left_out = left_out
        return found

    def _add(self, read: Sequence[tuple[str, Stamp, Entry, Mapping[str, Any]]]) -> None:
        with self._lock:
            new = [
                each for each in read if self._entries.get(each[0]) != each[2] or self._stamps.get(each[0]) != each[1]
            ]
            if not new:
                return
            self._store.put(new)
            self._version += 1
            for name, stamp, entry, _ in new:
                if name not in self._entries:
                    self._added[name] = self._version
                self._entries[name], self._stamps[name], self._changed[name] = entry, stamp, self._version

    def _forget(self, names: Sequence[str]) -> None:
        if not names:
            return
        with self._lock:
            self._store.remove(names)
            self._version += 1
            for name in names:
                del self._entries[name], self._stamps[name]
                self._changed[name] = self._version


def folders_of_runs(root: Path) -> Iterator[Path]:
    """Yield the run folders in a folder and below it, and those of the steps of studies, which are in the study's."""
    for folder in run_folders(root):
        yield folder
        with suppress(OSError), os.scandir(folder) as inside:
            steps = sorted(
                each.path for each in inside if _STEP.match(each.name) and each.is_dir(follow_symlinks=False)
            )
            yield from (Path(step) for step in steps if os.path.lexists(f"{step}/{STATUS}"))


def stamp_of(folder: Path) -> Stamp:
    """Return the stamp of a run: a change of its status, or of the names in its folder, changes the stamp."""
    try:
        status = os.stat(f"{folder}/{STATUS}")
        return f"{status.st_mtime_ns:020}-{status.st_size}-{os.stat(folder).st_mtime_ns}"
    except OSError:
        return "0"


class Refresher(threading.Thread):
    """Refreshes an index again and again while pages are open, and takes a twentieth of the time at most."""

    def __init__(self, index: Index, pause: float = 2.0, patience: float = 60.0) -> None:
        super().__init__(daemon=True, name="index of runs")
        self._index, self._pause, self._patience = index, pause, patience
        self._asked = time.monotonic()
        self._wake = threading.Event()

    def ask(self) -> None:
        """Say that a page is open; without any, the index rests."""
        rested = time.monotonic() - self._asked > self._patience
        self._asked = time.monotonic()
        if rested:
            self._wake.set()

    def run(self) -> None:
        """Refresh until the process ends."""
        while True:
            started = time.monotonic()
            with suppress(OSError, sqlite3.Error):  # the folder is gone for now, the disk full or the store locked
                self._index.refresh()
            took = time.monotonic() - started
            self._wake.clear()
            time.sleep(max(self._pause, 19 * took))
            if time.monotonic() - self._asked > self._patience:
                self._wake.wait()


class _Store:
    """The file of the index: a table of runs in SQLite."""

    def __init__(self, place: str) -> None:
        self._connection = sqlite3.connect(place, check_same_thread=False, timeout=10.0)
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            self._connection.execute("DROP TABLE IF EXISTS runs")
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS runs (folder TEXT PRIMARY KEY, stamp TEXT, about TEXT, details TEXT)"
        )
        self._connection.execute("PRAGMA synchronous = OFF")  # it can be made anew
        self._connection.commit()

    @classmethod
    def open(cls, cache: Path | None, real: str) -> tuple[Self, list[Kept]]:
        """Return the store of a runs folder in a cache folder, in memory if that cannot be used; and what it has."""
        if cache is None:
            return cls(":memory:"), []
        file = cache / f"dashboard-{hashlib.sha256(real.encode(errors='surrogateescape')).hexdigest()[:16]}.sqlite"
        for _ in range(2):
            try:
                cache.mkdir(mode=0o700, parents=True, exist_ok=True)
                store = cls(str(file))
                return store, store.all()
            except (sqlite3.DatabaseError, ValueError, TypeError, OSError):
                with suppress(OSError):
                    file.unlink()  # it is damaged
        return cls(":memory:"), []

    def all(self) -> list[Kept]:
        """Return folder, stamp and entry of all runs."""
        rows = self._connection.execute("SELECT folder, stamp, about FROM runs").fetchall()
        entries = json.loads(f"[{','.join(about for _, _, about in rows)}]")
        return [(folder, stamp, about) for (folder, stamp, _), about in zip(rows, entries, strict=True)]

    def put(self, read: Sequence[tuple[str, Stamp, Entry, Mapping[str, Any]]]) -> None:
        """Keep runs."""
        rows = [
            (name, stamp, json.dumps(entry.as_row()), json.dumps(row, default=str)) for name, stamp, entry, row in read
        ]
        self._connection.executemany("REPLACE INTO runs VALUES (?, ?, ?, ?)", rows)
        self._connection.commit()

    def remove(self, names: Sequence[str]) -> None:
        """Forget runs."""
        self._connection.executemany("DELETE FROM runs WHERE folder = ?", [(name,) for name in names])
        self._connection.commit()

    def details(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the keys and metrics of runs."""
        found = {}
        for start in range(0, len(names), 500):
            chunk = names[start : start + 500]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT folder, details FROM runs WHERE folder IN ({marks})"
            found.update({name: json.loads(row) for name, row in self._connection.execute(query, chunk)})
        return {name: found[name] for name in names if name in found}
