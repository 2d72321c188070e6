"""Replacements of what parts of a model compute, for as long as a context is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, NoReturn

from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge.exceptions import StopAtLayerException


@contextmanager
def overridden(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Replace the forward function of `module` inside the context."""
    # Into the instance's own dictionary: TransformerBridge's components pass other attributes on to what they wrap.
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]


def keep_output(block: Any, component: Literal["attn_out", "mlp_out"], kept: Tensor, stack: ExitStack) -> None:
    """Let a block's attention or MLP put out a recorded activation `[batch, pos, d_model]` until `stack` is closed.

    It does not run. In some architectures a norm follows the attention or the MLP (Gemma 2 and 3, OLMo 2, GLM-4): then
    the component is what the norm puts out, and the norm does not run either.
    """
    runs, norm = (block.attn, "ln1_post") if component == "attn_out" else (block.mlp, "ln2_post")
    follows = block.submodules.get(norm)
    if follows is None or getattr(block, f"hook_{component}") is not follows.hook_out:
        stack.enter_context(_with_output(runs, lambda: runs.hook_out(kept), in_tuple=runs is block.attn))
        return
    stack.enter_context(_with_output(runs, lambda: kept, in_tuple=runs is block.attn))  # which the norm does not read
    stack.enter_context(_with_output(follows, lambda: follows.hook_out(kept), in_tuple=False))


def _with_output(module: Any, output: Callable[[], Any], *, in_tuple: bool) -> Any:
    return overridden(module, lambda *_, **__: (output(), None) if in_tuple else output())


def at_end(activation: Float[Tensor, "batch pos width"]) -> Float[Tensor, "batch 1 width"]:
    """Return the last position alone."""
    # Contiguous: torch multiplies a strided batch by a matrix one row at a time.
    return activation[:, -1:].contiguous()


def end_only(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a forward function that runs at END alone, with zeros at the positions before it, which nothing reads."""

    def at_last(activation: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        end = forward(at_end(activation), *arguments, **keywords)
        padded = end.new_zeros(end.shape[0], activation.shape[1], *end.shape[2:])
        padded[:, -1:] = end
        return padded

    return at_last


def skipped(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    """Return the input of a block that returns a tensor: the block is left out."""
    return hidden_states


def skipped_in_tuple(hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
    """Return the input of a block that returns a tuple: the block is left out."""
    return (hidden_states,)


def stopped(hidden_states: Tensor, *_: Any, **__: Any) -> NoReturn:
    """End a pass before a block, as TransformerBridge does."""
    raise StopAtLayerException(hidden_states)
