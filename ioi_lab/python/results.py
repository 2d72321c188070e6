"""Runs and sweeps as objects. Everything is read from their folders, when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.python.display import Figures, page
from ioi_lab.runs.pages import write_page
from ioi_lab.runs.parsing import DamagedError, content_of
from ioi_lab.runs.reading import PAGE, PLOTS, SUMMARY, RunRecord, read_config, read_run, report_files
from ioi_lab.runs.sweep_pages import write_sweep_page
from ioi_lab.runs.sweeps import Sweep as SweepFolder
from ioi_lab.storage.tables import read_table
from ioi_lab.terminal import printable

if TYPE_CHECKING:
    import pandas as pd

_PER_PROMPT = "per_prompt.parquet"


@dataclass(frozen=True)
class Run:
    """A finished run. In a notebook it is shown with its summary and its first figure."""

    folder: Path

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Return the run in a folder; raises a `LabError` that says why if it is not done."""
        record = read_run(folder)
        if not record.is_done:
            reason = f": {record.reason}" if record.reason else ""
            raise LabError(f"the run in {str(folder)!r} is not done but {record.state}{reason}")
        return cls(folder)

    @cached_property
    def _record(self) -> RunRecord:
        return read_run(self.folder)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config (`config.yaml`)."""
        return read_config(self.folder)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The metrics by name (`metrics.json`), bounds of intervals as `…_low` and `…_high`."""
        return dict(self._record.metrics)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What the results depend on (`provenance.json`): model, checksums, versions, commit."""
        return dict(self._record.provenance)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The results (`results.csv`), one row per edit."""
        return read_table(self.folder / "results.csv")

    @cached_property
    def prompts(self) -> pd.DataFrame:
        """The prompts (`prompts.csv`), to which the column `prompt` of `per_prompt` refers."""
        return read_table(self.folder / "prompts.csv")

    @cached_property
    def per_prompt(self) -> pd.DataFrame:
        """What was read of each prompt under each edit (`per_prompt.parquet`).

        Raises a `LabError` if runs of this intervention have no such table.
        """
        import pandas as pd

        path = self.folder / _PER_PROMPT
        if not path.is_file():
            raise LabError(
                f"per_prompt: the run in {str(self.folder)!r} has no {_PER_PROMPT}; only edits are read per prompt"
            )
        return pd.read_parquet(path)

    @cached_property
    def figures(self) -> Figures:
        """The figures by name, the main one first."""
        files = [name for name in report_files(self._record.status) if name.startswith(f"{PLOTS}/")]
        pngs = [name for name in files if name.endswith(".png") and (self.folder / name).is_file()]
        return Figures(self.folder, [Path(name).stem for name in pngs])

    @property
    def report(self) -> Path:
        """The page `report.html`: question, answer, figures, tables, methods and limits in one file for a browser.

        It is written now if the run has none: runs of earlier versions, and those with `figures=False`.
        """
        return write_page(self.folder)

    def show_report(self) -> None:
        """Open the report in the browser of this machine."""
        _open(self.report)

    @cached_property
    def summary(self) -> list[str]:
        """The lines that the command line prints, the title first; of runs of earlier versions the title alone."""
        try:
            return content_of(self.folder / SUMMARY).decode(errors="replace").splitlines()
        except DamagedError:
            return [str(self.config.get("name", self.folder))]

    @override
    def __repr__(self) -> str:
        return printable("\n".join([*self.summary, f"results: {self.folder}"]))

    def _repr_html_(self) -> str:
        return page(self.summary, self.figures, self.folder)


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep. In a notebook it is shown with its summary and its figure."""

    folder: Path

    @cached_property
    def _sweep(self) -> SweepFolder:
        return SweepFolder.read(self.folder)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per run: its folder, the swept keys, status, seconds and metrics with their bounds."""
        return self._sweep.table()

    @property
    def runs(self) -> list[Run]:
        """The runs that are done, in the order of the table."""
        return [Run(record.folder) for record in self._sweep.records if record.is_done]

    @cached_property
    def figures(self) -> Figures:
        """The figures of the sweep by name: its metric by the swept keys."""
        return Figures(self.folder, sorted(path.stem for path in (self.folder / PLOTS).glob("*.png")))

    @property
    def report(self) -> Path:
        """The page `report.html` of the sweep, which is written now if there is none."""
        path = self.folder / PAGE
        return path if path.is_file() else write_sweep_page(self._sweep)

    def show_report(self) -> None:
        """Open the report in the browser of this machine."""
        _open(self.report)

    @property
    def summary(self) -> list[str]:
        """The number of runs by status, then a line per run that is not done."""
        return self._sweep.lines()

    @override
    def __repr__(self) -> str:
        return printable("\n".join([*self.summary, *(f"figure: {figure.path}" for figure in self.figures.values())]))

    def _repr_html_(self) -> str:
        return page(self.summary, self.figures, self.folder)


def _open(page: Path) -> None:
    import webbrowser

    webbrowser.open(page.resolve().as_uri())
