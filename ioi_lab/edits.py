"""Sites and edits: what can be changed in a forward pass, checked against a model and its prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import Position, PromptPairs

if TYPE_CHECKING:
    from torch import Tensor

Component = Literal[
    "resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_mid", "mlp_out", "resid_post"
]  # in the order of the forward pass
Operation = Literal["replace", "add", "scale", "zero"]
Run = Literal["clean", "corrupted"]

COMPONENTS: Final[tuple[Component, ...]] = get_args(Component)
OTHER_RUN: Final[dict[Run, Run]] = {"clean": "corrupted", "corrupted": "clean"}

HEAD_COMPONENTS: Final[frozenset[Component]] = frozenset({"q", "k", "v", "pattern", "z"})
"""Components with a head axis: `[batch, pos, head, d_head]`, and `pattern`: `[batch, head, query pos, key pos]`. All
others are `[batch, pos, d_model]`."""

KEY_VALUE_COMPONENTS: Final[frozenset[Component]] = frozenset({"k", "v"})
"""Components whose heads are key/value heads: fewer than the query heads under grouped-query attention."""


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a model that sites are checked against; `parallel`: attention and MLP both read `resid_pre`."""

    name: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    n_ctx: int
    parallel: bool = False

    def heads(self, component: Component) -> int:
        """How many heads the component has: key/value heads for `k` and `v`, else query heads."""
        return self.n_kv_heads if component in KEY_VALUE_COMPONENTS else self.n_heads

    def head_noun(self, component: Component) -> str:
        """What a head of the component is called: `head`, or `key/value head` where query heads share them."""
        return "key/value head" if self.heads(component) < self.n_heads else "head"

    def check_component(self, component: Component, key: str = "component") -> None:
        """Raise a `LabError` unless the model has the component."""
        if component not in COMPONENTS:
            raise LabError(f"{key}: got {component!r}, expected one of {', '.join(COMPONENTS)}")
        if component == "resid_mid" and self.parallel:
            raise LabError(
                f"{key}: got 'resid_mid', but the blocks of {self.name} run attention and MLP in parallel, so no "
                "residual stream lies between them; expected resid_pre or resid_post"
            )

    def check_layer(self, layer: int, key: str = "layer") -> None:
        """Raise a `LabError` unless the model has the layer."""
        if not 0 <= layer < self.n_layers:
            raise LabError(f"{key}: got {layer}, expected 0 to {self.n_layers - 1} ({self.name})")

    def check_head(self, component: Component, head: int, key: str = "head") -> None:
        """Raise a `LabError` unless the component has the head."""
        if component not in HEAD_COMPONENTS:
            raise LabError(f"{key}: got {head}, but {component} has no heads; expected None")
        n_heads = self.heads(component)
        if not 0 <= head < n_heads:
            shared = f"; {component} is addressed by its {n_heads} key/value heads" if n_heads < self.n_heads else ""
            raise LabError(f"{key}: got {head}, expected 0 to {n_heads - 1} ({self.name}{shared})")


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
        inner = "attn." if self.has_heads else ""
        return f"blocks.{self.layer}.{inner}hook_{self.component}"

    @property
    def has_heads(self) -> bool:
        """Whether the component's activations have a head axis."""
        return self.component in HEAD_COMPONENTS

    @property
    def whole(self) -> Site:
        """The component and layer without head and position: what is recorded of it."""
        return Site(self.component, self.layer)

    @property
    def stage(self) -> int:
        """Where in its block the component is computed: earlier components have smaller numbers."""
        return COMPONENTS.index(self.component)

    def check(self, shape: ModelShape, prompts: PromptPairs) -> None:
        """Raise a `LabError` unless this site exists in the model and in every prompt."""
        shape.check_component(self.component)
        shape.check_layer(self.layer)
        if self.head is not None:
            shape.check_head(self.component, self.head)
        prompts.check_position(self.position, "position")

    def width(self, shape: ModelShape, longest: int) -> int:
        """The size of the vector at a position: of d_model, of one head, or of all heads in a row.

        A head's `pattern` has a weight a key position, as many as the `longest` prompt has.
        """
        if not self.has_heads:
            return shape.d_model
        one = longest if self.component == "pattern" else shape.d_head
        return one if self.head is not None else shape.heads(self.component) * one


@dataclass(frozen=True)
class FromRun:
    """The value of an edit: what the site holds in the clean or the corrupted run of the same prompt."""

    run: Run


@dataclass(frozen=True, eq=False)
class Edit:
    """An operation at a site.

    `replace` writes `value`; `add` adds `scale · value`; `scale` multiplies by `scale`; `zero` writes zeros. `value`
    is `FromRun`, or a tensor `[width]` (the same for all prompts and positions), `[prompt, width]` or
    `[prompt, pos, width]` with `Site.width` and as many positions as the longest prompt.
    """

    site: Site
    operation: Operation = "replace"
    value: FromRun | Tensor | None = None
    scale: float = 1.0

    def check(self, shape: ModelShape, prompts: PromptPairs) -> None:
        """Raise a `LabError` unless the edit can be made on this model and these prompts."""
        self.site.check(shape, prompts)
        if self.operation not in get_args(Operation):
            raise LabError(f"operation: got {self.operation!r}, expected one of {', '.join(get_args(Operation))}")
        needs_value = self.operation in ("replace", "add")
        if needs_value != (self.value is not None):
            raise LabError(f"value: {self.operation} {'needs' if needs_value else 'takes no'} value")
        if self.value is None or isinstance(self.value, FromRun):
            return
        n, longest = len(prompts), prompts.longest
        width = self.site.width(shape, longest)
        if tuple(self.value.shape) not in {(width,), (n, width), (n, longest, width)}:
            raise LabError(
                f"value: got shape {list(self.value.shape)}, expected [{width}], [{n}, {width}] or "
                f"[{n}, {longest}, {width}]"
            )


EditSet = Sequence[Edit]
"""Edits that act together in one forward pass, in the order in which they are listed where they share a site."""
