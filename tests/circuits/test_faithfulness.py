from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.circuits.faithfulness import Curve, band, check_gap, trapezoid
from ioi_lab.circuits.selection import MIB_SIZES
from ioi_lab.errors import LabError
from ioi_lab.stats.bootstrap import Bootstrap

SIZES = np.array(MIB_SIZES)
EDGES = np.round(SIZES * 32_491).astype(int)
N = 40


def curve_of(f, noise=0.0, n=N, sizes=SIZES, edges=EDGES, bootstrap=None):
    """The curve of circuits of faithfulness `f`; the logit difference is about 3 with all edges and −2 with none."""
    rng = np.random.default_rng(0)
    whole, empty = 3 + rng.normal(size=(1, n)), -2 + rng.normal(size=(1, n))
    circuits = empty + np.array(f)[:, None] * (whole - empty) + noise * rng.normal(size=(len(sizes), n))
    return Curve.of(bootstrap or Bootstrap(n, 0), sizes, edges, circuits, whole, empty)


def values(curve):
    return {name: float(estimate.value[0]) for name, estimate in curve.summary.items()}


def test_a_circuit_that_does_nothing_below_all_edges_has_the_areas_that_mib_calls_random():
    found = values(curve_of([*[0.0] * 9, 1.0]))
    assert found["cpr"] == pytest.approx(0.25)
    assert found["cmd"] == pytest.approx(0.75, abs=1e-3)
    assert found["cmd"] == pytest.approx(0.999 - 0.25)
    half = np.log(2) / np.log(1000) / 2  # of the last of the intervals in log k
    assert found["cpr_log"] == pytest.approx(half)
    assert found["cmd_log"] == pytest.approx(1 - half)
    assert found["edges"] == 32_491


def test_a_circuit_that_is_always_faithful_has_no_distance():
    found = values(curve_of([1.0] * 10))
    assert found == pytest.approx({"cmd": 0, "cpr": 0.999, "cmd_log": 0, "cpr_log": 1, "edges": 32})


def test_distances_above_and_below_1_do_not_cancel():
    found = values(curve_of([0.5, 1.5] * 5))
    assert found["cmd_log"] == pytest.approx(0.5)
    assert found["edges"] == 65


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-2, 3), min_size=10, max_size=10), st.permutations(range(10)))
def test_areas_are_those_of_numpy_in_whatever_order_sizes_come(f, order):
    order = list(order)
    found = values(curve_of(np.array(f)[order], sizes=SIZES[order], edges=EDGES[order], bootstrap=Bootstrap(N, 0, 20)))
    f = np.array(f)
    assert found["cpr"] == pytest.approx(np.trapezoid(f, SIZES), abs=1e-9)
    assert found["cmd"] == pytest.approx(np.trapezoid(abs(1 - f), SIZES), abs=1e-9)
    assert found["cmd_log"] == pytest.approx(np.trapezoid(abs(1 - f), np.log(SIZES)) / np.log(1000), abs=1e-9)


def test_intervals_contain_the_values_and_shrink_with_prompts():
    f = [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0]
    few, many = curve_of(f, noise=1.0), curve_of(f, noise=1.0, n=1000)
    for (name, wide), (_, narrow) in zip(few.summary.items(), many.summary.items(), strict=True):
        assert wide.low[0] <= wide.value[0] <= wide.high[0], name
        assert narrow.high - narrow.low < wide.high - wide.low, name
    assert set(few.edges) >= {few.summary.edges.low[0], few.summary.edges.high[0]}
    assert (many.faithfulness.low[:9] < f[:9]).all()
    assert (many.faithfulness.high[:9] > f[:9]).all()


def test_intervals_of_areas_cover_the_truth():
    f = np.array([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
    truth = {"cmd": np.trapezoid(1 - f, SIZES), "cpr": np.trapezoid(f, SIZES)}
    covered = dict.fromkeys(truth, 0)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        whole, empty = 3 + rng.normal(size=(1, 50)), -2 + rng.normal(size=(1, 50))
        circuits = empty + f[:, None] * (whole - empty) + rng.normal(size=(10, 50))
        summary = Curve.of(Bootstrap(50, seed, 300), SIZES, EDGES, circuits, whole, empty).summary
        for name in truth:
            estimate = getattr(summary, name)
            covered[name] += bool(estimate.low[0] <= truth[name] <= estimate.high[0])
    assert min(covered.values()) >= 180, covered


def test_without_enough_prompts_or_sizes_nothing_is_promised():
    few = curve_of([0.5] * 10, noise=1.0, n=4)
    assert all(np.isnan([each.low[0], each.high[0]]).all() for _, each in few.summary.items())
    single = values(curve_of([0.9], sizes=SIZES[:1], edges=EDGES[:1], noise=0.1))
    assert single["edges"] == 32
    assert np.isnan(single["cmd"])
    assert np.isnan(single["cpr"])
    never = curve_of([0.5] * 10, noise=0.1).summary.edges
    assert np.isnan([never.value, never.low, never.high]).all()


def test_a_gap_that_vanishes_in_a_resample_leaves_no_interval():
    rng = np.random.default_rng(0)
    whole, empty = rng.normal(size=(1, 20)), rng.normal(size=(1, 20)) - 0.1
    curve = Curve.of(Bootstrap(20, 0), SIZES, EDGES, rng.normal(size=(10, 20)), whole, empty)
    assert all(np.isnan(each.low[0]) for _, each in curve.summary.items())


def test_a_model_without_a_gap_is_refused():
    high, low = np.ones((1, 4)), np.zeros((1, 4))
    check_gap(high, low)
    for whole, empty in ((low, high), (low, low), (high * np.nan, low)):
        with pytest.raises(
            LabError, match=r"^intervention: the mean logit difference is .* faithfulness is not defined"
        ):
            check_gap(whole, empty)


def test_weights_of_the_trapezoid():
    assert trapezoid(np.array([0.0, 1.0, 3.0])).tolist() == [0.5, 1.5, 1.0]


def test_the_band_of_random_circuits_has_nearly_all_of_them():
    curves = np.linspace(0, 1, 201)[:, None] * np.array([1.0, 2.0])
    found = band(curves)
    assert found.value.tolist() == [0.5, 1.0]
    assert found.low == pytest.approx([0.025, 0.05])
    assert found.high == pytest.approx([0.975, 1.95])
