"""`hydra/launcher=batch`: what the basic launcher gives, from shared passes."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import setup_globals
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError

from hydra_plugins.ioi_lab_batch_launcher import batch_launcher
from hydra_plugins.ioi_lab_batch_launcher._core import JobConfigs
from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.patch import Patch
from tests.conftest import run_folders

BATCH = ("-m", "hydra/launcher=batch", "tracker=none")
PATCH = ("task.n=8", "intervention.layer=0,1,2", "intervention.head=0,3")
STEER = (
    "task.n=12",
    "intervention=steer",
    "intervention.contrast=name_pair",
    "intervention.layer=1,2",
    "intervention.scale=-2.0,1.0",
    "intervention.side_effects=0",
    "intervention.controls=5",
)


@pytest.fixture
def loader():
    setup_globals()
    GlobalHydra.instance().clear()
    yield Hydra.create_main_hydra2("sweep", create_config_search_path(str(CONFIG_FOLDER))).config_loader
    GlobalHydra.instance().clear()


@pytest.mark.long
@pytest.mark.parametrize(
    "jobs",
    [
        [["intervention.layer=0", "task.n=4"], ["intervention.layer=1", "task.n=5"]],
        [["intervention=steer", "intervention.scale=-1.0"], ["intervention=ablate", "intervention.method=mean"]],
        [["experiment=steering_scales", "intervention.layer=[1,2]"], ["experiment=residual_by_position", "seed=3"]],
        [["model=tiny-pythia", "+model.note=x", "name=a b"], ["model=tiny-gpt2", "~seed"]],
        [
            ["seed=1", "task.n=4", "name=a", "seed=2"],
            ["seed=2", "task.n=4", "name=a", "seed=1"],
            ["task.n=4", "name=a"],
        ],
        [["intervention=steer", "task.n=4", f"intervention.scale={scale}"] for scale in (1.0, 2.0, 3.0)],
        [[f"figures.formats.0={kind}"] for kind in ("pdf", "svg")],
    ],
    ids=["values", "groups", "presets", "added and deleted", "set twice", "shared", "in a list"],
)
@pytest.mark.parametrize("are_known", [False, True], ids=["one by one", "known before"])
def test_configs_are_those_that_hydra_composes(loader, jobs, are_known):
    master = loader.load_configuration("sweep", [], RunMode.MULTIRUN)
    fast = JobConfigs(loader)
    if are_known:
        fast.share(jobs)
    for overrides in [*jobs, *reversed(jobs)]:
        expected = loader.load_sweep_config(master, overrides)
        assert OmegaConf.to_yaml(fast.job_config(master, overrides)) == OmegaConf.to_yaml(expected)


def test_no_job_changes_what_others_have_too(loader):
    master, fast = loader.load_configuration("sweep", [], RunMode.MULTIRUN), JobConfigs(loader)
    first, second = (fast.job_config(master, [f"intervention.layer={layer}"]) for layer in (1, 2))
    first.intervention.layer = 3
    assert second.intervention.layer == 2
    for change in (lambda: setattr(first.task, "n", 3), lambda: setattr(first, "seed", 3)):
        with pytest.raises(ReadonlyConfigError):
            change()


def test_values_that_refer_to_others_are_those_of_the_job(loader):
    master, fast = loader.load_configuration("sweep", [], RunMode.MULTIRUN), JobConfigs(loader)
    overrides = [[f"seed={seed}"] for seed in (1, 2)]
    configs = [fast.job_config(master, job) for job in overrides]
    for seed in (2, 1):
        fast.enter(configs[seed - 1], overrides[seed - 1])
        assert configs[seed - 1].task.seed == seed


def test_a_wrong_key_is_found_as_hydra_finds_it(loader):
    master = loader.load_configuration("sweep", [], RunMode.MULTIRUN)
    with pytest.raises(ConfigCompositionException, match=r"Could not override 'intervention\.layr'"):
        JobConfigs(loader).load_sweep_config(master, ["intervention.layr=1"])


@pytest.mark.parametrize("grid", [PATCH, STEER], ids=["patch", "steer"])
@pytest.mark.long
def test_the_numbers_are_those_of_the_basic_launcher(sweep, tmp_path, grid):
    """To float32 rounding: a pass over other edits beside one's own adds up in another order."""
    assert sweep("-m", "tracker=none", "name=basic", *grid).code == 0
    outcome = sweep(*BATCH, "name=batch", *grid)
    assert outcome.code == 0, outcome.err
    folders = run_folders(tmp_path)
    for one in [folder for folder in folders if "basic" in folder.parts]:
        (other,) = (folder for folder in folders if "batch" in folder.parts and folder.name == one.name)
        assert {path.name for path in one.rglob("*")} == {path.name for path in other.rglob("*")}
        metrics, others = (json.loads((folder / "metrics.json").read_text()) for folder in (one, other))
        assert metrics.keys() == others.keys()
        stable = [name for name in metrics if not name.startswith("best_efficiency")]  # may divide by next to nothing
        assert [others[name] for name in stable] == pytest.approx([metrics[name] for name in stable], abs=1e-4)
        table, same = (pd.read_csv(folder / "results.csv") for folder in (one, other))
        pd.testing.assert_frame_equal(table, same, atol=1e-4, rtol=1e-4)
        assert (one / "prompts.csv").read_text().splitlines()[0] == (other / "prompts.csv").read_text().splitlines()[0]
        for name in ("config.yaml", ".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/hydra.yaml"):
            assert same_but_for_the_launcher(one / name) == same_but_for_the_launcher(other / name)


