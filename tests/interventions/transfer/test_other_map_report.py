"""The second map: what it is fitted between, and what is reported of it next to the first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.interventions.transfer.config import Transfer
from ioi_lab.interventions.transfer.other_map_report import OtherMapReport
from ioi_lab.interventions.transfer.vector_report import VectorTransferReport
from ioi_lab.stats.bootstrap import Estimate
from tests.conftest import ioi_task
from tests.interventions.toy import CONTEXT

TEXT = {"_target_": "ioi_lab.alignment.corpora.TinyEnglish", "name": "tiny_english", "n": 100, "seed": 0}
TASK = {
    "_target_": "ioi_lab.alignment.corpora.TaskPrompts",
    "name": "task",
    "task": {"_target_": "ioi_lab.tasks.ioi.IOITask", "name": "ioi", "n": 100, "seed": 1000},
}
TITLES = ("ridge map fitted on prompts", "ridge map fitted on text")


@pytest.fixture(scope="module")
def results(vectors):
    """The same vectors, once with a slope that is known to be larger."""
    result = vectors[1]
    larger = Estimate(*(np.array([part]) for part in (4.0, 3.0, 5.0)))
    return replace(result, slopes=replace(result.slopes, carried=larger), map_r2=0.5), replace(result, map_r2=0.25)


@pytest.fixture
def report(results):
    return OtherMapReport(results, TITLES, CONTEXT)


def test_metrics_are_those_of_the_second_map(report, results):
    own = VectorTransferReport(results[1], TITLES[1], CONTEXT).metrics()
    metrics = report.metrics()
    assert metrics["other_map_slope"] == results[1].slopes.carried.value[0]
    assert metrics["other_map_map_r2"] == 0.25
    assert all(metrics[name] == own[name.removeprefix("other_map_")] for name in metrics)
    assert "other_map_share_of_native_low" in metrics


def test_the_sentence_has_both_slopes_and_the_controls_of_its_own_route(report, results):
    line = report.line
    assert "through a ridge map fitted on text instead (R² 0.25" in line
    assert "next to 4.00 [3.00, 5.00] through the ridge map fitted on prompts" in line
    for kind in results[1].slopes.unrelated:
        assert f"97.5 % of {kind.noun} below {kind.quantile:.2f}" in line


def test_the_table_names_the_map(report, results):
    table = report.slope_table()
    assert set(table["map"]) == {TITLES[1]}
    assert len(table) == len(results[1].slopes.rows.names)


def test_the_figure_has_both_maps(report):
    figure = report.figure()
    labels = [" ".join(text.get_text().split()) for text in figure.axes[0].get_yticklabels()]
    assert sum("map of text" in label for label in labels) == 2
    assert sum("map of prompts" in label for label in labels) == 2
    assert "native" in labels


@pytest.mark.long
def test_a_second_map_is_fitted_between_the_layers_that_are_looked_at(tiny_models):
    engine = Engine(tiny_models[1], ioi_task(n=24).prompt_pairs(tiny_models[1].tokens))
    keys = {"scale": [-1.0, 1.0], "controls": 5, "unrelated": 39, "corpus": TASK, "other_corpus": TEXT}
    keys["alignment"] = {"source_layers": [2, 3], "target_layers": 3, "positions": "last"}
    result = Transfer.from_config(keys, "intervention").measure(engine)
    assert result.other_map.title == "ridge map fitted on tiny english"
    for way, other in result.other_map.directions.items():
        first = result.directions[way]
        assert other.best == first.best
        assert other.name == first.name
        assert other.slopes.native.value == pytest.approx(first.slopes.native.value, abs=1e-4)
        assert other.map_r2 > first.map_r2  # over all positions of ordinary text, against the ends of prompts
        names = [name for kind in other.slopes.unrelated for name in kind.names]
        assert names == [name for kind in first.slopes.unrelated for name in kind.names]


def test_a_second_corpus_is_checked_under_its_own_key(tmp_path):
    missing = {"_target_": "ioi_lab.alignment.corpora.TextFile", "name": "text", "path": str(tmp_path / "none.txt")}
    config = Transfer.from_config({"other_corpus": missing}, "intervention")
    with pytest.raises(LabError, match=r"intervention\.other_corpus\.path"):
        config.check()
