"""The sizes of a model and the names of its components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from ioi_lab.errors import LabError

Component = Literal[
    "resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_mid", "mlp_out", "resid_post"
]  # in the order of the forward pass

COMPONENTS: Final[tuple[Component, ...]] = get_args(Component)

HEAD_COMPONENTS: Final[frozenset[Component]] = frozenset({"q", "k", "v", "pattern", "z"})
"""Components with a head axis: `[batch, pos, head, d_head]`, and `pattern`: `[batch, head, query pos, key pos]`. All
others are `[batch, pos, d_model]`."""

KEY_VALUE_COMPONENTS: Final[frozenset[Component]] = frozenset({"k", "v"})
"""Components whose heads are key/value heads: fewer than the query heads under grouped-query attention."""


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a model, against which sites are checked."""

    name: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    n_ctx: int
    """The number of tokens that the model is made for."""

    parallel: bool = False
    """Whether attention and MLP of a block both read `resid_pre`, so that there is no `resid_mid`."""

    max_tokens: int | None = None
    """The largest number of tokens that the model can read; None without a limit (rotary positions, ALiBi)."""

    def heads(self, component: Component) -> int:
        """Return the number of heads of a component: key/value heads for `k` and `v`, query heads for the others."""
        return self.n_kv_heads if component in KEY_VALUE_COMPONENTS else self.n_heads

    def head_noun(self, component: Component) -> str:
        """Return what a head of the component is called: `head`, or `key/value head` if query heads share them."""
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
