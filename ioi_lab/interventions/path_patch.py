"""Path patching: how much of a sender's effect goes straight into chosen receivers, all other heads frozen.

See `ioi_lab.engine.path_patching` for the method and its sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator
from typing_extensions import override

from ioi_lab.engine.edits import EditSet, Site, precedes
from ioi_lab.errors import LabError
from ioi_lab.interventions.grid_result import Row, activation_of
from ioi_lab.interventions.patch import Patch
from ioi_lab.models.heads import HeadName, heads_of
from ioi_lab.models.selectors import Index, cell_name, head_names_in, placed_name
from ioi_lab.models.shape import ModelShape
from ioi_lab.reports.definitions import Method
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


HeadInput = Literal["q", "k", "v"]


class PathPatch(Patch):
    """Patch each sender along the direct paths into the receivers.

    Senders are heads (`component: z`) or MLPs (`mlp_out`), by the selectors of every grid. `receiver_input`: `logits`
    (with no `receiver`), `q`, `k` or `v` of the heads that `receiver` names (key/value heads for `k` and `v`), several
    of these as a list, or `mlp` of the layers that `receiver` lists. In a list with `q`, `receiver` names query heads,
    and `k` and `v` are those of the key/value heads that they read. `mlps`: whether MLPs between sender and receiver
    keep their outputs (`frozen`, as in TransformerLens) or run (`free`, as in Wang et al. 2022).
    """

    shares_passes = False  # the edits of each sender hold the activations of all its receivers

    action: ClassVar[str] = "Path patching"

    name: str = "path_patch"
    component: Literal["z", "mlp_out"] = "z"
    receiver_input: Literal["logits", "q", "k", "v", "mlp"] | Annotated[list[HeadInput], Field(min_length=1)] = "logits"
    receiver: (
        HeadName
        | Index
        | Annotated[list[Index], Field(min_length=1)]
        | Annotated[list[HeadName], Field(min_length=1)]
        | None
    ) = None
    mlps: Literal["frozen", "free"] = "frozen"

    @model_validator(mode="after")
    def _receiver_fits_input(self) -> Self:
        into = "+".join(self._inputs)
        wanted = {"logits": "null", "mlp": "a layer or a list of layers"}.get(
            into, "a head or a list of heads, such as ['9.9','9.6']"
        )
        kinds: dict[str, tuple[type, ...]] = {"logits": (), "mlp": (int,)}
        fits = all(isinstance(receiver, kinds.get(into, (str, float))) for receiver in self._receivers)
        if not fits or (into == "logits") != (self.receiver is None):
            raise LabError(
                f"intervention.receiver: got {self.receiver}, but receiver_input={self.receiver_input} takes {wanted}"
            )
        return self

    @property
    @override
    def title(self) -> str:
        noise = " (noise)" if self.direction == "noise" else ""
        return f"path patch {self.component} → {self._receiver_name}, {self.mlps} MLPs{noise}"

    @property
    @override
    def details(self) -> str:
        return f"direct paths into {self._receiver_name} with {self.mlps} MLPs\n{super().details}"

    @property
    @override
    def how(self) -> str:
        return (
            f"their {activation_of(self.component)} on the {self.source} prompt reaches {self._receiver_name} alone, "
            f"in the {self.base} one"
        )

    @property
    @override
    def methods(self) -> Sequence[Method]:
        mlps = "MLPs in between are computed anew" if self.mlps == "free" else "MLPs in between keep their outputs too"
        return [
            Method(
                "Path patching",
                f"The sender's activation is replaced by that of the {self.source} pass while all other heads keep "
                f"their outputs of the {self.base} pass; {mlps}. What then changes in the receiver alone "
                f"({self._receiver_name}) is written into a {self.base} pass whose later parts run freely: the effect "
                "of the direct path.",
                "Wang et al. 2022, arXiv 2211.00593; Goldowsky-Dill et al. 2023, arXiv 2304.05969",
            )
        ]

    @property
    @override
    def limits(self) -> Sequence[str]:
        return ["Only direct paths count: what a sender does through other heads is not in its effect."]

    @property
    @override
    def definition(self) -> Mapping[str, str]:
        return {"receiver": self._receiver_name, "mlps": self.mlps}

    @property
    def _inputs(self) -> list[str]:
        inputs = self.receiver_input if isinstance(self.receiver_input, list) else [self.receiver_input]
        return list(dict.fromkeys(inputs))

    @property
    def _receivers(self) -> list[str | float | int]:
        if self.receiver is None:
            return []
        return [*self.receiver] if isinstance(self.receiver, list) else [self.receiver]

    @property
    def _receiver_name(self) -> str:
        if self.receiver_input == "logits":
            return "the logits"
        names = " ".join(str(receiver) for receiver in self._receivers)
        return f"MLP {names}" if self.receiver_input == "mlp" else f"{', '.join(self._inputs)} of {names}"

    def receivers(self, shape: ModelShape) -> list[Site]:
        """Return the sites of the receivers' activations; none stands for the logits."""
        key = "intervention.receiver"
        if self.receiver_input == "mlp":
            layers = [receiver for receiver in self._receivers if isinstance(receiver, int)]
            for layer in layers:
                shape.check_layer(layer, key, "mlp_out")
            return [Site("mlp_out", layer) for layer in dict.fromkeys(layers)]
        if self.receiver_input == "logits":
            return []
        names = [receiver for receiver in self._receivers if not isinstance(receiver, int)]
        named: HeadInput = "q" if "q" in self._inputs else "v"  # query heads, or key/value heads
        heads = heads_of(names, shape, named, key)
        per_key_value_head = shape.heads(named) // shape.n_kv_heads
        sites = [
            Site(component, layer, head if component == "q" else head // per_key_value_head)
            for component in get_args(HeadInput)
            if component in self._inputs
            for layer, head in heads
        ]
        return list(dict.fromkeys(sites))

    @override
    def rows(self, shape: ModelShape, prompts: PromptPairs) -> list[Row]:
        """Return the senders; if all are selected, only those before the last receiver."""
        rows, receivers = super().rows(shape, prompts), self.receivers(shape)
        if not receivers:
            return rows
        named = self.sets != "except" and (self.layer != "all" or bool(head_names_in(self.head)))
        reaching = []
        for row in rows:
            sites = [site for site in row.sites if any(precedes(site, to, parallel=shape.parallel) for to in receivers)]
            if len(sites) < len(row.sites) and named:
                late = next(site for site in row.sites if site not in sites)
                key = "head" if head_names_in(self.head) else "layer"
                raise LabError(
                    f"intervention.{key}: sender {cell_name(late.layer, late.head)} does not come before any receiver "
                    f"({self._receiver_name})"
                )
            if sites:
                is_whole = len(sites) == len(row.sites) or self.sets == "except"
                label = " ".join(placed_name(site.layer, site.head, site.position) for site in sites)
                reaching.append(Row(sites, row.label if is_whole else label))
        if not reaching:
            raise LabError(f"intervention.receiver: no sender comes before {self._receiver_name}")
        return reaching

    @override
    def plan(self, rows: Sequence[Row], engine: Engine) -> list[EditSet]:
        from ioi_lab.engine.path_patching import path_patch_edits

        receivers = self.receivers(engine.shape)
        return path_patch_edits(engine, [row.sites for row in rows], receivers, self.base, self.mlps)
