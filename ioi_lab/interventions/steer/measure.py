"""The measurement of steering: responses to the scale, the strongest scale, random directions, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ioi_lab.engine.edits import Site
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.self_checks import checked_run
from ioi_lab.interventions.steer.controls import Controls, measure_controls
from ioi_lab.interventions.steer.flips import (
    AnswerSide,
    estimates_with_flips,
    flipped_by_side,
    flips,
    pushes_away,
    strongest_scale,
)
from ioi_lab.interventions.steer.slopes import InitialSlopes
from ioi_lab.interventions.steer.steps import Step, Unit, VectorSource, contrast_and_saved, steps_of
from ioi_lab.interventions.steer.text_effects import TextEffects, measure_text_effects
from ioi_lab.interventions.steer.verdict import FLIP_MAJORITY, Verdict, verdict_on
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Readout
from ioi_lab.stats.responses import Response
from ioi_lab.steering.contrasts import Contrast
from ioi_lab.storage.tensors import ModelOrigin

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


@dataclass(frozen=True)
class SteerResult(Result):
    """The response of the steered prompts, which are the held-out ones, at each site and scale.

    Rows of `steered` and `estimates` go site by site, then scale by scale.
    """

    source: VectorSource
    unit: Unit
    contrast: Contrast

    origin: ModelOrigin
    """The steered model."""

    scales: list[float]

    steps: list[Step]
    """What is added at each site."""

    responses: list[Response]
    """The response of the logit difference to the scale at each site."""

    initial: InitialSlopes
    """The slope of each site's response next to the scale 0, by which sites are ranked and tested."""

    slopes: Estimate
    """The slope of each site's response over its linear range, per unit of scale; NaN without a linear range."""

    efficiency: Estimate
    """The slope over the linear range per norm of the site's activations; NaN for a direction without length, and
    without a linear range."""

    ranking: list[int]
    """The indices of the sites from the steepest next to 0 to the flattest; those without a direction come last."""

    found: list[int]
    """The sites of the ranking whose slope next to 0 is distinguishable from 0, corrected for the number of sites."""

    steered: Readout

    estimates: dict[str, Estimate]
    """Each metric of `results.csv`, and `flipped`: the share of prompts that prefer the other of answer and distractor
    than without steering."""

    p_other: Estimate | None
    """The probability of all tokens but answer and distractor at the best site, scale by scale, if it was read."""

    strongest: int
    """The index of the scale that steers most at the best site: see `strongest_scale`."""

    flipped_by_side: Mapping[AnswerSide, float]
    """The share of prompts that flip at the best site and the strongest scale, by the side of their answer."""

    probe_accuracy: Estimate | None
    """If the vectors are those of probes: the accuracy of each site's probe on held-out activations, with Wilson's
    interval."""

    n_probed: int
    """The number of held-out activations that each probe is tried on."""

    controls: Controls | None
    """Random directions; None if the best site has no direction whose norm they could have."""

    beyond_random: list[int]
    """The sites of the ranking that are found, and steeper next to 0 than a random direction is at its steepest site
    with a probability of 95 %."""

    is_outside_band: bool
    """Whether the mean logit difference at the best site and the strongest scale lies outside the band of the random
    directions at that site and scale."""

    text: TextEffects | None
    """The effects on ordinary text, if they were asked for."""

    verdict: Verdict

    @property
    def best(self) -> int:
        """The index of the site whose response is steepest next to 0."""
        return self.ranking[0]

    @property
    def strongest_row(self) -> int:
        """The row of the best site at the strongest scale."""
        return self.best * len(self.scales) + self.strongest

    def rows(self, site: int) -> slice:
        """Return the rows of a site, scale by scale."""
        return slice(site * len(self.scales), (site + 1) * len(self.scales))


