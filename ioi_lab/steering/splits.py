"""Splits of prompts into two halves: one that a steering vector is made from, and one that it is tried on."""

from __future__ import annotations

import numpy as np

from ioi_lab.tasks.prompts import PromptPairs

Halves = tuple[list[int], list[int]]
"""The rows of the prompts that a vector is made from, and of those that it is tried on."""


def halves_by_name(prompts: PromptPairs, seed: int) -> Halves | None:
    """Return two halves that share neither answers nor distractors; prompts with names of both are left out.

    The names are cut into two sets such that few prompts have names of both (Kernighan and Lin 1970). Returns None if
    a half would be empty, since all prompts share their names.
    """
    import networkx as nx

    graph = nx.Graph()
    for pair in prompts:
        graph.add_edge(pair.answer_id, pair.distractor_id)
    first, second = (
        [row for row, pair in enumerate(prompts) if {pair.answer_id, pair.distractor_id} <= names]
        for names in nx.algorithms.community.kernighan_lin_bisection(graph, seed=seed)
    )
    return (first, second) if first and second else None


def halves_by_prompt(count: int, seed: int) -> Halves:
    """Return two halves of `count` prompts, drawn at random."""
    order = np.random.default_rng(seed).permutation(count).tolist()
    return sorted(order[: count // 2]), sorted(order[count // 2 :])
