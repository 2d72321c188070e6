"""The report of circuits across tasks: the matrix of faithfulness, specificity, and a circuit file per task."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.circuits.files import CircuitFile
from ioi_lab.interventions.cross_task.measure import CrossTaskResult, OnTask
from ioi_lab.interventions.cross_task.texts import with_texts
from ioi_lab.reports import plots
from ioi_lab.reports.charts import Map
from ioi_lab.reports.report import Report, ReportContext
from ioi_lab.reports.wording import counted, interval
from ioi_lab.stats.bootstrap import MIN_PROMPTS, Estimate
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_QUANTILES: Final = (0.025, 0.975)
_ESTIMATES: Final = ("faithfulness", "excess", "accuracy")


def report_cross_task(result: CrossTaskResult, context: ReportContext) -> Report:
    """Return the table of all circuits on all tasks, the figures, and what they show in sentences."""
    import pandas as pd

    report = _CrossTaskReport(result, context)
    prompts = [
        pd.DataFrame(each.baselines.prompt_columns()).assign(task=name)
        for name, each in zip(report.tasks, result.on, strict=True)
    ]
    report_without_texts = Report(
        table=report.table(),
        metrics=report.metrics(),
        draw=report.figures,
        summary=report.summary(),
        files=report.files(),
        prompts=pd.concat(prompts, ignore_index=True),
        charts=[Map("faithfulness_across_tasks", "faithfulness", "circuit", "task")],
        headline="mean_specificity",
    )
    return with_texts(report_without_texts, result, report.tasks, context)


class _CrossTaskReport:
    def __init__(self, result: CrossTaskResult, context: ReportContext) -> None:
        self._result, self._context = result, context
        self.tasks = [context.task, *result.others]
        self._pairs = list(product(range(len(self.tasks)), repeat=2))

    def table(self) -> pd.DataFrame:
        """A row per circuit and task."""
        import pandas as pd

        result, rows = self._result, []
        for circuit, task in self._pairs:
            on = result.on[task]
            row = {
                "circuit": self.tasks[circuit],
                "task": self.tasks[task],
                "edges": int(result.n_edges[circuit]),
                "shared_edges": int(result.n_shared[circuit, task]),
            }
            row |= {
                name: value for kind in _ESTIMATES for name, value in _columns(kind, getattr(on, kind), circuit).items()
            }
            low, high = np.quantile(on.random[circuit], _QUANTILES)
            row |= {"random": float(on.random[circuit].mean()), "random_low": float(low), "random_high": float(high)}
            row["p_random"] = result.p_random(circuit, task)
            rows.append(row | _columns("specificity", result.specificity[task], circuit))
        return pd.DataFrame(rows)

    def metrics(self) -> dict[str, float]:
        """Means over the circuits, and the baselines of the run's own task."""
        f = self._matrix([on.faithfulness for on in self._result.on])
        specificity = self._matrix(self._result.specificity)
        off = ~np.eye(len(f), dtype=bool)
        return self._result.baselines.metrics() | {
            "n_tasks": len(f),
            "mean_faithfulness_on_task": float(np.diag(f).mean()),
            "mean_faithfulness_off_task": float(f[off].mean()),
            "mean_specificity": float(specificity[off].mean()),
            "n_edges": int(self._result.n_edges[0]),
        }

    def summary(self) -> list[str]:
        """Whether the model does the other tasks; a line per circuit on its own task, and one per other task."""
        result = self._result
        lines = [self._baseline(name, on) for name, on in zip(self.tasks[1:], result.on[1:], strict=True)]
        lines += [
            f"warning: no intervals on {name}: fewer than {MIN_PROMPTS} prompts, or the model hardly does the task"
            for name, on in zip(self.tasks, result.on, strict=True)
            if not on.faithfulness.has_bounds
        ]
        for circuit, name in enumerate(self.tasks):
            own = result.on[circuit]
            share = result.n_edges[circuit] / result.graph.n_edges
            lines.append(
                f"the circuit of {name}, {counted(int(result.n_edges[circuit]), 'edge')} ({share:.1%} of all): f = "
                f"{interval(own.faithfulness, circuit)} on its task, random circuits {own.random[circuit].mean():.2f}"
            )
            for task, other in enumerate(self.tasks):
                if task != circuit:
                    lines.append(f"  {self._on_other(circuit, task, other)}")
        return lines

    @staticmethod
    def _baseline(name: str, on: OnTask) -> str:
        clean, corrupted = on.baselines.clean, on.baselines.corrupted
        return (
            f"{name}: logit difference {clean.logit_diff.mean():.2f} on clean and {corrupted.logit_diff.mean():.2f} on "
            f"corrupted prompts, accuracy {clean.correct.mean():.2f}"
        )

    def _on_other(self, circuit: int, task: int, name: str) -> str:
        result = self._result
        on, specificity = result.on[task], result.specificity[task].rows([circuit])
        verdict = "specific to its task" if specificity.exceeds()[0] else "no evidence that it is specific to its task"
        return (
            f"on {name}: f = {interval(on.faithfulness, circuit)}, random {on.random[circuit].mean():.2f}; specificity "
            f"{interval(specificity)}: {verdict}"
        )

    def figures(self) -> dict[str, Figure]:
        """The matrix, and the specificity of each circuit against each other task."""
        result = self._result
        f, excess = ([getattr(on, kind) for on in result.on] for kind in ("faithfulness", "excess"))
        panels = {"faithfulness f": self._matrix(f), "f less the mean of random circuits": self._matrix(excess)}
        unclear = ~self._flags(excess)
        data = f"{self._context.model}, {counted(len(self.tasks), 'task')}"
        title = f"Each task's circuit on every task\n{data}"
        note = "\npale, without number: not distinguishable from random circuits" if unclear.any() else ""
        pale = {"f less the mean of random circuits": unclear, "faithfulness f": np.zeros_like(unclear)}
        bars = [(circuit, task) for circuit, task in self._pairs if circuit != task]
        estimate = Estimate.joined([result.specificity[task].rows([circuit]) for circuit, task in bars])
        names = [f"{self.tasks[circuit]} → {self.tasks[task]}" for circuit, task in bars]
        return {
            "faithfulness_across_tasks": plots.heat_maps(
                panels,
                plots.Axis("circuit of", self.tasks),
                plots.Axis("on the prompts of", self.tasks),
                title + note,
                "share of the effect\n(0 = no edges, 1 = all edges)",
                pale=pale,
            ),
            "specificity": plots.ranked_bars(
                plots.Axis("circuit → prompts", names),
                estimate.value,
                estimate.low,
                estimate.high,
                value_label="specificity: f less random circuits, own task less the other",
                title=f"Specificity of each task's circuit\n{data}",
                pale=~estimate.differs(),
                pale_note="interval includes 0, or is unknown",
                over=self._context.over,
            ),
        }

    def files(self) -> dict[str, bytes]:
        """A circuit file per task, numbered in their order."""
        result, keys = self._result, self._result.keys
        files = {}
        for number, name in enumerate(self.tasks):
            f = result.on[number].faithfulness.rows([number])
            file = CircuitFile.of(
                result.graph,
                result.circuits[number],
                result.origin,
                result.scores[number],
                description=f"{self._context.model}, {name}",
                method=keys.methods[0],
                objective=keys.objective,
                ranking=keys.ranking,
                search=keys.search,
                nodes=keys.nodes,
                ablation=keys.ablation,
                faithfulness=float(f.value[0]),
                faithfulness_low=float(f.low[0]),
                faithfulness_high=float(f.high[0]),
            )
            files[f"circuit_{number}.json"] = json.dumps(file.model_dump(), indent=1).encode()
        return files

    def _matrix(self, by_task: list[Estimate]) -> Float[Array, "circuit task"]:
        return np.stack([each.value for each in by_task], axis=1)

    def _flags(self, by_task: list[Estimate]) -> Bool[NDArray[np.bool_], "circuit task"]:
        return np.stack([each.differs() for each in by_task], axis=1)


def _columns(name: str, estimate: Estimate, row: int) -> dict[str, float]:
    values = {name: estimate.value[row], f"{name}_low": estimate.low[row], f"{name}_high": estimate.high[row]}
    return {key: float(value) for key, value in values.items()}
