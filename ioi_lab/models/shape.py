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

    missing: frozenset[tuple[Component, int]] = frozenset()
    """Components that single layers do not have: in hybrid models, only some layers have attention."""

    def layers(self, component: Component) -> list[int]:
        """Return the layers that have a component."""
        return [layer for layer in range(self.n_layers) if (component, layer) not in self.missing]

    def heads(self, component: Component) -> int:
        """Return the number of heads of a component: key/value heads for `k` and `v`, query heads for the others."""
        return self.n_kv_heads if component in KEY_VALUE_COMPONENTS else self.n_heads

    def head_noun(self, component: Component) -> str:
        """Return what a head of the component is called: `head`, or `key/value head` if query heads share them."""
        return "key/value head" if self.heads(component) < self.n_heads else "head"

    def check_length(self, n_tokens: int) -> None:
        """Raise a `LabError` if a prompt of that many tokens is longer than the model can read."""
        if self.max_tokens is not None and n_tokens > self.max_tokens:
            raise LabError(
                f"task: a prompt has {n_tokens} tokens, but {self.name} reads at most {self.max_tokens}; expected "
                "shorter prompts"
            )

    def check_component(self, component: Component, key: str = "component") -> None:
        """Raise a `LabError` unless the model has the component."""
        if component not in COMPONENTS:
            raise LabError(f"{key}: got {component!r}, expected one of {', '.join(COMPONENTS)}")
        if component == "resid_mid" and self.parallel:
            raise LabError(
                f"{key}: got 'resid_mid', but the blocks of {self.name} run attention and MLP in parallel, so no "
                "residual stream lies between them; expected resid_pre or resid_post"
            )
        if not self.layers(component):
            present = [name for name in COMPONENTS if self.layers(name) and not (name == "resid_mid" and self.parallel)]
            raise LabError(
                f"{key}: got {component!r}, which is not a component of {self.name}; expected one of "
                f"{', '.join(present)}"
            )

    def check_every_layer(self, component: Component, what: str) -> None:
        """Raise a `LabError` that says what needs the component in every layer, unless the model has it there."""
        having = self.layers(component)
        if len(having) < self.n_layers:
            layers = f"layers {', '.join(map(str, having))} alone have it" if having else "it is not a component"
            raise LabError(f"intervention: {what} needs {component} in every layer, but in {self.name} {layers}")

    def check_layer(self, layer: int, key: str = "layer", component: Component | None = None) -> None:
        """Raise a `LabError` unless the model has the layer and, if a component is given, the layer has it."""
        if not 0 <= layer < self.n_layers:
            raise LabError(f"{key}: got {layer}, expected 0 to {self.n_layers - 1} ({self.name})")
        if component is not None and (component, layer) in self.missing:
            having = ", ".join(map(str, self.layers(component)))
            raise LabError(f"{key}: got {layer}, a layer of {self.name} without {component}; expected one of {having}")

    def check_head(self, component: Component, head: int, key: str = "head") -> None:
        """Raise a `LabError` unless the component has the head."""
        if component not in HEAD_COMPONENTS:
            raise LabError(f"{key}: got {head}, but {component} has no heads; expected None")
        n_heads = self.heads(component)
        if not 0 <= head < n_heads:
            shared = f"; {component} is addressed by its {n_heads} key/value heads" if n_heads < self.n_heads else ""
            raise LabError(f"{key}: got {head}, expected 0 to {n_heads - 1} ({self.name}{shared})")
