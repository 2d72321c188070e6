"""Splits of prompts into two halves: one that a steering vector is made from, and one that it is tried on."""

from __future__ import annotations

import numpy as np

from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tasks.splits import names_of

Halves = tuple[list[int], list[int]]
"""The rows of the prompts that a vector is made from, and of those that it is tried on."""


def halves_by_name(prompts: PromptPairs, seed: int) -> Halves | None:
    """Return two halves that share no name (see `names_of`); prompts with names of both are left out.

    The names are cut into two sets such that few prompts have names of both (Kernighan and Lin 1970). Returns None if
    a half would be empty, since all prompts share their names.
    """
    import networkx as nx

    graph, of_prompts = nx.Graph(), names_of(prompts)
    for own in of_prompts:
        nx.add_path(graph, own)
    first, second = (
        [row for row, own in enumerate(of_prompts) if names.issuperset(own)]
        for names in nx.algorithms.community.kernighan_lin_bisection(graph, seed=seed)
    )
    return (first, second) if first and second else None


def halves_by_prompt(count: int, seed: int) -> Halves:
    """Return two halves of `count` prompts, drawn at random."""
    order = np.random.default_rng(seed).permutation(count).tolist()
    return sorted(order[: count // 2]), sorted(order[count // 2 :])
