"""The model's unedited passes over the prompts that an intervention measures on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ioi_lab.engine.edits import Pass
from ioi_lab.interventions.self_checks import check_gap
from ioi_lab.reports.report import scalars
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.groups import intraclass_correlation
from ioi_lab.stats.metrics import Readout
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.storage.tables import Column


@dataclass(frozen=True)
class Baselines:
    """The clean and the corrupted pass over the measured prompts, without edits."""

    prompts: PromptPairs
    clean: Readout
    corrupted: Readout
    estimates: dict[Pass, dict[str, Estimate]]
    """Each metric of the two passes, with one row."""

    @classmethod
    def measure(cls, engine: Engine) -> Baselines:
        """Measure both passes over the engine's prompts.

        Raises a `LabError` if they have the same mean logit difference, so that there is nothing to recover.
        """
        clean, corrupted = engine.baseline("clean"), engine.baseline("corrupted")
        check_gap(clean, corrupted)
        return _baselines_of(engine.prompts, clean, corrupted, engine.bootstrap)

    def metrics(self) -> dict[str, float]:
        """Return the scalars of both passes with their bounds, and the numbers of prompts and sentences.

        `clean_logit_diff_icc` is the intraclass correlation of logit differences within sentences: the larger it is,
        the more intervals over prompts understate how other sentences would differ.
        """
        metrics: dict[str, float] = {"n_prompts": len(self.prompts)}
        if (groups := self.prompts.groups()) is not None:
            correlation = intraclass_correlation(self.clean.logit_diff[0], groups)
            metrics |= {"n_sentences": len(set(groups))}
            metrics |= {} if correlation is None else {"clean_logit_diff_icc": correlation}
        for which, estimates in self.estimates.items():
            for name, estimate in estimates.items():
                if name not in ("logit_diff_share", "recovery", "kl"):  # constants of a baseline
                    metrics |= scalars(f"{which}_{name}", estimate)
        return metrics

    def prompt_columns(self) -> dict[str, Column]:
        """Return the prompts, in the columns of `task=pairs`, with the logit differences of both passes."""
        groups = {} if self.prompts.groups() is None else {"group": [pair.group for pair in self.prompts]}
        return {
            "clean": [pair.clean for pair in self.prompts],
            "corrupt": [pair.corrupted for pair in self.prompts],
            "answer": [pair.answer for pair in self.prompts],
            "distractor": [pair.distractor for pair in self.prompts],
            **groups,
            "clean_logit_diff": self.clean.logit_diff[0],
            "corrupted_logit_diff": self.corrupted.logit_diff[0],
        }

    def lines(self) -> list[str]:
        """Return lines for the terminal, with a warning if the model does not do the task on the clean prompts."""
        lines = [
            f"{which} prompts: logit difference {readout.logit_diff.mean():.2f}, accuracy {readout.correct.mean():.2f}"
            for which, readout in (("clean", self.clean), ("corrupted", self.corrupted))
        ]
        if self.clean.logit_diff.mean() <= max(0.0, self.corrupted.logit_diff.mean()):
            lines.append("warning: the model does not do the task on the clean prompts, so recovery says little")
        return lines


@lru_cache(maxsize=4)  # the jobs of a multirun share the passes and the resamples of an engine
def _baselines_of(prompts: PromptPairs, clean: Readout, corrupted: Readout, bootstrap: Bootstrap) -> Baselines:
    readouts: dict[Pass, Readout] = {"clean": clean, "corrupted": corrupted}
    estimates = {which: _estimates(each, clean, corrupted, bootstrap) for which, each in readouts.items()}
    return Baselines(prompts, clean, corrupted, estimates)


def estimates_of(engine: Engine, readout: Readout) -> dict[str, Estimate]:
    """Return each metric of `results.csv` for some edits, over the engine's prompts: one row per edit set.

    `logit_diff_share` is the mean logit difference as a share of that of the clean pass: F(C) / F(M) of Wang et al.
    2022, if all heads outside of a circuit C of the model M are knocked out.
    """
    return _estimates(readout, engine.baseline("clean"), engine.baseline("corrupted"), engine.bootstrap)


def _estimates(readout: Readout, clean: Readout, corrupted: Readout, bootstrap: Bootstrap) -> dict[str, Estimate]:
    values = {
        "p_answer": readout.p_answer,
        "p_distractor": readout.p_distractor,
        "rank": readout.rank,
        "kl_clean": readout.kl_clean,
    }
    estimates = {
        "logit_diff": bootstrap.mean(readout.logit_diff),
        "logit_diff_share": bootstrap.ratio(readout.logit_diff, clean.logit_diff),
        "recovery": bootstrap.recovery(readout.logit_diff, clean.logit_diff, corrupted.logit_diff),
    } | {name: bootstrap.mean(value) for name, value in values.items() if value is not None}
    estimates["accuracy"] = bootstrap.share(readout.correct)
    return estimates if readout.kl is None else estimates | {"kl": bootstrap.mean(readout.kl)}
