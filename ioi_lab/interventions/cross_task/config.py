"""Circuits across tasks: the circuit of each task, evaluated on every task.

A circuit of one task that is as faithful on another is shared machinery, or so large that it is nearly the model:
random circuits of the same size and classes say which (Merullo, Eickhoff and Pavlick 2024, Circuit component reuse
across tasks in transformer language models, arXiv 2310.08744).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import Field, model_validator
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.circuit.keys import CircuitKeys
from ioi_lab.tasks.named import config_named, task_named

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.cross_task.measure import CrossTaskResult
    from ioi_lab.reports.report import Report, ReportContext
    from ioi_lab.tasks.prompts import Task

_KEY: Final = "intervention.others"


class CrossTask(CircuitKeys, Intervention["CrossTaskResult"]):
    """Find the circuit of each task, and measure its faithfulness on every task.

    The tasks are that of the run (`task`) and `others`, by the names of their options, with `n` prompts each. Circuits
    are found on one part of a task's prompts and evaluated on the other. `controls`: the number of random circuits with
    as many edges into each layer and kind of input, for each circuit. For the other keys see `CircuitKeys`.
    """

    name: str = "cross_task"
    others: list[str] = Field(["induction"], min_length=1)
    n: int = Field(32, ge=2)

    @model_validator(mode="after")
    def _edges_are_of_all_tasks(self) -> Self:
        if self.positions != "all":
            raise LabError("intervention.positions: got 'labels', but tasks have labels of their own; expected all")
        if len(set(self.others)) < len(self.others):
            raise LabError(f"{_KEY}: got {self.others}, in which a task stands twice")
        return self

    @override
    def check(self) -> None:
        super().check()
        for name, task in self._tasks().items():
            if task.only_correct:
                raise LabError(f"{_KEY}: {name} has only_correct: true, which holds for the task of the run alone")

    @property
    @override
    def title(self) -> str:
        return f"circuits of {1 + len(self.others)} tasks"

    @property
    @override
    def named(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: config_named(name, self.n, self.seed, _KEY) for name in self.others}

    def _tasks(self) -> dict[str, Task]:
        return {name: task_named(name, self.n, self.seed, _KEY) for name in self.others}

    @override
    def measure(self, engine: Engine) -> CrossTaskResult:
        from ioi_lab.interventions.cross_task.measure import measure_cross_task

        prompts = {}
        for name, task in self._tasks().items():
            try:
                prompts[name] = task.prompt_pairs(engine.model.tokens)
            except LabError as error:
                raise LabError(f"{_KEY}: {name}: {error}") from error
        return measure_cross_task(engine, self, prompts)

    @override
    def report(self, result: CrossTaskResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.cross_task.report import report_cross_task

        return report_cross_task(result, context)
