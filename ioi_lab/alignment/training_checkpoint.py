"""The file from which an interrupted training goes on: the maps that are finished, and the state of the next."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from pydantic import Json
from torch import Tensor

from ioi_lab.alignment.training import LossCurve, Parameters, TrainingState
from ioi_lab.storage.files import write_bytes
from ioi_lab.storage.tensors import Metadata, ModelOrigin, TensorKind

TRAINING: Final = "training.safetensors"
_SECONDS: Final = 10.0
_SHARE: Final = 20
"""The time between two checkpoints is at least this many times the time that one takes to write."""


class TrainingMetadata(Metadata):
    """What a training that goes on must share with the checkpoint, and the numbers of both."""

    identity: Json[dict[str, Any]]
    curves: Json[dict[str, dict[str, Any]]]
    """The losses of finished maps, by name."""

    current: Json[dict[str, Any]]
    """The name of the map in training, the number of its steps and its losses; empty if there is none."""


TRAININGS: Final = TensorKind("an unfinished training of maps", TrainingMetadata)


@dataclass
class TrainingCheckpoint:
    """Finished maps and the state of the one in training, in memory and in a file."""

    origin: ModelOrigin
    identity: Mapping[str, Any]
    path: Path | None = None
    """The file that is written; None to write none."""

    finished: dict[str, tuple[Parameters, LossCurve]] = field(default_factory=dict)
    current: str = ""
    state: TrainingState | None = None
    _written: float = field(default_factory=time.monotonic)
    _cost: float = 0.0

    @classmethod
    def of(cls, origin: ModelOrigin, identity: Mapping[str, Any], path: Path | None, resume: Path | None) -> Self:
        """Return the checkpoint of a training that goes on from the file `resume`, if there is one.

        Raises a `LabError` for a file of another training.
        """
        checkpoint = cls(origin, json.loads(json.dumps(identity)), path)
        if resume is not None and resume.is_file():
            checkpoint._load(resume)
        return checkpoint

    def state_of(self, name: str) -> TrainingState | None:
        """Return the state from which the training of a map goes on."""
        return self.state if name == self.current else None

    def save(self, name: str, state: TrainingState) -> None:
        """Keep the state of the map in training, and write the file if the last one is old enough."""
        self.current, self.state = name, state
        if time.monotonic() - self._written > max(_SECONDS, _SHARE * self._cost):
            self._write()

    def finish(self, name: str, parameters: Parameters, curve: LossCurve) -> None:
        """Keep a finished map."""
        self.finished[name] = parameters, curve
        self.current, self.state = "", None
        self._write()

    def _write(self) -> None:
        start = time.monotonic()
        if self.path is not None:
            metadata = {
                "identity": json.dumps(self.identity),
                "curves": json.dumps({name: _numbers(curve) for name, (_, curve) in self.finished.items()}),
                "current": json.dumps(self._current_numbers()),
            }
            write_bytes(self.path, TRAININGS.content(self._tensors(), self.origin, **metadata))
        self._written, self._cost = time.monotonic(), time.monotonic() - start

    def _current_numbers(self) -> dict[str, Any]:
        if self.state is None:
            return {}
        numbers = {name: getattr(self.state, name) for name in ("step", "steps", "training", "stopping")}
        return {"name": self.current, **numbers}

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {
            f"finished/{name}/{part}": tensor.cpu()
            for name, (parameters, _) in self.finished.items()
            for part, tensor in parameters.items()
        }
        if self.state is not None:
            for kind in ("parameters", "best", "moments"):
                tensors |= {f"{kind}/{name}": tensor.cpu() for name, tensor in getattr(self.state, kind).items()}
        return tensors

    def _load(self, path: Path) -> None:
        file = TRAININGS.read(path, "resume_from")
        for name, value in self.identity.items():
            if file.metadata.identity.get(name) != value:
                there = file.metadata.identity.get(name)
                file.refuse(f"belongs to another training: {name} is {there!r} there, {value!r} here")
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in file.tensors.items():
            kind, _, name = key.rpartition("/")
            parts.setdefault(kind, {})[name] = tensor
        for name, numbers in file.metadata.curves.items():
            losses = {key: np.array(numbers[key]) for key in ("steps", "training", "stopping")}
            curve = LossCurve(**losses, kept=int(numbers["kept"]), has_converged=bool(numbers["has_converged"]))
            self.finished[name] = parts.get(f"finished/{name}", {}), curve
        if current := file.metadata.current:
            self.current = str(current["name"])
            so_far = {name: list(current[name]) for name in ("steps", "training", "stopping")}
            self.state = TrainingState(
                parts["parameters"], parts["best"], parts.get("moments", {}), int(current["step"]), **so_far
            )


def _numbers(curve: LossCurve) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(curve).items()}
