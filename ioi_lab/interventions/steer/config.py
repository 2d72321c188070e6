"""Activation steering: add a direction at a layer or a head, sweep its scale, and measure what it changes.

Methods: Turner et al. 2023 (arXiv 2308.10248), Rimsky et al. 2023 (arXiv 2312.06681). The direction comes from one half
of the prompts and is tried on the others. A positive scale pushes each prompt towards its answer, a negative one away
from it: along the vector if the answer lies on the contrast's positive side, against it if the answer lies on the
negative side. Random directions of the same norm, at all sites, show how much any direction does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from ioi_lab.circuits.files import CircuitFile, cells_of_circuit
from ioi_lab.config import Renamed
from ioi_lab.engine.edits import Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention
from ioi_lab.models.selectors import (
    HeadSelector,
    IndexSelector,
    PositionSelector,
    cells_of,
    check_selectors,
    check_with_circuit,
    positions_of,
)
from ioi_lab.models.shape import ModelShape
from ioi_lab.registry import name_in
from ioi_lab.reports.wording import plain
from ioi_lab.steering.contrasts import CONTRASTS
from ioi_lab.steering.methods import VECTOR_METHODS
from ioi_lab.steering.vectors import MIN_CONTROLS, SCALES
from ioi_lab.storage.files import check_user_file
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.steer.measure import SteerResult
    from ioi_lab.reports.report import Report, ReportContext


class Steer(Intervention["SteerResult"]):
    """Steer at each selected layer × head × position, at each `scale`.

    `unit`: a scale of 1 adds the `vector` as it is, or a direction as long as the site's activation (`residual`).
    `position`: a label, a token index, a list, or `all`; the vector is read there (for `all`, at END). `vector`: a file
    that such a run has written, instead of a new vector. `side_effects`: the number of sites, steepest first, at which
    ordinary `text` is steered too, at all its positions. `controls`: the number of random directions. `circuit`: the
    `circuit.json` or the run folder of a circuit, whose heads are steered.
    """

    shares_passes = True

    renamed_keys: ClassVar[Mapping[str, Renamed]] = {"site": Renamed("component")}

    name: str = "steer"
    component: Literal["resid_pre", "resid_post", "z"] = "resid_pre"
    layer: IndexSelector = "all"
    head: HeadSelector = "all"
    position: PositionSelector = "END"
    scale: Literal["all"] | float | Annotated[list[float], Field(min_length=1)] = "all"
    unit: Literal["vector", "residual"] = "vector"
    method: name_in(VECTOR_METHODS) = "mean_difference"
    contrast: name_in(CONTRASTS) = "answer_position"
    names: list[str] = Field(["James", "Robert"], min_length=2, max_length=2)
    vector: str | None = None
    controls: int = Field(10, ge=MIN_CONTROLS)
    text: str | None = None
    side_effects: Literal["all"] | Annotated[int, Field(ge=0)] = 3
    seed: int = Field(0, ge=0)
    circuit: str | None = None

    @model_validator(mode="after")
    def _selectors_fit(self) -> Self:
        check_selectors(self.component, self.layer, self.head)
        check_with_circuit(self.circuit, self.layer, self.head)
        if self.circuit is not None and self.component != "z":
            raise LabError(
                f"intervention.component: got {self.component!r}, but a circuit has heads; expected component=z"
            )
        if VECTOR_METHODS[self.method].needs == "unembedding" and self.component == "z":
            raise LabError(
                f"intervention.method: got {self.method!r}, a direction of the residual stream, but the component is "
                "z; expected component=resid_pre or resid_post"
            )
        return self

    @property
    @override
    def title(self) -> str:
        return f"steer {self.component} ({plain(self.method)}, {plain(self.contrast)})"

    @property
    def scales(self) -> list[float]:
        """Each scale once, in the order in which they are given."""
        chosen = SCALES if self.scale == "all" else [self.scale] if isinstance(self.scale, float) else self.scale
        return list(dict.fromkeys(float(scale) for scale in chosen))

    @override
    def check(self) -> None:
        if self.circuit is not None:
            CircuitFile.read(self.circuit, "intervention.circuit")
        for name in ("text", "vector"):
            path = getattr(self, name)
            if path is not None:
                check_user_file(Path(path), f"intervention.{name}")

    def sites(self, shape: ModelShape, prompts: PromptPairs) -> list[Site]:
        """Return the steered sites by layer, then head, then position."""
        if self.circuit is None:
            cells = cells_of(self.component, self.layer, self.head, shape)
        else:
            cells = cells_of_circuit(self.circuit, self.component, shape, "intervention.circuit")
        positions = positions_of(self.position, prompts)
        return [Site(self.component, *cell, position) for cell in cells for position in positions]

    @override
    def n_edit_sets(self, shape: ModelShape, prompts: PromptPairs) -> int:
        """The held-out half at each site and scale, and the random directions at all sites next to the scale 0."""
        n_sites, n_scales = len(self.sites(shape, prompts)), len(self.scales)
        return (n_sites * n_scales + self.controls * (2 * n_sites + n_scales)) // 2

    @override
    def measure(self, engine: Engine) -> SteerResult:
        from ioi_lab.interventions.steer.measure import measure_steering
        from ioi_lab.interventions.steer.steps import VectorSource

        return measure_steering(
            engine,
            self.sites(engine.shape, engine.prompts),
            self.scales,
            VectorSource(
                method=self.method,
                contrast=self.contrast,
                names=(self.names[0], self.names[1]),
                file=None if self.vector is None else Path(self.vector),
                seed=self.seed,
            ),
            unit=self.unit,
            n_controls=self.controls,
            text=None if self.text is None else Path(self.text),
            n_text_sites=self.side_effects,
        )

    @override
    def report(self, result: SteerResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.steer.report import steering_report

        return steering_report(result, context)
