from __future__ import annotations

from ioi_lab.interventions.circuit_tests.report import report_circuit_tests
from ioi_lab.reports.report import ReportContext


def test_the_intervention_reports_what_it_measures(right):
    context = ReportContext("a model", "a task")
    report = right.keys.report(right, context)
    assert report.summary == report_circuit_tests(right, context).summary
    assert right.keys.title == "tests of a circuit"
