"""Checkpoints of long searches: arrays in a file, which the same search takes up again after an interruption."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Array
from ioi_lab.storage.files import write_bytes
from ioi_lab.storage.tensors import Metadata, ModelOrigin, TensorKind

if TYPE_CHECKING:
    from ioi_lab.circuits.runner import CircuitRunner


class _SearchMetadata(Metadata):
    """What a search that goes on from a checkpoint must share with it."""

    identity: str


_SEARCHES: Final = TensorKind("an unfinished search for a circuit", _SearchMetadata, dtype="F64")

_FILE: Final = "checkpoint_{}.safetensors"
_SECONDS: Final = 10.0
_SHARE: Final = 20
"""The time between two checkpoints is at least this many times the time that one takes to write."""


@dataclass(frozen=True)
class Checkpoints:
    """The folder of a run's checkpoints, and that of an interrupted run whose checkpoints are taken up."""

    folder: Path | None = None
    """None writes none."""

    interrupted: Path | None = None
    """None for the run's own folder: it may be run again in the same place."""

    def remove(self) -> None:
        """Delete the checkpoints of the run's own folder, after it has ended."""
        for file in [] if self.folder is None else self.folder.glob(_FILE.format("*")):
            file.unlink(missing_ok=True)


class Checkpoint:
    """A file of arrays, written at most every ten seconds.

    Args:
        file: The file; None writes nothing.
        earlier: The file that is taken up; None finds nothing.
        origin: The model that is searched.
        identity: The settings that decide the search; a file of other settings is not taken up.

    """

    def __init__(
        self, file: Path | None, earlier: Path | None, origin: ModelOrigin, identity: Mapping[str, Any]
    ) -> None:
        self._file, self._earlier, self._origin = file, earlier, origin
        self._identity = json.dumps(identity, sort_keys=True, default=str)
        self._written, self._cost = time.monotonic(), 0.0

    @classmethod
    def of(cls, checkpoints: Checkpoints, name: str, runner: CircuitRunner, **settings: Any) -> Checkpoint:
        """Return the checkpoint of a search called `name`, by the settings and by what the runner runs on."""
        engine = runner.engine
        prompts = [(pair.clean_tokens, pair.corrupted_tokens, pair.answer_ids) for pair in engine.prompts]
        identity = {"prompts": prompts, "ablation": runner.ablation, "labels": runner.graph.labels} | settings
        folders = checkpoints.folder, checkpoints.interrupted or checkpoints.folder
        file, earlier = (None if folder is None else folder / _FILE.format(name) for folder in folders)
        return cls(file, earlier, engine.model.origin, identity)

    def load(self) -> dict[str, Array] | None:
        """Return the arrays of the file; None if there is none, it is damaged, or of another search."""
        if self._earlier is None or not self._earlier.is_file():
            return None
        try:
            found = _SEARCHES.read(self._earlier, "checkpoint")
            found.check_model(self._origin)
        except LabError:
            return None
        if found.metadata.identity != self._identity:
            return None
        return {name: tensor.numpy() for name, tensor in found.tensors.items()}

    def save(self, arrays: Mapping[str, Array]) -> None:
        """Write the arrays, unless the last time was a moment ago."""
        started = time.monotonic()
        if self._file is None or started - self._written < max(_SECONDS, _SHARE * self._cost):
            return
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        write_bytes(self._file, _SEARCHES.content(tensors, self._origin, identity=self._identity))
        self._written = time.monotonic()
        self._cost = self._written - started


NO_CHECKPOINT: Final = Checkpoint(None, None, ModelOrigin("", ""), {})
"""Writes and finds nothing."""

NO_CHECKPOINTS: Final = Checkpoints()
