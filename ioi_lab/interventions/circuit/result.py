"""The result of measuring circuits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jaxtyping import Bool, Float

from ioi_lab.circuits.faithfulness import Curve
from ioi_lab.circuits.finding import Found
from ioi_lab.circuits.graph import Flags, Graph
from ioi_lab.circuits.selection import Ranking
from ioi_lab.interventions.base import Result
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.storage.tensors import ModelOrigin

if TYPE_CHECKING:
    from ioi_lab.interventions.circuit.keys import CircuitKeys

ACDC: Final = "acdc"
GIVEN: Final = "given"
"""The method of a circuit that was found in another run."""

PATTERN: Final = 0.25
"""The mean attention on repeated random tokens at which a head is said to have a pattern."""


@dataclass(frozen=True)
class MethodCurve:
    """The circuits of one method and ranking, smallest first, on the prompts of evaluation."""

    method: str
    ranking: Ranking
    found: Found
    curve: Curve
    kl: Estimate | None
    """The mean KL divergence from the clean pass, in nats; None if no probabilities were read."""

    accuracy: Estimate
    n_nodes: list[int]
    readout: Readout

    @property
    def is_nested(self) -> bool:
        """Whether larger circuits contain smaller ones, so that a curve over sizes says something."""
        return self.method != ACDC and len(self.found.asked) > 1


@dataclass(frozen=True)
class Controls:
    """The faithfulness of random circuits with as many edges as those of the first method."""

    uniform: Float[Array, "control size"]
    """The faithfulness of circuits that the same search finds by random scores."""

    matched: Float[Array, "control size"]
    """The faithfulness of random circuits with as many edges into each layer and kind of input."""


@dataclass(frozen=True)
class Split:
    """The prompts that circuits are found and evaluated on, by their indices among all."""

    discovery: list[int]
    evaluation: list[int]
    n_unused: int
    are_apart: bool
    """Whether the two parts share no answer and no distractor."""


@dataclass(frozen=True)
class CircuitResult(Result):
    """Scores of edges, circuits of several sizes, and the one that is kept."""

    graph: Graph
    origin: ModelOrigin
    keys: CircuitKeys
    split: Split
    scores: Mapping[str, Estimate]
    """The mean score of each edge over the prompts of discovery, by method."""

    per_prompt: Float[Array, "prompt edge"] | None
    """The scores of the first method in each prompt of discovery; None for a circuit that was given."""

    curves: list[MethodCurve]
    """Those of the first method and the configured ranking first."""

    controls: Controls
    correlations: Float[Array, "method method"]
    """The rank correlations of the methods' scores over edges."""

    chosen: int
    """The size of the first curve that is kept."""

    discovery_faithfulness: Float[Array, "size"]
    """The faithfulness of the first curve's circuits on the prompts of discovery."""

    classes: Mapping[str, str]
    """The attention patterns of heads, by their names in the graph."""

    @property
    def first(self) -> MethodCurve:
        """The curve of the circuit that is kept."""
        return self.curves[0]

    @property
    def circuit(self) -> Bool[Flags, "edge"]:
        """The circuit that is kept."""
        kept: Flags = self.first.found.circuits[self.chosen]
        return kept
