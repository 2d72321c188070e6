"""Run folders: the files of one run, and the tables and figures of many."""

from ioi_lab.runs.table import load_runs

__all__ = ["load_runs"]
