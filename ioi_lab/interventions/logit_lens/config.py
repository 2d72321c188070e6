"""The logit lens: what the model would say if it ended after each layer, at END and at every other position.

Method: nostalgebraist 2020; with a tuned lens, Belrose et al. 2023 (arXiv 2303.08112). Nothing is edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny
from typing_extensions import override

from ioi_lab.config import instantiate
from ioi_lab.errors import LabError, called
from ioi_lab.interventions.base import Intervention
from ioi_lab.lenses.base import Lens
from ioi_lab.lenses.logit import LogitLens as PlainLens
from ioi_lab.lenses.tuned import TunedLens
from ioi_lab.models.selectors import PositionSelector

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.logit_lens.measure import LogitLensResult
    from ioi_lab.models.shape import ModelShape
    from ioi_lab.reports.report import Report, ReportContext
    from ioi_lab.tasks.prompts import PromptPairs

_EARLIER_KEYS: Final[tuple[str, ...]] = ("text", "translators", "steps", "batch", "learning_rate", "seed")
"""Keys of the tuned lens that were keys of the intervention in earlier versions."""


def _as_lens(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    with called("lens", "intervention.lens"):
        return instantiate(value, "lens", Lens)


class LogitLens(Intervention["LogitLensResult"]):
    """Read the residual stream before the first layer and after each layer with a lens.

    `position`: as in grids. `sublayers`: also read between attention and MLP. `lens`: the lens. `prompt`: the index of
    the prompt that is shown token by token, with its `top_k` likeliest tokens and its probabilities on this `scale`
    (`auto`: logarithmic if a linear scale would show the last layer only).
    """

    name: str = "logit_lens"
    position: PositionSelector = "each"
    sublayers: bool = False
    lens: Annotated[SerializeAsAny[Lens], BeforeValidator(_as_lens)] = PlainLens()
    prompt: int = Field(0, ge=0)
    scale: Literal["auto", "log", "linear"] = "auto"
    top_k: int = Field(5, ge=1)

    @classmethod
    @override
    def _with_new_keys(cls, values: Mapping[str, Any], group: str) -> dict[str, Any]:
        named = super()._with_new_keys(values, group)
        lens = named.get("lens")
        if not isinstance(lens, str):
            return named
        earlier = {key: named.pop(key) for key in _EARLIER_KEYS if key in named}
        if lens not in ("logit", "tuned") or not earlier:  # typed, not read from the config.yaml of an earlier run
            raise LabError(f"{group}.lens: got {lens!r}, but a lens is chosen by lens@{group}.lens={lens}")
        with called("lens", f"{group}.lens"):
            named["lens"] = TunedLens.from_config(earlier, "lens") if lens == "tuned" else PlainLens()
        return named

    @property
    @override
    def title(self) -> str:
        return self.lens.title

    @override
    def check(self) -> None:
        with called("lens", "intervention.lens"):
            self.lens.check()

    @override
    def n_edit_sets(self, shape: ModelShape, prompts: PromptPairs) -> int:
        return 0

    @override
    def measure(self, engine: Engine) -> LogitLensResult:
        from ioi_lab.interventions.logit_lens.measure import measure_lens

        return measure_lens(
            engine,
            self.lens,
            self.position,
            sublayers=self.sublayers,
            prompt=self.prompt,
            top_k=self.top_k,
            scale=self.scale,
        )

    @override
    def report(self, result: LogitLensResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.logit_lens.report import lens_report

        return lens_report(result, context, self.title)
