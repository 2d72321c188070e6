"""Errors of Hydra, OmegaConf and the system as one line."""

from __future__ import annotations

import pytest
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException

from ioi_lab.cli.messages import RENAMED_KEYS, check_override, one_line, unknown_key, unknown_option
from ioi_lab.errors import LabError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LabError("task.n: got 0,\n   expected more"), "task.n: got 0, expected more"),
        (FileNotFoundError(2, "No such file", "a.txt"), "cannot write or read 'a.txt': No such file"),
        (PermissionError(13, "Permission denied", b"a.txt"), "cannot write or read 'a.txt': Permission denied"),
        (OSError("the disk is full"), "the disk is full"),
        (
            HydraException("Ambiguous value for argument 'task.seed=0,1'\n1. To use it as a list …"),
            "task.seed: got '0,1'; write a list as 'task.seed=[0,1]', or add -m for one run per value",
        ),
        (
            HydraException("Ambiguous value for argument 'model=tiny-gpt2,tiny-pythia'\n1. To use it as a list …"),
            "model: got 'tiny-gpt2,tiny-pythia', but it takes one option; add -m for one run per option",
        ),
    ],
)
def test_an_error_is_one_line(error, line):
    assert one_line(error, []) == line


@pytest.mark.parametrize("key", ["model", "task", "intervention", "tracker", "alignment", "model@source"])
def test_a_list_of_options_is_refused(key):
    """Hydra would take the last one, without a word."""
    with pytest.raises(LabError) as error:
        check_override(f"{key}=[a, b]")
    assert str(error.value) == (
        f"{key}: got '[a, b]', but it takes one option; write -m {key}=a,b for one run per option"
    )


@pytest.mark.parametrize(
    "override", ["model=tiny-gpt2", "intervention.layer=[0,1]", "experiment=[a,b]", "task.path=[x]", "seed=[1]", "runs"]
)
def test_other_overrides_are_not(override):
    check_override(override)


def test_a_launcher_that_is_not_installed_says_how_it_comes():
    error = MissingConfigException("no", missing_cfg_file="hydra/launcher/joblib", options=["basic"])
    line = unknown_option(error, [])
    assert line.endswith("not installed; it comes with: pip install 'ioi-lab[joblib]'")
    error = MissingConfigException("no", missing_cfg_file="hydra/launcher/other", options=["basic"])
    assert unknown_option(error, []) == "hydra/launcher: got 'other', expected one of basic"


def test_an_option_that_is_unknown_is_reported_with_the_choices():
    error = MissingConfigException("no", missing_cfg_file="task/oii.yaml", options=["ioi", "pairs"])
    assert unknown_option(error, []) == "task: got 'oii' (did you mean ioi?), expected one of ioi, pairs"


def test_a_missing_config_outside_of_a_group_keeps_its_message():
    error = MissingConfigException("no such\n  config", missing_cfg_file="sweeep", options=None)
    assert unknown_option(error, []) == "no such config"


def line_for(key, *options):
    """The line for a key, if the command line names these options."""
    error = ConfigCompositionException(f"Could not override '{key}'.\nTo append …")
    return unknown_key(error, "sweep", [*options, f"{key}={{x:1}}"])


@pytest.mark.parametrize(
    ("intervention", "old", "new"),
    [
        ("patch", "site", "component"),
        ("attention", "run", "prompts"),
        ("transfer", "method", "through"),
        ("transfer", "vector", "vector_method"),
        ("logit_lens", "steps", "lens.steps"),
    ],
)
def test_keys_that_were_renamed_are_reported_with_their_new_names(intervention, old, new):
    assert RENAMED_KEYS[old] == new
    line = line_for(f"intervention.{old}", f"intervention={intervention}")
    assert line == f"intervention.{old}: this key is now intervention.{new}"


def test_an_old_name_counts_only_if_the_config_has_the_new_key():
    line = line_for("task.site")
    assert "is now" not in line
    assert line.startswith("task.site: no such key; expected one of task.name, ")


def test_a_key_that_is_close_to_another_is_reported_with_it():
    line = line_for("intervention.positon")
    assert line.startswith("intervention.positon: no such key (did you mean intervention.position?); expected one of ")
    assert "intervention.layer" in line
    assert "_target_" not in line


def test_choices_are_those_of_the_options_that_were_typed():
    assert "task.corrupt" in line_for("task.zzz", "task=pairs")
    assert "task.corrupt" not in line_for("task.zzz", "task=ioi").replace("task.corruption", "")


def test_a_wrong_option_does_not_hide_the_wrong_key():
    line = line_for("task.corupted", "task=none")
    assert line.startswith("task.corupted: no such key (did you mean task.corruption?); expected one of task.name, ")


def test_a_key_of_another_option_is_reported_with_the_option():
    line = line_for("intervention.lens.text", "intervention=logit_lens")
    assert line.startswith("intervention.lens.text: this is a key of lens@intervention.lens=tuned; expected one of ")


def test_a_part_of_a_composed_config_is_overridden_key_by_key():
    assert line_for("task") == "task: this config is composed already; override its keys one by one (task.…=…)"


def test_a_key_below_one_that_is_missing_is_reported_with_the_top_level():
    line = line_for("tsk.n")
    assert line.startswith("tsk.n: no such key")
    assert ", task, " in line


def test_other_errors_of_composition_keep_their_message():
    assert unknown_key(ConfigCompositionException("another\nproblem"), "sweep", []) == "another problem"
