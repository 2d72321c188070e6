"""Circuits of edges: scores of all edges, circuits of several sizes, and how faithful they are to the whole model.

Definitions and sources: `ioi_lab.circuits`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from ioi_lab.circuits.checkpoints import Checkpoints
from ioi_lab.circuits.files import CircuitFile
from ioi_lab.circuits.graph import Graph
from ioi_lab.circuits.selection import MIB_SIZES
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.circuit.keys import CircuitKeys

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.circuit.result import CircuitResult
    from ioi_lab.models.shape import ModelShape
    from ioi_lab.reports.report import Report, ReportContext
    from ioi_lab.tasks.prompts import PromptPairs


class Circuit(CircuitKeys, Intervention["CircuitResult"]):
    """Score all edges, take circuits of several sizes, and measure how faithful they are.

    `from_run`: the `circuit.json`, or the run folder, of a circuit that is evaluated instead; it may have been found in
    another model of these sizes, on another task or with another corruption. `resume_from`: the folder of an
    interrupted run, whose `exact` scores or ACDC go on from where they were; a run in its own folder does so by itself.
    For the other keys see `CircuitKeys`.
    """

    name: str = "circuit"
    from_run: str | None = None
    resume_from: str | None = None

    @override
    def check(self) -> None:
        super().check()
        if self.from_run is not None:
            CircuitFile.read(self.from_run, "intervention.from_run")
        if self.resume_from is not None and not any(Path(self.resume_from).glob("checkpoint_*.safetensors")):
            raise LabError(
                f"intervention.resume_from: {self.resume_from!r} has no checkpoint; expected the folder of a run with "
                "exact scores or ACDC that was interrupted"
            )

    @property
    @override
    def title(self) -> str:
        if self.from_run is not None:
            return "a circuit evaluated"
        return f"circuit by {'acdc' if self.search == 'acdc' else ' '.join(self.methods)}"

    @override
    def n_edit_sets(self, shape: ModelShape, prompts: PromptPairs) -> int | None:
        """Half of the prompts for the scores, the other half for the circuits of all sizes and the random ones."""
        if self.search == "acdc":
            return None
        graph = Graph.of(shape) if self.positions == "all" else Graph.of(shape, prompts.labels())
        n_sizes = len(self.sizes) if self.sizes is not None else len(MIB_SIZES)
        n_circuits = 1 if self.from_run is not None else n_sizes * (len(self.methods) + 2 * self.controls)
        return (self.n_scoring_passes(shape, graph.n_edges) + n_circuits) // 2

    @override
    def measure(self, engine: Engine) -> CircuitResult:
        return self.measure_in(engine, None)

    @override
    def measure_in(self, engine: Engine, folder: Path | None) -> CircuitResult:
        from ioi_lab.interventions.circuit.measure import evaluate_circuit, measure_circuit

        if self.from_run is not None:
            return evaluate_circuit(engine, self, self.from_run)
        checkpoints = Checkpoints(folder, None if self.resume_from is None else Path(self.resume_from))
        result = measure_circuit(engine, self, checkpoints)
        checkpoints.remove()
        return result

    @override
    def report(self, result: CircuitResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.circuit.report import report_circuit

        return report_circuit(result, context)
