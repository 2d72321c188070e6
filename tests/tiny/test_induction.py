"""The hand-set network's files; what its heads do is tested in `tests/test_planted.py`."""

from __future__ import annotations

from transformers import AutoTokenizer

from ioi_lab.circuits.graph import Graph
from ioi_lab.models.loading import load_model
from ioi_lab.tasks.induction import WORDS
from ioi_lab.tiny.induction import circuit, write_network
from tests.conftest import model_config


def test_the_tokenizer_has_a_token_for_each_word_of_the_task(tmp_path):
    write_network(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer(" ".join(WORDS), add_special_tokens=False).input_ids) == len(WORDS)
    assert tokenizer.unk_token_id not in tokenizer(" ".join(WORDS)).input_ids


def test_the_circuit_follows_the_heads(tmp_path):
    write_network(tmp_path, previous_token=(0, 3), induction=(1, 1))
    edges = circuit((0, 3), (1, 1))
    assert "a0.h3->a1.h1<k>" in edges
    assert set(edges) <= set(Graph.of(load_model(model_config(tmp_path)).shape).names)
