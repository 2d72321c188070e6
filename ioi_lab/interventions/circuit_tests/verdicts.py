"""What each test says: its outcome, one sentence that the evidence allows, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.circuits.faithfulness import FAITHFUL
from ioi_lab.circuits.validity import ablation_choice, completeness
from ioi_lab.circuits.validity.controls import Comparison, Kind
from ioi_lab.circuits.validity.equivalence import PUBLISHED_IOI, TOLERANCE
from ioi_lab.circuits.validity.evaluation import LEVEL, MARGIN
from ioi_lab.circuits.validity.stability import BAR
from ioi_lab.interventions.circuit_tests.verdict import Statistic, Verdict, joint_outcome
from ioi_lab.reports.wording import counted, interval, listed
from ioi_lab.stats.bootstrap import Estimate

if TYPE_CHECKING:
    from ioi_lab.interventions.circuit_tests.measure import CircuitTestsResult

_MAX_NAMED: Final = 4
KINDS: Final[dict[Kind, str]] = {
    "uniform": "random edges",
    "matched": "random edges of the same classes",
    "paths": "random paths",
}


def verdicts(result: CircuitTestsResult) -> list[Verdict]:
    """Return the verdicts of all tests, in the order in which they are reported."""
    return [
        _sufficiency(result),
        _necessity(result),
        _minimality(result),
        _equivalence(result),
        _ablations(result),
        _stability(result),
        *_groups(result),
        _completeness(result),
        _self_repair(result),
    ]


def exact(value: float) -> Estimate:
    """Return a number without an interval."""
    return Estimate(np.array([float(value)]), np.full(1, np.nan), np.full(1, np.nan))


def _sufficiency(result: CircuitTestsResult) -> Verdict:
    comparisons = result.sufficiency
    sentence = f"f = {interval(result.faithfulness)}; {_shares(comparisons, 'are farther from f = 1')}"
    return _against_random("sufficiency", comparisons, sentence)


def _necessity(result: CircuitTestsResult) -> Verdict:
    f = comparisons = result.necessity
    left = interval(f[0].faithfulness)
    sentence = f"without the circuit f = {left}; {_shares(comparisons, 'cost less when they are left out')}"
    return _against_random("necessity", comparisons, sentence)


def _against_random(test: str, comparisons: Sequence[Comparison], sentence: str) -> Verdict:
    statistics = [Statistic("faithfulness", comparisons[0].faithfulness)]
    for each in comparisons:
        if not each.why_not:
            statistics += [
                Statistic(f"share_worse_{each.kind}", exact(each.n_worse / len(each.random)), 1.0),
                Statistic(f"p_value_{each.kind}", exact(each.p_value), LEVEL),
                Statistic(f"gain_{each.kind}", exact(each.gain), MARGIN),
            ]
    return Verdict(test, joint_outcome([each.outcome for each in comparisons]), sentence, statistics)


def _shares(comparisons: Sequence[Comparison], what: str) -> str:
    """Return how many random circuits of each kind are worse, or why the comparison is not possible."""
    possible = [each for each in comparisons if not each.why_not]
    parts = [
        f"{each.n_worse} of {len(each.random)} of {KINDS[each.kind]} (p = {each.p_value:.2g})" for each in possible
    ]
    text = f"of circuits of this size, {', '.join(parts)} {what}" if parts else ""
    small = [each for each in possible if each.p_value < LEVEL and each.gain < MARGIN]
    if small:
        text += f", but by less than {MARGIN} in the median"
    impossible = [each for each in comparisons if each.why_not]
    if len(impossible) == len(comparisons):
        return impossible[0].why_not
    return "; ".join([text, *(f"not possible with {KINDS[each.kind]}: {each.why_not}" for each in impossible)])


def _minimality(result: CircuitTestsResult) -> Verdict:
    test, names = result.minimality, result.subject.graph.names
    n_needed, tested = int(test.needed.sum()), len(test.edges)
    which = f"the {counted(tested, 'edge')}"
    if tested < test.n_edges:
        which = f"the {f'{tested} ' if tested > 1 else ''}weakest of {test.n_edges} edges"
    more = f"f by more than edges added at random (Bonferroni, {len(test.added)} of them)"
    if not len(test.added):
        sentence = "the circuit has all edges, so none can be added at random"
    elif n_needed == tested:
        sentence = f"{'each of ' if tested > 1 else ''}{which} changes {more}"
        sentence += "; the others were not tested" if tested < test.n_edges else ""
    elif len(test.added) < test.n_wanted:
        sentence = (
            f"{len(test.added)} edges added at random are too few to tell {tested} edges from them; "
            f"{test.n_wanted} are needed"
        )
    else:
        sentence = f"{n_needed} of {which} change {more}"
    if len(test.added) and test.idle.any():
        idle = [names[edge] for edge in test.edges[test.idle]]
        sentence += f"; no more than the median added edge: {listed(idle, _MAX_NAMED)}"
    statistics = [Statistic("share_needed", exact(n_needed / tested), 1.0), Statistic("n_tested", exact(tested))]
    if len(test.added):
        statistics.append(Statistic("median_added", exact(float(np.median(np.abs(test.added))))))
    return Verdict("minimality", test.outcome, sentence, statistics)


def _equivalence(result: CircuitTestsResult) -> Verdict:
    test = result.equivalence
    sentence = (
        f"the circuit scores above the whole model on {interval(test.above)} of the prompts (ideal 0.5 ± {TOLERANCE}; "
        f"{PUBLISHED_IOI} for the published IOI circuit of GPT-2 small); the mean difference is "
        f"{interval(test.difference)} logits"
    )
    statistics = [Statistic("share_above", test.above, 0.5), Statistic("logit_diff_change", test.difference, 0.0)]
    return Verdict("equivalence", test.outcome, sentence, statistics)


def _ablations(result: CircuitTestsResult) -> Verdict:
    known = [(each, each.faithfulness) for each in result.ablations if each.faithfulness is not None]
    missing = len(result.ablations) - len(known)
    statistics = [Statistic(f"faithfulness_{each.ablation}_{each.unit}", f, FAITHFUL) for each, f in known]
    if not known:
        return Verdict("ablation_choice", "not testable", "no ablation is possible on these prompts", [])
    (low, f_low), (high, f_high) = (pick(known, key=lambda pair: float(pair[1].value[0])) for pick in (min, max))
    n_faithful = sum(f.value[0] >= FAITHFUL for _, f in known)
    sentence = (
        f"f is at least {FAITHFUL} for {n_faithful} of {counted(len(known), 'choice')} of ablation, from "
        f"{interval(f_low)} ({low.ablation.replace('_', ' ')}, {low.unit}) to {interval(f_high)} "
        f"({high.ablation.replace('_', ' ')}, {high.unit})"
    )
    sentence += f"; {missing} are not possible on these prompts" if missing else ""
    return Verdict("ablation_choice", ablation_choice.outcome_of(result.ablations), sentence, statistics)


def _stability(result: CircuitTestsResult) -> Verdict:
    test, keys = result.stability, result.keys
    sentence = (
        f"searched again on {len(test.with_circuit)} resamples of {counted(len(result.subject.scores), 'prompt')}, the "
        f"circuits overlap by {test.mean:.2f} in the mean of pairs (Jaccard; {test.random:.2f} for random scores, bar "
        f"{BAR}), and by {test.with_circuit.mean():.2f} with the circuit"
    )
    if keys.search in ("acdc", "threshold") or result.subject.file is not None:
        sentence += f"; the search is for as many of the best edges by {keys.methods[0]}"
    low, high = np.quantile(test.pairwise, (0.025, 0.975))
    spread = Estimate(np.array([test.mean]), np.array([low]), np.array([high]))
    statistics = [
        Statistic("jaccard_pairs", spread, BAR),
        Statistic("jaccard_with_circuit", exact(float(test.with_circuit.mean())), BAR),
        Statistic("jaccard_random", exact(test.random)),
    ]
    return Verdict("stability", test.outcome, sentence, statistics)


def _groups(result: CircuitTestsResult) -> list[Verdict]:
    found = []
    for group in result.groups:
        least, largest = int(np.nanargmin(group.faithfulness.value)), int(np.nanargmax(group.faithfulness.value))
        told = "differs by" if group.p_value < LEVEL else "is not shown to differ by"
        reached = int((group.faithfulness.value >= FAITHFUL).sum())
        sentence = (
            f"f is {FAITHFUL:g} or more on {reached} of {counted(len(group.names), group.by)}, and {told} {group.by} "
            f"beyond chance (permutation test, p = {group.p_value:.2g}): from "
            f"{interval(group.faithfulness, least)} on {counted(group.n_prompts[least], 'prompt')} to "
            f"{interval(group.faithfulness, largest)} on {counted(group.n_prompts[largest], 'prompt')}"
        )
        statistics = [Statistic("p_value", exact(group.p_value), LEVEL)]
        statistics += [
            Statistic(f"faithfulness_{text}", group.faithfulness.rows([row]))
            for text, row in (("lowest", least), ("highest", largest))
        ]
        found.append(Verdict(f"by_{group.by}", group.outcome, sentence, statistics))
    return found


def _completeness(result: CircuitTestsResult) -> Verdict:
    sets = result.completeness
    if not sets:
        return Verdict("completeness", "not testable", "the circuit has no head and no MLP to leave out", [])
    worst = max(sets, key=lambda each: abs(each.difference.value[0]))
    beyond = sum(completeness.is_beyond(each.difference) for each in sets)
    sentence = (
        f"without a set K, circuit and model differ by more than {MARGIN} for {beyond} of "
        f"{counted(len(sets), 'set')}, at most by f(C∖K) − f(G∖K) = {interval(worst.difference)} for K = "
        f"{listed(worst.nodes, _MAX_NAMED)} (not corrected for this choice)"
    )
    statistics = [Statistic("share_beyond", exact(beyond / len(sets)), 0.0)]
    for kind in ("random", "greedy"):
        differences = [each.difference for each in sets if each.kind == kind]
        if differences:
            largest = max(differences, key=lambda each: abs(each.value[0]))
            statistics.append(Statistic(f"largest_difference_{kind}", largest, 0.0))
    return Verdict("completeness", completeness.outcome_of(sets), sentence, statistics)


def _self_repair(result: CircuitTestsResult) -> Verdict:
    test = result.self_repair
    if not test.pairs:
        return Verdict("self_repair", "not testable", "the circuit has fewer than two heads", [])
    of = f" of {test.n_pairs}" if test.n_pairs > len(test.pairs) else ""
    beyond = np.flatnonzero(test.beyond_sum).tolist()
    if not test.is_tested:
        sentence = "there are too few prompts for a test"
    elif beyond:
        strongest = max(beyond, key=lambda row: float(test.excess.value[row]))
        a, b = test.pairs[strongest]
        sentence = (
            f"{len(beyond)}{f' of {len(test.pairs)}'} pairs tested{of} cost more together than the sum of both alone, "
            f"most {a} and {b}: {interval(test.joint, strongest)} against {interval(test.first, strongest)} and "
            f"{interval(test.second, strongest)} logits, as if one backed up the other (saturation has the same effect)"
        )
    else:
        sentence = (
            f"of {counted(len(test.pairs), 'pair')} of heads tested{of}, none is shown to cost more together than the "
            "sum of both alone"
        )
    statistics = [
        Statistic("n_beyond_sum", exact(len(beyond)), 0.0),
        Statistic("largest_excess", test.excess.rows([int(np.argmax(test.excess.value))]), 0.0),
    ]
    return Verdict("self_repair", test.outcome, sentence, statistics)


def subject_line(result: CircuitTestsResult) -> str:
    """Return what circuit is tested, and on which prompts."""
    subject, file = result.subject, result.subject.file
    n_edges, n_all = int(subject.circuit.sum()), subject.graph.n_edges
    if file is not None:
        how = "from a file"
        on = "; whether its names occur in the prompts that the circuit was found on is unknown"
    else:
        how = f"found by {result.keys.search} on {counted(len(subject.split.discovery), 'other prompt')}"
        on = ", with other names"
        if not subject.split.are_apart:
            how, on = f"found by {result.keys.search}", ", the same that it was found on: f is too high by that choice"
    n_prompts = len(subject.split.evaluation)
    return (
        f"circuit of {counted(n_edges, 'edge')} of {n_all:,}, {how}, tested on {counted(n_prompts, 'prompt')}{on}; "
        f"ablated edges carry: {result.keys.ablation.replace('_', ' ')}"
    )