def measure_steering(
    engine: Engine,
    sites: Sequence[Site],
    scales: list[float],
    source: VectorSource,
    *,
    unit: Unit,
    n_controls: int,
    text: Path | None,
    n_text_sites: int | Literal["all"],
) -> SteerResult:
    """Make vectors from one half of the prompts and steer the other half; then steer at random, and ordinary text.

    Args:
        engine: The engine on all prompts.
        sites: The steered sites, of one component.
        scales: The scales, each once.
        source: Where the vectors come from.
        unit: A scale of 1 adds the vector as it is, or a direction as long as the site's activation (`residual`).
        n_controls: The number of random directions.
        text: The ordinary text on which side effects are measured; None for a packaged one.
        n_text_sites: The number of sites, steepest first, whose side effects are measured.

    Raises:
        LabError: The prompts do not suit the contrast or the method, the file of vectors does not suit the model or the
            config, or a self-check fails.

    """
    contrast, saved = contrast_and_saved(engine, sites[0].component, source)
    held_out = engine.on(contrast.steered)
    baselines = Baselines.measure(held_out)
    steps = steps_of(held_out, contrast, sites, source, saved, unit)
    steered, checks = checked_run(held_out, [edits for step in steps for edits in step.edits(scales)], "clean")

    clean = baselines.clean
    responses = [
        Response.of(scales, by_scale, clean.logit_diff[0]) for by_scale in np.split(steered.logit_diff, len(steps))
    ]
    by_site = steered.logit_diff.reshape(len(steps), len(scales), -1)
    initial = InitialSlopes.measure(held_out, scales, by_site, clean.logit_diff[0])
    steepness = initial.slope.value
    ranking = sorted(range(len(steps)), key=lambda site: (steps[site].norm == 0, -abs(steepness[site])))
    best, found = ranking[0], [site for site in ranking if initial.discoveries.found[site]]

    estimates = estimates_with_flips(held_out, steered)
    rows = slice(best * len(scales), (best + 1) * len(scales))
    logit_diff, flipped = (estimates[name].rows(rows) for name in ("logit_diff", "flipped"))
    clean_mean = float(clean.logit_diff.mean())
    away = pushes_away(scales, steepness[best], clean_mean)
    strongest = strongest_scale(scales, logit_diff.value, flipped.value, away, clean_mean)

    text_sites = ranking if n_text_sites == "all" else ranking[:n_text_sites]
    text_effects = measure_text_effects(held_out, steps, responses, scales, strongest, text_sites, text)
    controls = None
    if steps[best].norm > 0:
        controls = measure_controls(held_out, steps, best, source, contrast.signs, scales, initial.scales, n_controls)
    limit = np.inf if controls is None else controls.steepest_limit
    beyond_random = [site for site in found if abs(steepness[site]) > limit]
    is_outside_band = controls is not None and not controls.includes(logit_diff.value[strongest], strongest)
    slopes = held_out.bootstrap.mean(np.stack([response.slopes for response in responses]))
    probed = [step.probed for step in steps if step.probed is not None]
    return SteerResult(
        baselines=baselines,
        checks=checks,
        source=source,
        unit=unit,
        contrast=contrast,
        origin=engine.model.origin,
        scales=scales,
        steps=steps,
        responses=responses,
        initial=initial,
        slopes=slopes,
        efficiency=_efficiency(steps, slopes),
        ranking=ranking,
        found=found,
        steered=steered,
        estimates=estimates,
        p_other=_p_other(held_out, steered.select(rows)),
        strongest=strongest,
        flipped_by_side=flipped_by_side(flips(steered, clean)[rows.start + strongest], contrast.signs),
        probe_accuracy=held_out.bootstrap.over(len(probed[0])).share(np.stack(probed)) if probed else None,
        n_probed=len(probed[0]) if probed else 0,
        controls=controls,
        beyond_random=beyond_random,
        is_outside_band=is_outside_band,
        text=text_effects,
        verdict=verdict_on(
            has_direction=steps[best].norm > 0,
            pushes_away=bool(away.any()),
            has_slope=best in found,
            goes_its_way=bool(steepness[best] > 0),
            flips_most=bool(flipped.exceeds(FLIP_MAJORITY)[strongest]),
            is_monotone=responses[best].is_monotone,
            steeper_than_random=best in beyond_random,
            beyond_random=is_outside_band,
        ),
    )


def _efficiency(steps: Sequence[Step], slopes: Estimate) -> Estimate:
    relative = np.array([step.norm / step.site_norm for step in steps])
    factors = np.divide(1.0, relative, out=np.full_like(relative, np.nan), where=relative > 0)
    return Estimate(slopes.value * factors, slopes.low * factors, slopes.high * factors)


def _p_other(engine: Engine, steered: Readout) -> Estimate | None:
    if steered.p_answer is None or steered.p_distractor is None:
        return None
    return engine.bootstrap.mean(1 - steered.p_answer - steered.p_distractor)
