"""What the steps of a study found about each head that survived: one row per head, a column per kind of evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ioi_lab.circuits.files import FILE, CircuitFile
from ioi_lab.errors import LabError
from ioi_lab.reports import plots
from ioi_lab.studies.findings import HEADS, Findings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_BOUNDS: Final = ("", "_low", "_high")
_MAX_DRAWN: Final = 12


@dataclass(frozen=True)
class Evidence:
    """A kind of evidence as a share of the model's behaviour: a column of a step's `results.csv`, scaled."""

    step: str
    column: str
    name: str
    """The name of the column in `heads.csv` and in the figure."""


EVIDENCE: Final = (
    Evidence(HEADS, "recovery", "patched"),
    Evidence("knockout", "logit_diff_share", "lost"),
    Evidence("attribution", "direct_effect", "written"),
)
CAPTION: Final = (
    "Rows are the heads whose effect survives the step heads, the largest first; the columns are shares of what "
    "the model does. Patched: the recovery of the logit difference if the head's clean output is patched into the "
    "corrupted pass. Lost: the share of the clean logit difference that is lost if the head alone is ablated. "
    "Written: the head's direct effect as a share of the clean logit difference. A head that is patched with "
    "effect and writes nothing itself works through later heads; one that is not missed when it is ablated may "
    "have backups. Intervals are in heads.csv. "
    "The heads were chosen by the first column, so that its largest values are exaggerated."
)


def heads_table(findings: Findings) -> pd.DataFrame | None:
    """Return the evidence on each head that survives the step `heads`; None if that step is not done, or finds none.

    Columns: `patched`, the recovery if its clean output is patched into the corrupted pass; `lost`, the share of the
    logit difference that is lost without it; `written`, its direct effect as a share of the logit difference;
    `to_LABEL`, its mean attention from END; `in_circuit`, whether the circuit has it. Bounds of 95 % intervals end in
    `_low` and `_high`; those of `written` take the logit difference as given.
    """
    if HEADS not in findings.folders or not findings.surviving:
        return None
    import pandas as pd

    columns: dict[str, list[Any]] = {"head": [head.name for head in findings.surviving]}
    for evidence in EVIDENCE:
        if evidence.step in findings.folders:
            columns |= _shares(findings, evidence)
    if "attention" in findings.folders:
        to = [name for name in map(str, findings.table("attention")) if name.startswith("to_")]
        columns |= {name: _of_heads(findings, "attention", name) for name in to}
    if (in_circuit := _in_circuit(findings)) is not None:
        columns["in_circuit"] = in_circuit
    return pd.DataFrame(columns)


def with_cells(heads: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `heads_table` for a file: layers and heads are numbers, as in `results.csv`.

    Head 9.10 as a name would be read back from a CSV file as the number 9.1, which is another head.
    """
    cells = heads["head"].str.split(".", expand=True).astype(int)
    table = heads.drop(columns="head")
    table.insert(0, "layer", cells[0])
    table.insert(1, "head", cells[1])
    return table


def draw_evidence(heads: pd.DataFrame, title: str) -> dict[str, Figure]:
    """Return the figure of the evidence on the first heads of a table of `heads_table`."""
    shown = heads.head(_MAX_DRAWN)
    kinds = [evidence for evidence in EVIDENCE if evidence.name in shown]
    values = shown[[evidence.name for evidence in kinds]].to_numpy(dtype=float)
    left_out = f"\nthe first {len(shown)} of {len(heads)} heads" if len(shown) < len(heads) else ""
    figure = plots.heat_maps(
        {"": values},
        plots.Axis("head", shown["head"].tolist()),
        plots.Axis("evidence", [evidence.name for evidence in kinds]),
        f"What each head does\n{title}{left_out}",
        "share of the model's behaviour",
    )
    return {"evidence_by_head": figure}


def _shares(findings: Findings, evidence: Evidence) -> dict[str, list[float | None]]:
    """Return the columns of a kind of evidence with its bounds, as shares."""
    values = {
        end: np.array(_of_heads(findings, evidence.step, f"{evidence.column}{end}"), dtype=float) for end in _BOUNDS
    }
    if evidence.name == "lost":
        values = {"": 1 - values[""], "_low": 1 - values["_high"], "_high": 1 - values["_low"]}
    if evidence.name == "written":
        whole = findings.metrics(evidence.step)["clean_logit_diff"]
        values = {end: column / whole for end, column in values.items()}
    return {f"{evidence.name}{end}": column.tolist() for end, column in values.items()}


def _of_heads(findings: Findings, step: str, column: str) -> list[float | None]:
    """Return a column of a step's `results.csv` for each surviving head; None for heads that it does not have."""
    table = findings.table(step)
    if column not in table or "head" not in table:
        return [None] * len(findings.surviving)
    rows = table[table["head"].notna()].drop_duplicates(["layer", "head"])
    values = {
        f"{int(layer)}.{int(head)}": float(value)
        for layer, head, value in rows[["layer", "head", column]].itertuples(index=False)
    }
    return [values.get(head.name) for head in findings.surviving]


def _in_circuit(findings: Findings) -> list[bool] | None:
    if "circuit" not in findings.folders:
        return None
    try:
        edges = CircuitFile.read(str(findings.folders["circuit"] / FILE), "circuit").edges
    except LabError:
        return None
    writers = {edge.partition("->")[0] for edge in edges}
    return ["a{}.h{}".format(*head.name.split(".")) in writers for head in findings.surviving]
