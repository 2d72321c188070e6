"""What the hooks of a loaded model show in one short pass: the components that each layer has."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ioi_lab.errors import LabError
from ioi_lab.models.shape import COMPONENTS, HEAD_COMPONENTS, Component, ModelShape

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float
    from torch import Tensor
    from transformer_lens.model_bridge import TransformerBridge

_N_PROMPTS: Final = 2

_LEAK: Final = 0.02
"""The change of a logit, in standard deviations of all, above which it is not rounding."""


@dataclass(frozen=True)
class Survey:
    """The sizes of a model with the components that its layers have, and what its blocks return."""

    shape: ModelShape
    blocks_return_tuples: bool
    """Whether the model reads the stream as the first element of what a block returns."""

    @classmethod
    def of(cls, bridge: TransformerBridge, shape: ModelShape) -> Survey:
        """Run a short pass.

        Raises a `LabError` for a model whose logits depend on later tokens.

        A layer has a component if its hook is called once, with an activation of the shape that edits assume. Latent
        attention, for instance, has no queries `[batch, pos, head, d_head]`, and a state-space layer none at all.
        """
        import torch

        length = _length_unlike_heads(shape)
        names = {
            hook_name(component, layer): (component, layer)
            for layer in range(shape.n_layers)
            for component in COMPONENTS
        }
        seen: dict[tuple[Component, int], list[tuple[int, ...]]] = defaultdict(list)

        def watch(site: tuple[Component, int]) -> Callable[[object, object], None]:
            def look(activation: object, hook: object) -> None:
                seen[site].append(tuple(activation.shape) if isinstance(activation, torch.Tensor) else ())

            return look

        tokens = torch.zeros(_N_PROMPTS, length, dtype=torch.long, device=next(bridge.parameters()).device)
        tokens[1, -1] = 1
        returned: list[object] = []
        hooks = [(name, watch(site)) for name, site in names.items() if name in bridge.hook_dict]
        handle = bridge.blocks[0].register_forward_hook(lambda block, arguments, output: returned.append(output))
        with handle, torch.no_grad(), bridge.hooks(fwd_hooks=hooks):
            _check_causal(bridge(tokens), shape.name)
        missing = {site for site in names.values() if seen[site] != [_expected(site[0], shape, length)]}
        return cls(replace(shape, missing=frozenset(missing)), isinstance(returned[0], tuple))


def hook_name(component: Component, layer: int) -> str:
    """Return the TransformerLens name of the hook of a component."""
    inner = "attn." if component in HEAD_COMPONENTS else ""
    return f"blocks.{layer}.{inner}hook_{component}"


def _check_causal(logits: Float[Tensor, "prompt pos vocab"], name: str) -> None:
    """Raise a `LabError` if logits before the last token, in which the prompts differ, are not the same."""
    before = logits[:, :-1].float()
    if before.numel() and (before[0] - before[1]).abs().max() > _LEAK * before.std():
        raise LabError(
            f"model.path: {name} is not a causal language model: what it predicts depends on later tokens, as in an "
            "encoder such as BERT"
        )


def _length_unlike_heads(shape: ModelShape) -> int:
    """Return a number of positions that cannot be taken for a number of heads or of prompts."""
    others = {_N_PROMPTS, shape.n_heads, shape.n_kv_heads}
    return next(
        (length for length in (*range(8, 16), *range(3, 8)) if length not in others and length <= shape.n_ctx), 1
    )


def _expected(component: Component, shape: ModelShape, length: int) -> tuple[int, ...]:
    if component == "pattern":
        return _N_PROMPTS, shape.n_heads, length, length
    if component in HEAD_COMPONENTS:
        return _N_PROMPTS, length, shape.heads(component), shape.d_head
    return _N_PROMPTS, length, shape.d_model
