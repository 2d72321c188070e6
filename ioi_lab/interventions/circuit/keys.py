"""The config keys by which circuits are found, and their checks."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError
from ioi_lab.models.selectors import HeadSelector, IndexSelector
from ioi_lab.models.shape import ModelShape

ScoreName = str
Scores = ScoreName | Annotated[list[ScoreName], Field(min_length=1)]


class Only(LabConfig):
    """The part of the model whose edges circuits may differ in; all other edges are in every circuit.

    `layer`, `head`: the layers or heads of which an edge must have one at either end; MLPs belong to their layer.
    """

    layer: IndexSelector = "all"
    head: HeadSelector = "all"


class CircuitKeys(LabConfig):
    """The keys by which circuits are found.

    `scores`: one method, or several to compare, of `exact`, `eap`, `eap_ig_inputs`, `eap_ig_activations`,
    `clean_corrupted` and `random`; the first makes the circuit. `ranking`: whether the best edges are those with the
    largest effect (`absolute`) or those that help most (`signed`). `search`: the best edges (`topn`), from the logits
    upwards (`greedy`), all with a score of at least `threshold`, or leaving out one edge after another (`acdc`) as long
    as the objective falls by less than `tau`. `nodes`: whether edges or whole heads and MLPs are chosen. `sizes`:
    shares of all edges, or numbers of edges; null for those of MIB. `size`: the size of the circuit that is kept;
    `auto` keeps the smallest that is at least 85 % faithful on the prompts of discovery. `ablation`: what ablated edges
    carry: what their writer writes in the `corrupted` prompt, its `mean` over all corrupted prompts and positions, that
    at each position of prompts with the same sentence (`mean_by_position`), or nothing (`zero`). `objective`: what
    scores are about: the logit difference, or the KL divergence from the clean pass's next-token distribution.
    `positions`: whether there is an edge for each label of tokens. `eval_share`: the share of the prompts that
    circuits are evaluated on, with other names than those that they are found on; 0 uses all prompts for both. `only`:
    see `Only`. `ig_steps`, `ig_rule`: the number of points of integrated gradients, and whether they end at the clean
    prompt (`end`) or start at the corrupted one (`start`). `controls`: the number of random circuits of each size and
    kind. `orders`: the number of orders in which ACDC tries edges. `seed`: draws the parts of the prompts, random
    circuits and orders.
    """

    scores: Scores = "eap_ig_inputs"
    ranking: Literal["absolute", "signed"] = "absolute"
    search: Literal["topn", "greedy", "threshold", "acdc"] = "topn"
    nodes: Literal["edges", "heads_and_mlps"] = "edges"
    sizes: Annotated[list[float], Field(min_length=1)] | None = None
    size: Literal["auto"] | float = "auto"
    threshold: float | None = None
    tau: Annotated[float, Field(gt=0)] | None = None
    ablation: Literal["corrupted", "mean", "mean_by_position", "zero"] = "corrupted"
    objective: Literal["logit_diff", "kl"] = "logit_diff"
    positions: Literal["all", "labels"] = "all"
    eval_share: float = Field(0.5, ge=0, lt=1)
    only: Only = Only()
    ig_steps: int = Field(5, ge=1)
    ig_rule: Literal["end", "start"] = "end"
    controls: int = Field(10, ge=10)
    orders: int = Field(3, ge=1)
    seed: int = Field(0, ge=0)

    @property
    def methods(self) -> list[str]:
        """The names of the scores, each once."""
        return list(dict.fromkeys([self.scores] if isinstance(self.scores, str) else self.scores))

    def n_scoring_passes(self, shape: ModelShape, n_edges: int) -> int:
        """Return about how many passes per prompt the scores take; a backward pass counts as two forward ones."""
        cost = {
            "exact": n_edges,
            "eap": 4,
            "eap_ig_inputs": 3 * self.ig_steps,
            "eap_ig_activations": 3 * self.ig_steps * 2 * shape.n_layers,
            "clean_corrupted": 6,
        }
        return sum(cost.get(name, 0) for name in self.methods)

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        for search, key in (("acdc", "tau"), ("threshold", "threshold")):
            value = getattr(self, key)
            if (self.search == search) != (value is not None):
                number = "a number above 0" if key == "tau" else "a number"
                what = number if self.search == search else "null, or another search"
                raise LabError(f"intervention.{key}: got {_shown(value)}, but search={self.search}; expected {what}")
        if self.size != "auto" and self.search in ("threshold", "acdc"):
            raise LabError(
                f"intervention.size: got {self.size}, but search={self.search} finds its size; expected auto"
            )
        if self.nodes == "heads_and_mlps" and self.search != "topn":
            raise LabError(f"intervention.nodes: got 'heads_and_mlps', but search={self.search}; expected edges")
        if self.objective == "kl" and "eap" in self.methods:
            raise LabError(
                "intervention.objective: got 'kl', whose gradient in the clean pass is zero: eap would find nothing; "
                "expected logit_diff, or scores without eap, such as eap_ig_inputs"
            )
        return self

    @override
    def check(self) -> None:
        from ioi_lab.circuits.scores import SCORE_METHODS

        for name in self.methods:
            try:
                SCORE_METHODS.check(name)
            except ValueError as error:
                raise LabError(f"intervention.scores: got {name!r}, expected {error}") from error


def _shown(value: object) -> object:
    return "null" if value is None else value
