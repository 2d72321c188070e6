"""Run folders: the files of one run, and the tables and figures of many."""

from ioi_lab.runs.folder import STATUS, TRACEBACK, RunFolder, done_identity, environment, is_done
from ioi_lab.runs.past_run import PastRun
from ioi_lab.runs.resume import earlier_run
from ioi_lab.runs.table import load_runs

__all__ = [
    "STATUS", "TRACEBACK", "PastRun", "RunFolder",
    "done_identity", "earlier_run", "environment", "is_done", "load_runs",
]  # fmt: skip
