"""The config keys of the tests of a circuit."""

from __future__ import annotations

from pydantic import Field
from typing_extensions import override

from ioi_lab.circuits.files import CircuitFile
from ioi_lab.interventions.circuit.keys import CircuitKeys


class CircuitTestKeys(CircuitKeys):
    """The keys of the tests, and those by which the circuit is found.

    `circuit`: the `circuit.json`, the run folder, or `latest`, of the circuit that is tested, on all prompts; null
    finds one by the other keys, and tests it on the prompts of evaluation. `controls`: the number of random circuits of
    each kind. `max_edges`: the greatest number of edges that are tested for minimality, those with the weakest scores;
    `added_edges`: the number of edges that are added at random to compare them with, at least 20 per edge that is
    tested. `resamples`: the number of resamples of the prompts on which the circuit is searched again. `random_sets`:
    the number of random sets of heads and MLPs for completeness; `greedy_steps`: the size of the largest set that is
    found greedily, among the 20 with the largest scores. `max_pairs`: the greatest number of pairs of heads that are
    left out together (self-repair). For the other keys see `CircuitKeys`.
    """

    circuit: str | None = None
    controls: int = Field(100, ge=20)
    max_edges: int = Field(10, ge=1)
    added_edges: int = Field(200, ge=1)
    resamples: int = Field(100, ge=2)
    random_sets: int = Field(20, ge=1)
    greedy_steps: int = Field(3, ge=0)
    max_pairs: int = Field(30, ge=1)

    @override
    def check(self) -> None:
        super().check()
        if self.circuit is not None:
            CircuitFile.read(self.circuit, "intervention.circuit")
