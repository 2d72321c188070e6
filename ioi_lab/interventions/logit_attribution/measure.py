"""The measurement of direct logit attribution: all terms with their intervals over prompts, and the largest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from ioi_lab.engine.edits import Pass
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.self_checks import checked_run
from ioi_lab.lenses.direct import DirectTerms, direct_effects
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import ROUNDING, Discoveries, discover
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


@dataclass(frozen=True)
class Term:
    """A component that writes into the residual stream at END, or a bias of the readout there.

    `component` is `embed`, `z` (a head), `attn_bias` (after W_O), `mlp_out` or `constant` (the biases of norms on the
    residual stream and of the unembedding).
    """

    component: str
    layer: int | None = None
    head: int | None = None


@dataclass(frozen=True)
class LogitAttributionResult(Result):
    """The terms of the logit difference in one of the two passes."""

    which: Pass
    """The pass that was read."""

    terms: list[Term]
    """In the order of the forward pass."""

    direct_effect: Estimate
    """The direct effect of each term on the logit difference, in logits."""

    on_answer: Estimate
    """The direct effect of each term on the answer's logit less the vocabulary's mean logit."""

    on_distractor: Estimate
    """The same for the distractor's logit."""

    discoveries: Discoveries
    """Which direct effects are more than chance, given the number of terms."""

    head_rows: Int[NDArray[np.int_], "layer head"]
    """The heads, as indices of `terms`."""

    ranking: list[int]
    """The terms, from the largest direct effect (by absolute value) to the smallest."""

    strongest_head: int
    """The first head of the ranking, as an index of `terms`."""

    logit_diff: float
    """The model's own mean logit difference; before the cap, if the model caps its logits."""

    logit_cap: float | None
    """The bound of the soft cap on the model's logits, before which effects are measured; None without one."""

    sum_of_terms: float
    error: float
    """The largest distance of the terms' sum (after the cap) from the logit difference of a prompt."""

    @property
    def top(self) -> list[int]:
        """The terms whose direct effect is found, from the largest to the smallest."""
        return [row for row in self.ranking if self.discoveries.found[row]]


def measure_logit_attribution(engine: Engine, which: Pass) -> LogitAttributionResult:
    """Measure the direct effects in the clean or the corrupted pass.

    Raises a `LabError` if the model has no terms that add up to its logit difference, or if a self-check fails.
    """
    baselines = Baselines.measure(engine)
    effects = direct_effects(engine, which)
    _, checks = checked_run(engine, [], "clean")
    n_layers, n_heads = engine.shape.n_layers, engine.shape.n_heads
    terms = terms_of(n_layers, n_heads)
    difference = _stacked(effects.difference, terms)
    direct_effect = engine.bootstrap.mean(difference)
    heads = [row for row, term in enumerate(terms) if term.head is not None]
    ranking: list[int] = np.argsort(-np.abs(direct_effect.value), kind="stable").tolist()
    return LogitAttributionResult(
        baselines=baselines,
        checks=checks,
        which=which,
        terms=terms,
        direct_effect=direct_effect,
        on_answer=engine.bootstrap.mean(_stacked(effects.answer, terms)),
        on_distractor=engine.bootstrap.mean(_stacked(effects.distractor, terms)),
        discoveries=discover(difference, np.ones_like(difference[:1]), engine.bootstrap, ROUNDING),
        head_rows=np.array(heads).reshape(n_layers, n_heads),
        ranking=ranking,
        strongest_head=next(row for row in ranking if row in heads),
        logit_diff=float(effects.logit_diff.mean()),
        logit_cap=effects.logit_cap,
        sum_of_terms=float(effects.difference.sum.mean()),
        error=effects.error,
    )


def terms_of(n_layers: int, n_heads: int) -> list[Term]:
    """Return all terms of a model, in the order of the forward pass."""
    terms = [Term("embed")]
    for layer in range(n_layers):
        terms += [Term("z", layer, head) for head in range(n_heads)]
        terms += [Term("attn_bias", layer), Term("mlp_out", layer)]
    return [*terms, Term("constant")]


def _stacked(values: DirectTerms, terms: Sequence[Term]) -> Float[Array, "term prompt"]:
    return np.stack([_values_of(term, values) for term in terms])


def _values_of(term: Term, values: DirectTerms) -> Float[Array, "prompt"]:
    by_component = {
        "embed": values.embedding,
        "z": values.heads,
        "attn_bias": values.attention_bias,
        "mlp_out": values.mlps,
        "constant": values.constant,
    }
    index = tuple(part for part in (term.layer, term.head) if part is not None)
    of_prompts: Array = by_component[term.component][index]
    return of_prompts
