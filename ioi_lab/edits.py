"""Sites and edits: what can be changed in a forward pass, checked against a model and its prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import Position, PromptPairs

if TYPE_CHECKING:
    from torch import Tensor

Component = Literal["resid_pre", "resid_post", "attn_out", "mlp_out", "z"]
Operation = Literal["replace", "add", "scale", "zero"]
Run = Literal["clean", "corrupted"]

OTHER_RUN: Final[dict[Run, Run]] = {"clean": "corrupted", "corrupted": "clean"}

HEAD_COMPONENTS: Final[frozenset[Component]] = frozenset({"z"})
"""Components with a head axis: `[batch, pos, head, d_head]`; all others are `[batch, pos, d_model]`."""

_HOOKS: Final[dict[Component, str]] = {
    "resid_pre": "blocks.{}.hook_resid_pre",
    "resid_post": "blocks.{}.hook_resid_post",
    "attn_out": "blocks.{}.hook_attn_out",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "z": "blocks.{}.attn.hook_z",
}


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a model that sites are checked against."""

    name: str
    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    n_ctx: int


@dataclass(frozen=True)
class Site:
    """A place in the forward pass: component, layer, head (None: all heads) and position in the prompt."""

    component: Component
    layer: int
    head: int | None = None
    position: Position = "all"

    @property
    def hook(self) -> str:
        """The TransformerLens hook name."""
        return _HOOKS[self.component].format(self.layer)

    @property
    def has_heads(self) -> bool:
        """Whether the component's activations have a head axis."""
        return self.component in HEAD_COMPONENTS

    def check(self, shape: ModelShape, prompts: PromptPairs) -> None:
        """Raise a `LabError` unless this site exists in the model and in every prompt."""
        if self.component not in get_args(Component):
            raise LabError(f"component: got {self.component!r}, expected one of {', '.join(get_args(Component))}")
        check_range("layer", self.layer, shape.n_layers, shape.name)
        if self.head is not None:
            if not self.has_heads:
                raise LabError(f"head: got {self.head}, but {self.component} has no heads; expected None")
            check_range("head", self.head, shape.n_heads, shape.name)
        prompts.check_position(self.position, "position")

    def width(self, shape: ModelShape) -> int:
        """The size of the activation vector that an edit's value replaces or adds to."""
        if not self.has_heads:
            return shape.d_model
        return shape.d_head if self.head is not None else shape.n_heads * shape.d_head


def check_range(key: str, index: int, size: int, model_name: str) -> None:
    """Raise a `LabError` unless 0 ≤ `index` < `size`."""
    if not 0 <= index < size:
        raise LabError(f"{key}: got {index}, expected 0 to {size - 1} ({model_name})")


@dataclass(frozen=True)
class FromRun:
    """The value of an edit: what the site holds in the clean or the corrupted run of the same prompt."""

    run: Run


@dataclass(frozen=True, eq=False)
class Edit:
    """An operation at a site.

    `replace` writes `value`; `add` adds `scale · value`; `scale` multiplies by `scale`; `zero` writes zeros. `value`
    is `FromRun`, or a tensor `[width]` (the same for all prompts) or `[prompt, width]`, where width is d_model, d_head
    for one head, or n_heads·d_head for all heads.
    """

    site: Site
    operation: Operation = "replace"
    value: FromRun | Tensor | None = None
    scale: float = 1.0

    def check(self, shape: ModelShape, prompts: PromptPairs) -> None:
        """Raise a `LabError` unless the edit can be made on this model and these prompts."""
        self.site.check(shape, prompts)
        needs_value = self.operation in ("replace", "add")
        if needs_value != (self.value is not None):
            raise LabError(f"value: {self.operation} {'needs' if needs_value else 'takes no'} value")
        if self.value is None or isinstance(self.value, FromRun):
            return
        width = self.site.width(shape)
        if tuple(self.value.shape) not in {(width,), (len(prompts), width)}:
            raise LabError(
                f"value: got shape {list(self.value.shape)}, expected [{width}] or [{len(prompts)}, {width}]"
            )


EditSet = Sequence[Edit]
"""Edits that act together in one forward pass, in the order in which they are listed where they share a site."""
