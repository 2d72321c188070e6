"""The evidence on each head is that of the steps' own tables."""

from __future__ import annotations

import pandas as pd
import pytest

from ioi_lab.storage.tables import csv_bytes, read_table
from ioi_lab.studies.heads import draw_evidence, heads_table, with_cells


def test_each_number_is_that_of_its_step(findings):
    table = heads_table(findings)
    first = table.iloc[0]
    layer, head = map(int, first["head"].split("."))

    def of(step):
        rows = pd.read_csv(findings.folders[step] / "results.csv")
        return rows[(rows["layer"] == layer) & (rows["head"] == head)].iloc[0]

    assert first["patched"] == of("heads")["recovery"]
    assert first["lost"] == pytest.approx(1 - of("knockout")["logit_diff_share"])
    assert first["lost_low"] == pytest.approx(1 - of("knockout")["logit_diff_share_high"])
    whole = findings.metrics("attribution")["clean_logit_diff"]
    assert first["written"] == pytest.approx(of("attribution")["direct_effect"] / whole)
    assert first["to_IO"] == of("attention")["to_IO"]
    assert "in_circuit" not in table


def test_without_the_step_or_without_heads_there_is_no_table(findings):
    findings.__dict__["surviving"] = []
    assert heads_table(findings) is None
    findings.folders.clear()
    assert heads_table(findings) is None


def test_heads_are_the_same_when_the_file_is_read_back(tmp_path):
    """As names, 9.1 and 9.10 would be one number."""
    (tmp_path / "heads.csv").write_bytes(csv_bytes(with_cells(pd.DataFrame({"head": ["9.1", "9.10"], "lost": 0.5}))))
    table = read_table(tmp_path / "heads.csv")
    assert table[["layer", "head"]].to_numpy().tolist() == [[9, 1], [9, 10]]
    assert list(table) == ["layer", "head", "lost"]


def test_the_figure_has_a_row_per_head(findings):
    table = heads_table(findings)
    (figure,) = draw_evidence(table, "tiny-gpt2, ioi").values()
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == table["head"].tolist()
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["patched", "lost", "written"]
