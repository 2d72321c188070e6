"""The measurement of circuits: scores on the prompts of discovery, faithfulness on those of evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float

from ioi_lab.circuits.checkpoints import NO_CHECKPOINTS, Checkpoint, Checkpoints
from ioi_lab.circuits.comparison import rank_correlations
from ioi_lab.circuits.faithfulness import FAITHFUL, Curve, check_gap
from ioi_lab.circuits.files import CircuitFile
from ioi_lab.circuits.finding import Found, SearchSettings, circuits_of_counts, find_by_acdc, find_circuits, numbers_of
from ioi_lab.circuits.graph import Flags, Graph
from ioi_lab.circuits.random_circuits import random_circuits
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.scores import ScoreSettings, edge_scores
from ioi_lab.circuits.selection import Ranking, edge_counts, nodes_of, pruned
from ioi_lab.circuits.validity.evaluation import Evaluation
from ioi_lab.errors import LabError
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.circuit.checks import checked_circuits
from ioi_lab.interventions.circuit.result import ACDC, GIVEN, PATTERN, CircuitResult, Controls, MethodCurve, Split
from ioi_lab.interventions.circuit.setup import graph_of, runners_of, search_settings
from ioi_lab.lenses.head_scores import repeat_scores
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.metrics import Array, Readout

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.circuit.keys import CircuitKeys

_N_SEQUENCES: Final = 8
"""The number of sequences of random tokens by which heads are named."""


def measure_circuit(engine: Engine, keys: CircuitKeys, checkpoints: Checkpoints = NO_CHECKPOINTS) -> CircuitResult:
    """Score all edges, take circuits of all sizes, and evaluate them; long searches keep checkpoints.

    Raises a `LabError` for keys that do not fit the model or the prompts, and if a self-check fails.
    """
    graph = graph_of(engine, keys)
    settings = search_settings(engine, graph, keys)
    discovery, evaluation, split = runners_of(engine, graph, keys)
    per_prompt: dict[str, Float[Array, "prompt edge"]] = {}
    found: list[tuple[str, Ranking, Found]] = []
    checkpoint = Checkpoint.of(
        checkpoints, "exact", discovery, objective=keys.objective, varied=numbers_of(settings.varied)
    )
    of_scores = ScoreSettings(keys.objective, keys.ig_steps, keys.ig_rule, keys.seed, settings.varied, checkpoint)
    for method in keys.methods:
        per_prompt[method] = edge_scores(discovery, method, of_scores)
        rankings: list[Ranking] = [keys.ranking, "signed" if keys.ranking == "absolute" else "absolute"]
        for ranking in rankings:
            by_ranking = replace(settings, ranking=ranking)
            if keys.search == "acdc":
                by_ranking = replace(by_ranking, search="topn")
            found.append((method, ranking, find_circuits(graph, per_prompt[method].mean(axis=0), by_ranking)))
    if keys.search == "acdc":
        found.insert(0, (ACDC, keys.ranking, find_by_acdc(discovery, settings, checkpoints)))
    scores = {method: discovery.engine.bootstrap.mean(values.T) for method, values in per_prompt.items()}
    return _evaluated(keys, graph, settings, discovery, evaluation, split, found, scores, per_prompt[keys.methods[0]])


def evaluate_circuit(engine: Engine, keys: CircuitKeys, place: str) -> CircuitResult:
    """Evaluate a circuit that was found before, on all prompts.

    Raises a `LabError` for a file that is not that of a circuit of this model's sizes.
    """
    key = "intervention.from_run"
    file = CircuitFile.read(place, key)
    graph = file.graph_in(engine.shape, key)
    circuit = file.circuit_in(graph, key)
    found = Found.of(graph, circuit[None])
    if not found.circuits.any():
        raise LabError(f"{key}: the edges in {place!r} do not connect the input to the logits; expected some that do")
    known = np.array([file.edges.get(name) for name in graph.names], dtype=np.float64)  # NaN for those without a score
    rows = list(range(len(engine.prompts)))
    runner = CircuitRunner(engine, graph, keys.ablation, keys.seed)
    settings = replace(search_settings(engine, graph, keys), search="topn", nodes="edges")
    unknown = np.full(graph.n_edges, np.nan)
    return _evaluated(
        keys,
        graph,
        settings,
        runner,
        runner,
        Split(rows, rows, 0, are_apart=False),
        [(GIVEN, keys.ranking, found)],
        {GIVEN: Estimate(known, unknown, unknown)},
        None,
    )


def _evaluated(
    keys: CircuitKeys,
    graph: Graph,
    settings: SearchSettings,
    discovery: CircuitRunner,
    evaluation: CircuitRunner,
    split: Split,
    found: Sequence[tuple[str, Ranking, Found]],
    scores: Mapping[str, Estimate],
    per_prompt: Float[Array, "prompt edge"] | None,
) -> CircuitResult:
    if len(found[0][2].asked) == 1:  # no other size could be chosen
        check_has_edges(keys, found[0][2], 0)
    engine = evaluation.engine
    baselines = Baselines.measure(engine)
    ends, checks = checked_circuits(evaluation, keys.seed)
    whole, empty = ends.logit_diff[:1], ends.logit_diff[1:]
    check_gap(whole, empty)
    circuits = np.concatenate([each.circuits for _, _, each in found])
    readout, curves, row = evaluation.run(circuits), [], 0
    for method, ranking, each in found:
        of_method = readout.select(slice(row, row + len(each.circuits)))
        n_edges = settings.n_varied(graph)
        curves.append(_curve(engine.bootstrap, graph, n_edges, method, ranking, each, of_method, whole, empty))
        row += len(each.circuits)
    first = curves[0]
    varied = slice(None) if settings.varied is None else settings.varied
    on_discovery = first.curve.faithfulness.value
    if discovery is not evaluation:
        on_discovery = faithfulness_of(discovery, first.found.circuits)
    chosen = chosen_size(keys, graph, settings, first.found, on_discovery)
    check_has_edges(keys, first.found, chosen)
    return CircuitResult(
        baselines=baselines,
        checks=checks,
        graph=graph,
        origin=engine.model.origin,
        keys=keys,
        split=split,
        scores=scores,
        per_prompt=per_prompt,
        curves=curves,
        controls=_controls(evaluation, keys, settings, first.found, whole, empty),
        correlations=rank_correlations(np.stack([each.value for each in scores.values()])[:, varied]),
        chosen=chosen,
        discovery_faithfulness=on_discovery,
        classes=_classes(engine, keys.seed),
    )


def _curve(
    bootstrap: Bootstrap,
    graph: Graph,
    n_edges: int,
    method: str,
    ranking: Ranking,
    found: Found,
    readout: Readout,
    whole: Float[Array, "1 prompt"],
    empty: Float[Array, "1 prompt"],
) -> MethodCurve:
    curve = Curve.of(bootstrap, found.asked / n_edges, found.kept, readout.logit_diff, whole, empty)
    return MethodCurve(
        method=method,
        ranking=ranking,
        found=found,
        curve=curve,
        kl=None if readout.kl is None else bootstrap.mean(readout.kl),
        accuracy=bootstrap.share(readout.correct),
        n_nodes=[len(nodes_of(graph, circuit)) for circuit in found.circuits],
        readout=readout,
    )


def faithfulness_of(runner: CircuitRunner, circuits: Bool[Flags, "circuit edge"]) -> Float[Array, "circuit"]:
    """Return the faithfulness of circuits without intervals.

    Raises a `LabError` if all edges give no more than none.
    """
    evaluation = Evaluation.of(runner)
    return evaluation.points(evaluation.logit_diffs(circuits))


def _controls(
    runner: CircuitRunner,
    keys: CircuitKeys,
    settings: SearchSettings,
    found: Found,
    whole: Float[Array, "1 prompt"],
    empty: Float[Array, "1 prompt"],
) -> Controls:
    graph, rng = runner.graph, np.random.default_rng(keys.seed)
    counts = np.minimum(found.asked, settings.n_varied(graph)).tolist()
    uniform = [
        pruned(graph, circuit)
        for _ in range(keys.controls)
        for circuit in circuits_of_counts(graph, rng.standard_normal(graph.n_edges), counts, settings)
    ]
    of_sizes = [
        random_circuits(graph, circuit, keys.controls, keys.seed + size, matched=True, varied=settings.varied)
        for size, circuit in enumerate(found.circuits)
    ]
    matched = [pruned(graph, circuit) for of_size in zip(*of_sizes, strict=True) for circuit in of_size]
    evaluation = Evaluation(runner, whole, empty)
    values = evaluation.points(evaluation.logit_diffs(np.stack([*uniform, *matched]))).reshape(2, keys.controls, -1)
    return Controls(values[0], values[1])


def chosen_size(
    keys: CircuitKeys, graph: Graph, settings: SearchSettings, found: Found, faithfulness: Float[Array, "size"]
) -> int:
    """Return the size that is kept: the one that was asked for, or the smallest that is faithful on discovery."""
    if keys.size != "auto" and keys.search in ("topn", "greedy"):
        (count,) = edge_counts(settings.n_varied(graph), [keys.size], "intervention.size")
        return int(np.flatnonzero(found.asked == count)[0])
    return int(np.argmax(faithfulness >= FAITHFUL)) if (faithfulness >= FAITHFUL).any() else len(faithfulness) - 1


def check_has_edges(keys: CircuitKeys, found: Found, size: int) -> None:
    """Raise a `LabError` if the circuit of a size has no edges: none was chosen, or those chosen connect nothing."""
    if found.circuits[size].any():
        return
    own = {"threshold": ("threshold", keys.threshold), "acdc": ("tau", keys.tau)}
    sized = ("sizes", keys.sizes) if keys.size == "auto" else ("size", keys.size)
    key, value = own.get(keys.search, sized)
    asked = int(found.asked[size])
    why = f"the {asked} that are chosen do not connect the input to the logits" if asked else "none is chosen"
    more = "a smaller value" if keys.search in own else "a larger one"
    raise LabError(f"intervention.{key}: got {value}, by which the circuit has no edges ({why}); expected {more}")


def _classes(engine: Engine, seed: int) -> dict[str, str]:
    """Return the attention pattern of each head that has one on repeated random tokens, by its name in the graph."""
    scores = {name: values.mean(axis=2) for name, values in repeat_scores(engine, _N_SEQUENCES, seed).items()}
    classes = {}
    for name, of_heads in scores.items():
        others = np.max([each for other, each in scores.items() if other != name], axis=0)
        for layer, head in np.argwhere((of_heads >= PATTERN) & (of_heads > others)).tolist():
            classes[f"a{layer}.h{head}"] = name.replace("_", " ")
    return classes
