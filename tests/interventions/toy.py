"""A toy engine with known answers: what interventions measure and report without running a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ioi_lab.engine.edits import EditSet, Pass
from ioi_lab.interventions.patch import Patch
from ioi_lab.models.shape import ModelShape
from ioi_lab.reports.report import Report, ReportContext
from ioi_lab.stats.bootstrap import Bootstrap
from ioi_lab.stats.metrics import Readout
from ioi_lab.tasks.prompts import PromptPair, PromptPairs

SHAPE = ModelShape("toy", n_layers=2, n_heads=3, n_kv_heads=1, d_model=6, d_head=2, n_ctx=16)
PAIR = PromptPair("x", "y", (" a",), (" b",), (0, 1, 2), (0, 2, 1), (1,), (2,), {"S2": 1, "END": 2}, ("x", "y", "z"))
PROMPTS = PromptPairs([PAIR] * 4)
CONTEXT = ReportContext("toy", "toy task")
CLEAN, CORRUPTED = 3.0, -1.0
"""The logit differences of the two passes."""


def readout(logit_diffs: Sequence[float]) -> Readout:
    """Each edit set's logit difference, the same for every prompt."""
    values = np.repeat(np.asarray(logit_diffs, dtype=float)[:, None], len(PROMPTS), axis=1)
    quarter = np.full_like(values, 0.25)
    return Readout(values, p_answer=quarter, p_distractor=quarter, kl=quarter)


class ToyEngine:
    """Answers `run` with given logit differences, and the two self-checks as they should be."""

    def __init__(
        self, edited: Sequence[float] = (), estimated: Sequence[float] = (), shape: ModelShape = SHAPE
    ) -> None:
        self.shape = shape
        self.prompts = PROMPTS
        self.bootstrap = Bootstrap(len(PROMPTS), seed=0)
        self.plans: list[tuple[Sequence[EditSet], Pass]] = []
        self._edited = list(edited)
        self._estimated = list(estimated)

    def baseline(self, which: Pass) -> Readout:
        return readout([CLEAN if which == "clean" else CORRUPTED])

    def run(self, edit_sets: Sequence[EditSet], base: Pass) -> Readout:
        self.plans.append((edit_sets, base))
        checks = [CLEAN, CORRUPTED] if base == "corrupted" else [CORRUPTED, CLEAN]
        assert len(edit_sets) == len(self._edited) + len(checks)
        return readout([*self._edited, *checks])

    def estimate(self, edit_sets: Sequence[EditSet], base: Pass, *, ig_steps: int) -> Readout:
        assert len(edit_sets) == len(self._estimated)
        return Readout(readout(self._estimated).logit_diff)


def patch(**changes) -> Patch:
    return Patch.from_config(changes, "intervention")


def plan_of(intervention, engine) -> list[EditSet]:
    """The edit sets of a grid's rows."""
    return intervention.plan(intervention.rows(engine.shape, engine.prompts), engine)


def report(intervention, edited: Sequence[float], **toy) -> Report:
    """The report of an intervention whose edits give these logit differences."""
    return intervention.report(intervention.measure(ToyEngine(edited, **toy)), CONTEXT)
