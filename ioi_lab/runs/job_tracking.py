"""The run of a job, done or failed, as a dashboard shows it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.parsing import DamagedError
from ioi_lab.runs.reading import read_typed
from ioi_lab.runs.tracking import FinishedRun
from ioi_lab.storage.files import write_json
from ioi_lab.terminal import printable

_FAILED_RECORD: Final = "wandb_failed.json"
MAX_TAG: Final = 64
"""The greatest number of characters of a tag."""

_MAX_OVERRIDES: Final = 80
"""The greatest number of characters of the overrides in a name."""

_SAYS_NOTHING: Final = ("hydra", "tracker", "engine", "name", "figures", "resume", "optimize", "experiment")
"""The first parts of keys that are left out of names: they decide no result, or are elsewhere."""

_PROVENANCE: Final = ("git_commit", "git_dirty", "model", "source", "target", "seconds", "peak_memory_mb", "taken_from")


@dataclass(frozen=True)
class TrackedJob:
    """What is known of a job whatever becomes of it."""

    title: str
    subject: str
    """The title without the task, to which typed overrides are added."""

    kind: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    sweep: Path | None

    def finished(self, run: RunFolder) -> FinishedRun:
        """Return the finished run in a folder."""
        provenance = run.provenance()
        kept = {name: provenance[name] for name in _PROVENANCE if name in provenance}
        return FinishedRun(
            folder=run.path,
            title=self._name(run.path),
            job_type=self.kind,
            sweep=self.sweep,
            tags=self._tags(),
            config={**self.config, "provenance": kept},
            metrics=run.metrics(),
            tables=run.tables(),
            media=run.media(),
            charts=run.charts(),
            headline=run.headline(),
            id=_id_of_failure(run.path),
        )

    def failed(self, run: RunFolder, error: str) -> FinishedRun:
        """Return the failed run in a folder: if the job is run again, the result replaces it."""
        new = _id_of_failure(run.path) or uuid.uuid4().hex[:16]
        write_json(run.path / _FAILED_RECORD, {"id": new})
        return FinishedRun(
            folder=run.path,
            title=self._name(run.path),
            job_type=self.kind,
            sweep=self.sweep,
            tags=self._tags("interrupted" if error == "interrupted" else "failed"),
            config=self.config,
            metrics={},
            tables={},
            media={},
            error=error,
            id=new,
        )

    def _name(self, folder: Path) -> str:
        """Return a name that differs from job to job of a sweep: `patch z · tiny-gpt2 · layer=3 seed=2`."""
        try:
            typed = read_typed(folder)
        except (DamagedError, OSError):
            typed = []
        overrides = overrides_in_name(typed)
        return printable(f"{self.subject} · {overrides}" if overrides else self.title)

    def _tags(self, *more: str) -> tuple[str, ...]:
        """Return the tags: models and task, the name of the run, the file of the prompts."""
        task, name = self.config.get("task"), self.config.get("name")
        file = task.get("path") if isinstance(task, Mapping) else None
        own = [name, Path(file).name if isinstance(file, str) else None]
        tags = [*self.tags, *(tag for tag in own if isinstance(tag, str) and tag), *more]
        return tuple(dict.fromkeys(printable(tag)[:MAX_TAG] for tag in tags))


def overrides_in_name(typed: list[str]) -> str:
    """Return typed overrides as a part of a name: `intervention.layer=3`, `task.seed=2` → `layer=3 seed=2`.

    Options of config groups are in the title, and what decides no result is left out.
    """
    pairs = [override.lstrip("+~").partition("=") for override in typed]
    kept = [(key, value) for key, _, value in pairs if value and ("." in key or key == "seed")]
    kept = [(key, value) for key, value in kept if "@" not in key and key.split(".")[0] not in _SAYS_NOTHING]
    ends = [key.split(".")[-1] for key, _ in kept]
    names = [end if ends.count(end) == 1 else key for (key, _), end in zip(kept, ends, strict=True)]
    text = " ".join(f"{name}={value}" for name, (_, value) in zip(names, kept, strict=True))
    return text if len(text) <= _MAX_OVERRIDES else f"{text[:_MAX_OVERRIDES]}…"


def _id_of_failure(folder: Path) -> str | None:
    """Return the W&B id of the job's failed attempt, if there was one."""
    try:
        return str(json.loads((folder / _FAILED_RECORD).read_text())["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
