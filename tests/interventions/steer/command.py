"""The command line of steering runs, and what they write."""

from __future__ import annotations

import json

import pandas as pd


def steer(sweep, *arguments):
    """Run without side effects and figures unless they are asked for: they take most of the time."""
    quick = ("task.n=12", "intervention.side_effects=0", "figures=false")
    return sweep("tracker=none", "intervention=steer", *quick, *arguments)


def results(run):
    return pd.read_csv(run / "results.csv")


def metrics(run):
    return json.loads((run / "metrics.json").read_text())


def steering_rows(run):
    table = results(run)
    return table[table["direction"] == "steering"].reset_index(drop=True)
