"""The steps of a study: what each of them asks, and the rules by which it takes what it needs from earlier steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ioi_lab.reports.wording import counted
from ioi_lab.studies.findings import HEADS, Findings

CHOSEN: Final = "chosen"
"""The value of a key that the study chooses."""


class NothingChosenError(Exception):
    """The earlier steps leave nothing to choose; says why, as the end of a sentence."""


@dataclass(frozen=True)
class Choice:
    """A value that a rule has chosen, and why, as a sentence without its full stop."""

    value: Any
    why: str


@dataclass(frozen=True)
class Rule:
    """How the value of a key is chosen."""

    choose: Callable[[Findings], Choice]
    """Raises `NothingChosenError` if there is nothing to choose."""

    needs: str | None = None
    """The step whose results are read."""

    stand_in: Any = None
    """A value with which the config of the step is checked before anything is run."""


@dataclass(frozen=True)
class Step:
    """A step: a run of its own, whose config is `steps.<name>` together with the study's model and task."""

    name: str
    question: str
    rules: Mapping[str, Rule] = field(default_factory=dict)
    """How each key of its `intervention` is chosen whose value in the config is `chosen`."""

    other_prompts: bool = False
    """Whether the step measures on the prompts of the next seed, from which no earlier step has chosen anything."""

    kind: Literal["experiment", "alignment"] = "experiment"
    needs_source: bool = False
    """Whether the step needs a second model, the source."""

    def rules_of(self, intervention: Mapping[str, Any]) -> dict[str, Rule]:
        """Return the rules that are used, given the step's config: the user may have set a key instead."""
        return {key: rule for key, rule in self.rules.items() if intervention.get(key) == CHOSEN}


def _heads(findings: Findings) -> Choice:
    surviving = findings.surviving
    if not surviving:
        raise NothingChosenError(
            f"none of {counted(findings.n_heads_tested, 'head')} has an effect beyond chance in the step {HEADS}"
        )
    chosen = [head.name for head in surviving[: findings.max_heads]]
    which = "all of them" if len(chosen) == len(surviving) else f"the {len(chosen)} with the largest effects"
    return Choice(
        chosen,
        f"{len(surviving)} of {counted(findings.n_heads_tested, 'head')} have an effect beyond chance in the step "
        f"{HEADS}; {which} are taken",
    )


def _receivers(findings: Findings) -> Choice:
    heads = _heads(findings)
    layers = {head.name: head.layer for head in findings.surviving}
    later = [name for name in heads.value if layers[name] > 0]
    if not later:
        raise NothingChosenError(
            "all heads that are taken from the step heads are in the first layer, before which no head writes"
        )
    return Choice(later, f"{heads.why}, without those of the first layer, before which no head writes")


def _key_value_receivers(findings: Findings) -> Choice:
    """The key/value heads that the receivers read, which are these heads themselves without grouped queries."""
    receivers, group = _receivers(findings), findings.queries_per_key
    if group == 1:
        return receivers
    cells = [map(int, name.split(".")) for name in receivers.value]
    names = list(dict.fromkeys(f"{layer}.{head // group}" for layer, head in cells))
    return Choice(names, f"{receivers.why}; key/value heads, each of which {group} heads read")


def _layers(findings: Findings) -> Choice:
    heads = _heads(findings)
    layers = {head.name: head.layer for head in findings.surviving}
    chosen = list(dict.fromkeys(layers[name] for name in heads.value))[: findings.max_layers]
    return Choice(sorted(chosen), f"the layers of the heads {' '.join(heads.value)}, after which these have written")


def _labels(findings: Findings) -> Choice:
    own = [label for label in findings.labels if label not in ("BOS", "END") and "+" not in label]
    if own:
        return Choice(own, "the labels of the task")
    return Choice([label for label in findings.labels if label in ("BOS", "END")], "the task has no labels of its own")


def _reference(findings: Findings) -> Choice:
    if findings.is_ioi:
        return Choice("abc", "the mean over prompts with three unrelated names, as in Wang et al. 2022")
    return Choice("corrupted", "the mean over the corrupted prompts: only IOI has prompts with unrelated names")


def _contrast(findings: Findings) -> Choice:
    if findings.is_ioi:
        return Choice("name_pair", "one name against another, a direction that both halves of the prompts share")
    return Choice("clean_corrupt", "clean against corrupted prompts: other tasks have no pair of names")


def _from(step: str, file: str) -> Rule:
    return Rule(lambda findings: Choice(str(findings.folders[step] / file), f"that of the step {step}"), step)


_HEADS: Final = Rule(_heads, HEADS, ["0.0"])
_RECEIVERS: Final = Rule(_receivers, HEADS, ["1.0"])
_KEY_VALUE_RECEIVERS: Final = Rule(_key_value_receivers, HEADS, ["1.0"])

STEPS: Final = (
    Step("baseline", "Does the model do the task at all?"),
    Step(HEADS, "Which heads bring the answer back when they are patched?"),
    Step(
        "attention",
        "Where do these heads look?",
        {"heads": Rule(_heads, HEADS, "strongest"), "keys": Rule(_labels, stand_in=["END"])},
        other_prompts=True,
    ),
    Step("into_q", "Which heads decide what these heads look for (their queries)?", {"receiver": _RECEIVERS}, True),
    Step("into_k", "Which heads decide what these heads find (their keys)?", {"receiver": _KEY_VALUE_RECEIVERS}, True),
    Step("into_v", "Which heads write what these heads move (their values)?", {"receiver": _KEY_VALUE_RECEIVERS}, True),
    Step("circuit", "Which edges are enough to do the task?"),
    Step(
        "circuit_tests",
        "Does that circuit pass the tests of a circuit?",
        {"circuit": _from("circuit", "circuit.json")},
        other_prompts=True,
    ),
    Step("lens", "After which layer can the answer be read?"),
    Step("attribution", "Which heads and MLPs write the answer themselves?"),
    Step("knockout", "Which heads does the model need?", other_prompts=True),
    Step(
        "sufficiency",
        "Are the heads that were found enough, with all others ablated?",
        {"head": _HEADS, "reference": Rule(_reference, stand_in="corrupted")},
        other_prompts=True,
    ),
    Step(
        "steering",
        "Can a direction after these heads' layers steer the answer?",
        {"layer": Rule(_layers, HEADS, "all"), "contrast": Rule(_contrast, stand_in="clean_corrupt")},
        other_prompts=True,
    ),
    Step(
        "align",
        "How well is one model's residual stream predicted from the other's?",
        kind="alignment",
        needs_source=True,
    ),
    Step(
        "transfer",
        "Does a direction of one model steer the other?",
        {"maps": _from("align", "maps.safetensors"), "contrast": Rule(_contrast, stand_in="clean_corrupt")},
        other_prompts=True,
        needs_source=True,
    ),
)  # fmt: skip
"""All steps, in their order."""