def same_but_for_the_launcher(path):
    config = OmegaConf.load(path)
    if path.name == "hydra.yaml":
        del config.hydra.launcher, config.hydra.runtime.choices["hydra/launcher"], config.hydra.runtime.output_dir
        del config.hydra.job_logging.root.handlers, config.hydra.sweep.dir, config.hydra.overrides.hydra
    text = OmegaConf.to_yaml(config).replace("name: batch", "name: basic").replace("name=batch", "name=basic")
    return text.splitlines()


def test_jobs_share_passes(sweep, monkeypatch):
    passes = []
    plain = Engine._execute

    def counted(self, edit_sets, base, capture=()):
        passes.append(len(edit_sets))
        return plain(self, edit_sets, base, capture)

    monkeypatch.setattr(Engine, "_execute", counted)
    assert sweep(*BATCH, *PATCH, "figures=false", "task.seed=7").code == 0
    # Two baselines, then all edits with the two controls that they share, but for one a layer.
    assert passes == [1, 1, 6 + 1 + 3]


def test_waves_bound_what_is_measured_together(sweep, tmp_path):
    outcome = sweep(*BATCH, *PATCH, "figures=false", "hydra.launcher.wave=4")
    assert outcome.code == 0
    told = [line.split(" in ")[0] for line in outcome.out.splitlines() if line.startswith("measured")]
    assert told == [f"measured {n} jobs on tiny-gpt2 together" for n in (4, 2)]
    assert len(run_folders(tmp_path)) == 6


def test_a_mistake_stays_in_its_job(sweep, tmp_path):
    outcome = sweep(*BATCH, "task.n=4", "intervention.layer=0,9,1")
    assert outcome.code == 1
    assert "measured 3 jobs" in outcome.out
    assert "3 runs (2 done, 1 failed)" in outcome.out
    assert outcome.error_line.startswith("error: job 1 (intervention.layer=9")


def test_a_bug_in_the_plan_stays_in_its_job(sweep, tmp_path, monkeypatch):
    plain = Patch.plan

    def failing(self, rows, engine):
        if self.layer == 1:
            raise RuntimeError("a bug")
        return plain(self, rows, engine)

    monkeypatch.setattr(Patch, "plan", failing)
    outcome = sweep(*BATCH, "task.n=4", "intervention.layer=0,1,2")
    assert outcome.code == 1
    assert "3 runs (2 done, 1 failed)" in outcome.out
    assert len(list(tmp_path.glob("runs/*/*/1/traceback.txt"))) == 1


def test_what_is_done_is_not_measured_again(sweep):
    assert sweep(*BATCH, "task.n=4", "intervention.layer=0,1").code == 0
    outcome = sweep(*BATCH, "task.n=4", "intervention.layer=0,1")
    assert outcome.code == 0
    assert "where 2 jobs are done" in outcome.out
    assert "together in" not in outcome.out


@pytest.mark.parametrize("file", ["log.txt", "${hydra.job.num}.txt"])
def test_each_job_says_what_it_has_to_say_in_its_folder(sweep, tmp_path, file):
    """The log of the next job is directed to its folder, or set up anew if the name of its file differs too."""
    name = f"hydra.job_logging.handlers.file.filename='${{hydra.runtime.output_dir}}/{file}'"
    outcome = sweep(*BATCH, "task.n=4", "figures=false", "intervention.layer=0,1", name)
    assert "heads by recovery" not in outcome.out
    folders = {folder.name: folder for folder in run_folders(tmp_path)}
    names = {number: file.replace("${hydra.job.num}", number) for number in folders}
    logs = [(folder / names[number]).read_text() for number, folder in folders.items()]
    assert [log.count("heads by recovery") for log in logs] == [1, 1]


def test_what_takes_no_edits_is_left_to_itself(sweep):
    outcome = sweep(*BATCH, "task.n=4", "figures=false", "intervention=logit_lens", "task.seed=0,1")
    assert outcome.code == 0, outcome.err
    assert "together in" not in outcome.out


@pytest.mark.long
def test_the_jobs_of_train_align_run_too(train_align):
    outcome = train_align(*BATCH, "corpus.n=200", "alignment=mean_shift", "seed=0,1")
    assert outcome.code == 0, outcome.err
    assert "2 runs (2 done)" in outcome.out


def test_a_wave_of_nothing_is_refused(sweep):
    outcome = sweep(*BATCH, "intervention.layer=0,1", "hydra.launcher.wave=0")
    assert outcome.code == 1
    assert outcome.error_line == "error: hydra.launcher.wave: got 0, expected a whole number, 1 or more"


@pytest.mark.parametrize("launcher", ["basic", "batch"])
def test_a_group_without_an_option_is_reported_in_one_line(sweep, launcher):
    outcome = sweep("-m", "tracker=none", f"hydra/launcher={launcher}", "model=tiny-gpt2,null")
    assert outcome.code == 1
    assert outcome.error_line == "error: Config group override must be a string or a list. Got NoneType"


def test_a_bug_of_the_launcher_is_no_mistake_of_the_user(sweep, monkeypatch):
    monkeypatch.setattr(batch_launcher, "setup_globals", None)
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        sweep(*BATCH, "task.n=4", "intervention.layer=0,1")
