"""The steps of studies that are made up: see the fixture `leave_study`."""

from __future__ import annotations

BASELINE = ({"name": "baseline"}, 1, {"clean_accuracy": 0.75, "clean_accuracy_low": 0.5, "clean_accuracy_high": 0.9})
LENS = ({"name": "logit_lens"}, 4, {"clean_logit_diff": 3.0})
KNOCKOUT = (
    {"name": "ablate", "run": "clean"}, 16,
    {"best_recovery": 0.25, "best_recovery_low": 0.125, "best_recovery_high": 0.5},
)  # fmt: skip
STEERING = ({"name": "steer"}, 4, {"best_logit_diff": -2.0, "clean_logit_diff": 5.0})
STEPS = {"baseline": BASELINE, "lens": LENS, "knockout": KNOCKOUT, "steering": STEERING}
