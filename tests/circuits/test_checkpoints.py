"""Checkpoints: a search that was interrupted goes on from them, and no other search does."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits import checkpoints as module
from ioi_lab.circuits.acdc import acdc
from ioi_lab.circuits.checkpoints import Checkpoint, Checkpoints
from ioi_lab.circuits.scores import ScoreSettings, exact
from ioi_lab.circuits.selection import edges_at


@pytest.fixture(autouse=True)
def always_written(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 0.0)
    monkeypatch.setattr(module, "_SHARE", 0)


class StoppedError(Exception):
    pass


def interrupted_after(monkeypatch, count, owner, name):
    """Let a method of a class work some times, then raise."""
    calls, plain = [], getattr(owner, name)

    def work(*arguments, **keywords):
        calls.append(1)
        if len(calls) > count:
            raise StoppedError
        return plain(*arguments, **keywords)

    monkeypatch.setattr(owner, name, work)
    return calls


@pytest.mark.parametrize("elsewhere", [False, True])
def test_exact_scores_go_on_where_they_were(runner, tmp_path, monkeypatch, elsewhere):
    varied = edges_at(runner.graph, heads=[(2, 0), (3, 1)])
    whole = exact(runner, ScoreSettings(varied=varied))
    first = Checkpoint.of(Checkpoints(tmp_path), "exact", runner, n=1)
    with monkeypatch.context() as patch:
        interrupted_after(patch, 2, type(runner.engine), "evaluate")
        with pytest.raises(StoppedError):
            exact(runner, ScoreSettings(varied=varied, checkpoint=first))
    folders = Checkpoints(tmp_path / "new", tmp_path) if elsewhere else Checkpoints(tmp_path)
    again = Checkpoint.of(folders, "exact", runner, n=1)
    done = again.load()["done"].astype(bool)
    assert 0 < (done & varied).sum() < varied.sum()
    calls = interrupted_after(monkeypatch, 10**6, type(runner.engine), "evaluate")
    assert exact(runner, ScoreSettings(varied=varied, checkpoint=again)) == pytest.approx(whole, abs=1e-5)
    n_whole = len(calls)
    exact(runner, ScoreSettings(varied=varied))
    assert n_whole < len(calls) - n_whole  # less than all had to be measured again
    folders.remove()
    assert not list((folders.folder).glob("checkpoint*"))


def test_acdc_goes_on_where_it_was(runner, tmp_path, monkeypatch):
    varied = edges_at(runner.graph, heads=[(3, 1)])
    whole = acdc(runner, 0.05, "logit_diff", 0, varied)
    first = Checkpoint.of(Checkpoints(tmp_path), "acdc_0", runner)
    with monkeypatch.context() as patch:
        interrupted_after(patch, 3, type(runner), "run")
        with pytest.raises(StoppedError):
            acdc(runner, 0.05, "logit_diff", 0, varied, first)
    again = Checkpoint.of(Checkpoints(tmp_path), "acdc_0", runner)
    assert 0 < again.load()["readers"][0] < len(runner.graph.readers)
    assert (acdc(runner, 0.05, "logit_diff", 0, varied, again) == whole).all()


def test_the_checkpoint_of_another_search_or_a_damaged_one_is_not_taken_up(runner, tmp_path):
    folders = Checkpoints(tmp_path)
    Checkpoint.of(folders, "exact", runner, objective="kl").save({"scores": np.ones(3)})
    assert Checkpoint.of(folders, "exact", runner, objective="kl").load()["scores"].tolist() == [1, 1, 1]
    assert Checkpoint.of(folders, "exact", runner, objective="logit_diff").load() is None
    assert Checkpoint.of(folders, "acdc_0", runner, objective="kl").load() is None
    (tmp_path / "checkpoint_exact.safetensors").write_bytes(b"half")
    assert Checkpoint.of(folders, "exact", runner, objective="kl").load() is None


def test_without_a_folder_nothing_is_written(runner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nothing = Checkpoint.of(Checkpoints(), "exact", runner)
    nothing.save({"scores": np.ones(3)})
    Checkpoints().remove()
    assert nothing.load() is None
    assert not list(tmp_path.iterdir())
