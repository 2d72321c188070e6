"""Finished runs whose results another run reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ioi_lab.errors import LabError, folded
from ioi_lab.runs.finding import find_run
from ioi_lab.runs.parsing import DamagedError
from ioi_lab.runs.reading import STATUS, read_config, read_run
from ioi_lab.storage.tables import read_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PastRun:
    """A finished run, read back from its folder."""

    folder: Path
    intervention: dict[str, Any]
    """The config of its intervention."""

    model: str
    weights_sha256: str

    @classmethod
    def read(cls, path: str, key: str) -> Self:
        """Read the run that `find_run` finds for `path`.

        Raises a `LabError` that names `key` for a folder without a run, and for an unfinished or damaged one.
        """
        folder = find_run(path, key)
        record = read_run(folder, contents=True)
        if record.state not in ("done", "damaged"):
            raise LabError(f"{key}: the run in {path!r} is not finished; its {STATUS} does not say done")
        try:
            if not record.is_done:
                raise DamagedError(record.reason)
            return cls(
                folder,
                intervention=dict(read_config(folder)["intervention"]),
                model=str(record.provenance["model"]["name"]),
                weights_sha256=str(record.provenance["model"]["weights_sha256"]),
            )
        except (DamagedError, ValueError, TypeError, KeyError) as error:
            raise LabError(f"{key}: cannot read the run in {path!r}: {folded(error)}") from error

    def table(self, key: str) -> pd.DataFrame:
        """Return its `results.csv`; raises a `LabError` that names `key` if that cannot be read."""
        try:
            return read_table(self.folder / "results.csv")
        except (OSError, ValueError) as error:
            raise LabError(f"{key}: cannot read results.csv in {str(self.folder)!r}: {folded(error)}") from error

    def check_weights(self, weights_sha256: str, model: str, key: str) -> None:
        """Raise a `LabError` that names `key` unless the run used the model with these weights."""
        if self.weights_sha256 != weights_sha256:
            raise LabError(
                f"{key}: the run in {str(self.folder)!r} used another model, {self.model}; expected a run of {model}"
            )
