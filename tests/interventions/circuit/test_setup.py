from __future__ import annotations

import pytest

from ioi_lab.circuits.graph import Graph
from ioi_lab.circuits.selection import edges_at
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.interventions.circuit.setup import graph_of, search_settings, split_of
from tests.interventions.circuit.conftest import circuit


def test_edges_are_told_apart_by_the_labels_of_the_prompts(engine):
    plain, by_label = (graph_of(engine, circuit(positions=positions)) for positions in ("all", "labels"))
    assert plain.labels == ()
    assert {"IO", "S1", "S2", "END"} <= set(by_label.labels)
    assert by_label.n_edges == plain.n_edges * by_label.n_labels


@pytest.mark.parametrize(
    ("only", "heads", "layers"),
    [
        ({"layer": 2}, None, [2]),
        ({"head": ["2.0", "3.1"]}, [(2, 0), (3, 1)], None),
        ({"layer": [1, 2], "head": 0}, [(1, 0), (2, 0)], None),
    ],
)
def test_only_some_edges_vary(engine, only, heads, layers):
    graph = Graph.of(engine.shape)
    settings = search_settings(engine, graph, circuit(only=only))
    assert (settings.varied == edges_at(graph, heads, layers)).all()
    assert 0 < settings.varied.sum() < graph.n_edges
    assert search_settings(engine, graph, circuit()).varied is None


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"sizes": [0.0001]}, "intervention.sizes: got 0.0001, which is no edge of 479; expected at least 0.0021"),
        (
            {"sizes": [480]},
            "intervention.sizes: got 480.0, expected a share up to 1, or a number of edges from 2 to 479",
        ),
        ({"sizes": [-1]}, "intervention.sizes: got -1.0, "),
        ({"size": 2.5}, "intervention.size: got 2.5, "),
        ({"only": {"layer": 9}}, "intervention."),
        ({"only": {"head": "9.9"}}, "intervention."),
    ],
)
def test_what_the_model_does_not_have_is_named(engine, changes, line):
    with pytest.raises(LabError) as error:
        search_settings(engine, Graph.of(engine.shape), circuit(**changes))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_the_size_that_is_kept_is_one_of_the_sizes(engine):
    settings = search_settings(engine, Graph.of(engine.shape), circuit(size=30))
    assert list(settings.sizes) == [24, 0.2, 1, 30]


def test_prompts_are_split_by_their_names(engine):
    first, second, split = split_of(engine, circuit(eval_share=0.5))
    assert len(first.prompts) + len(second.prompts) + split.n_unused == len(engine.prompts)
    assert [pair.clean for pair in second.prompts] == [engine.prompts[row].clean for row in split.evaluation]
    assert split.are_apart
    assert not {pair.answer for pair in first.prompts} & {pair.answer for pair in second.prompts}
    both = split_of(engine, circuit(eval_share=0))
    assert both[0] is both[1] is engine
    assert both[2].discovery == both[2].evaluation == list(range(len(engine.prompts)))


def test_prompts_that_cannot_be_split_are_named(engine):
    with pytest.raises(LabError, match=r"^intervention\.eval_share: got 0\.5, but the 1 prompts? cannot be split"):
        split_of(Engine(engine.model, engine.prompts.only(0)), circuit())


def test_too_little_memory_is_named(engine):
    small = Engine(engine.model, engine.prompts, memory_gb=1e-5)
    with pytest.raises(LabError, match=r"^engine\.memory_gb: got 1e-05, but "):
        circuit().measure(small)


def test_means_by_position_need_prompts_of_one_sentence(engine):
    alone = Engine(engine.model, engine.prompts.only(0))
    with pytest.raises(LabError, match=r"^intervention\.ablation: ") as error:
        circuit(ablation="mean_by_position", eval_share=0).measure(alone)
    assert "\n" not in str(error.value)
