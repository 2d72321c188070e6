"""The table and the figures of a sweep."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from ioi_lab.errors import LabError
from ioi_lab.runs.axes import Asked
from ioi_lab.runs.sweeps import Sweep


def grid(leave, **axes):
    """A run for each combination; its result tells where it is."""
    for number, values in enumerate(product(*axes.values())):
        typed = {f"intervention.{key}": value for key, value in zip(axes, values, strict=True)}
        result = sum(10**place * index for place, index in enumerate(values) if isinstance(index, int))
        bounds = {"best_recovery_low": result - 1.0, "best_recovery_high": result + 1.0}
        leave(f"sweep/now/{number}", typed, best_recovery=float(result), n_edits=1, **bounds)


def test_the_table_has_what_was_swept_and_what_came_of_it(leave, tmp_path):
    grid(leave, layer=[0, 1], head=[0, 1, 2])
    leave("sweep/now/6", {"intervention.layer": 2, "intervention.head": 0}, status="failed", error="no")
    sweep = Sweep.read(tmp_path / "sweep" / "now")
    assert sweep.swept == ["intervention.layer", "intervention.head"]
    sweep.write()
    table = pd.read_csv(tmp_path / "sweep" / "now" / "sweep.csv")
    assert list(table)[:6] == ["folder", "intervention.layer", "intervention.head", "status", "seconds", "error"]
    assert list(table)[6:] == ["best_recovery", "n_edits", "best_recovery_low", "best_recovery_high"]
    assert list(table["status"]) == ["done"] * 6 + ["failed"]
    assert sweep.metrics == ["best_recovery", "n_edits"]
    assert "7 runs (6 done, 1 failed)" in sweep.lines()[0]
    assert sweep.lines()[1].endswith("6 (intervention.layer=2, intervention.head=0): failed: no")


@pytest.mark.parametrize(
    ("axes", "name", "shape", "panels"),
    [
        ({"layer": [0, 1, 2]}, "best_recovery_by_layer", None, 1),
        ({"head": [0, 1], "layer": [0, 1, 2]}, "best_recovery_by_layer_head", (3, 2), 1),
        (
            {"head": [0, 1], "layer": [0, 1, 2], "position": ["S2", "END"]},
            "best_recovery_by_layer_head_position",
            (3, 2),
            2,
        ),
    ],
)
def test_figures_follow_what_was_swept(leave, tmp_path, axes, name, shape, panels):
    grid(leave, **axes)
    ((drawn, figure),) = Sweep.read(tmp_path).figures().items()
    assert drawn == name
    maps = [ax for ax in figure.axes if ax.images]
    assert len(maps) == (panels if shape else 0)
    if shape is None:
        (line,) = [line for line in figure.axes[0].lines if line.get_label() == "best recovery"]
        assert line.get_ydata().tolist() == [0, 1, 2]
        assert figure.axes[0].collections  # the interval
        return
    assert maps[0].images[0].get_array().shape == shape
    first = maps[0].images[0].get_array()
    layer = 10 ** list(axes).index("layer")
    assert first[1, 0] - first[0, 0] == layer


def test_of_many_maps_some_are_shown(leave, tmp_path):
    words = [f"w{number:02}" for number in range(12)]
    grid(leave, layer=[0, 1], head=[0, 1], component=words)
    (figure,) = Sweep.read(tmp_path).figures().values()
    titles = [ax.get_title() for ax in figure.axes if ax.images]
    assert len(titles) == 8
    assert titles[0] == "component = w00"
    assert titles[-1] == "component = w11"
    assert "8 of 12 values of component" in figure.get_suptitle()


def test_numbers_are_the_x_axis_with_a_line_per_layer_and_a_panel_per_word(leave, tmp_path):
    grid(leave, layer=[0, 1], position=["END", "S2"], scale=[1, 2, 3])
    ((name, figure),) = Sweep.read(tmp_path).figures().items()
    assert name == "best_recovery_by_scale_layer_position"
    assert [ax.get_title() for ax in figure.axes] == ["position = END", "position = S2"]
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["1"].get_xdata().tolist() == [1, 2, 3]
    assert figure.get_supxlabel() == "scale"


def test_runs_of_several_sweeps_can_be_summed_up(leave, tmp_path):
    grid(leave, layer=[0, 1], head=[0, 1])
    leave("other/now/0", {"intervention.layer": 5}, best_recovery=1.0)
    (figure,) = Sweep.read(tmp_path).figures().values()
    assert next(ax for ax in figure.axes if ax.images).images[0].get_array().shape == (2, 2)  # without the one


def test_a_job_that_failed_before_it_had_a_config_is_reported_with_its_reason(leave, tmp_path):
    leave("sweep/now/0", {"model.path": "a"}, best_recovery=0.5)
    failed = leave("sweep/now/1", {"model.path": "b"}, status="failed", error="model.path: no folder")
    (failed / "config.yaml").unlink()
    assert Sweep.read(tmp_path / "sweep" / "now").lines()[1] == "  1 (model.path=b): failed: model.path: no folder"


def test_a_cell_without_a_finished_run_is_blank(leave, tmp_path):
    grid(leave, layer=[0, 1], head=[0])
    leave("sweep/now/9", {"intervention.layer": 1, "intervention.head": 1}, best_recovery=3.0)
    (figure,) = Sweep.read(tmp_path).figures().values()
    values = np.ma.filled(figure.axes[0].images[0].get_array().astype(float), np.nan)
    assert np.isnan(values[0, 1])
    assert values[1, 1] == 3.0


def test_scattered_values_become_lines(leave, tmp_path):
    """As those of a search, of which a map would be nearly empty."""
    for job, (layer, scale) in enumerate([(0, 0.3), (1, -0.7), (0, 0.1), (1, 0.9), (0, -0.2)]):
        leave(f"sweep/now/{job}", {"intervention.layer": layer, "intervention.scale": scale}, best_recovery=scale)
    (figure,) = Sweep.read(tmp_path).figures().values()
    assert figure.get_supxlabel() == "scale"
    lines = {line.get_label(): list(line.get_xdata()) for line in figure.axes[0].lines}
    assert lines["0"] == [-0.2, 0.1, 0.3]
    assert lines["1"] == [-0.7, 0.9]


def test_what_a_search_optimizes_is_shown(leave, tmp_path):
    for job in range(2):
        run = leave(f"sweep/now/{job}", {"intervention.layer": job}, best_recovery=0.5, best_efficiency=float(job))
        (run / "config.yaml").write_text((run / "config.yaml").read_text() + "optimize: best_efficiency\n")
    assert list(Sweep.read(tmp_path).figures()) == ["best_efficiency_by_layer"]


def test_four_keys_are_a_grid_of_panels_and_what_was_chosen_is_printed(leave, tmp_path):
    grid(leave, layer=[0, 1], head=[0, 1], scale=[-1, 1], method=["a", "b", "c"])
    sweep = Sweep.read(tmp_path)
    ((name, figure),) = sweep.figures().items()
    assert name == "best_recovery_by_scale_layer_head_method"
    assert [ax.get_title() for ax in figure.axes if ax.get_visible()][:2] == [
        "head = 0\nmethod = a",
        "head = 0\nmethod = b",
    ]
    assert len(figure.axes) == 6
    assert sweep.lines()[-1].split(": ")[1].startswith("x=scale, line=layer, facet=head × method (chosen")


def test_another_metric_and_one_that_there_is_not(leave, tmp_path):
    grid(leave, layer=[0, 1])
    assert list(Sweep.read(tmp_path, "n_edits").figures()) == ["n_edits_by_layer"]
    with pytest.raises(LabError, match=r"metric: got 'best_recover' \(did you mean best_recovery\?\), expected one of"):
        Sweep.read(tmp_path, "best_recover")


def test_without_a_finished_run_there_are_no_metrics_and_no_figures(leave, tmp_path):
    for number in range(2):
        leave(f"sweep/now/{number}", {"intervention.layer": number}, status="failed", error="no")
    sweep = Sweep.read(tmp_path)
    assert (sweep.metrics, sweep.shown, sweep.figures()) == ([], None, {})
    with pytest.raises(LabError, match=r"^metric: got 'x', but no run in .* is done, so there are no metrics$"):
        Sweep.read(tmp_path, "x")


def test_keys_that_end_alike_keep_their_whole_names(leave, tmp_path):
    for number, (model, task) in enumerate(product(["a", "b"], ["c", "d"])):
        leave(f"sweep/now/{number}", {"model.path": model, "task.path": task}, best_recovery=float(number))
    (figure,) = Sweep.read(tmp_path).figures().values()
    assert figure.get_supxlabel() == "model.path"
    assert figure.legends[0].get_title().get_text() == "task.path"


def cells_of(figure):
    """The numbers in the cells of the map, which of them are pale, and the title after the number of runs."""
    ax = next(ax for ax in figure.axes if ax.images)
    pale = ax.images[0].get_alpha() < 1
    return (
        [text.get_text() for text in ax.texts],
        pale.tolist(),
        " ".join(figure.get_suptitle().split()).partition(" runs ")[2],
    )


def leave_map(leave, *cells, **config):
    for number, metrics in enumerate(cells):
        typed = {"intervention.layer": number // 2, "intervention.head": number % 2}
        leave(f"sweep/now/{number}", typed | config, **metrics)


def bounded(value, half=0.5):
    return {"best_recovery": value, "best_recovery_low": value - half, "best_recovery_high": value + half}


def test_effects_whose_interval_includes_no_effect_are_pale(leave, tmp_path):
    leave_map(leave, bounded(0.2), bounded(0.9), bounded(-0.8), {"best_recovery": 0.7})
    (figure,) = Sweep.read(tmp_path).figures().values()
    texts, pale, note = cells_of(figure)
    assert texts == ["0.90", "−0.80"]
    assert pale == [[True, False], [False, True]]
    assert note == "pale, without number: the cell's own interval includes the value without effect"


def test_without_an_effect_noising_has_a_recovery_of_1(leave, tmp_path):
    for number, value in enumerate((0.2, 0.9, 1.8, 1.2)):
        typed = {"intervention.layer": number // 2, "intervention.head": number % 2}
        run = leave(f"sweep/now/{number}", typed, **bounded(value))
        config = run / "config.yaml"
        config.write_text(config.read_text().replace("intervention:", "intervention:\n  direction: noise", 1))
    (figure,) = Sweep.read(tmp_path).figures().values()
    assert cells_of(figure)[1] == [[False, True], [False, True]]


def test_tests_of_the_best_effects_are_corrected_for_the_number_of_cells(leave, tmp_path):
    """0.04 is below 0.05 alone, not as the second of four."""
    p_values = (0.001, 0.04, 0.5, 0.0001)
    tests = [{"best_p_adjusted": p, "n_found": 1} for p in p_values[:3]] + [{"best_p_adjusted": 1e-4, "n_found": 0}]
    leave_map(leave, *(bounded(0.6, half=0.1) | test for test in tests))
    (figure,) = Sweep.read(tmp_path).figures().values()
    texts, pale, note = cells_of(figure)
    assert texts == ["0.60"]
    assert pale == [[False, True], [True, True]]
    assert note == "pale, without number: not distinguishable from 0, corrected for the number of effects"


def test_levels_and_effects_without_intervals_keep_their_numbers(leave, tmp_path):
    leave_map(
        leave, *({"best_logit_diff": v, "best_logit_diff_low": -1.0, "best_logit_diff_high": 1.0} for v in range(4))
    )
    (figure,) = Sweep.read(tmp_path, "best_logit_diff").figures().values()
    assert cells_of(figure)[:2] == (["0.00", "1.00", "2.00", "3.00"], [[False] * 2] * 2)


def test_effects_without_intervals_say_so_and_small_ones_are_pale(leave, tmp_path):
    leave_map(leave, *({"best_recovery": 0.01 * index} for index in range(4)))
    (figure,) = Sweep.read(tmp_path).figures().values()
    assert cells_of(figure)[2] == "without intervals: each effect may be chance"
    assert next(ax for ax in figure.axes if ax.images).images[0].get_clim() == (-0.1, 0.1)


ROWS = "component,layer,head,position,scale,direction,logit_diff,logit_diff_low,logit_diff_high"


def steered(leave, folder, seed, scale, rows):
    """A run of steering with these rows of results: layer, head and logit difference."""
    typed = {"seed": seed, "intervention.scale": scale}
    base = {"clean_logit_diff": 3.0, "corrupted_logit_diff": -3.0, "best_logit_diff": max(row[2] for row in rows)}
    run = leave(folder, typed, **base)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("name: patch\n  layer", "name: steer\n  layer"))
    status = run / "status.json"
    status.write_text(status.read_text().replace("best_recovery", "best_logit_diff"))
    lines = [f"z,{layer},{head},END,{scale},steering,{value},{value - 1},{value + 1}" for layer, head, value in rows]
    lines.append(f"z,0,0,END,{scale},random 0,99,98,100")
    (run / "results.csv").write_text("\n".join([ROWS, *lines]) + "\n")


def test_seeds_are_replicates_of_the_change_from_the_unsteered_run(leave, tmp_path):
    for number, (seed, scale) in enumerate(product([0, 1, 2], [-1.0, 1.0])):
        steered(leave, f"sweep/now/{number}", seed, scale, [(2, 1, 3.0 + scale * (4 + seed))])
    sweep = Sweep.read(tmp_path / "sweep" / "now")
    ((name, figure),) = sweep.figures().items()
    assert name == "logit_diff_by_scale"
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "logit difference"]
    assert line.get_xdata().tolist() == [-1, 0, 1]  # nothing changes at 0
    assert line.get_ydata().tolist() == [-5, 0, 5]
    assert figure.get_supylabel().replace("\n", " ") == "change in logit difference from the unsteered clean run"
    assert "means over 3 values of seed" in figure.get_suptitle()
    dots = np.concatenate(
        [each.get_offsets()[:, 1] for each in figure.axes[0].collections if len(each.get_offsets()) == 3]
    )
    assert sorted(dots.tolist()) == [-6, -5, -4, 4, 5, 6]


def test_bests_of_runs_and_single_sites_have_figures_of_their_own(leave, tmp_path):
    for number, scale in enumerate([-1.0, 1.0, 2.0]):
        steered(leave, f"sweep/now/{number}", 0, scale, [(2, 1, 3.0 + scale)])
        steered(leave, f"sweep/now/{number + 3}", 0, scale, [(2, head, 3.0 + scale * head) for head in (1, 2)])
    figures = Sweep.read(tmp_path / "sweep" / "now").figures()
    assert list(figures) == ["logit_diff_by_scale", "best_logit_diff_by_scale", "logit_diff_by_scale_head"]
    assert "each run's best of 2 sites" in figures["best_logit_diff_by_scale"].get_supylabel().replace("\n", " ")


def test_axes_can_be_asked_for(leave, tmp_path):
    for number, scale in enumerate([-1.0, 1.0]):
        rows = [(layer, head, float(head)) for layer in (0, 1) for head in (0, 1)]
        steered(leave, f"sweep/now/{number}", 0, scale, rows)
    folder = tmp_path / "sweep" / "now"
    asked = Asked(x="intervention.scale", line="head", facet="layer")
    ((name, figure),) = Sweep.read(folder, "logit_diff", asked).figures().items()
    assert name == "logit_diff_by_scale_head_layer"
    assert [ax.get_title() for ax in figure.axes] == ["layer = 0", "layer = 1"]
    with pytest.raises(LabError, match=r"^--line: got 'haed' \(did you mean head\?\), expected one of .*layer.*scale"):
        Sweep.read(folder, None, Asked(line="haed"))
    with pytest.raises(LabError, match=r"^--line: got 'head', which is another axis already"):
        Sweep.read(folder, None, Asked(x="head", line="head"))
    with pytest.raises(LabError, match=r"^--metric: clean_logit_diff has one value per run, so that head cannot be"):
        Sweep.read(folder, "clean_logit_diff", Asked(x="head")).figures()
