"""The figures of a lens: the dashboard of one prompt, curves by layer, maps by position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.interventions.logit_lens.measure import PASSES
from ioi_lab.reports import plots
from ioi_lab.reports.wording import intervals_over, map_note
from ioi_lab.tasks.answers import in_short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.engine.edits import Pass, Site
    from ioi_lab.interventions.logit_lens.measure import HeldOut, LogitLensResult
    from ioi_lab.lenses.base import TrainingCurve
    from ioi_lab.reports.report import ReportContext

FLOOR: Final = 1e-8
"""The lower end of the logarithmic scale of probabilities."""

COLOURS: Final[dict[Pass, str]] = {"clean": plots.POSITIVE, "corrupted": plots.NEGATIVE}


def lens_figures(result: LogitLensResult, context: ReportContext, title: str) -> dict[str, Figure]:
    """Return the figures, by file name."""
    draw = _Figures(result, context, title.capitalize())
    figures = {"dashboard": draw.dashboard(), "by_layer": draw.by_layer(), "top_tokens": draw.token_map()}
    if len(result.positions) > 1:
        figures["logit_diff_by_position"] = draw.position_maps()
    if result.held_out is not None:
        figures["held_out_kl"] = draw.held_out(result.held_out)
    if result.training is not None:
        figures["training"] = draw.training(result.training)
    return figures


def site_name(site: Site) -> str:
    """Return a site of the stream by what lies before it: `embed`, `3`, or `3 attn` before that layer's MLP."""
    return {"resid_pre": "embed", "resid_mid": f"{site.layer} attn"}.get(site.component, str(site.layer))


class _Figures:
    """One method per figure. `title` is the first line of all titles."""

    def __init__(self, result: LogitLensResult, context: ReportContext, title: str) -> None:
        self._result = result
        self._model = context.model
        self._data_title = context.data_title(len(result.prompts))
        self._bands = intervals_over(context.over)
        self._title = title
        self._sites = plots.Axis("after layer", [site_name(site) for site in result.sites])
        self._floor = FLOOR if result.shown.logarithmic else None

    def dashboard(self) -> Figure:
        """Draw P(answer) and P(distractor) of one prompt, clean and corrupted, layer × position."""
        pair = self._result.shown.pair
        panels = []
        for which, shown in self._result.shown.passes.items():
            columns = _token_axis(shown.tokens)
            for name, token, values in (
                ("correct", in_short(pair.answers, "answers"), shown.top.p_answer),
                ("incorrect", in_short(pair.distractors, "distractors"), shown.top.p_distractor),
            ):
                panels.append(plots.Panel(f"{which}: P({name}), {token}", values, self._sites, columns))
        return plots.share_maps(
            panels,
            f"{self._title}\n{pair.clean!r} (corrupted: {pair.corrupted!r})\n{self._model}",
            "probability as next token",
            upward=True,
            cell=(0.3, 0.2 if len(self._sites.ticks) <= 16 else 0.14),
            floor=self._floor,
        )

    def token_map(self) -> Figure:
        """Draw the likeliest token at every site and position of the clean prompt."""
        shown = self._result.shown.passes["clean"]
        texts = [[plots.visible(ranked[0]) for ranked in row] for row in shown.texts]
        panel = plots.Panel("", shown.top.probabilities[:, :, 0], self._sites, _token_axis(shown.tokens), texts)
        title = f"{self._title}: the likeliest next token\n{self._result.shown.pair.clean!r}\n{self._model}"
        return plots.share_maps([panel], title, "its probability", upward=True, cell=(0.62, 0.2))

    def by_layer(self) -> Figure:
        """Draw the means over prompts at the main position."""
        probabilities = self._lines("p_answer", ": answer") + self._lines("p_distractor", ": distractor", dashed=True)
        panels = [
            plots.LinePanel("logit difference", self._lines("logit_diff"), zero=True),
            plots.LinePanel(
                "probability", probabilities, logarithmic=self._result.shown.logarithmic, floor=self._floor or 0
            ),
            plots.LinePanel("rank of the answer (1 = likeliest)", self._lines("rank_answer"), logarithmic=True),
        ]
        name = self._result.prompts.position_name(self._result.main_position)
        return plots.line_panels(self._sites, panels, f"{self._title} at {name}\n{self._data_title}", self._bands)

    def position_maps(self) -> Figure:
        """Draw the mean logit difference, layer × position."""
        names = [self._result.prompts.position_name(position) for position in self._result.positions]
        maps: dict[str, plots.Array] = {
            str(which): self._result.estimates[which]["logit_diff"].value.reshape(-1, len(names)) for which in PASSES
        }
        not_found = self._result.discoveries.not_found
        pale = None
        if not_found is not None:
            pale = dict(zip(maps, not_found.reshape(len(maps), -1, len(names)), strict=True))
        note = map_note(is_outlined=False, is_pale=not_found is not None and bool(not_found.any()))
        return plots.heat_maps(
            maps,
            self._sites,
            plots.Axis("position", names),
            f"{self._title}\n{self._data_title}{note}",
            "logit difference (answer − distractor)",
            # After the embedding: a name's own embedding has a far larger value, which would leave the rest pale.
            limit=max(float(np.abs(values[1:]).max()) for values in maps.values()),
            upward=True,
            pale=pale,
        )

    def held_out(self, held_out: HeldOut) -> Figure:
        """Draw the divergence of the plain and the trained lens from the model, on held-out text."""
        lines = [
            plots.Line(name, kl.value, kl.low, kl.high, colour)
            for name, kl, colour in (
                ("logit lens", held_out.by_site["plain"], plots.NEGATIVE),
                (self._title.lower(), held_out.by_site["tuned"], plots.POSITIVE),
            )
        ]
        panel = plots.LinePanel("KL(model ‖ lens) on held-out text, nats", lines)
        return plots.line_panels(
            self._sites,
            [panel],
            f"{self._title} of {self._model}, {held_out.n_tokens} tokens of {held_out.text}",
            "95 % intervals over pieces of text",
        )

    def training(self, curve: TrainingCurve) -> Figure:
        """Draw the divergence from the model during the training, on the text that is used for stopping."""
        unknown = np.full(len(curve.steps), np.nan)
        steps = plots.Axis("step", [str(step) for step in curve.steps], places=curve.steps.tolist())
        end = "until the KL no longer fell" if curve.has_converged else "ended at the maximum of steps"
        panel = plots.LinePanel(
            "KL(model ‖ lens), nats, mean over layers",
            [plots.Line("on the text for stopping", curve.mean, unknown, unknown)],
            logarithmic=True,
        )
        title = f"Training of the {self._title.lower()} of {self._model}\n{end}; kept: step {curve.steps[curve.kept]}"
        return plots.line_panels(steps, [panel], title, bands="")

    def _lines(self, metric: str, name: str = "", *, dashed: bool = False) -> list[plots.Line]:
        lines = []
        for which in PASSES:
            by_site = self._result.at(which, metric, self._result.main_position)
            lines.append(plots.Line(f"{which}{name}", by_site.value, by_site.low, by_site.high, COLOURS[which], dashed))
        return lines


def _token_axis(tokens: list[str]) -> plots.Axis:
    return plots.Axis("position", [plots.visible(token) for token in tokens])
