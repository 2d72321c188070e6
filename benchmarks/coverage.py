"""`python -m benchmarks.coverage`: how often 95 % intervals are right, and what is found where there is no effect.

The populations are the prompts of a tiny model: 2,000 prompts, of which samples of n are drawn with replacement. An
interval is right if it includes the value over the whole population.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.models.loading import ModelConfig, load_model
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.discoveries import discover
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.ioi import IOITask

SIZES = (8, 16, 32, 64, 200)
HEADS = (16, 144, 270)
N_GROUPS, PER_GROUP = 16, 12


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=300, help="samples per cell (default: 300)")
    parser.add_argument("--prompts", type=int, default=2000, help="prompts in the population (default: 2000)")
    options = parser.parse_args()
    rows: dict[str, list[float]] = {}
    for model in ("tiny-gpt2", "tiny-pythia"):
        edited, clean, corrupted = population(model, options.prompts)
        recovery = (edited - corrupted).mean(axis=1) / (clean - corrupted).mean()
        for name, estimate, truth in (
            ("mean logit difference", partial(mean_of, edited), edited.mean(axis=1)),
            ("recovery", partial(recovery_of, edited, clean, corrupted), recovery),
        ):
            rows[f"{name}, {model}"] = [
                sampled_coverage(estimate, truth, options.prompts, n, options.samples) for n in SIZES
            ]
    rows |= {f"share of {p:.0%}": [share_coverage(p, n, options.samples * 16) for n in SIZES] for p in (0.5, 0.9, 0.98)}
    print("share of 95 % intervals that include the value of the population, by number of prompts")
    print_table(rows, [f"n={n}" for n in SIZES])
    print(f"\nthe mean over new groups ({N_GROUPS} groups of {PER_GROUP} prompts), by intraclass correlation")
    correlations = (0.0, 0.1, 0.5, 0.9)
    clustered = {name: [group_coverage(rho, name, options.samples) for rho in correlations] for name in UNITS}
    print_table(clustered, [f"{rho:g}" for rho in correlations])
    print("\nruns with 32 prompts in which no head has an effect, by number of heads")
    found = np.array([false_discoveries(heads, options.samples) for heads in HEADS]).T
    names = ("intervals per run that exclude 0", "heads found per run", "share of runs with a head found")
    print_table(dict(zip(names, found.tolist(), strict=True)), [str(heads) for heads in HEADS])


def population(model: str, n_prompts: int) -> tuple[Array, Array, Array]:
    """Return the logit differences `[head, prompt]` with each head patched, and those of both passes `[1, prompt]`."""
    lab_model = load_model(ModelConfig(name=model, source="tiny", path=model))
    engine = Engine(lab_model, IOITask(n=n_prompts).prompt_pairs(lab_model.tokens))
    sites = [Site("z", layer, head) for layer in range(engine.shape.n_layers) for head in range(engine.shape.n_heads)]
    edited = engine.run([[Edit(site, "replace", FromPass("clean"))] for site in sites], "corrupted")
    return edited.logit_diff, engine.baseline("clean").logit_diff, engine.baseline("corrupted").logit_diff


def covers(estimate: Estimate, truth: Array) -> float:
    """Return the share of the known intervals that include the truth."""
    known = np.isfinite(estimate.low)
    return float(((estimate.low <= truth) & (truth <= estimate.high))[known].mean())


def mean_of(values: Array, bootstrap: Bootstrap, rows: Array) -> Estimate:
    """Return the means over a sample of prompts."""
    return bootstrap.mean(values[:, rows])


def recovery_of(edited: Array, clean: Array, corrupted: Array, bootstrap: Bootstrap, rows: Array) -> Estimate:
    """Return recovery over a sample of prompts."""
    return bootstrap.recovery(edited[:, rows], clean[:, rows], corrupted[:, rows])


def sampled_coverage(
    estimate: Callable[[Bootstrap, Array], Estimate], truth: Array, n_population: int, n: int, samples: int
) -> float:
    """Return the coverage, averaged over heads, of the `estimate` from samples of n prompts, which it is given."""
    draws = np.random.default_rng(n).integers(n_population, size=(samples, n))
    return float(np.mean([covers(estimate(Bootstrap(n, seed), rows), truth) for seed, rows in enumerate(draws)]))


def share_coverage(p: float, n: int, samples: int) -> float:
    """Return the coverage of shares."""
    successes = (np.random.default_rng(n).random((samples, n)) < p).astype(float)
    return covers(Bootstrap(n, 0).share(successes), np.full(samples, p))


UNITS = ("intervals over groups", "intervals over prompts")


def group_coverage(rho: float, unit: str, samples: int) -> float:
    """Return the coverage of the mean over new groups by intervals over groups or over prompts."""
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(N_GROUPS), PER_GROUP).tolist()
    rows = np.sqrt(rho) * rng.normal(size=(samples, N_GROUPS))[:, groups]
    rows += np.sqrt(1 - rho) * rng.normal(size=(samples, len(groups)))
    bootstrap = Bootstrap(len(groups), 0, groups=groups if unit == UNITS[0] else None)
    return covers(bootstrap.mean(rows), np.zeros(samples))


def false_discoveries(heads: int, samples: int) -> tuple[float, float, float]:
    """Return intervals that exclude 0 and heads found per run, and the share of runs with a head found."""
    rng, gap = np.random.default_rng(heads), np.ones((1, 32))
    excluded, found = [], []
    for seed in range(samples):
        changes = rng.standard_t(4, size=(heads, 32))
        excluded.append(Bootstrap(32, seed).mean(changes).differs().sum())
        found.append(discover(changes, gap, Bootstrap(32, seed), 0.0).found.sum())
    return float(np.mean(excluded)), float(np.mean(found)), float(np.mean(np.array(found) > 0))


def print_table(rows: dict[str, list[float]], columns: list[str]) -> None:
    """Print rows of numbers below the names of their columns."""
    width = max(map(len, rows))
    print(" " * width, *(f"{column:>7}" for column in columns))
    for name, values in rows.items():
        print(f"{name:<{width}}", *(f"{value:7.3f}" for value in values))


if __name__ == "__main__":
    main()
