"""Transfer from the command line: known answers, what is reported, and mistakes."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from safetensors import safe_open

from ioi_lab.models.loading import load_model
from ioi_lab.runs.paired import paired_difference
from ioi_lab.tiny import tiny_folder
from tests.conftest import model_config, only_run_folder

QUICK = (
    "tracker=none",
    "figures=false",
    "intervention=transfer",
    "task.n=24",
    "intervention.corpus.n=200",
    "intervention.alignment.source_layers=[2,3]",
    "intervention.alignment.target_layers=[3]",
    "intervention.scale=[-2,-1,-0.5,0,0.5,1]",
    "intervention.controls=5",
    "intervention.unrelated=39",
)


def read(run):
    return json.loads((run / "metrics.json").read_text()), pd.read_csv(run / "results.csv")


@pytest.fixture(scope="module")
def maps_file(tmp_path_factory):
    """Maps between layers 2 and 3 of tiny-gpt2 and layer 3 of tiny-pythia."""
    from ioi_lab.alignment.align import align
    from ioi_lab.alignment.map_files import Maps, save_maps
    from ioi_lab.alignment.pairing import Pairing
    from ioi_lab.alignment.reading import Reader
    from tests.alignment.conftest import alignment_config, tiny_english

    models = tuple(load_model(model_config(tiny_folder(name), name=name)) for name in ("tiny-gpt2", "tiny-pythia"))
    config, corpus = alignment_config(source_layers=[2, 3], target_layers=[3]), tiny_english(400)
    pairing = Pairing.of(config, models, "auto")
    maps = Maps.of(align(Reader(pairing, corpus, config, 0), pairing, config), config, "tiny english")
    path = tmp_path_factory.mktemp("maps") / "maps.safetensors"
    path.write_bytes(save_maps(maps, models))
    return path


@pytest.mark.parametrize("through", ["maps", "head"])
@pytest.mark.long
def test_a_model_transfers_to_itself_whole(sweep, tmp_path, through):
    outcome = sweep(
        *QUICK,
        f"intervention.through={through}",
        "intervention.alignment.source_layers=[2,3]",
        "intervention.alignment.target_layers=[2,3]",
    )
    assert outcome.code == 0, outcome.err
    assert (
        "note: source and target are the same model: maps between equal layers should be near the identity"
        in outcome.out
    )
    found, _ = read(only_run_folder(tmp_path))
    for way in ("forward", "backward"):
        share = found[f"{way}_share_of_own" if through == "head" else f"{way}_share_of_native"]
        assert share == pytest.approx(1, abs=0.02)
        assert found[f"{way}_map_r2"] > 0.999
        assert found[f"{way}_source_layer"] == found[f"{way}_layer"]
        if through == "maps":  # of the controls, the mean shift is here the right map
            assert found[f"{way}_cosine_to_native"] > 0.999
            assert found[f"{way}_margin_over_steepest_control"] == pytest.approx(0, abs=0.1)


@pytest.mark.long
def test_a_vector_goes_through_maps_and_does_more_than_controls(sweep, tmp_path):
    """The preset, with fewer layers and scales."""
    layers = ("intervention.alignment.source_layers=[2,3]", "intervention.alignment.target_layers=[3]")
    outcome = sweep("tracker=none", "experiment=cross_model", *layers, "intervention.scale=[-2,-1,-0.5,0,0.5,1]")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    found, table = read(run)
    for way in ("forward", "backward"):
        assert found[f"{way}_native_steers"] == 1
        assert found[f"{way}_beats_controls"] == 1
        assert found[f"{way}_n_unrelated_prompts"] == found[f"{way}_n_unrelated_names"] == 100
        assert found[f"{way}_share_at_native_norm_low"] < found[f"{way}_share_at_native_norm"]
        assert 0.05 < found[f"{way}_share_of_native"] < 0.9
        assert found[f"{way}_share_of_native_low"] < found[f"{way}_share_of_native"]
        assert found[f"{way}_margin_over_steepest_control_low"] > 0
        assert found[f"{way}_beats_mismatched"] == 1
        assert found[f"{way}_other_map_map_r2"] > 0.9 > found[f"{way}_map_r2"]
    verdicts = [
        found[f"{way}_{through}comes_over"] for way in ("forward", "backward") for through in ("", "other_map_")
    ]
    assert outcome.out.count("its effect transfers") == sum(verdicts)
    assert outcome.out.count("no transfer has been shown") == 4 - sum(verdicts)
    slopes = pd.read_csv(run / "slopes.csv")
    of_first_map = slopes["map"] == "ridge map fitted on prompts of ioi (s2)"
    for _, rows in slopes[of_first_map].groupby(
        "direction"
    ):  # the reason for these controls: they are harder to exceed
        spread = rows.groupby("kind")["slope"].std()
        assert spread["unrelated names"] > 1.2 * spread["control"]
    assert set(table["direction"]) == {"tiny-gpt2 → tiny-pythia", "tiny-pythia → tiny-gpt2"}
    controls = {f"random map {index}" for index in range(10)} | {"mean shift"}
    assert set(table["vector"]) == {"native", "carried", "carried at native norm"} | controls
    norms = table[table["source_layer"].notna() & (table["scale"] == 1)].groupby(["direction", "vector"])["added_norm"]
    for direction in set(table["direction"]):
        own = found["forward_norm" if direction.startswith("tiny-gpt2") else "backward_norm"]
        assert all(norms.max()[direction, control] == pytest.approx(own) for control in controls)
    assert {path.stem for path in (run / "plots").iterdir()} == {
        f"{name}_{way}"
        for name in ("effect_by_scale", "slopes_and_controls", "slopes_by_layers", "two_maps")
        for way in ("forward", "backward")
    }
    with safe_open(run / "maps.safetensors", "pt") as file:
        assert file.metadata()["target"] == "tiny-pythia"
    provenance = json.loads((run / "provenance.json").read_text())
    assert (provenance["model"]["name"], provenance["source_model"]["name"]) == ("tiny-pythia", "tiny-gpt2")


@pytest.mark.long
def test_a_vector_goes_through_the_vocabulary(sweep, tmp_path):
    outcome = sweep(*QUICK, "model=tiny-pythia", "intervention.through=vocabulary")
    assert outcome.code == 0, outcome.err
    found, table = read(only_run_folder(tmp_path))
    for way in ("forward", "backward"):
        assert found[f"{way}_n_shared_tokens"] > 500
        assert 0.5 < found[f"{way}_shared_mass"] < 1
        assert found[f"{way}_share_of_native"] > 0.1
    assert sum(table["vector"].str.startswith("shuffled vocabulary").groupby(table["direction"]).sum()) == 2 * 5 * 6
    assert not (only_run_folder(tmp_path) / "maps.safetensors").exists()


@pytest.mark.long
def test_heads_are_swapped_and_the_verdict_follows_the_numbers(sweep, tmp_path, maps_file):
    outcome = sweep(
        *QUICK, "model=tiny-pythia", "intervention.through=head", f"intervention.maps={maps_file}",
        "intervention.source_head='2.0'", "intervention.head='3.1'",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    found, table = read(run)
    assert (found["forward_source_layer"], found["forward_source_head"]) == (2, 0)
    assert (found["backward_layer"], found["backward_head"]) == (2, 0)
    forward = table[table["direction"] == "tiny-gpt2 → tiny-pythia"]
    assert list(forward["in_its_place"][:3]) == ["own clean", "own mean", "zeroed"]
    assert len(forward) == 3 + 8
    assert found["forward_n_other_heads"] == 7
    chosen = forward[forward["source_head"].astype(str) == "2.0"]["recovery"].item()
    assert found["forward_recovery"] == pytest.approx(chosen)
    assert ("every control" in outcome.out) == any(found[f"{way}_beats_controls"] for way in ("forward", "backward"))
    assert not (run / "maps.safetensors").exists()  # they are where they were


@pytest.mark.long
def test_heads_go_through_maps_that_are_trained_on_them(sweep, tmp_path):
    outcome = sweep(
        *QUICK, "model=tiny-pythia", "intervention.through=head", "intervention.head_map=stitched", "task.n=64",
        "intervention.alignment.steps=4", "intervention.alignment.evaluate_every=2", "intervention.both=false",
        "intervention.alignment.source_layers=[3]",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    found, _ = read(run)
    assert found["forward_n_trained_maps"] == 4 * 4
    assert found["forward_map_loss"] <= found["forward_map_loss_at_start"]
    assert "maps between 16 pairs of heads trained by stitching" in outcome.out
    pairs = pd.read_csv(run / "pairs.csv")
    best = pairs[pairs["is_best_on_training_prompts"]]
    assert best["above_other_layers_low"].notna().all()
    assert found["forward_n_functions_over"] == best["comes_over"].sum()
    training = pd.read_csv(run / "training.csv")
    assert len(training.groupby(["source_head", "head"])) == 16
    assert training["kept"].sum() == 16
    assert training["step"].max() == 4
    assert not (run / "maps.safetensors").exists()


@pytest.mark.long
def test_a_saved_map_gives_what_a_new_one_gave(sweep, tmp_path, monkeypatch):
    assert sweep(*QUICK, "model=tiny-pythia", "name=first").code == 0
    first = next(tmp_path.glob("runs/first/*"))
    outcome = sweep(*QUICK, "model=tiny-pythia", "name=second", f"intervention.maps={first / 'maps.safetensors'}")
    assert outcome.code == 0, outcome.err
    one, other = (read(next(tmp_path.glob(f"runs/{name}/*")))[0] for name in ("first", "second"))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert other[name] == pytest.approx(value, abs=1e-3, rel=1e-3), name


@pytest.mark.long
def test_runs_are_paired_by_vector_and_prompt(sweep, tmp_path):
    """Two methods: the vectors differ, a scale of 0 does not."""
    small = ("model=tiny-pythia", "intervention.through=vocabulary", "intervention.both=false", "figures=false")
    assert (
        sweep(*QUICK, *small, "name=a").code == sweep(*QUICK, *small, "name=b", "intervention.vector_method=pca").code
    )
    first, second = (next(tmp_path.glob(f"runs/{name}/*")) for name in ("a", "b"))
    paired = paired_difference(first, second)
    table = pd.read_csv(first / "results.csv")
    assert len(paired.labels) == len(set(paired.labels)) == len(table)
    for label, difference in zip(paired.labels, paired.difference.value, strict=True):
        if "scale 0.0 " in label:
            assert difference == pytest.approx(0, abs=1e-4)
    native = next(label for label in paired.labels if "scale 1.0 direction" in label and "vector native" in label)
    one, other = (
        run.query("vector == 'native' and scale == 1")["logit_diff"].item()
        for run in (table, pd.read_csv(second / "results.csv"))
    )
    assert paired.difference.value[paired.labels.index(native)] == pytest.approx(other - one)


@pytest.mark.long
def test_one_direction_alone(sweep, tmp_path):
    assert sweep(*QUICK, "model=tiny-pythia", "intervention.both=false").code == 0
    found, table = read(only_run_folder(tmp_path))
    assert set(table["direction"]) == {"tiny-gpt2 → tiny-pythia"}
    assert not any(name.startswith("backward") for name in found)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["intervention.maps=none"], "intervention.maps: 'none' is not a file"),
        (
            ["alignment@intervention.alignment=mlp"],
            "intervention.alignment.method: got 'mlp', which has no image of a direction by itself",
        ),
        (["model@intervention.source=folder", "intervention.source.path=x"], "source.path: 'x' is not a folder"),
        (
            ["corpus@intervention.corpus=text", "intervention.corpus.path=x"],
            "intervention.corpus.path: 'x' is not a file",
        ),
        (["intervention.alignment.source_layers=7"], "intervention.alignment.source_layers: got 7, expected 0 to 3"),
        (["intervention.alignment.rank=x"], "intervention.alignment.rank: got 'x'"),
        (["intervention.head='9.9'"], "intervention.head: got 9.9, expected a head from 0.0 to 3.3"),
        (["intervention.through=head", "intervention.head='1.1'"], "not among those that are mapped, [3]"),
        (["intervention.through=head", "intervention.position=all"], "intervention.position: got 'all'"),
        (["intervention.through=head", "intervention.alignment.component=resid_pre"], "alignment.component: got"),
        (["intervention.position=S9"], "intervention.position: got 'S9', expected one of"),
        (["intervention.names=[James,Xyzzy]"], "intervention.names: ' Xyzzy' is not exactly one token"),
        (["intervention.unrelated=20"], "intervention.unrelated: got 20, expected 39 or more"),
        (["intervention.unrelated=5000"], "intervention.unrelated: got 5000, but the prompts have"),
        (["intervention.scale=nan"], "intervention.scale: got nan"),
        (["intervention.corpus.n=5"], "intervention.corpus: tiny english has 5 texts; expected 20 or more"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(sweep, arguments, line):
    outcome = sweep(*QUICK, "model=tiny-pythia", *arguments)
    assert outcome.code == 1
    assert line in outcome.error_line
