"""`ioi-lab info`."""

from __future__ import annotations

import sys

import pytest

from ioi_lab.cli.info import answer, main
from ioi_lab.errors import LabError


def test_the_overview_lists_models_tasks_interventions_and_presets():
    lines = list(answer(None, 100))
    for group in ("model=", "task=", "intervention=", "experiment="):
        assert group in lines
    assert "  knockout           Knockout as in Wang et al. 2022: all heads except the selected ones are …" in lines
    assert max(map(len, lines[:-3])) <= 100
    assert lines[-1] == "the keys at the top of a command: ioi-lab info sweep, ioi-lab info align, ioi-lab info study"


def test_a_group_and_an_option():
    assert "  procrustes      An orthogonal map up to a scale; if widths differ, in a subspace of the" in "\n".join(
        answer("alignment", 100)
    )
    lines = list(answer("intervention=steer", 100))
    assert lines[0].startswith("Activation steering: a direction from one half")
    start = lines.index("  intervention.controls=10")
    assert lines[start + 1].strip().startswith("the number of random directions")
    assert lines[start + 2] == "      (integer ≥ 5)"
    # Choices that the meaning names already are not repeated.
    start = lines.index("  intervention.component=resid_pre")
    assert lines[start + 1 : start + 3] == [
        "      resid_pre, resid_post, or z (the output of a head)",
        "  intervention.layer=all",
    ]


def test_a_preset_is_shown_as_what_it_sets():
    lines = list(answer("experiment=wang2022", 100))
    assert lines[-4:] == ["  sets:", "    intervention=wang2022", "    name=wang2022", "    task.corruption=abc"]


def test_the_keys_at_the_top():
    assert "  stats.over=prompts" in list(answer("sweep"))
    assert "  model@source=tiny-gpt2" in list(answer("align"))
    assert list(answer("model@source=tiny-gpt2")) == list(answer("model=tiny-gpt2"))


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("steer", "steer: is an option; write ioi-lab info intervention=steer"),
        ("stear", "stear: no such config group or option (did you mean steer?); expected one of alignment, "),
        ("lenz", "lenz: no such config group or option (did you mean lens?); expected one of alignment, "),
        ("intervention=stear", "intervention: got 'stear' (did you mean steer?), expected one of ablate, "),
        ("models=tiny-gpt2", "models: no such config group (did you mean model?); expected one of alignment, "),
        ("task=", "task: got '', expected one of country_capital, docstring, gendered_pronoun, greater_than, "),
    ],
)
def test_wrong_names_are_one_line(what, line):
    with pytest.raises(LabError) as error:
        list(answer(what))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/bin/ioi-lab", "tracker=none"])
    main()
    assert capsys.readouterr().out.splitlines()[1] == "  tracker.name=none"
    monkeypatch.setattr(sys, "argv", ["/bin/ioi-lab", "tracker=nine"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == "error: tracker: got 'nine' (did you mean none?), expected one of none, wandb"
