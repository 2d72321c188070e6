"""The roles of attention heads in the IOI circuit, each told from measured scores: Wang et al. 2022 (arXiv 2211.00593).

What a role needs is in `ioi_lab.lenses.roles`, its thresholds in the config, every score in the table. A role that no
head has evidence for stays empty. The name movers are put to the test: ablated together, against random heads of the
same layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
from pydantic import Field

from ioi_lab.engine.edits import Edit, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.ablate import Ablate
from ioi_lab.interventions.base import Intervention, Measurement, Report, scalars, tidy_table
from ioi_lab.interventions.path_patch import PathPatch
from ioi_lab.interventions.self_checks import checked_run
from ioi_lab.lenses.roles import NAME_MOVER, ROLES, S_INHIBITION, Thresholds, heads_in_role
from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.engine.engine import Engine
    from ioi_lab.lenses.direct import DirectEffects

Head = tuple[int, int]

SHOWN_SCORES: Final[Mapping[str, tuple[str, ...]]] = {
    "previous token": ("previous_token_random", "previous_token_task"),
    "duplicate token": ("duplicate_token_random", "duplicate_token_task"),
    "induction": ("induction_random", "induction_task"),
    S_INHIBITION: ("end_to_s2", "query_effect"),
    "negative name mover": ("end_to_io", "end_to_s2", "negative_copying", "direct_answer", "direct_distractor"),
    NAME_MOVER: ("end_to_io", "copying", "direct_answer"),
    "backup name mover": ("ablation_change",),
}
COLOURS: Final = dict(
    zip(ROLES, ("#cfe8f3", "#fde0c5", "#e3d4ef", "#fbf3b4", "#f6c9c9", "#cdebc5", "#e8e8e8"), strict=True)
)
STRONG: Final = 0.05
"""A head with a direct effect of this share of the logit difference, and no role, is told too."""


@dataclass(frozen=True)
class Evidence:
    """Scores `[layer, head, sample]`, over prompts or (of random tokens) a mean alone; the heads of each role."""

    scores: dict[str, Array]
    roles: dict[str, list[Head]]
    ablated: dict[str, Array] = field(default_factory=dict)
    """Change of the logit difference by prompt: of the `name_movers`, of random heads (`[set, prompt]`)."""

    controls: dict[str, list[list[Head]]] = field(default_factory=dict)
    """The random sets of heads."""

    @property
    def means(self) -> dict[str, Array]:
        """Each score `[layer, head]`."""
        return {name: values.mean(axis=-1) for name, values in self.scores.items()}

    def roles_of(self, head: Head) -> list[str]:
        """The roles that a head has."""
        return [role for role, heads in self.roles.items() if head in heads]


class HeadRoles(Intervention):
    """Score every head on the clean prompts and on `repeats` sequences of random tokens, and tell the roles.

    `controls`: how many random sets of heads the name movers' ablation is compared with.
    """

    thresholds: Thresholds
    repeats: Annotated[int, Field(ge=1)]
    controls: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]

    @property
    def title(self) -> str:
        """`head roles`."""
        return "head roles"

    def observe(self, engine: Engine) -> Evidence:
        """Measure in three steps: what needs no roles, what needs the name movers, and their ablation."""
        for label in ("IO", "S1", "S1+1", "S2"):
            if label not in engine.prompts.labels():
                raise LabError(f"task: head_roles needs prompts with the label {label}, as those of task=ioi have")
        if len(engine.prompts) < 2:
            raise LabError("task: head_roles puts one prompt's names into another; got 1 prompt, expected 2 or more")
        from ioi_lab.lenses.direct import direct_effects

        direct = direct_effects(engine, "clean")
        scores = self._plain_scores(engine, direct)
        empty = np.full((*scores["copying"].shape[:2], 1), np.nan)
        scores |= {"query_effect": empty, "ablation_change": empty}
        movers = self._heads(NAME_MOVER, scores)
        if not movers:
            return Evidence(scores, {role: self._heads(role, scores) for role in ROLES})
        scores["query_effect"] = self._query_effects(engine, movers, scores)
        scores["ablation_change"] = self._change_after_ablation(engine, movers, direct)
        roles = {role: self._heads(role, scores) for role in ROLES}
        controls = self._control_sets(movers, roles, engine.shape.n_heads)
        return Evidence(scores, roles, self._ablations(engine, movers, controls), controls)

    def report(self, measurement: Measurement) -> Report:
        """A row a head with its roles and all scores; the circuit; the name movers against random heads."""
        return _Circuit(self, measurement).report()

    def _heads(self, role: str, scores: Mapping[str, Array]) -> list[Head]:
        means = {name: values.mean(axis=-1) for name, values in scores.items()}
        return heads_in_role(role, means, self.thresholds)

    def _plain_scores(self, engine: Engine, direct: DirectEffects) -> dict[str, Array]:
        from ioi_lab.lenses.attention import attention_to
        from ioi_lab.lenses.head_scores import copying_scores, repeat_scores

        repeated = repeat_scores(engine, self.repeats, self.seed)
        from_second = attention_to(engine, "clean", "S2", ["S1", "S1+1"])
        from_end = attention_to(engine, "clean", "END", ["IO", "S1", "S2"])
        copying, negative_copying = copying_scores(engine, "clean")
        whole, gap = direct.answer.sum.mean(), direct.logit_diff.mean()
        return {f"{name}_random": values[..., None] for name, values in repeated.items()} | {
            "previous_token_task": attention_to(engine, "clean", "S1+1", ["S1"])[:, :, 0],
            "duplicate_token_task": from_second[:, :, 0],
            "induction_task": from_second[:, :, 1],
            "end_to_io": from_end[:, :, 0],
            "end_to_s1": from_end[:, :, 1],
            "end_to_s2": from_end[:, :, 2],
            "copying": copying,
            "negative_copying": negative_copying,
            "direct_answer": _share(direct.answer.heads, whole),
            "direct_distractor": _share(direct.distractor.heads, whole),
            "direct_logit_diff": _share(direct.difference.heads, gap),
        }

    def _query_effects(self, engine: Engine, movers: Sequence[Head], scores: Mapping[str, Array]) -> Array:
        """Share of the gap lost when a head's other-run output reaches the name movers' queries alone, at END.

        Measured for heads that attend from END to S2 and come before a name mover; NaN for the others.
        """
        effects = np.full(scores["end_to_s2"].shape, np.nan)
        attends = scores["end_to_s2"].mean(axis=-1) >= self.thresholds.end
        last = max(layer for layer, _ in movers)
        senders = [(int(layer), int(head)) for layer, head in np.argwhere(attends) if layer < last]
        if not senders:
            return effects
        paths = PathPatch.from_config(
            {
                "name": "path_patch",
                "component": "z",
                "layer": "all",
                "head": [head_name(head) for head in senders],
                "position": "END",
                "sets": "each",
                "direction": "noise",
                "receiver_input": "q",
                "receiver": [head_name(head) for head in movers],
            },
            "intervention",
        )
        edited = engine.run(paths.plan(engine), paths.base).logit_diff
        clean, corrupted = engine.baseline("clean").logit_diff[0], engine.baseline("corrupted").logit_diff[0]
        for sender, logit_diff in zip(senders, edited, strict=True):
            effects[sender] = _share(clean - logit_diff, (clean - corrupted).mean())
        return effects

    def _change_after_ablation(self, engine: Engine, movers: Sequence[Head], direct: DirectEffects) -> Array:
        """How the direct effect on the answer changes once the name movers are ablated, as a share of its logit."""
        from ioi_lab.lenses.direct import direct_effects

        ablated = direct_effects(engine, "clean", self._ablation(engine, [movers])[0])
        return _share(ablated.answer.heads - direct.answer.heads, direct.answer.sum.mean())

    def _ablation(self, engine: Engine, sets: Sequence[Sequence[Head]]) -> list[list[Edit]]:
        """Edits that give each set of heads, at END, what they hold in another prompt with other names."""
        ablate = Ablate.from_config(
            {
                "name": "ablate",
                "component": "z",
                "layer": "all",
                "head": "all",
                "position": "END",
                "sets": "each",
                "method": "resample",
                "reference": "random",
                "run": "clean",
                "seed": self.seed,
            },
            "intervention",
        )
        edit = ablate.editor(engine)
        edits = {head: edit(Site("z", *head, "END")) for head in sorted({head for heads in sets for head in heads})}
        return [[edits[head] for head in heads] for heads in sets]

    def _control_sets(
        self, movers: Sequence[Head], roles: Mapping[str, Sequence[Head]], n_heads: int
    ) -> dict[str, list[list[Head]]]:
        """Random sets with as many heads of each layer as the name movers, as far as there are so many.

        `roleless`: of heads without any role; `others`: of all heads but the name movers.
        """
        named = {head for heads in roles.values() for head in heads}
        counts = {layer: sum(at == layer for at, _ in movers) for layer in sorted({layer for layer, _ in movers})}
        rng = np.random.default_rng(self.seed)
        controls = {}
        for name, kept in (("roleless", named), ("others", set(movers))):
            pools = {layer: [(layer, h) for h in range(n_heads) if (layer, h) not in kept] for layer in counts}
            drawn: set[tuple[Head, ...]] = set()
            for _ in range(20 * self.controls):
                picks = [rng.permutation(len(pool))[: counts[layer]] for layer, pool in pools.items()]
                heads = [pool[i] for pool, pick in zip(pools.values(), picks, strict=True) for i in sorted(pick)]
                if heads and len(drawn) < self.controls:
                    drawn.add(tuple(heads))
            controls[name] = [list(heads) for heads in sorted(drawn)]
        return controls

    def _ablations(
        self, engine: Engine, movers: Sequence[Head], controls: Mapping[str, list[list[Head]]]
    ) -> dict[str, Array]:
        sets = [list(movers), *(heads for drawn in controls.values() for heads in drawn)]
        edits = self._ablation(engine, sets)
        readout, _ = checked_run(engine, edits, "clean")
        change = readout.logit_diff - engine.baseline("clean").logit_diff
        ablated, start = {"name_movers": change[:1]}, 1
        for name, drawn in controls.items():
            if drawn:
                ablated[name] = change[start : start + len(drawn)]
            start += len(drawn)
        return ablated


class _Circuit:
    """The evidence as a table, scalars, figures and lines of text."""

    def __init__(self, config: HeadRoles, measurement: Measurement) -> None:
        self._config = config
        self._measurement = measurement
        self._evidence: Evidence = measurement.observed
        self._means = self._evidence.means

    def report(self) -> Report:
        n_layers, n_heads = self._means["copying"].shape
        heads = [(layer, head) for layer in range(n_layers) for head in range(n_heads)]
        selectors = [
            {"component": "z", "layer": layer, "head": head, "roles": "; ".join(self._evidence.roles_of((layer, head)))}
            for layer, head in heads
        ]
        estimates = {
            name: self._estimate(values.reshape(len(heads), -1)) for name, values in self._evidence.scores.items()
        }
        return Report(
            table=tidy_table(selectors, estimates),
            metrics=self._metrics(),
            draw=self._figures,
            summary=self._summary(),
        )

    def _estimate(self, values: Array) -> Estimate:
        """Over prompts; of scores without prompts, the value alone."""
        if values.shape[1] == len(self._measurement.prompts) and values.shape[1] > 1:
            known = np.isfinite(values[:, 0])  # a head's score was measured on all prompts or on none
            estimate = self._measurement.bootstrap.mean(np.where(known[:, None], values, 0.0))
            return Estimate(*(np.where(known, part, np.nan) for part in vars(estimate).values()))
        unknown = np.full(len(values), np.nan)
        return Estimate(values[:, 0], unknown, unknown)

    @cached_property
    def _changes(self) -> dict[str, Estimate]:
        """Change of the logit difference: each set of heads, its mean over random sets, and the difference."""
        ablated = {name: values.mean(axis=0, keepdims=True) for name, values in self._evidence.ablated.items()}
        changes = {f"{name}_change": values for name, values in ablated.items()}
        for name in self._evidence.controls:
            if name in ablated:
                changes[f"name_movers_minus_{name}"] = ablated["name_movers"] - ablated[name]
        return {name: self._measurement.bootstrap.mean(values) for name, values in changes.items()}

    def _metrics(self) -> dict[str, float]:
        metrics = self._measurement.baseline_metrics()
        metrics |= {f"n_{role.replace(' ', '_')}": len(heads) for role, heads in self._evidence.roles.items()}
        for name, estimate in self._changes.items():
            metrics |= scalars(name, estimate, 0)
        for name, drawn in self._evidence.controls.items():
            metrics[f"n_sets_{name}"] = len(drawn)
            if drawn:
                metrics[f"n_heads_{name}"] = len(drawn[0])
                means = self._evidence.ablated[name].mean(axis=-1)
                metrics |= {f"{name}_lowest_change": float(means.min()), f"{name}_highest_change": float(means.max())}
        return metrics

    def _summary(self) -> list[str]:
        lines = ["roles, with the scores that they rest on:"]
        for role, heads in self._evidence.roles.items():
            lines.append(f"  {role}: " + ("none" if not heads else ""))
            for head in heads:
                scores = ", ".join(f"{name} {self._means[name][head]:.2f}" for name in SHOWN_SCORES[role])
                lines.append(f"    {head_name(head):<6} {scores}")
        if strong := self._strong_without_role:
            told = ", ".join(f"{head_name(head)} ({self._means['direct_logit_diff'][head]:.2f})" for head in strong)
            lines.append(f"strong without a role (share of the logit difference written directly): {told}")
        return lines + self._ablation_lines()

    def _ablation_lines(self) -> list[str]:
        if not self._evidence.ablated:
            return ["no name movers, so none were ablated"]
        lines = ["logit difference when heads get another prompt's output at END:"]
        for name, text in self._set_names.items():
            if f"{name}_change" in self._changes:
                lines.append(f"  {text}: {_interval(self._changes[f'{name}_change'])}")
            else:
                lines.append(f"  {text}: there are none")
        for name in self._evidence.controls:
            if f"name_movers_minus_{name}" in self._changes:
                difference = _interval(self._changes[f"name_movers_minus_{name}"])
                lines.append(f"  name movers less {self._set_names[name]}: {difference}")
        return lines

    @property
    def _set_names(self) -> dict[str, str]:
        def size(name: str) -> str:
            drawn = self._evidence.controls[name]
            return f"{len(drawn)} set{'s' * (len(drawn) > 1)} of {len(drawn[0])}" if drawn else "no set"

        movers = ", ".join(map(head_name, self._evidence.roles[NAME_MOVER]))
        return {
            "name_movers": f"name movers ({movers})",
            "roleless": f"random heads of the same layers without a role ({size('roleless')})",
            "others": f"random other heads of the same layers ({size('others')})",
        }

    @property
    def _strong_without_role(self) -> list[Head]:
        shares = self._means["direct_logit_diff"]
        ranked = sorted(np.argwhere(np.abs(shares) >= STRONG).tolist(), key=lambda at: -abs(shares[tuple(at)]))
        return [(layer, head) for layer, head in ranked if not self._evidence.roles_of((layer, head))]

    def _figures(self) -> dict[str, Figure]:
        figures = {"circuit": self._diagram(), "name_movers": self._scatter()}
        if self._evidence.ablated:
            figures["ablation"] = self._ablation_bars()
        return figures

    def _diagram(self) -> Figure:
        roles, shares = self._evidence.roles, self._means["direct_logit_diff"]
        nodes = [plots.Node(head_name(head), head[0], role) for role, heads in roles.items() for head in heads]
        effects = [
            plots.Effect(head_name(sender), head_name(mover), float(self._means["query_effect"][sender]))
            for sender in roles[S_INHIBITION]
            for mover in roles[NAME_MOVER]
            if sender[0] < mover[0]
        ]
        writers = list(dict.fromkeys(head for role in list(ROLES)[-3:] for head in roles[role]))
        effects += [plots.Effect(head_name(head), plots.LOGITS, float(shares[head])) for head in writers]
        caption = (
            "arrows into the logits: direct effect, as a share of the logit difference (blue raises, red lowers it)\n"
            "arrows into name movers: share of the clean − corrupted gap that their queries together get from the head"
        )
        title = f"Heads by role and layer\n{self._measurement.data_title}"
        return plots.circuit(nodes, effects, COLOURS, title, caption)

    def _scatter(self) -> Figure:
        """Figure 3c of Wang et al.: attention to IO against what is written of it."""
        heads = list(np.ndindex(*self._means["copying"].shape))
        return plots.scatter(
            self._means["end_to_io"].ravel(),
            np.nan_to_num(self._means["direct_answer"]).ravel(),
            [head_name(head) for head in heads],
            x_label="attention from END to IO",
            y_label="direct effect on the answer's logit\n(share of that logit over the mean logit)",
            title=f"Who moves the name\n{self._measurement.data_title}",
        )

    def _ablation_bars(self) -> Figure:
        names = [name for name in self._set_names if f"{name}_change" in self._changes]
        estimates = [self._changes[f"{name}_change"] for name in names]
        texts = {
            "name_movers": "name movers",
            "roleless": "random heads\nwithout a role",
            "others": "random other\nheads",
        }
        value, low, high = (np.concatenate(parts) for parts in zip(*(vars(e).values() for e in estimates), strict=True))
        return plots.ranked_bars(
            plots.Axis("resampled at END", [texts[name] for name in names]),
            value,
            low,
            high,
            value_label="change of the logit difference",
            title=f"Name movers against heads of the same layers\n{self._measurement.data_title}",
        )


def _share(values: Array, whole: float) -> Array:
    """Values as shares of a whole; NaN, which is no evidence, where the model has none to share."""
    return values / whole if whole > 0 else np.full_like(values, np.nan)


def _interval(estimate: Estimate) -> str:
    bounds = f" [{estimate.low[0]:.2f}, {estimate.high[0]:.2f}]" if estimate.has_bounds else ""
    return f"{estimate.value[0]:.2f}{bounds}"
