"""Direct logit attribution: the terms that the embedding, each head and each MLP add to the logit difference at END.

The residual stream at END is the sum of the outputs of all components. With the scales of the final norm, and of norms
on these outputs, fixed at their values in the pass, the logits are linear in it, so the logit difference is a sum with
one term per component (Elhage et al. 2021; Wang et al. 2022, arXiv 2211.00593). If the model bounds its logits by a
soft cap (Gemma 2), which is not linear, the terms are those of the logit difference before the cap. For sets of answers
or distractors the weights of the tokens of a set are held too: log Σ exp(logit) = Σ weight · logit + entropy, with the
softmax of the logits as weights; the entropy is part of the constant. TransformerLens'
function of that name needs weights folded in its compatibility mode; this module reads the raw weights that everything
else in the lab runs on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.utils.rnn import pad_sequence

from ioi_lab.engine.edits import EditSet, Pass, Site
from ioi_lab.engine.readouts import to_array
from ioi_lab.errors import LabError
from ioi_lab.lenses.direct_path import EMBEDDING, AtEnd, DirectPath, written_sites
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

TOLERANCE: Final = 1e-3
"""The largest difference, in logits, between the sum of the terms and the logit difference in float32."""


@dataclass(frozen=True)
class DirectTerms:
    """The terms of a logit, or of the difference of two logits, by prompt."""

    embedding: Float[Array, "prompt"]
    heads: Float[Array, "layer head prompt"]
    attention_bias: Float[Array, "layer prompt"]
    """The terms of the biases that each layer's attention adds after W_O."""

    mlps: Float[Array, "layer prompt"]
    constant: Float[Array, "prompt"]
    """The term of the biases of the norms on the residual stream and of the unembedding."""

    @classmethod
    def empty(cls, n_layers: int, n_heads: int, n_prompts: int) -> Self:
        """Return terms of zeros, to be filled."""
        shapes = ((), (n_layers, n_heads), (n_layers,), (n_layers,), ())
        return cls(*(np.zeros((*shape, n_prompts)) for shape in shapes))

    @property
    def sum(self) -> Float[Array, "prompt"]:
        """The sum of all terms."""
        layers: Array = self.heads.sum(axis=(0, 1)) + self.attention_bias.sum(axis=0) + self.mlps.sum(axis=0)
        return self.embedding + layers + self.constant

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class DirectEffects:
    """The terms of the answer's and of the distractor's logit, each less the vocabulary's mean logit."""

    answer: DirectTerms
    distractor: DirectTerms
    logit_diff: Float[Array, "prompt"]
    """The logit difference that the model itself gives; before its cap, the sum of the terms, if it caps its logits."""

    error: float
    """The largest distance, in logits, of the terms' sum (after the cap) from the model's own logit difference."""

    logit_cap: float | None
    """The bound of the soft cap before which the terms are measured; None for a model that does not cap its logits."""

    @property
    def difference(self) -> DirectTerms:
        """The terms of the logit difference."""
        return self.answer - self.distractor


@torch.no_grad()
def direct_effects(engine: Engine, base: Pass = "clean", edits: EditSet = ()) -> DirectEffects:
    """Return the terms in an unedited pass over the engine's prompts, or in the `base` pass under one edit set.

    Raises a `LabError` if what lies between the components and the logits of the model is not affine with the scales of
    norms held (see `DirectPath`), or if the terms do not add up to its logit difference, within 1e-3 in float32.
    """
    model, shape, n_prompts = engine.model, engine.shape, len(engine.prompts)
    path = DirectPath.of(engine, base)
    readout = engine.run([edits], base, progress=False) if edits else engine.baseline(base)
    terms = {name: DirectTerms.empty(shape.n_layers, shape.n_heads, n_prompts) for name in ("answer", "distractor")}
    mean_logit = np.zeros(n_prompts)
    for rows, activations in engine.stream(base, written_sites(model), edits):
        end = {site: activation[:, -1] for site, activation in activations.items()}
        mean_logit[list(rows)] = to_array(path.mean_logit(path.final_stream(end)[0]))
        for name, of_token in terms.items():
            ids = [getattr(engine.prompts[row], f"{name}_ids") for row in rows]
            _fill(of_token, list(rows), path, end, ids)
    answer, distractor = (path.capped(of_token.sum + mean_logit) for of_token in terms.values())
    error = float(np.abs(answer - distractor - readout.logit_diff[0]).max())
    tolerance = max(TOLERANCE, 10 * model.rounding * readout.largest_logit)
    if not error <= tolerance:
        raise LabError(
            f"intervention: the direct terms of {shape.name} miss its logit difference by {error:.4g}, more than "
            f"{tolerance:.4g}"
        )
    is_capped = path.logit_cap is not None
    logit_diff = (terms["answer"] - terms["distractor"]).sum if is_capped else readout.logit_diff[0]
    return DirectEffects(**terms, logit_diff=logit_diff, error=error, logit_cap=path.logit_cap)


def cap_note(name: str, cap: float) -> str:
    """Return the line that says what direct effects are measured on in a model that caps its logits."""
    return (
        f"direct effects: {name} bounds its logits by ±{cap:g} with a soft cap, which is not linear (model config: "
        "final_logit_softcapping); they are measured on the logit difference before the cap"
    )


def _fill(terms: DirectTerms, rows: list[int], path: DirectPath, end: AtEnd, ids: Sequence[Sequence[int]]) -> None:
    """Fill in the terms of some prompts, from the last layer to the first.

    Args:
        terms: The terms to be filled.
        rows: The indices of the prompts.
        path: The path from components to logits.
        end: The activations of the components at END.
        ids: The tokens of each prompt whose logit, or log Σ exp(logit), the terms add up to.

    """
    final, norms = path.final_stream(end)
    tokens = pad_sequence([torch.tensor(own, device=final.device) for own in ids], batch_first=True, padding_value=-1)
    weights, entropy = path.weights_in_sets(final, tokens.clamp_min(0), tokens < 0)
    direction, constant = path.readout(final, tokens.clamp_min(0), weights)
    constant = constant + entropy
    for layer, (after_attention, after_mlp) in reversed(list(enumerate(norms))):
        if after_mlp is not None:
            direction, constant = after_mlp.pulled_back(direction), constant + after_mlp.constant(direction)
        terms.mlps[layer][rows] = to_array((end[Site("mlp_out", layer)] * direction).sum(dim=-1))
        if after_attention is not None:
            direction, constant = after_attention.pulled_back(direction), constant + after_attention.constant(direction)
        heads, bias = path.attention_terms(layer, end, direction)
        terms.heads[layer][:, rows] = to_array(heads).T
        terms.attention_bias[layer][rows] = to_array(bias)
    terms.embedding[rows] = to_array((end[EMBEDDING] * direction).sum(dim=-1))
    terms.constant[rows] = to_array(constant)
