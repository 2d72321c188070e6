"""The logit lens: what the model would say if it ended after each layer, at END and at every other position.

Method: nostalgebraist 2020; with `lens: tuned`, Belrose et al. 2023 (arXiv 2303.08112). Nothing is edited.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
from pydantic import Field, model_validator

from ioi_lab.engine.edits import OTHER_PASS, Pass, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention, Measurement, Report, scalars, tidy_table
from ioi_lab.models.selectors import PositionSelector, positions_of
from ioi_lab.reports import plots
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.tasks.prompts import Position

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ioi_lab.engine.engine import Engine
    from ioi_lab.lenses.logit import LensReading, TopTokens, Translators
    from ioi_lab.lenses.tuned import Training, TunedLens

FLOOR: Final = 1e-8
"""Where the logarithmic scale of probabilities ends."""

RUNS: tuple[Pass, ...] = tuple(OTHER_PASS)
COLOURS: dict[Pass, str] = {"clean": plots.POSITIVE, "corrupted": plots.NEGATIVE}


@dataclass(frozen=True)
class Observed:
    """What the lens has read of all prompts, and of the one that is shown."""

    sites: list[Site]
    positions: list[Position]
    readings: dict[Pass, LensReading]
    shown: dict[Pass, TopTokens]
    shown_texts: dict[Pass, list[str]]
    """The tokens of the shown prompt."""

    top_texts: dict[Pass, list[list[list[str]]]]
    """The likeliest tokens there, `[site][pos][rank]`."""

    trained: TunedLens | None
    files: dict[str, bytes]


class LogitLens(Intervention):
    """Read the residual stream before the first layer and after each through the final norm and the unembedding.

    `position`: as in grids. `sublayers`: read between attention and MLP too. `prompt`: the index of the one shown token
    by token, with its `top_k` likeliest tokens and its probabilities on this `scale` (`auto`: log where a linear one
    would show the last layer alone). `lens: tuned` puts a translator in front, trained on `text` (a file) or loaded
    from `translators` (a file that such a run has left).
    """

    position: PositionSelector
    sublayers: bool
    lens: Literal["logit", "tuned"]
    text: str | None
    translators: str | None
    steps: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]
    prompt: Annotated[int, Field(ge=0)]
    scale: Literal["auto", "log", "linear"]
    top_k: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _tuned_needs_one_source(self) -> LogitLens:
        given = [name for name in ("text", "translators") if getattr(self, name) is not None]
        if self.lens == "tuned" and len(given) != 1:
            raise LabError(
                f"intervention.text: lens=tuned takes either a file to train on (text) or trained translators, got "
                f"{' and '.join(given) or 'neither'}"
            )
        if self.lens == "logit" and given:
            raise LabError(f"intervention.{given[0]}: this is for lens=tuned, but lens is logit; drop one of them")
        return self

    @property
    def title(self) -> str:
        """`logit lens` or `tuned lens`."""
        return f"{self.lens} lens"

    def check(self) -> None:
        """Tell a missing file before any model is loaded."""
        for name in ("text", "translators"):
            path = getattr(self, name)
            if path is not None and not Path(path).is_file():
                raise LabError(f"intervention.{name}: {path!r} is no file")

    def observe(self, engine: Engine) -> Observed:
        """Read both runs."""
        from ioi_lab.lenses.logit import check_readout, read_prompt, read_stream, stream_sites

        if self.sublayers and engine.shape.parallel:
            raise LabError(
                f"intervention.sublayers: got True, but the blocks of {engine.shape.name} run attention and MLP in "
                "parallel, so nothing lies between them; expected False"
            )
        engine.prompts.check_index(self.prompt, "intervention.prompt")
        d_vocab = engine.model.bridge.cfg.d_vocab
        if self.top_k > d_vocab:
            raise LabError(f"intervention.top_k: got {self.top_k}, expected at most {d_vocab}, the whole vocabulary")
        positions = positions_of(self.position, engine.prompts)
        if "all" in positions:
            raise LabError("intervention.position: got 'all', but the lens reads one position at a time; expected each")
        sites = stream_sites(engine.shape, sublayers=self.sublayers)
        for run in RUNS:
            check_readout(engine, run, sites[-1])
        translators, trained, files = self._translators(engine, sites)
        shown = {run: read_prompt(engine, run, self.prompt, sites, translators, self.top_k) for run in RUNS}
        strings = engine.model.tokens.strings
        pair = engine.prompts[self.prompt]
        return Observed(
            sites=sites,
            positions=positions,
            readings={run: read_stream(engine, run, sites, positions, translators) for run in RUNS},
            shown=shown,
            shown_texts={"clean": list(pair.token_strings), "corrupted": list(strings(pair.corrupted_tokens))},
            top_texts={run: [[list(strings(ids)) for ids in row] for row in top.ids] for run, top in shown.items()},
            trained=trained,
            files=files,
        )

    def report(self, measurement: Measurement) -> Report:
        """A row a run, place in the stream and position; the dashboard of one prompt; curves by layer."""
        return _Reading(self, measurement).report()

    @property
    def training(self) -> Training:
        """How translators are trained."""
        from ioi_lab.lenses.tuned import Training

        return Training(self.steps, self.batch, self.learning_rate, self.seed)

    def _translators(self, engine: Engine, sites: list[Site]) -> tuple[Translators, TunedLens | None, dict[str, bytes]]:
        """The translators (none for the plain lens), and where they were trained now, how well and as a file."""
        from ioi_lab.lenses.tuned import load_translators, save_translators, train_translators

        if self.translators is not None:
            return load_translators(Path(self.translators), engine.model, sites), None, {}
        if self.text is None:
            return {}, None, {}
        lens = train_translators(engine, sites, Path(self.text), self.training)
        saved = save_translators(lens, engine.model, Path(self.text), self.training)
        return lens.translators, lens, {"translators.safetensors": saved}


class _Reading:
    """What was read, as a table, scalars, figures and lines of text."""

    def __init__(self, lens: LogitLens, measurement: Measurement) -> None:
        self._lens = lens
        self._measurement = measurement
        self._seen: Observed = measurement.observed
        self._places = plots.Axis("after layer", [place_name(site) for site in self._seen.sites])

    def report(self) -> Report:
        seen = self._seen
        selectors = [
            {"component": site.component, "layer": site.layer, "position": position, "run": run}
            for run in RUNS
            for site in seen.sites
            for position in seen.positions
        ]
        estimates = {
            name: Estimate.joined([self._estimates[run][name] for run in RUNS]) for name in self._estimates["clean"]
        }
        files = {"top_tokens.csv": self._top_tokens().to_csv(index=False).encode()} | seen.files
        return Report(
            table=tidy_table(selectors, estimates),
            metrics=self._metrics(),
            draw=self._figures,
            summary=self._summary(),
            files=files,
        )

    @cached_property
    def _estimates(self) -> dict[Pass, dict[str, Estimate]]:
        """By run and metric, over prompts, a row a place and position."""
        estimates: dict[Pass, dict[str, Estimate]] = {}
        for run, reading in self._seen.readings.items():
            metrics = {name: values.reshape(-1, values.shape[-1]) for name, values in vars(reading).items()}
            metrics["accuracy"] = (metrics["logit_diff"] > 0).astype(float)
            estimates[run] = {name: self._measurement.bootstrap.mean(values) for name, values in metrics.items()}
        return estimates

    def _at(self, run: Pass, metric: str, position: Position) -> Estimate:
        """A metric by place in the stream, at one position."""
        estimate, index = self._estimates[run][metric], self._seen.positions.index(position)
        return estimate.rows(slice(index, None, len(self._seen.positions)))

    @property
    def _main_position(self) -> Position:
        """END, if that was read."""
        prompts, positions = self._measurement.prompts, self._seen.positions
        ends = [p for p in positions if all(pair.positions(p).start == len(pair) - 1 for pair in prompts)]
        return ends[0] if ends else positions[-1]

    def _metrics(self) -> dict[str, float]:
        """The baselines, and from which layer on the answer leads at END in the clean run."""
        metrics = self._measurement.baseline_metrics() | {
            "n_cells": 2 * len(self._seen.sites) * len(self._seen.positions)
        }
        if (settled := self._settled) is not None:
            metrics["answer_leads_from_layer"] = -1 if settled.component == "resid_pre" else settled.layer
        if self._seen.trained is not None:
            trained = self._seen.trained
            over_text = Bootstrap(trained.plain_kl.shape[1], self._lens.seed)
            for name, kl in (("plain", trained.plain_kl), ("tuned", trained.tuned_kl)):
                mean = over_text.mean(kl[:-1].mean(axis=0, keepdims=True))
                metrics |= scalars(f"held_out_kl_{name}", mean, 0)
            metrics["text_tokens"] = trained.n_tokens
        return metrics

    @property
    def _settled(self) -> Site | None:
        """The first place from which on the clean run's mean logit difference at END stays above 0."""
        above = self._at("clean", "logit_diff", self._main_position).value > 0
        behind = np.flatnonzero(~above)
        first = int(behind[-1]) + 1 if len(behind) else 0
        return self._seen.sites[first] if first < len(self._seen.sites) else None

    def _summary(self) -> list[str]:
        name = self._measurement.prompts.position_name(self._main_position)
        clean = {
            metric: self._at("clean", metric, self._main_position)
            for metric in ("logit_diff", "p_answer", "rank_answer")
        }
        lines = [f"the {self._lens.title} at {name}, clean prompts:", "  after      logit diff   P(answer)   rank"]
        for index in _spread(len(self._seen.sites), 8):
            values = [clean[metric].value[index] for metric in clean]
            lines.append(f"  {self._places.ticks[index]:<8} {values[0]:12.2f} {values[1]:11.3f} {values[2]:6.0f}")
        settled = self._settled
        where = f"from {place_name(settled)} on" if settled else "at no place for good"
        lines.append(f"the answer leads the distractor {where}")
        if (trained := self._seen.trained) is not None:
            plain, tuned = trained.plain_kl[:-1].mean(), trained.tuned_kl[:-1].mean()
            lines.append(
                f"KL to the model's output on held-out text, mean over layers: {plain:.3f} plain, {tuned:.3f} tuned"
            )
        return lines

    def _figures(self) -> dict[str, Figure]:
        figures = {"dashboard": self._dashboard(), "by_layer": self._by_layer(), "top_tokens": self._token_map()}
        if len(self._seen.positions) > 1:
            figures["logit_diff_by_position"] = self._position_maps()
        if self._seen.trained is not None:
            figures["held_out_kl"] = self._held_out(self._seen.trained)
        return figures

    def _dashboard(self) -> Figure:
        """P(answer) and P(distractor) of one prompt, clean and corrupted, layer × position."""
        pair = self._measurement.prompts[self._lens.prompt]
        panels = []
        for run in RUNS:
            top, columns = self._seen.shown[run], _token_axis(self._seen.shown_texts[run])
            for which, token, values in (
                ("correct", pair.answer, top.p_answer),
                ("incorrect", pair.distractor, top.p_distractor),
            ):
                panels.append(plots.Panel(f"{run}: P({which}), “{token.strip()}”", values, self._places, columns))
        title = f"{self._what}\n{pair.clean!r} (corrupted: {pair.corrupted!r})\n{self._measurement.shape.name}"
        return plots.share_maps(
            panels,
            title,
            "probability of the name as next token",
            upward=True,
            cell=(0.3, 0.2 if len(self._places.ticks) <= 16 else 0.14),
            floor=FLOOR if self._is_logarithmic else None,
        )

    @property
    def _is_logarithmic(self) -> bool:
        """Whether probabilities are drawn so; with `auto`, where neither name has 1 % at END before the last layer."""
        if self._lens.scale != "auto":
            return self._lens.scale == "log"
        names = [values[-2, -1] for top in self._seen.shown.values() for values in (top.p_answer, top.p_distractor)]
        return bool(max(names) < 0.01)

    def _token_map(self) -> Figure:
        """The likeliest token everywhere in the clean prompt."""
        top = self._seen.shown["clean"]
        texts = [[plots.visible(ranked[0]) for ranked in row] for row in self._seen.top_texts["clean"]]
        columns = _token_axis(self._seen.shown_texts["clean"])
        panel = plots.Panel("", top.probabilities[:, :, 0], self._places, columns, texts)
        pair = self._measurement.prompts[self._lens.prompt]
        title = f"{self._what}: the likeliest next token\n{pair.clean!r}\n{self._measurement.shape.name}"
        return plots.share_maps([panel], title, "its probability", upward=True, cell=(0.62, 0.2))

    def _by_layer(self) -> Figure:
        position = self._main_position

        def lines(metric: str, name: str = "", dashed: bool = False) -> list[plots.Line]:
            return [
                plots.Line(f"{run}{name}", at.value, at.low, at.high, COLOURS[run], dashed)
                for run in RUNS
                for at in [self._at(run, metric, position)]
            ]

        panels = [
            plots.LinePanel("logit difference", lines("logit_diff"), zero=True),
            plots.LinePanel(
                "probability",
                lines("p_answer", ": answer") + lines("p_distractor", ": distractor", dashed=True),
                logarithmic=self._is_logarithmic,
                floor=FLOOR if self._is_logarithmic else 0,
            ),
            plots.LinePanel("rank of the answer (1 = likeliest)", lines("rank_answer"), logarithmic=True),
        ]
        name = self._measurement.prompts.position_name(position)
        return plots.line_panels(self._places, panels, f"{self._what} at {name}\n{self._measurement.data_title}")

    def _position_maps(self) -> Figure:
        names = [self._measurement.prompts.position_name(position) for position in self._seen.positions]
        shape = len(self._seen.sites), len(names)
        maps: dict[str, plots.Array] = {
            str(run): self._estimates[run]["logit_diff"].value.reshape(shape) for run in RUNS
        }
        behind_layers = max(float(np.abs(values[1:]).max()) for values in maps.values())
        return plots.heat_maps(
            maps,
            self._places,
            plots.Axis("position", names),
            f"{self._what}\n{self._measurement.data_title}",
            "logit difference (answer − distractor)",
            limit=behind_layers,  # a name's own embedding goes far beyond
            upward=True,
        )

    def _held_out(self, trained: TunedLens) -> Figure:
        over_text = Bootstrap(trained.plain_kl.shape[1], self._lens.seed)
        lines = []
        for name, kl, colour in (
            ("logit lens", trained.plain_kl, plots.NEGATIVE),
            ("tuned lens", trained.tuned_kl, plots.POSITIVE),
        ):
            mean = over_text.mean(kl)
            lines.append(plots.Line(name, mean.value, mean.low, mean.high, colour))
        panel = plots.LinePanel("KL(model ‖ lens) on held-out text, nats", lines)
        n = f"{trained.n_tokens} tokens of {Path(str(self._lens.text)).name}"
        return plots.line_panels(
            self._places,
            [panel],
            f"Tuned lens of {self._measurement.shape.name}, {n}",
            "95 % bootstrap intervals over pieces of text",
        )

    def _top_tokens(self) -> pd.DataFrame:
        """The likeliest tokens of the shown prompt, a row each."""
        import pandas as pd

        rows = [
            {
                "run": run,
                "component": site.component,
                "layer": site.layer,
                "position": position,
                "prompt_token": text,
                "rank": rank + 1,
                "token": self._seen.top_texts[run][place][position][rank],
                "probability": self._seen.shown[run].probabilities[place, position, rank],
            }
            for run in RUNS
            for place, site in enumerate(self._seen.sites)
            for position, text in enumerate(self._seen.shown_texts[run])
            for rank in range(self._lens.top_k)
        ]
        return pd.DataFrame(rows)

    @property
    def _what(self) -> str:
        return self._lens.title.capitalize()


def place_name(site: Site) -> str:
    """A place in the stream by what lies before it: `embed`, `3`, or `3 attn` before that layer's MLP."""
    return {"resid_pre": "embed", "resid_mid": f"{site.layer} attn"}.get(site.component, str(site.layer))


def _spread(size: int, most: int) -> list[int]:
    """Up to `most` indices, evenly spread, the first and the last among them."""
    return sorted({round(float(index)) for index in np.linspace(0, size - 1, min(size, most))})


def _token_axis(tokens: list[str]) -> plots.Axis:
    return plots.Axis("position", [plots.visible(token) for token in tokens])
