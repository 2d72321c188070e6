from __future__ import annotations

import json

import numpy as np
import pytest

from ioi_lab.errors import LabError
from ioi_lab.interventions.circuit_tests.subject import subject_of
from tests.interventions.circuit_tests.conftest import RIGHT, keys


def names(subject, flags):
    return {name for name, flag in zip(subject.graph.names, flags, strict=True) if flag}


def test_a_circuit_of_a_file_is_tested_on_all_prompts(right):
    subject = right.subject
    assert names(subject, subject.circuit) == set(RIGHT)
    assert subject.split.evaluation == list(range(16))
    assert not subject.split.are_apart
    assert subject.discovery is subject.evaluation
    assert subject.count == len(RIGHT)
    assert subject.scores.shape == (16, subject.graph.n_edges)


def test_a_circuit_that_is_found_is_tested_on_prompts_with_other_names(found):
    subject = found.subject
    assert subject.split.are_apart
    assert not set(subject.split.discovery) & set(subject.split.evaluation)
    assert len(subject.scores) == len(subject.split.discovery)
    assert len(subject.evaluation.engine.prompts) == len(subject.split.evaluation)
    assert names(subject, subject.circuit) >= set(RIGHT[:3])
    assert subject.count == 5


def test_the_search_on_the_same_scores_finds_the_same_circuit(found):
    subject = found.subject
    again = subject.search(subject.scores.mean(axis=0))
    assert again.sum() == 5
    assert (again | subject.circuit == again).all()  # before pruning


def test_auto_keeps_the_smallest_faithful_circuit(engine):
    subject = subject_of(engine, keys(scores="exact", sizes=[2, 3, 10], eval_share=0))
    assert int(subject.circuit.sum()) == 3
    assert subject.split.discovery == subject.split.evaluation


def test_acdc_circuits_are_searched_again_by_scores(engine):
    subject = subject_of(engine, keys(search="acdc", tau=0.5, orders=1, eval_share=0, objective="logit_diff"))
    assert names(subject, subject.circuit) >= set(RIGHT[:3])
    assert subject.search(np.arange(subject.graph.n_edges)).sum() == subject.count == subject.circuit.sum()


def test_files_that_do_not_fit_are_refused(engine, tmp_path):
    def refusal(content):
        (tmp_path / "circuit.json").write_text(json.dumps(content))
        with pytest.raises(LabError) as error:
            subject_of(engine, keys(circuit=str(tmp_path / "circuit.json")))
        return str(error.value)

    other = refusal({"model": {"name": "other", "n_layers": 7}, "edges": RIGHT})
    assert other.startswith("intervention.circuit: the circuit is of another model: n_layers is 7 in other")
    assert "a9.h0" in refusal({"model": "network", "edges": ["input->a9.h0<q>"]})
    broken = refusal({"model": "network", "edges": ["input->a0.h1<v>", "a2.h3->logits"]})
    assert broken.startswith("intervention.circuit: got ")
    assert "no path leads from the input to the logits" in broken
