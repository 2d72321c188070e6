"""What later steps of a study ask of earlier ones, compared with their tables."""

from __future__ import annotations

import pandas as pd


def test_surviving_heads_are_those_of_the_table_the_largest_first(findings):
    table = pd.read_csv(findings.folders["heads"] / "results.csv")
    found = table[table.p_adjusted <= 0.05]
    expected = found.loc[found.recovery.abs().sort_values(ascending=False).index]
    assert [head.name for head in findings.surviving] == [
        f"{layer}.{head}" for layer, head in zip(expected["layer"], expected["head"], strict=True)
    ]
    assert [head.layer for head in findings.surviving] == expected["layer"].tolist()
    assert findings.n_heads_tested == 16


def test_metrics_and_tables_are_those_of_the_step(findings):
    assert findings.metrics("baseline")["does_task"] == 1
    assert set(findings.table("attention")) >= {"to_IO", "to_S1", "to_S2"}
