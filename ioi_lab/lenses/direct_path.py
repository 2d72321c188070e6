"""The path from what components write to the logits, as an affine map: the scales of all norms on it are held.

Models differ in what lies on that path: norms on the output of a sublayer (Gemma 2, OLMo 2) or on the stream after it
(OPT-350m), multipliers (Granite, Cohere), a projection before the unembedding. Which of these a model has is found out
in one pass over one prompt, and refused in one line if it is something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ioi_lab.engine.edits import Pass, Site
from ioi_lab.errors import LabError
from ioi_lab.lenses.held_norms import HeldNorm, HeldNorms
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import LabModel
    from ioi_lab.models.shape import Component

EMBEDDING: Final = Site("resid_pre", 0)
_WRITERS: Final[tuple[Component, ...]] = ("z", "attn_out", "mlp_out")
_NORMS_ON_STREAM: Final[tuple[tuple[Component, str], ...]] = (("attn_out", "ln1"), ("mlp_out", "ln2"))
"""What is added to the stream, and the norm on the stream after it, in models that have one there."""

_FIT: Final = 1e-3
"""The largest distance of a map from what the model computes, as a share of its largest value, in float32."""

AtEnd = Mapping[Site, Float[Tensor, "row width"]]
"""The activations of sites at END."""


@dataclass(frozen=True, eq=False)
class DirectPath:
    """What lies between the components of a model and its logits; found by `DirectPath.of`."""

    model: LabModel
    norms_on_stream: bool
    """Whether blocks apply a norm to the residual stream after each sublayer, as in the original Transformer."""

    attention_gains: tuple[float, ...]
    """By layer, the factor between the attention's output and what is added to the stream."""

    logit_gain: float
    """The factor between the unembedding's output and the logits."""

    logit_cap: float | None
    """The bound c of logits c · tanh(x / c), which are no linear function of the stream; before it, they are."""

    @classmethod
    def of(cls, engine: Engine, which: Pass) -> Self:
        """Find out the path of the engine's model, in a pass over the engine's first prompt.

        Raises a `LabError` that says why if the logits are not an affine function of what the components write.
        """
        model = engine.model
        for site in written_sites(model):
            if (site.component, site.layer) in model.shape.missing:
                _refuse(model, f"layer {site.layer} has no attention whose heads could be read ({site.component})")
        pair = engine.prompts[0]
        end, unembed_in, unembed_out, logits = _read(
            model, pair.clean_tokens if which == "clean" else pair.corrupted_tokens
        )
        gains = tuple(_attention_gain(model, layer, end) for layer in range(model.shape.n_layers))
        cap = logit_cap_of(model)
        for norms_on_stream in (False, True):
            gain = 1.0 if cap else _gain(logits, unembed_out)
            path = cls(model, norms_on_stream, gains, gain, cap)
            if path._gives(end, unembed_in):
                break
        else:
            _refuse(model, f"{_between(model)} between its layers and its unembedding")
        expected = torch.from_numpy(path.capped(path.logit_gain * unembed_out.double().numpy()))
        if not _close(logits, expected, model):
            _refuse(model, "its logits are not a multiple of what its unembedding gives")
        return path

    def final_stream(self, end: AtEnd) -> tuple[Float[Tensor, "row d_model"], HeldNorms]:
        """Return the stream after the last layer, and for each layer the norms on the stream: none in most models."""
        stream, held = end[EMBEDDING], []
        for layer, block in enumerate(self.model.bridge.blocks):
            norms: list[HeldNorm | None] = []
            for component, name in _NORMS_ON_STREAM:
                stream = stream + end[Site(component, layer)]
                norm = HeldNorm.at(getattr(block, name, None), stream) if self.norms_on_stream else None
                stream = norm(stream) if norm else stream
                norms.append(norm)
            held.append((norms[0], norms[1]))
        return stream, held

    def readout(
        self, final: Float[Tensor, "row d_model"], tokens: Int[Tensor, "row token"], weights: Float[Tensor, "row token"]
    ) -> tuple[Float[Tensor, "row d_model"], Float[Tensor, "row"]]:
        """Return direction and constant of a weighted mean of logits, before a cap: direction · stream + constant.

        Both are less those of the vocabulary's mean logit.

        Args:
            final: The residual stream after the last layer, at which the scale of the final norm is held.
            tokens: The tokens of each row.
            weights: Their weights, which add up to 1 in each row.

        """
        bridge = self.model.bridge
        unembedding, bias = bridge.W_U.float(), bridge.b_U.float()
        direction = torch.einsum("drt,rt->rd", unembedding[:, tokens], weights) - unembedding.mean(dim=1)
        return self._through_readout(final, direction, (weights * bias[tokens]).sum(dim=-1) - bias.mean())

    def weights_in_sets(
        self, final: Float[Tensor, "row d_model"], tokens: Int[Tensor, "row token"], missing: Bool[Tensor, "row token"]
    ) -> tuple[Float[Tensor, "row token"], Float[Tensor, "row"]]:
        """Return the weights w of the tokens of each row, and their entropy: log Σ exp(logit) = Σ w · logit + entropy.

        The weights are the softmax of the logits of these tokens, without those that are `missing`. Raises a `LabError`
        for sets in a model that caps its logits, whose log Σ exp is not linear even if the weights are held.
        """
        if tokens.shape[1] == 1:
            return torch.ones_like(tokens, dtype=torch.float32), final.new_zeros(len(final))
        if self.logit_cap is not None:
            _refuse(self.model, "it caps its logits, and the prompts have sets of answers or distractors")
        bridge = self.model.bridge
        unembedding, bias = bridge.W_U.float(), bridge.b_U.float()
        logits = torch.einsum("rd,drt->rt", self._unembedded(final), unembedding[:, tokens]) + bias[tokens]
        logits = (self.logit_gain * logits).masked_fill(missing, -torch.inf)
        weights = logits.softmax(dim=-1)
        return weights, -torch.xlogy(weights, weights).sum(dim=-1)

    def mean_logit(self, final: Float[Tensor, "row d_model"]) -> Float[Tensor, "row"]:
        """Return the vocabulary's mean logit, before a cap."""
        bridge = self.model.bridge
        mean = bridge.W_U.float().mean(dim=1).expand(len(final), -1)
        direction, constant = self._through_readout(final, mean, bridge.b_U.float().mean().expand(len(final)))
        return (final * direction).sum(dim=-1) + constant

    def attention_terms(
        self, layer: int, end: AtEnd, direction: Float[Tensor, "row d_model"]
    ) -> tuple[Float[Tensor, "row head"], Float[Tensor, "row"]]:
        """Return what each head of a layer, and the biases after W_O, write along a direction of the stream."""
        constant = torch.zeros(len(direction), device=direction.device)
        z, weights, bias, norm = _attention(self.model, layer, end)
        direction = self.attention_gains[layer] * direction
        if norm is not None:
            direction, constant = norm.pulled_back(direction), norm.constant(direction)
        heads = (z * torch.einsum("hed,rd->rhe", weights, direction)).sum(dim=-1)
        return heads, constant if bias is None else constant + direction @ bias

    def read_by_attention(self, layer: int, stream: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """Return what the attention of a layer reads of a residual stream: through the norm before it, if any."""
        norm = None if self.norms_on_stream else getattr(self.model.bridge.blocks[layer], "ln1", None)
        return _normed(norm, stream)

    def written_by_attention(
        self, layer: int, output: Float[Tensor, "row head d_model"]
    ) -> Float[Tensor, "row head d_model"]:
        """Return outputs of a layer's attention as they are added to the stream: through the norm after it, if any."""
        return _normed(getattr(self.model.bridge.blocks[layer], "ln1_post", None), output)

    def capped(self, logits: Array) -> Array:
        """Return the model's logits, given those before its cap."""
        return logits if self.logit_cap is None else self.logit_cap * np.tanh(logits / self.logit_cap)

    def _through_readout(
        self, final: Tensor, direction: Tensor, constant: Tensor
    ) -> tuple[Float[Tensor, "row d_model"], Float[Tensor, "row"]]:
        """Return direction and constant on the final stream, given those on the unembedding's input."""
        norm, projection = _final_norm(self.model, final), _projection(self.model)
        if projection is not None:
            direction = direction @ projection.weight.float()
        if norm is not None:
            constant = constant + norm.constant(direction)
            direction = norm.pulled_back(direction)
        return self.logit_gain * direction, self.logit_gain * constant

    def _gives(self, end: AtEnd, unembed_in: Float[Tensor, "row width"]) -> bool:
        """Return whether the stream, summed up along this path, is what the model unembeds."""
        return _close(self._unembedded(self.final_stream(end)[0]), unembed_in, self.model)

    def _unembedded(self, final: Float[Tensor, "row d_model"]) -> Float[Tensor, "row width"]:
        """Return what the unembedding reads of a stream after the last layer."""
        norm, projection = _final_norm(self.model, final), _projection(self.model)
        read = norm(final) if norm else final
        return read @ projection.weight.float().T if projection is not None else read


def written_sites(model: LabModel) -> list[Site]:
    """Return the sites whose activations at END are the terms: the embedding, and what each layer writes."""
    return [EMBEDDING, *(Site(component, layer) for layer in range(model.shape.n_layers) for component in _WRITERS)]


def logit_cap_of(model: LabModel) -> float | None:
    """Return the bound of the soft cap on a model's logits; None without one."""
    cap = getattr(model.bridge.original_model.config.get_text_config(), "final_logit_softcapping", None)
    return float(cap) if cap else None


def _read(model: LabModel, tokens: tuple[int, ...]) -> tuple[AtEnd, Tensor, Tensor, Tensor]:
    """Return the activations of one prompt at END: of the written sites, before and after unembedding, the logits."""
    kept: dict[str, Tensor] = {}

    def keeping(name: str) -> tuple[str, Any]:
        def keep(activation: Tensor, hook: object) -> None:
            kept[name] = activation[:, -1].flatten(1).float()

        return name, keep

    sites = written_sites(model)
    names = [*(site.hook for site in sites), "unembed.hook_in", "unembed.hook_out"]
    with torch.no_grad(), model.bridge.hooks(fwd_hooks=[keeping(name) for name in names]):
        logits = model.bridge(torch.tensor([tokens], device=model.device))[:, -1].float().cpu()
    end = {site: kept[site.hook] for site in sites}
    return end, kept["unembed.hook_in"], kept["unembed.hook_out"].cpu(), logits


def _attention(
    model: LabModel, layer: int, end: AtEnd
) -> tuple[Float[Tensor, "row head d_head"], Float[Tensor, "head d_head d_model"], Tensor | None, HeldNorm | None]:
    """Return z, W_O, the bias after it and the norm on the attention's output, held at the output of these z."""
    block = model.bridge.blocks[layer]
    weights, bias = block.attn.W_O.float(), block.attn.b_O
    bias = None if bias is None else bias.float()
    z = end[Site("z", layer)].unflatten(-1, (model.shape.n_heads, -1))
    if getattr(block, "ln1_post", None) is None:
        return z, weights, bias, None
    return z, weights, bias, HeldNorm.at(block.ln1_post, _written(z, weights, bias))


def _written(z: Tensor, weights: Tensor, bias: Tensor | None) -> Float[Tensor, "row d_model"]:
    written = torch.einsum("rhe,hed->rd", z, weights)
    return written if bias is None else written + bias


def _attention_gain(model: LabModel, layer: int, end: AtEnd) -> float:
    """Return the factor from the heads' outputs, summed up and normed, to what the attention adds to the stream."""
    z, weights, bias, norm = _attention(model, layer, end)
    written, added = _written(z, weights, bias), end[Site("attn_out", layer)]
    written = norm(written) if norm else written
    gain = _gain(added, written)
    if not _close(gain * written, added, model):
        _refuse(model, f"the attention of layer {layer} writes more than the sum of its heads' z times W_O")
    return gain


def _normed(norm: Any, values: Tensor) -> Tensor:
    return values if norm is None else norm(values.to(norm.weight.dtype)).float()


def _final_norm(model: LabModel, final: Tensor) -> HeldNorm | None:
    return HeldNorm.at(getattr(model.bridge, "ln_final", None), final)


def _projection(model: LabModel) -> Any:
    return getattr(model.bridge, "project_out", None)


def _gain(values: Tensor, of: Tensor) -> float:
    """Return the factor by which `values` are a multiple `of` others, by least squares; 1 for zeros."""
    size = of.double().square().sum()
    return float((values.double() * of.double()).sum() / size) if size > 0 else 1.0


def _close(values: Tensor, expected: Tensor, model: LabModel) -> bool:
    tolerance = max(_FIT, 10 * model.rounding)
    return bool((values - expected).abs().max() <= tolerance * expected.abs().max())


def _between(model: LabModel) -> str:
    """Return what a model has between its last layer and its unembedding."""
    known = {"blocks", "unembed", "ln_final", "project_out", "project_in", "embed", "pos_embed", "token_type_embed"}
    known |= {"embed_ln", "rotary_emb"}
    unknown = [name for name, _ in model.bridge.named_children() if name not in known and not name.startswith("_")]
    return f"it has {', '.join(unknown)}" if unknown else "it computes more than norms"


def _refuse(model: LabModel, reason: str) -> NoReturn:
    raise LabError(f"intervention: {model.shape.name} has no direct effects that add up to its logits: {reason}")
