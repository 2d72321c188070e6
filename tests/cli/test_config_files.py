"""Config files with their comments."""

from __future__ import annotations

import pytest

from ioi_lab.cli.config_files import Entry, groups, options_of, read_option
from ioi_lab.errors import LabError

OWN = """# My own patching,
# in two lines. And a second sentence.
defaults:
  - patch
  - /lens@lens: logit   # how it is read
  - _self_
_target_: ioi_lab.interventions.patch.Patch
name: "mine"  # with quotes
direction: noise
keys: [a,
  b]   # over two lines
deep:
  er: 3   # below
address: a#b
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "intervention").mkdir(parents=True)
    (tmp_path / "conf" / "intervention" / "mine.yaml").write_text(OWN)
    (tmp_path / "conf" / "intervention" / "patch.yaml").write_text("")  # after that of the lab, whose name it has
    return tmp_path / "conf"


def test_options_of_ones_own_are_among_those_of_the_lab(own):
    assert "mine" in options_of("intervention")
    assert {"intervention", "model", "task", "lens", "hparams_search"} < set(groups())
    assert "hydra" not in groups()
    assert read_option("intervention", "patch").target == "ioi_lab.interventions.patch.Patch"


def test_a_file_with_its_comments_and_those_of_the_option_that_it_starts_from(own):
    file = read_option("intervention", "mine")
    assert file.description == "My own patching, in two lines. And a second sentence."
    assert file.entries["name"] == Entry("mine", "with quotes")
    assert file.entries["direction"].value == "noise"
    assert file.entries["direction"].comment.startswith("denoise (clean into the corrupted pass)")
    assert file.entries["layer"].value == "all"
    assert file.entries["keys"] == Entry("[a, b]", "over two lines")
    assert file.entries["deep"].below == {"er": Entry("3", "below")}
    assert file.entries["address"] == Entry("a#b")
    (choice,) = file.choices
    assert (choice.group, choice.place, choice.option, choice.comment) == ("lens", "lens", "logit", "how it is read")


def test_the_folder_of_another_clone_is_not_ones_own(own):
    (own / "run_folder.yaml").write_text("")
    assert "mine" not in options_of("intervention")


def test_what_a_preset_chooses():
    (choice,) = read_option("experiment", "steering_scales").overrides
    assert (choice.group, choice.option) == ("intervention", "steer")


@pytest.mark.parametrize(
    ("group", "option", "line"),
    [
        ("interventoin", "steer", "interventoin: no such config group (did you mean intervention?); expected one of "),
        ("intervention", "stear", "intervention: got 'stear' (did you mean steer?), expected one of ablate, "),
        ("", "swep", ": got 'swep' (did you mean sweep?), expected one of sweep, train_align"),
    ],
)
def test_wrong_names_are_answered_with_the_nearest(group, option, line):
    with pytest.raises(LabError, match="did you mean") as error:
        read_option(group, option)
    assert str(error.value).startswith(line)


def test_a_file_that_is_not_yaml_is_one_line(own):
    (own / "intervention" / "broken.yaml").write_text("a: [\n")
    with pytest.raises(LabError, match=r"broken.yaml: is not YAML") as error:
        read_option("intervention", "broken")
    assert "\n" not in str(error.value)
