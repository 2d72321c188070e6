"""Sites and edits: the changes that can be made in a forward pass, checked against a model and its prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from ioi_lab.errors import LabError
from ioi_lab.models.shape import COMPONENTS, HEAD_COMPONENTS, Component, ModelShape
from ioi_lab.models.survey import hook_name
from ioi_lab.tasks.prompts import Position, PromptPairs

if TYPE_CHECKING:
    from torch import Tensor

Operation = Literal["replace", "add", "scale", "zero"]
Pass = Literal["clean", "corrupted"]

OTHER_PASS: Final[dict[Pass, Pass]] = {"clean": "corrupted", "corrupted": "clean"}


@dataclass(frozen=True)
class Site:
    """A place in the forward pass: component, layer, head (None: all heads) and position in the prompt.

    The position of a `pattern` is that of the query; the head of `k` and `v` is a key/value head.
    """

    component: Component
    layer: int
    head: int | None = None
    position: Position = "all"

    @property
    def hook(self) -> str:
        """The TransformerLens hook name."""
        return hook_name(self.component, self.layer)

    @property
    def has_heads(self) -> bool:
        """Whether the component's activations have a head axis."""
        return self.component in HEAD_COMPONENTS

    @property
    def whole(self) -> Site:
        """The component and layer without head and position: the site that is recorded."""
        return Site(self.component, self.layer)

    @property
    def stage(self) -> int:
        """The place of the component in its block: components that are computed earlier have smaller numbers."""
        return COMPONENTS.index(self.component)

    def check(self, shape: ModelShape, prompts: PromptPairs) -> None:
        """Raise a `LabError` unless this site exists in the model and in every prompt."""
        shape.check_component(self.component)
        shape.check_layer(self.layer, component=self.component)
        if self.head is not None:
            shape.check_head(self.component, self.head)
        prompts.check_position(self.position, "position")

    def width(self, shape: ModelShape, longest: int) -> int:
        """Return the size of the vector at a position: d_model, or that of one head or of all heads concatenated.

        A head's `pattern` has one weight per key position of the `longest` prompt.
        """
        if not self.has_heads:
            return shape.d_model
        one = longest if self.component == "pattern" else shape.d_head
        return one if self.head is not None else shape.heads(self.component) * one


def check_pass(which: str, name: str) -> None:
    """Raise a `LabError` that begins with `name` unless `which` is one of the two passes."""
    if which not in OTHER_PASS:
        raise LabError(f"{name}: got {which!r}, expected one of {', '.join(OTHER_PASS)}")


@dataclass(frozen=True)
class FromPass:
    """The value of an edit: the site's activation in the clean or the corrupted pass of the same prompt."""

    which: Pass

    def __post_init__(self) -> None:
        check_pass(self.which, "FromPass")


@dataclass(frozen=True, eq=False)
class Edit:
    """An operation at a site.

    `replace` writes `value`; `add` adds `scale · value`; `scale` multiplies by `scale`; `zero` writes zeros. `value`
    is `FromPass`, or a tensor `[width]` (the same for all prompts and positions), `[prompt, width]` or
    `[prompt, pos, width]` with `Site.width` and as many positions as the longest prompt.
    """

    site: Site
    operation: Operation = "replace"
    value: FromPass | Tensor | None = None
    scale: float = 1.0

    def check(self, shape: ModelShape, prompts: PromptPairs) -> None:
        """Raise a `LabError` unless the edit can be made on this model and these prompts."""
        self.site.check(shape, prompts)
        if self.operation not in get_args(Operation):
            raise LabError(f"operation: got {self.operation!r}, expected one of {', '.join(get_args(Operation))}")
        needs_value = self.operation in ("replace", "add")
        if needs_value != (self.value is not None):
            raise LabError(f"value: {self.operation} {'needs' if needs_value else 'takes no'} value")
        if self.value is None or isinstance(self.value, FromPass):
            return
        n, longest = len(prompts), prompts.longest
        width = self.site.width(shape, longest)
        if tuple(self.value.shape) not in {(width,), (n, width), (n, longest, width)}:
            raise LabError(
                f"value: got shape {list(self.value.shape)}, expected [{width}], [{n}, {width}] or "
                f"[{n}, {longest}, {width}]"
            )


EditSet = Sequence[Edit]
"""Edits that act together in one forward pass; edits of the same site act in the order of the list."""


def precedes(sender: Site, receiver: Site, *, parallel: bool) -> bool:
    """Return whether the receiver reads what the sender writes.

    An MLP reads its own block's attention, unless the block runs both in parallel.
    """
    same_block = sender.component == "z" and receiver.component == "mlp_out" and not parallel
    return sender.layer < receiver.layer or (same_block and sender.layer == receiver.layer)
