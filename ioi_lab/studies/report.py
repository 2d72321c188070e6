"""The report of a study: the answer in sentences, a row per step, the evidence on each head, and what is open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.reports.report import Report, ReportContext, precision_limits, precision_lines
from ioi_lab.reports.wording import counted, listed, sentence
from ioi_lab.runs.reading import read_run
from ioi_lab.storage.tables import csv_bytes, read_table
from ioi_lab.studies.findings import HEADS, Findings
from ioi_lab.studies.heads import CAPTION, draw_evidence, heads_table, with_cells
from ioi_lab.studies.running import BASELINE, StepRecord, answer_of

if TYPE_CHECKING:
    import pandas as pd
_HEADS_FILE: Final = "heads.csv"
_MAX_LISTED: Final = 8


class StudyReport:
    """The steps of a study, with how each ended, as a table, scalars and sentences."""

    def __init__(
        self, context: ReportContext, records: Sequence[StepRecord], findings: Findings, *, draws_prompts: bool
    ) -> None:
        self._context, self._records, self._findings = context, records, findings
        self._draws_prompts = draws_prompts

    def report(self) -> Report:
        """Return the whole report."""
        heads = heads_table(self._findings)
        agreement = [] if heads is None else list(self._agreement(heads))
        return Report(
            table=self._table(),
            metrics=self._metrics(),
            draw=lambda: {} if heads is None else draw_evidence(heads, self._title),
            captions={"evidence_by_head": CAPTION},
            summary=[*precision_lines(self._context.low_precision), *agreement, *self._holes()],
            files={} if heads is None else {_HEADS_FILE: csv_bytes(with_cells(heads))},
            prompts=self._prompts(),
            headline=f"{BASELINE}_clean_accuracy",
            question=f"How does {self._context.model} do the task {self._context.task}?",
            answer=[*self._answers(), *agreement],
            limits=[*self._holes(), *precision_limits(self._context.low_precision), *self._limits()],
            parts=[record.folder.name for record in self._records if record.state != "skipped"],
        )

    @property
    def _title(self) -> str:
        return f"{self._context.model}, {self._context.task}"

    def _answers(self) -> list[str]:
        """Return the question of each step with the start of its answer."""
        return [f"{record.step.question} {sentence(answer_of(record.folder))}" for record in self._done]

    def _agreement(self, heads: pd.DataFrame) -> Iterator[str]:
        """Yield how the evidence on the surviving heads agrees."""
        n_heads = len(heads)
        if "in_circuit" in heads:
            missing = heads.loc[~heads["in_circuit"].astype(bool), "head"].tolist()
            without = f"; not in it: {listed(missing, _MAX_LISTED)}" if missing else ""
            n_kept = n_heads - len(missing)
            verb = "is" if n_kept == 1 else "are"
            yield f"Of the {counted(n_heads, 'head')} found by patching, {n_kept} {verb} in the circuit{without}."
        if "lost_low" in heads:
            needed = heads.loc[heads["lost_low"] > 0, "head"].tolist()
            which = f": {listed(needed, _MAX_LISTED)}" if needed else ""
            yield (
                f"Of the {counted(n_heads, 'head')} found by patching, {len(needed)} cost some of the logit difference "
                f"if they alone are ablated, with the whole 95 % interval, not corrected for their number{which}."
            )

    def _holes(self) -> list[str]:
        """Return a sentence per step that failed or was skipped."""
        return [
            f"The step {record.step.name} {'failed' if record.state == 'failed' else 'was skipped'}: "
            f"{sentence(record.reason)}"
            for record in self._records
            if record.state != "done"
        ]

    def _limits(self) -> Iterator[str]:
        """Yield what the study as a whole does not show."""
        others = [record.step.name for record in self._done if record.step.other_prompts]
        if others and self._draws_prompts:
            yield (
                f"The steps {listed(others, 20)} are measured on prompts of the next seed, on which nothing was "
                "chosen; single prompts may occur in both."
            )
        elif others:
            yield (
                f"The task has no other prompts: the steps {listed(others, 20)} are measured on those on which the "
                "heads and the circuit were chosen, so that their effects are overestimated."
            )
        yield (
            "The steps are tested one by one: with many of them, some result may be chance although each one is "
            "corrected for its own number of effects."
        )

    @property
    def _done(self) -> list[StepRecord]:
        return [record for record in self._records if record.state == "done"]

    def _table(self) -> pd.DataFrame:
        """Return a row per step: how it ended, its headline metric, and what was chosen for it, and why."""
        import pandas as pd

        return pd.DataFrame([self._row(record) for record in self._records])

    def _row(self, record: StepRecord) -> dict[str, Any]:
        run = read_run(record.folder)
        headline = run.text("headline") if record.state == "done" else None
        values = [run.metrics.get(f"{headline}{end}") for end in ("", "_low", "_high")]
        chosen = "; ".join(f"{key} = {_short(choice.value)} ({choice.why})" for key, choice in record.choices.items())
        return {
            "step": record.step.name,
            "question": record.step.question,
            "state": record.state,
            "reason": record.reason,
            "metric": headline or "",
            **dict(zip(("value", "value_low", "value_high"), values, strict=True)),
            "chosen": chosen,
            "seconds": run.provenance.get("seconds"),
            "folder": record.folder.name if record.state != "skipped" else "",
        }

    def _metrics(self) -> dict[str, float]:
        """Return the headline metric of each step, by its name, and how many steps ended in which way."""
        metrics: dict[str, float] = {
            f"n_{state}": sum(record.state == state for record in self._records)
            for state in ("done", "failed", "skipped")
        }
        for record in self._done:
            run = read_run(record.folder)
            headline = run.text("headline")
            for end in ("", "_low", "_high"):
                if (value := run.metrics.get(f"{headline}{end}")) is not None:
                    metrics[f"{record.step.name}_{headline}{end}"] = float(value)
        if BASELINE in self._findings.folders:
            metrics["does_task"] = self._findings.metrics(BASELINE)["does_task"]
        if HEADS in self._findings.folders:
            metrics["n_heads_found"] = len(self._findings.surviving)
        return metrics

    def _prompts(self) -> pd.DataFrame | None:
        return read_table(self._done[0].folder / "prompts.csv") if self._done else None


def _short(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value).rpartition("/")[2]
