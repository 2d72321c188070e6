"""The provenance that every run has."""

from __future__ import annotations

from ioi_lab.runs import provenance
from ioi_lab.runs.provenance import environment


def test_environment():
    facts = environment()
    assert facts["packages"]["transformer-lens"]
    assert facts["peak_memory_mb"] > 10


def test_outside_a_checkout_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "runs.py"))
    facts = provenance._environment.__wrapped__()
    assert facts["git_commit"] is None
    assert facts["git_dirty"] is None
