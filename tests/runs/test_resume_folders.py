"""Which folder a sweep that is started again goes on in, and where its jobs lie."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ioi_lab.cli.multirun import Multirun
from ioi_lab.runs.resume import (
    choosing,
    earlier_sweep,
    is_placed,
    land_in,
    put_aside_what_is_no_folder,
    record_typed,
)
from tests.conftest import run_folders
from tests.runs.resumed import SHORT


def command(folder: Path, *typed: str, sweeper: str = "basic"):
    """The parts of a multirun's config that resuming reads."""
    return OmegaConf.create(
        {
            "hydra": {
                "sweep": {"dir": str(folder)},
                "overrides": {
                    "task": [line for line in typed if not line.startswith("hydra")],
                    "hydra": [line for line in typed if line.startswith("hydra")],
                },
                "job": {"config_name": "sweep"},
                "runtime": {"config_sources": [{"path": "conf"}]},
                "sweeper": {"name": sweeper, "folder": "${job.folder}"},
            }
        }
    )


@pytest.mark.parametrize(
    ("typed", "goes_on"),
    [
        (["intervention.layer=0,1", "seed=1"], True),
        (["intervention.layer=0,1", "seed=1", "resume=true"], True),
        (["intervention.layer=0,1", "seed=1", "hydra/launcher=batch", "hydra.launcher.wave=2"], True),
        (["seed=1", "intervention.layer=0,1"], False),
        (["intervention.layer=0,1", "seed=2"], False),
        (["intervention.layer=0,1", "seed=1", "hydra.job.chdir=true"], False),
    ],
)
def test_the_same_command_finds_its_sweep(tmp_path, typed, goes_on):
    first, later = tmp_path / "patch" / "monday", tmp_path / "patch" / "tuesday"
    record_typed(first, command(first, "intervention.layer=0,1", "seed=1"))
    (tmp_path / "patch" / "damaged").mkdir()
    (tmp_path / "patch" / "damaged" / "typed.yaml").write_text("a: [")
    assert earlier_sweep(command(later, *typed)) == (first if goes_on else None)
    assert earlier_sweep(command(later, *typed, sweeper="optuna")) is None
    assert earlier_sweep(command(tmp_path / "ablate" / "tuesday", *typed)) is None


def test_of_several_sweeps_the_latest_goes_on(tmp_path):
    for hours, name in enumerate(("second", "first")):
        record_typed(tmp_path / name, command(tmp_path / name, "seed=1"))
        os.utime(tmp_path / name / "typed.yaml", (3600 * hours, 3600 * hours))
    assert earlier_sweep(command(tmp_path / "now", "seed=1")) == tmp_path / "first"


def test_a_folder_that_was_typed_is_where_the_sweep_lands(tmp_path):
    config = command(tmp_path / "a", "seed=1")
    assert not is_placed(config)
    land_in(tmp_path / "b", config)
    assert config.hydra.sweep.dir == str(tmp_path / "b")
    assert config.hydra.overrides.hydra == [f"hydra.sweep.dir='{tmp_path / 'b'}'"]
    assert is_placed(config)


def test_two_equal_sweeps_at_the_same_moment_choose_one_folder(tmp_path):
    chosen, both = [], threading.Barrier(2)

    def choose(name):
        config = command(tmp_path / "patch" / name, "seed=0,1")
        both.wait()
        with choosing(config):
            folder = earlier_sweep(config) or Path(config.hydra.sweep.dir)
            time.sleep(0.1)
            record_typed(folder, config)
        chosen.append(folder)

    threads = [threading.Thread(target=choose, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(chosen)) == 1


def test_a_folder_that_cannot_be_written_is_not_locked():
    with choosing(command(Path("/dev/null/patch/now"))):
        pass


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r$"), max_size=20))
@example("it's")
@example('say "hi"')
@example("back\\\\slash\\")
@example("\\'")
def test_any_folder_can_be_landed_in(name):
    config = command(Path("a"))
    land_in(Path("runs") / name, config)
    override = OverridesParser.create().parse_override(config.hydra.overrides.hydra[0])
    assert override.value() == config.hydra.sweep.dir == str(Path("runs") / name)


def test_a_name_with_quotes_and_blanks_is_gone_on_with(sweep, tmp_path):
    name = """name='it\\'s a "name", (1) ü·漢'"""
    for told in ("", "where 1 job is done"):
        outcome = sweep(*SHORT, "intervention.layer=0", "hydra/launcher=batch", name)
        assert outcome.code == 0, outcome.err
        assert told in outcome.out
    (run,) = run_folders(tmp_path)
    assert run.parents[1].name == """it's a "name", (1) ü·漢"""


def test_what_is_in_the_place_of_a_job_is_put_aside(tmp_path):
    (tmp_path / "0").write_text("mine")
    (tmp_path / "1").symlink_to("nowhere")
    (tmp_path / "2").mkdir()
    (tmp_path / "sweep.csv").touch()
    aside = put_aside_what_is_no_folder(tmp_path)
    assert [path.name.partition(".unusable-")[0] for path in aside] == [".0", ".1"]
    assert aside[0].read_text() == "mine"
    assert aside[1].is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir() if path not in aside) == ["2", "sweep.csv"]
    assert put_aside_what_is_no_folder(tmp_path) == []
    assert put_aside_what_is_no_folder(tmp_path / "nowhere") == []


def test_the_jobs_of_a_sweep_land_together_whatever_is_swept(sweep, tmp_path):
    grid = (*SHORT, "intervention=patch,ablate", "intervention.layer=0")
    assert "2 runs (2 done)" in sweep(*grid).out
    assert len({run.parent for run in run_folders(tmp_path)}) == 1
    assert sweep(*grid).out.count("is done already") == 2


def test_jobs_may_lie_deeper(sweep, tmp_path):
    grid = (*SHORT, "hydra.sweep.subdir=deep/${hydra.job.num}")
    assert sweep(*grid, "intervention.layer=0,9").code == 1
    assert Multirun.failed == 1
    outcome = sweep(*grid, "intervention.layer=0,9")
    assert "where 1 job is done" in outcome.out
    assert "2 runs (1 done, 1 failed)" in outcome.out
    assert "1 of them taken from earlier runs" in sweep(*grid, "intervention.layer=1,0").out
