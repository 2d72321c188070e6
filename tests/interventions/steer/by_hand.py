"""Steering results that are built by hand: the logit difference of each site is linear in the scale."""

from __future__ import annotations

import numpy as np

from ioi_lab.engine.edits import Site
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.self_checks import SelfChecks
from ioi_lab.interventions.steer.controls import Controls
from ioi_lab.interventions.steer.measure import SteerResult
from ioi_lab.interventions.steer.slopes import InitialSlopes
from ioi_lab.interventions.steer.steps import Step, VectorSource
from ioi_lab.interventions.steer.text_effects import TextEffects
from ioi_lab.interventions.steer.verdict import Verdict
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import Discoveries
from ioi_lab.stats.metrics import Readout
from ioi_lab.stats.responses import Response, scales_next_to_zero
from ioi_lab.steering.contrasts import Contrast, ContrastPrompt
from tests.interventions.toy import CLEAN, PAIR, PROMPTS, ToyEngine

SCALES = [1.0, -2.0, 0.0]
"""Not in ascending order, which figures have."""

N = len(PROMPTS)
SOURCE = VectorSource("mean_difference", "name_pair", ("James", "Robert"), None, 0)


def estimate(values, half=0.25):
    values = np.asarray(values, dtype=float)
    return Estimate(values, values - half, values + half)


def layers(*indices, position="END"):
    return [Site("resid_post", layer, None, position) for layer in indices]


def heads(*names, position="END"):
    return [Site("z", layer, head, position) for layer, head in names]


def controls(scales=SCALES):
    means = np.array([[CLEAN + 0.1 * scale, CLEAN - 0.1 * scale] for scale in scales]).T
    middle, half = means.mean(axis=0), np.abs(scales)
    return Controls(
        readout=Readout(np.repeat(means.reshape(-1, 1), N, axis=1)),
        estimates={},
        means=means,
        middle=middle,
        low=middle - half,
        high=middle + half,
        lowest=means.min(axis=0),
        highest=means.max(axis=0),
        highest_flipped=0.125 * np.abs(scales),
        share_inside=0.75,
        slopes=np.array([[0.1], [-0.1]]),
        steepest=np.array([0.1, 0.1]),
        steepest_limit=0.1,
    )


def initial(slopes, scales=SCALES, found=None):
    """Slopes next to 0, of which those that are not 0 are found unless others are named; None: there are no tests."""
    slopes = np.asarray(slopes, dtype=float)
    is_found = slopes != 0 if found is None else np.isin(np.arange(len(slopes)), found)
    p_value = np.where(is_found, 0.001, 0.5)
    discoveries = Discoveries(p_value, p_value, is_found, None)
    return InitialSlopes(scales_next_to_zero(scales), estimate(slopes), discoveries)


def untested(slopes):
    """Slopes next to 0 of too few prompts for tests."""
    unknown = np.full(len(slopes), np.nan)
    discoveries = Discoveries(unknown, unknown, np.zeros(len(slopes), dtype=bool), None)
    return InitialSlopes([-2.0, 1.0], estimate(slopes), discoveries)


def text_effects(sites):
    """Rises of 0.1, 0.2, … for the sites in the order of their measurement."""
    rises = np.repeat(0.1 * np.arange(1, len(sites) + 1), len(SCALES))
    effects = {"text_loss_change": estimate(rises), "text_agreement": estimate(1 - rises)}
    return TextEffects("some.txt", list(sites), 7, 4.0, 4.1, effects, rises[:: len(SCALES)])


def steering(sites, slopes, scales=SCALES, n_training=3, **changes):
    """The result of steering at `sites`, at which the mean logit difference rises by `slopes` per unit of scale."""
    slopes = np.asarray(slopes, dtype=float)
    prompts = tuple(ContrastPrompt(PAIR, PAIR, 1) for _ in range(N))
    values = [[np.full(N, CLEAN + slope * scale) for scale in scales] for slope in slopes]
    steered = Readout(np.concatenate([np.array(rows) for rows in values]))
    means = steered.logit_diff.mean(axis=1)
    result = {
        "baselines": Baselines.measure(ToyEngine()),
        "checks": SelfChecks(1.0, 0.0),
        "source": SOURCE,
        "unit": "vector",
        "contrast": Contrast(prompts[:n_training], prompts, names_differ=True, n_dropped=0),
        "origin": None,
        "scales": list(scales),
        "steps": [Step.of(site, np.full((N, 4), 0.5), np.full(4, 0.5), 2.0) for site in sites],
        "responses": [Response.of(scales, np.array(rows), np.full(N, CLEAN)) for rows in values],
        "initial": initial(slopes, scales),
        "slopes": estimate(slopes),
        "efficiency": estimate(2 * slopes),
        "ranking": (ranking := np.argsort(-np.abs(slopes), kind="stable").tolist()),
        "found": [site for site in ranking if slopes[site]],
        "steered": steered,
        "estimates": {
            "logit_diff": estimate(means),
            "flipped": estimate((means < 0).astype(float), half=0.0),
            "p_answer": estimate(0.5 + means / 100),
            "p_distractor": estimate(0.25 - means / 100),
        },
        "p_other": None,
        "strongest": 1,
        "flipped_by_side": {"positive": 0.75},
        "probe_accuracy": None,
        "n_probed": 0,
        "controls": None,
        "beyond_random": [site for site in ranking if slopes[site]],
        "is_outside_band": True,
        "text": None,
        "verdict": Verdict("steered", ()),
    }
    return SteerResult(**result | changes)
