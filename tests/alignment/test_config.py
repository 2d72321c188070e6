"""The keys of an alignment, and map methods of one's own."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest
import torch

from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.alignment.maps import MAP_METHODS, AffineMap, map_method
from ioi_lab.errors import LabError
from tests.alignment.conftest import alignment_config
from tests.conftest import only_run_folder


@pytest.fixture
def constant():
    """A map method that is registered here: everything goes to the mean, or as far off it as its own key says."""

    @map_method("constant_mean")
    def constant_mean(moments, settings):
        return AffineMap(torch.zeros_like(moments.xy), moments.mean_y + settings.options.get("offset", 0.0))

    yield "constant_mean"
    del MAP_METHODS._parts["constant_mean"]


def test_a_map_method_of_ones_own_is_one_function(train_align, tmp_path, constant):
    outcome = train_align(
        "tracker=none", "corpus.n=60", "alignment.source_layers=3", "alignment.target_layers=3",
        f"alignment.method={constant}",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "align (constant mean map)" in outcome.out
    run = only_run_folder(tmp_path)
    table = pd.read_csv(run / "results.csv")
    assert set(table["method"]) == {constant}
    assert table["penalty"].isna().all()
    assert table["error_to_mean"].to_numpy() == pytest.approx(1)
    assert json.loads((run / "metrics.json").read_text())["forward_best_r2"] <= 0


def test_a_map_method_of_ones_own_has_keys_of_its_own(train_align, tmp_path, constant):
    outcome = train_align(
        "tracker=none", "corpus.n=60", "alignment.source_layers=3", "alignment.target_layers=3",
        f"alignment.method={constant}", "+alignment.options.offset=5.0",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert (pd.read_csv(only_run_folder(tmp_path) / "results.csv")["error_to_mean"] > 1.5).all()


def test_a_map_method_in_a_file_of_ones_own_is_named_with_the_file(train_align, tmp_path, monkeypatch):
    (tmp_path / "my_maps.py").write_text(
        "from ioi_lab.alignment.maps import map_method, ridge\n\n"
        "@map_method('plain', is_penalized=True)\n"
        "def plain(moments, settings):\n"
        "    return ridge(moments, settings)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("IOI_LAB_PLUGINS", "my_maps")
    sizes = ("tracker=none", "corpus.n=60", "alignment.source_layers=3", "alignment.target_layers=3")
    assert train_align(*sizes, "alignment.method=my_maps.plain", "name=own").code == 0
    assert train_align(*sizes, "name=ridge").code == 0
    own, ridge = (
        json.loads((next(tmp_path.glob(f"runs/{name}/*")) / "metrics.json").read_text()) for name in ("own", "ridge")
    )
    assert own == ridge
    del MAP_METHODS._parts["plain"]


def test_a_wrong_method_is_reported_with_the_choices():
    with pytest.raises(LabError) as caught:
        alignment_config(method="linear")
    expected = "expected 'ridge', 'procrustes', 'lowrank', 'anchors', 'mean_shift', 'affine_trained' or 'mlp'"
    assert str(caught.value) == f"alignment.method: got 'linear', {expected}"


def test_the_old_key_of_the_component_still_works():
    assert AlignmentConfig.from_config({"site": "resid_pre"}, "alignment").component == "resid_pre"
    with pytest.raises(LabError, match=r"^alignment\.site: this key is now alignment\.component$"):
        alignment_config(site="resid_pre")


def test_titles():
    assert alignment_config(method="lowrank", rank=4).title == "rank-4 map"
    assert alignment_config(method="mean_shift").title == "mean shift map"


def test_configs_need_no_torch():
    modules = "ioi_lab.alignment.config, ioi_lab.interventions.transfer.config, ioi_lab.jobs.alignment"
    code = f"import sys, {modules}; print([name for name in ('torch', 'pandas', 'sklearn') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
