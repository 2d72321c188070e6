"""The interactive map of a run, as data."""

from __future__ import annotations

import numpy as np

from ioi_lab.dashboard.maps import hover_texts, map_figure
from ioi_lab.dashboard.results import Results
from tests.dashboard.conftest import HOSTILE, heads_table


def grid(**columns):
    return Results(heads_table().assign(**columns), {"name": "patch"}).grid("recovery", {})


def test_cells_have_values_rows_and_hover_texts():
    of_runs = grid()
    figure = map_figure(of_runs, "title", 16, chosen=3)
    found, pale = figure.data
    assert found.z[0][0] == of_runs.values[0, 0]
    assert np.isnan(found.z[2][0])
    assert pale.z[2][0] == of_runs.values[2, 0]
    assert pale.opacity < 0.5
    assert pale.text is None
    assert found.text[0][0] == "0.81" or found.text[0][0].startswith("0.8")
    assert found.customdata[1][1] == 3
    assert "pale, without number" in figure.layout.title.text
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    (outline,) = figure.layout.shapes
    assert (outline.x0, outline.y0) == (0.5, 0.5)


def test_a_level_is_white_at_that_of_the_unedited_run():
    results = Results(heads_table(), {"name": "patch", "direction": "denoise"}, {"corrupted_logit_diff": -2.0})
    figure = map_figure(results.grid("logit_diff", {}), "title", None)
    axis = figure.layout.coloraxis
    assert (axis.cmin + axis.cmax) / 2 == -2.0
    assert "white: −2,<br>the unedited corrupted run" in axis.colorbar.title.text


def test_hover_texts_have_value_interval_test_and_number_of_prompts():
    texts = hover_texts(grid(), 16)
    assert texts[0][0].startswith("<b>z 0.0</b><br>recovery 0.8")
    assert "[0.7" in texts[0][0]
    assert "adjusted p 0.002" in texts[0][0]
    assert "16 prompts" in texts[0][0]
    assert "not distinguishable from no effect" in texts[2][1]


def test_markup_of_a_run_is_text_in_hover_texts_and_ticks():
    table = heads_table().assign(position=[HOSTILE, "b"] * 3, head=np.nan, roles=HOSTILE)
    of_run = Results(table, {"name": "patch"}).grid("recovery", {})
    figure = map_figure(of_run, HOSTILE, 16)
    assert "<img" not in str(figure.to_dict())
    assert "<a " not in str(figure.to_dict())


def test_a_map_without_values_is_empty():
    assert len(map_figure(grid(recovery=np.nan), "title", None).data) == 0
