"""The sample does not depend on how texts come, has one position per text, and prefers none."""

from __future__ import annotations

import torch

from ioi_lab.alignment import row_sample
from ioi_lab.alignment.row_sample import RowSample


def added(texts, chunks, monkeypatch, rows=4):
    """A sample of these texts, each position of which has its own number as its activation."""
    monkeypatch.setattr(row_sample, "SAMPLE_ROWS", rows)
    sample = RowSample.empty((1, 1), (1, 1))
    numbers = torch.arange(len(texts), dtype=torch.float64)[:, None, None]
    for start, end in chunks:
        sample.add(torch.tensor(texts[start:end]), numbers[start:end], -numbers[start:end], 0)
    return sample


def test_it_is_the_same_however_texts_are_divided(monkeypatch):
    texts = [text for text in range(10) for _ in range(3)]
    whole = added(texts, [(0, 30)], monkeypatch)
    parts = added(texts, [(0, 6), (6, 21), (21, 30)], monkeypatch)
    assert torch.equal(whole.source, parts.source)
    assert torch.equal(whole.source, -whole.target)
    chosen = (whole.source.flatten() // 3).tolist()
    assert len(set(chosen)) == len(whole) == 4


def test_fewer_texts_than_rows_are_all_there(monkeypatch):
    sample = added([5, 5, 9], [(0, 3)], monkeypatch)
    assert len(sample) == 2
    assert [len(side) for side in sample.rows] == [2, 2]
    x, y = sample.pair(0, 0, backward=True)
    assert torch.equal(x, -y)


def test_each_position_is_as_likely(monkeypatch):
    texts = [text for text in range(3000) for _ in range(3)]
    sample = added(texts, [(0, 9000)], monkeypatch, rows=3000)
    counts = torch.bincount((sample.source.flatten() % 3).long())
    assert ((counts - 1000).abs() < 120).all()
    assert RowSample.bytes((2, 3), (1, 4)) == 8 * 3000 * 11
