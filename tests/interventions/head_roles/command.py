"""The command line of head roles."""

from __future__ import annotations


def run_roles(sweep, *arguments):
    return sweep("tracker=none", "intervention=head_roles", "intervention.repeats=8", *arguments)
