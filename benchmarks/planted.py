"""`python -m benchmarks.planted`: how well each method finds the edges of circuits that are known.

Of seed 0 these are the packaged networks; with other seeds they are trained (into `--folder`, where trained ones are
found again). A method gives each edge a score in each prompt; edges are ranked by the absolute value of their mean. The
exact effect of each edge is measured on a large set of other prompts.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from ioi_lab.circuits.graph import Flags, Graph
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.scores import SCORE_METHODS, ScoreSettings
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.models.loading import LabModel, ModelConfig, load_model
from ioi_lab.stats.bootstrap import Bootstrap
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.induction import InductionTask
from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tiny import HAND_SET, PLANTED_MODELS, tiny_folder, true_edges
from ioi_lab.tiny.plant import plant, plant_of

Method = Callable[[CircuitRunner], Array]
"""Gives the score `[prompt, edge]` of each edge in each prompt."""

METHODS = ("exact", "eap", "eap_ig_inputs", "eap_ig_activations", "clean_corrupted", "random")


@dataclass(frozen=True)
class Row:
    """One method on one planted network."""

    plant: str
    seed: int
    method: str
    auroc: float
    average_precision: float
    precision: float
    """The share of circuit edges among as many edges as the circuit has, with the largest scores."""

    covered: float
    """The share of the circuit's edges whose interval includes their exact effect on the other prompts."""

    seconds: float


def main() -> None:
    """Train what is missing, score, and print the tables."""
    options = _options()
    torch.set_num_threads(options.threads)
    rows, ranks = [], []
    for name in options.plants:
        for seed in options.seeds:
            try:
                folder = trained(name, seed, options.folder, options.steps)
            except LabError as error:
                print(error)  # not every seed gives a network that does the task by its circuit
                continue
            model = load_model(ModelConfig(name=name, source="folder", path=str(folder)))
            for row, ranked in scored(model, true_edges(folder), seed, options):
                rows.append(row)
                ranks.append(ranked)
                print(*(f"{v:.3f}" if isinstance(v, float) else v for v in asdict(row).values()), flush=True)
    print(markdown(pd.DataFrame(rows)), edges_markdown(pd.concat(ranks)), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planted", description=__doc__)
    parser.add_argument("--plants", nargs="+", choices=PLANTED_MODELS, default=PLANTED_MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds of training")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--prompts", type=int, default=32, help="prompts that methods score (default: 32)")
    parser.add_argument("--other-prompts", type=int, default=512, help="prompts of the exact effects (default: 512)")
    parser.add_argument("--folder", type=Path, default=Path("planted"), help="trained networks (default: planted)")
    parser.add_argument("--steps", type=int, help="steps of training with other seeds than 0 (default: as packaged)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def trained(name: str, seed: int, folder: Path, steps: int | None) -> Path:
    """Return the folder of a planted network, which is made if it is not there."""
    if seed == 0:
        return tiny_folder(name)
    target = folder / f"{name}-{seed}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        claims = plant(name, target, seed, steps)
        torch.use_deterministic_algorithms(False)
        print(f"{name}, seed {seed}:", ", ".join(f"{claim} {value:.3f}" for claim, value in claims.items()), flush=True)
    return target


def prompts_of(model: LabModel, n: int, seed: int) -> PromptPairs:
    """Return prompts of the task that a planted network does; corrupted ones have no answer."""
    if model.shape.name == HAND_SET:
        return InductionTask(n=n, seed=seed, corruption="abc").prompt_pairs(model.tokens)
    return IOITask(n=n, seed=seed, corruption="abc").prompt_pairs(model.tokens)


def scored(
    model: LabModel, edges: Sequence[str], seed: int, options: argparse.Namespace
) -> Iterator[tuple[Row, pd.DataFrame]]:
    """Yield what each method scores on one network, and the rank of each circuit edge."""
    name, graph = model.shape.name, Graph.of(model.shape)
    truth = graph.circuit(edges, "circuit.json")
    others = CircuitRunner(Engine(model, prompts_of(model, options.other_prompts, seed + 1000)), graph)
    effects = SCORE_METHODS["exact"](others, ScoreSettings()).mean(axis=0)
    runner = CircuitRunner(Engine(model, prompts_of(model, options.prompts, seed)), graph)
    for method in options.methods:
        start = time.perf_counter()
        scores = SCORE_METHODS[method](runner, ScoreSettings(seed=seed))
        seconds = time.perf_counter() - start
        row = row_of(scores, truth, effects, seed)
        yield Row(name, seed, method, *row, seconds), ranks_of(name, method, scores, truth, graph)


def row_of(scores: Array, truth: Flags, effects: Array, seed: int) -> tuple[float, float, float, float]:
    """Return AUROC, average precision, precision at the circuit's size, and coverage."""
    size = np.abs(scores.mean(axis=0))
    best = np.argsort(-size, kind="stable")[: truth.sum()]
    estimate = Bootstrap(len(scores), seed).mean(scores.T)
    covered = (estimate.low <= effects) & (effects <= estimate.high)
    return (
        float(roc_auc_score(truth, size)),
        float(average_precision_score(truth, size)),
        float(truth[best].mean()),
        float(covered[truth].mean()),
    )


def ranks_of(name: str, method: str, scores: Array, truth: Flags, graph: Graph) -> pd.DataFrame:
    """Return the rank of each edge of the circuit, from 1, with its mean score and the part of the circuit it is in."""
    mean = scores.mean(axis=0)
    rank = np.empty(len(mean), dtype=int)
    rank[np.argsort(-np.abs(mean), kind="stable")] = np.arange(1, len(mean) + 1)
    part = defaultdict(lambda: "chain", {edge: part for part, of in plant_of(name).parts.items() for edge in of})
    found = [(name, method, part[graph.names[e]], graph.names[e], rank[e], mean[e]) for e in np.flatnonzero(truth)]
    return pd.DataFrame(found, columns=["plant", "method", "part", "edge", "rank", "score"])


def markdown(rows: pd.DataFrame) -> str:
    """Return the table as in `benchmarks/README.md`: the mean over seeds, and the smallest AUROC of a seed."""
    lines = [
        "| plant | method | AUROC | smallest | average precision | precision at the circuit's size | intervals right |"
        " s |",
        "|" + "---|" * 8,
    ]
    for (name, method), of in rows.groupby(["plant", "method"], sort=False):
        lines.append(
            f"| {name} | `{method}` | {of.auroc.mean():.3f} | {of.auroc.min():.3f} |"
            f" {of.average_precision.mean():.2f} | {of.precision.mean():.2f} | {of.covered.mean():.2f} |"
            f" {of.seconds.mean():.1f} |"
        )
    return "\n".join(lines) + "\n"


def edges_markdown(ranks: pd.DataFrame) -> str:
    """Return a table of the worst rank that an edge has in any seed, per part of the circuit and method."""
    methods = list(dict.fromkeys(ranks["method"]))
    lines = [
        "| " + " | ".join(["plant", "part", *(f"`{m}`" for m in methods)]) + " |",
        "|---" * (2 + len(methods)) + "|",
    ]
    for name in dict.fromkeys(ranks["plant"]):
        for part in dict.fromkeys(ranks.loc[ranks["plant"] == name, "part"]):
            of = ranks[(ranks["plant"] == name) & (ranks["part"] == part)]
            worst = [str(of.loc[of["method"] == method, "rank"].max()) for method in methods]
            lines.append("| " + " | ".join([name, part, *worst]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
