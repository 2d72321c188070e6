"""Which writers matter to a circuit, and the sums that readers read."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ioi_lab.circuits.graph import LOGITS
from ioi_lab.circuits.reading import needed_writers, places_of_labels, streams_read
from ioi_lab.engine.buckets import Bucket
from tests.circuits.graphs import as_networkx, flags, graphs


@given(graphs, st.sampled_from([0.05, 0.2, 0.5, 1.0]), st.integers(0, 100))
def test_needed_writers_are_those_with_a_path_to_the_logits(graph, share, seed):
    circuits = np.stack([flags(graph, share, seed), flags(graph, share, seed + 1)])
    needed = needed_writers(graph.masks(circuits), graph.feeds)
    for circuit, found in zip(circuits, needed, strict=True):
        before = nx.ancestors(as_networkx(graph, circuit), ("in", LOGITS))
        assert [("out", writer.name) in before for writer in graph.writers] == found.tolist()


def drawn(seed, n_writers=7, n_readers=5, n_labels=1, n_rows=2, n_positions=6):
    rng = np.random.default_rng(seed)
    share = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], size=(1, n_readers, 1))
    masks = rng.random((n_labels, n_readers, n_writers)) < share
    masks[:, -1] = masks[:, 0]  # two that read the same
    torch.manual_seed(seed)
    live, ablated = torch.randn(2, n_writers, n_rows, n_positions, 3)
    return masks, live, ablated


@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.parametrize("seed", range(4))
def test_readers_read_the_sum_of_kept_and_ablated_writers(seed, offset):
    masks, live, ablated = drawn(seed)
    seen = []
    for readers, stream in streams_read(masks, live - ablated, (live.sum(0), ablated.sum(0)), [], offset):
        seen += readers
        for reader in readers:
            kept = torch.tensor(masks[0, reader])[:, None, None, None]
            expected = torch.where(kept, live, ablated).sum(dim=0)[:, offset:]
            torch.testing.assert_close(stream, expected, atol=1e-5, rtol=0)
    assert sorted(seen) == list(range(masks.shape[1]))


@pytest.mark.parametrize("offset", [0, 3])
def test_readers_read_what_the_label_of_each_token_says(offset):
    masks, live, ablated = drawn(9, n_labels=3)
    labels = torch.tensor([[0, 2, 2, 1, 2, 2], [2, 0, 2, 2, 1, 2]])  # [row, pos]
    places = [tuple((labels == label).nonzero().T) for label in range(3)]
    for readers, stream in streams_read(masks, live - ablated, (live.sum(0), ablated.sum(0)), places, offset):
        kept = torch.tensor(masks[:, readers[0]])[labels].permute(2, 0, 1)[..., None]
        expected = torch.where(kept, live, ablated).sum(dim=0)[:, offset:]
        torch.testing.assert_close(stream, expected, atol=1e-5, rtol=0)


def test_each_token_has_one_label(setups):
    setup = setups["tiny-gpt2"]
    bucket = Bucket(setup.prompts, next(iter(setup.prompts.buckets().values())), torch.device("cpu"))
    graph = setup.graph(("S1", "END"))
    for start in (0, 5):
        s1, end, rest = ({*zip(*(each.tolist() for each in place), strict=True)} for place in
                         places_of_labels(graph, bucket, start))  # fmt: skip
        pairs = [setup.prompts[row] for row in bucket.rows]
        assert s1 == {(row, pair.labels["S1"] - start) for row, pair in enumerate(pairs) if pair.labels["S1"] >= start}
        assert end == {(row, bucket.length - 1 - start) for row in range(len(bucket))}
        assert len(s1) + len(end) + len(rest) == len(bucket) * (bucket.length - start)
        assert not (s1 | end) & rest
    assert places_of_labels(setup.graph(), bucket, 0) == []
