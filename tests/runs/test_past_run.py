"""Finished runs that another run reads."""

from __future__ import annotations

import pandas as pd
import pytest

from ioi_lab.errors import LabError
from ioi_lab.reports.report import Report
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.past_run import PastRun


@pytest.fixture
def report():
    return Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, dict)


def test_a_past_run_is_read_back(tmp_path, report):
    folder = RunFolder(tmp_path)
    folder.start("name: x\nintervention:\n  name: patch\n", "sweep.py")
    folder.write_report(report)
    with pytest.raises(LabError, match=r"key: the run in .* is not finished"):
        PastRun.read(str(tmp_path), "key")
    folder.finish({"model": {"name": "toy", "weights_sha256": "abc"}})
    run = PastRun.read(str(tmp_path), "key")
    assert run.intervention == {"name": "patch"}
    assert run.table("key")["layer"].tolist() == [0]
    run.check_weights("abc", "toy", "key")
    with pytest.raises(LabError, match=r"key: the run in .* used another model, toy; expected a run of other"):
        run.check_weights("abd", "other", "key")
    (tmp_path / "results.csv").write_text("")
    with pytest.raises(LabError, match=r"key: cannot read results\.csv in"):
        run.table("key")
    for damaged in ("a: [", "- a", "name: x", ""):
        (tmp_path / "config.yaml").write_text(damaged)
        with pytest.raises(LabError, match="key: cannot read the run in"):
            PastRun.read(str(tmp_path), "key")
    with pytest.raises(LabError, match="key: '/nowhere' is not a run folder: it has no status"):
        PastRun.read("/nowhere", "key")
