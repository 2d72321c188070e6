"""Tests of whether a circuit is real. Definitions and sources: `ioi_lab.circuits.validity`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from ioi_lab.circuits.graph import Graph
from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.circuit_tests.keys import CircuitTestKeys

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.circuit_tests.measure import CircuitTestsResult
    from ioi_lab.models.shape import ModelShape
    from ioi_lab.reports.report import Report, ReportContext
    from ioi_lab.tasks.prompts import PromptPairs


class CircuitTests(CircuitTestKeys, Intervention["CircuitTestsResult"]):
    """Test whether a circuit is more than its faithfulness: each test ends in a sentence that the evidence allows.

    Sufficiency and partial necessity against random circuits, minimality, equivalence (Shi et al. 2024, arXiv
    2410.13032), the choice of ablation (Miller et al. 2024, arXiv 2407.08734), stability over resampled prompts (Méloux
    et al. 2025, arXiv 2510.00845), kinds of prompts, completeness (Wang et al. 2022, arXiv 2211.00593), and heads that
    back each other up. For the keys see `CircuitTestKeys`.
    """

    title: ClassVar[str] = "tests of a circuit"

    name: str = "circuit_tests"

    @override
    def n_edit_sets(self, shape: ModelShape, prompts: PromptPairs) -> int | None:
        """The random circuits of sufficiency and necessity, of three kinds each, and the sets of the other tests."""
        if self.search == "acdc":
            return None
        n_edges = Graph.of(shape).n_edges
        pairs = self.random_sets + 2 * self.greedy_steps * (shape.n_heads + 1) * shape.n_layers
        circuits = 6 * self.controls + self.added_edges + self.max_edges + 2 * pairs + 3 * self.max_pairs
        scores = self.n_scoring_passes(shape, n_edges) if self.circuit is None else 0
        return circuits + scores

    @override
    def measure(self, engine: Engine) -> CircuitTestsResult:
        from ioi_lab.interventions.circuit_tests.measure import measure_circuit_tests

        return measure_circuit_tests(engine, self)

    @override
    def report(self, result: CircuitTestsResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.circuit_tests.report import report_circuit_tests

        return report_circuit_tests(result, context)
