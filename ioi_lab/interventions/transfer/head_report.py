"""The report of one direction of swapping heads between models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ioi_lab.interventions.transfer.head_grid_report import PairGridReport
from ioi_lab.interventions.transfer.head_margins import CONTROLS
from ioi_lab.interventions.transfer.head_margins_report import differences
from ioi_lab.interventions.transfer.head_measure import AT_EQUAL_LENGTH, HeadSwapResult
from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots
from ioi_lab.reports.captions import DIVERGING, bars, joined, pale
from ioi_lab.reports.report import scalars, tidy_table
from ioi_lab.reports.wording import NOT_FOUND, enumerated, interval, listed
from ioi_lab.stats.bootstrap import MIN_PROMPTS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ioi_lab.reports.report import ReportContext
    from ioi_lab.transfer.head_maps import MapTraining

MAX_OTHER_HEADS: Final = 5
NOT_SHOWN: Final = "no transfer has been shown"
UNCERTAINTY: Final = "95 % intervals are over the held-out prompts alone; the map, the means and the heads are given"


class HeadSwapReport:
    """The table, scalars, figures and sentences of one direction; `through` is the route in figure titles."""

    def __init__(self, result: HeadSwapResult, through: str, context: ReportContext) -> None:
        self._result = result
        self._title = (
            f"In the place of head {head_name(result.replaced)} of {result.target} at {result.position}: heads of "
            f"{result.source}\n{through}, clean into corrupted\n"
            f"{context.task}, {result.n_prompts} held-out prompts{context.precision_note}"
        )
        self._grid = PairGridReport(
            result.grid,
            (result.source, result.target),
            f"Heads of {result.source} in the place of heads of {result.target} at {result.position}\n{through}, clean "
            f"into corrupted\n{context.task}, {result.n_prompts} held-out prompts{context.precision_note}",
        )
        if not result.comes_over:
            self._title += f"\n{NOT_SHOWN}"

    # Table and scalars

    def table(self) -> pd.DataFrame:
        """Return a row for each thing that is written in the head's place."""
        result, (layer, head) = self._result, self._result.replaced
        without_head = {result.names[row] for row in (result.own_row, result.mean_row, result.zero_row)}
        rows: list[dict[str, Any]] = []
        for name in result.names:
            is_head = name not in without_head
            rows.append(
                {"component": "z", "layer": layer, "head": head, "position": result.position}
                | {"direction": result.name, "in_its_place": "source head" if is_head else name}
                | {"source_head": name if is_head else None}
            )
        return tidy_table(rows, result.estimates | {"share_of_own": result.shares})

    def metrics(self) -> dict[str, float]:
        """Return the scalars of the chosen head, of the native one, and of the controls."""
        result, recovery = self._result, self._result.recovery
        metrics: dict[str, float] = {
            "n_prompts": result.n_prompts,
            "n_training_prompts": result.n_training_prompts,
            "n_dropped_prompts": result.n_dropped_prompts,
            "source_layer": result.chosen[0],
            "source_head": result.chosen[1],
            "layer": result.replaced[0],
            "head": result.replaced[1],
            "source_patching_recovery": result.source_patching_recovery,
            "patching_recovery": result.patching_recovery,
            "map_r2": result.map_r2,
            "length_to_own": result.length_to_own,
            "n_other_heads": result.n_others,
            "n_unbeaten": len(result.unbeaten) + len(result.unbeaten_at_equal_length),
            "own_recovers": int(result.own_recovers),
            "beats_controls": int(result.verdict == "beats every control"),
            "comes_over": int(result.comes_over),
        }
        controls = (("own", result.own_row), ("mean", result.mean_row), ("zero", result.zero_row))
        for name, row in controls:
            metrics |= scalars(f"recovery_{name}", recovery, row)
        metrics |= scalars("recovery", recovery, result.chosen_row)
        metrics |= scalars("share_of_own", result.shares, result.chosen_row)
        metrics |= scalars("share_beyond_mean", result.share_beyond_mean)
        metrics |= scalars("cosine_to_own", result.cosine_to_own)
        metrics |= scalars("margin_over_mean", result.margins, result.mean_row)
        metrics |= scalars("margin_over_zero", result.margins, result.zero_row)
        for name in AT_EQUAL_LENGTH:
            if (margin := result.equal_length.margins.get(name)) is not None:
                metrics |= scalars(f"margin_over_{name}", margin)
        if (training := result.training) is not None:
            metrics |= {
                "n_trained_maps": len(training.curves),
                "n_improved_maps": training.n_improved,
                "map_loss_at_start": training.loss_at_start,
                "map_loss": training.loss,
            }
        if result.others is not None:
            metrics["recovery_other_heads"] = result.others.mean_recovery
            metrics["recovery_best_other_head"] = result.others.best_recovery
        return metrics | self._grid.metrics()

    def pair_table(self) -> pd.DataFrame:
        """Return a row for each head of the source in the place of each of several heads."""
        return self._grid.table()

    def training_rows(self) -> list[dict[str, Any]]:
        """Return a row for each evaluation of each map that was trained."""
        result = self._result
        curves = {} if result.training is None else result.training.curves
        return [
            {"direction": result.name, "source_head": head_name(source), "head": head_name(head)} | row
            for (source, head), curve in curves.items()
            for row in curve.rows
        ]

    # Lines for the terminal

    def summary(self) -> list[str]:
        """Return lines about what was replaced by what, and whether it did more than controls."""
        result = self._result
        own, mean, zero, chosen = (
            interval(result.recovery, row, ".3f")
            for row in (result.own_row, result.mean_row, result.zero_row, result.chosen_row)
        )
        share = interval(result.share_beyond_mean, form=".0f", factor=100)
        others = ""
        if result.others is not None:
            average = f"{result.others.mean_recovery:.3f} on average"
            others = f", {result.n_others} other heads of {result.source} {average}"
        lines = [
            f"{result.name}: head {head_name(result.chosen)} of {result.source} in the place of head "
            f"{head_name(result.replaced)} of {result.target} at {result.position}{self._pairing}, {result.n_prompts} "
            "held-out prompts, recovery of the logit difference:",
            f"  its own clean output {own}, the foreign head's {chosen}"
            + (
                f": beyond the mean {share} % of what its own output adds"
                if result.own_recovers and result.beats_mean_and_zero
                else ""
            ),
            f"  its own mean {mean}, zeroed {zero}{others}",
        ]
        if above := differences(result.equal_length, 0, AT_EQUAL_LENGTH):
            lines.append(f"  the foreign head's less {'; less '.join(above)}")
        if not result.own_recovers:
            lines.append(
                "  the recovery from the head's own clean output is not clearly above 0: there is no native effect to "
                "have a share of"
            )
        lines.append(
            f"  the map's image of it (R² of the map {result.map_r2:.2f}) has a cosine of "
            f"{result.cosine_to_own.value[0]:.2f} with the head's own clean output, both less their means, and "
            f"{result.length_to_own:.2f} of its length before it is scaled to it"
        )
        if result.training is not None:
            lines.append(f"  {self._of_training(result.training)}")
        lines.append(f"  {UNCERTAINTY}")
        return [*lines, f"  {self._verdict()}", *self._grid.lines()]

    def _of_training(self, training: MapTraining) -> str:
        unfinished = f"; {training.n_unfinished} ended at alignment.steps" if training.n_unfinished else ""
        return (
            f"maps between {len(training.curves)} pairs of heads trained by stitching: on answers that are not trained "
            f"on, the KL from the pass with the head's own output is {training.loss:.3g} on average, after "
            f"{training.loss_at_start:.3g} with the maps as they were fitted; training improved "
            f"{training.n_improved} of them{unfinished}"
        )

    @property
    def verdict(self) -> str:
        """Whether the effect of the head transfers, in sentences with the numbers."""
        result = self._result
        own, chosen, mean = (
            interval(result.recovery, row) for row in (result.own_row, result.chosen_row, result.mean_row)
        )
        return (
            f"{result.name}, head {head_name(result.chosen)} in the place of head {head_name(result.replaced)}"
            f"{self._pairing}: {self._verdict()}. Recovery is {chosen}, next to {own} with the replaced head's own "
            f"clean output and {mean} with its mean, on {result.n_prompts} held-out prompts."
        )

    @property
    def answer_of_pairs(self) -> str:
        """Whether the function of any head comes over."""
        return self._grid.answer

    @property
    def _pairing(self) -> str:
        """The role of both heads, and the heads of the source that are no controls for that reason."""
        result = self._result
        if result.role is None:
            return ""
        same = [head_name(head) for head in result.of_role if head != result.chosen]
        others = f"; {enumerated(same)} of {result.source} with this role are no controls" if same else ""
        return f" (both in the role of a {result.role}{others})"

    def _verdict(self) -> str:
        result = self._result
        few = listed(result.unbeaten, MAX_OTHER_HEADS)
        if result.comes_over:
            return "the foreign head recovers more than every control: its effect transfers"
        if not result.recovery.has_bounds:
            return f"{NOT_SHOWN}: there are no intervals (fewer than {MIN_PROMPTS} held-out prompts, or no sure gap)"
        if result.verdict == "beats not even mean and zero":
            return f"{NOT_SHOWN}: the foreign head does not clearly recover more than controls ({few})"
        if result.verdict == "beats other heads, mean and zero":
            controls = enumerated([CONTROLS[name] for name in result.unbeaten_at_equal_length])
            return (
                f"{NOT_SHOWN}: the foreign head recovers more than other heads, mean and zero, but not clearly more "
                f"than {controls}"
            )
        if result.verdict == "beats mean and zero":
            others = f"{len(result.unbeaten)} of {result.n_others} other heads of {result.source} ({few})"
            return f"{NOT_SHOWN}: the foreign head recovers more than mean and zero, but not clearly more than {others}"
        if not result.has_function:
            return f"{NOT_SHOWN}: the foreign head is among the heads without effect in its own model"
        return f"{NOT_SHOWN}: the foreign head recovers more than controls, but there is no clear effect to transfer"

    # Figures

    @property
    def captions(self) -> dict[str, str]:
        """How to read the figures."""
        scale = "Recovery is 0 on the corrupted prompts and 1 on the clean ones."
        return {
            "recovery_in_its_place": joined(
                "What recovers the answer when it is written in the head's place: the head's own clean output, "
                "heads of the other model, and the controls (its mean, zeros).",
                scale,
                bars("prompts"),
            ),
            "recovery_by_source_head": joined(
                f"Each head of {self._result.source} in the same place: recovery beyond that of the replaced "
                "head's own mean. Rows are layers, columns heads.",
                DIVERGING,
                pale("prompts") if self._result.beyond_mean_not_found is not None else "",
                "The chosen head has an outline if its effect transfers.",
            ),
        } | self._grid.captions

    def figures(self) -> dict[str, Figure]:
        """Return the native head, the foreign one and controls; and every head of the source in the same place."""
        return {
            "recovery_in_its_place": self._bars(),
            "recovery_by_source_head": self._map(),
        } | self._grid.figures()

    def _bars(self) -> Figure:
        result, recovery = self._result, self._result.recovery
        others = [] if result.others is None else result.others.rows[:MAX_OTHER_HEADS]
        rows = [result.own_row, result.chosen_row, *others, result.mean_row, result.zero_row]
        names = {result.own_row: "its own clean output", result.mean_row: "its own mean", result.zero_row: "zeros"}
        names |= {row: f"{result.names[row]} of {result.source}" for row in (result.chosen_row, *others)}
        note = f"\nof {result.n_others} other heads, the {len(others)} best" if len(others) < result.n_others else ""
        return plots.ranked_bars(
            plots.Axis("what is written in its place", [names[row] for row in rows]),
            recovery.value[rows],
            recovery.low[rows],
            recovery.high[rows],
            value_label="recovery of the logit difference\n(0 = corrupted, 1 = clean)",
            title=f"{self._title}{note}\n{UNCERTAINTY}",
        )

    def _map(self) -> Figure:
        result, not_found = self._result, self._result.beyond_mean_not_found
        chosen = (result.source_layers.index(result.chosen[0]), result.chosen[1])
        notes = f"chosen on training prompts: head {head_name(result.chosen)}"
        notes += " (outlined)" if result.comes_over else ""
        if not_found is not None and not_found.any():
            notes += f"; pale, without number: {NOT_FOUND}"
        return plots.heat_maps(
            {"": result.beyond_mean},
            plots.Axis(f"layer of {result.source}", [str(layer) for layer in result.source_layers]),
            plots.Axis.numbered("head", result.beyond_mean.shape[1]),
            f"{self._title}\n{notes}",
            "recovery of the logit difference\nbeyond that of the head's own mean",
            floor=plots.EFFECT_FLOOR,
            pale=None if not_found is None else {"": not_found},
            outlined=[chosen] if result.comes_over else [],
        )
