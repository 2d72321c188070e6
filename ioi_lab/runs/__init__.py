"""The run folder: what a run leaves, and what many runs add up to."""

from ioi_lab.runs.folder import STATUS, TRACEBACK, PastRun, RunFolder, done_identity, environment, is_done
from ioi_lab.runs.resume import earlier_run
from ioi_lab.runs.table import load_runs

__all__ = [
    "STATUS", "TRACEBACK", "PastRun", "RunFolder",
    "done_identity", "earlier_run", "environment", "is_done", "load_runs",
]  # fmt: skip
