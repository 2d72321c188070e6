"""The report of an intervention, and the tidy tables and scalars that it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.reports.charts import Chart
from ioi_lab.reports.definitions import Method
from ioi_lab.reports.wording import counted
from ioi_lab.stats.bootstrap import Estimate, Over
from ioi_lab.stats.metrics import Array, Readout

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ioi_lab.storage.tables import Column

PER_PROMPT: Final = "per_prompt.parquet"
SELECTORS: Final = ("component", "layer", "head", "position", "scale")
"""The first columns of every `results.csv`: which edit a row belongs to. Selectors that do not apply are empty."""


@dataclass(frozen=True)
class Report:
    """Everything that a run writes and prints about its result."""

    table: pd.DataFrame | Mapping[str, Column]
    """`results.csv`, or its columns: with few rows, making a `DataFrame` takes longer than all the rest."""

    metrics: dict[str, float]
    """`metrics.json`, without the self-checks."""

    draw: Callable[[], dict[str, Figure]]
    """Draws the figures, by file name; called only if figures are wanted, since it takes longer than all the rest."""

    summary: list[str] = field(default_factory=list)
    """Lines for the terminal."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Further files of the run folder by name: pages (`.html`), tables (`.csv`), tensors (`.safetensors`)."""

    prompts: pd.DataFrame | Mapping[str, Column] | None = None
    """`prompts.csv`, or its columns; None for the prompts of the result's baselines."""

    charts: Sequence[Chart] = ()
    """Curves, rankings and maps in the tables: for dashboards, which draw them by themselves."""

    provenance: dict[str, Any] = field(default_factory=dict)
    """Entries of `provenance.json` in addition to the model's."""

    headline: str = "clean_logit_diff"
    """The metric that lists and summaries of runs show."""

    question: str = ""
    """What was asked: one sentence that ends in a question mark."""

    answer: Sequence[str] = ()
    """The answer in plain sentences with numbers, intervals and controls; the `summary` has the details."""

    captions: Mapping[str, str] = field(default_factory=dict)
    """How to read each figure, by its name: its axes, colours, outlines and intervals, in sentences."""

    methods: Sequence[Method] = ()
    """Definitions of what was measured, with their sources."""

    limits: Sequence[str] = ()
    """Sentences on what the numbers do not show."""

    parts: Sequence[str] = ()
    """The run folders within this run's whose pages are parts of its `report.html`: the steps of a study."""


@dataclass(frozen=True)
class ReportContext:
    """The names of the model and of the task, and what intervals are taken over, for titles and sentences."""

    model: str
    """The name of the model, followed by the reason if its precision is low: `smollm2-135m (Q4_1 weights)`."""

    task: str
    low_precision: Sequence[str] = ()
    """The models of the run whose precision is low, with the reason, for titles that name several models."""

    over: Over = "prompts"

    @property
    def precision_note(self) -> str:
        """The end of the last line of such a title."""
        return precision_note(self.low_precision)

    def data_title(self, n_prompts: int) -> str:
        """Return the last line of a figure's title: the model, the task and the number of prompts."""
        return f"{self.model}, {self.task}, {counted(n_prompts, 'prompt')}"


def precision_note(low_precision: Sequence[str]) -> str:
    """Return the end of a title's last line that names the models in low precision; nothing if there are none."""
    return f"; {', '.join(low_precision)}" if low_precision else ""


def precision_lines(low_precision: Sequence[str]) -> list[str]:
    """Return the line of a summary that names the models in low precision; none if there are none."""
    return [f"low precision: {', '.join(low_precision)}"] if low_precision else []


def precision_limits(low_precision: Sequence[str]) -> list[str]:
    """Return the limits of a report that models in low precision set, a sentence each."""
    return [f"{name} is in low precision: at full precision the numbers differ somewhat." for name in low_precision]


def tidy_table(selectors: Sequence[Mapping[str, Any]], estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """Return the tidy table: each row described by its `selectors`, then each estimate with its bounds."""
    import pandas as pd

    columns = tidy_columns(selectors, estimates)
    return pd.DataFrame(columns | {name: pd.array(columns[name], dtype="Int64") for name in ("layer", "head")})


def tidy_columns(selectors: Sequence[Mapping[str, Any]], estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """Return the columns of the tidy table by name, lists and arrays: for files that nobody needs as a `DataFrame`."""
    extra = [name for name in (selectors[0] if selectors else {}) if name not in SELECTORS]
    columns: dict[str, Any] = {name: [row.get(name) for row in selectors] for name in (*SELECTORS, *extra)}
    for name, estimate in estimates.items():
        columns |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return columns


def per_prompt_table(
    readout: Readout, clean: Float[Array, "prompt"], corrupted: Float[Array, "prompt"], first: int = 0
) -> pd.DataFrame:
    """Return `per_prompt_columns` as a table."""
    import pandas as pd

    return pd.DataFrame(per_prompt_columns(readout, clean, corrupted, first))


def per_prompt_columns(
    readout: Readout, clean: Float[Array, "prompt"], corrupted: Float[Array, "prompt"], first: int = 0
) -> dict[str, Array]:
    """Return what was read of each prompt under each edit set, a row for each such pair.

    Args:
        readout: The readout of the edit sets, which are numbered like the rows of `results.csv`.
        clean: The logit differences of the clean pass.
        corrupted: Those of the corrupted pass: with both, recovery can be computed over any of the prompts.
        first: The row of the first edit set.

    """
    n_edit_sets, n_prompts = readout.logit_diff.shape
    rows, prompts = np.divmod(np.arange(n_edit_sets * n_prompts), n_prompts)
    columns = {
        "row": first + rows,
        "prompt": prompts,
        "logit_diff": readout.logit_diff.ravel(),
        "clean_logit_diff": clean[prompts],
        "corrupted_logit_diff": corrupted[prompts],
    }
    for name in ("p_answer", "p_distractor", "kl_clean", "rank"):
        values = getattr(readout, name)
        columns |= {} if values is None else {name: values.ravel()}
    return columns


def per_prompt_file(
    readout: Readout, clean: Float[Array, "prompt"], corrupted: Float[Array, "prompt"]
) -> dict[str, bytes]:
    """Return `per_prompt.parquet`: the columns of `per_prompt_columns`."""
    from pyarrow import BufferOutputStream, Table
    from pyarrow.parquet import write_table

    file = BufferOutputStream()
    write_table(Table.from_pydict(per_prompt_columns(readout, clean, corrupted)), file)
    return {PER_PROMPT: file.getvalue().to_pybytes()}


def scalars(name: str, estimate: Estimate, row: int = 0) -> dict[str, float]:
    """Return one row of an estimate as `name`, `name_low`, `name_high`, without bounds that are unknown."""
    values = {name: estimate.value[row], f"{name}_low": estimate.low[row], f"{name}_high": estimate.high[row]}
    return {key: float(value) for key, value in values.items() if np.isfinite(value)}
