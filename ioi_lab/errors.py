"""The one exception that stands for a user's mistake."""

from __future__ import annotations


class LabError(Exception):
    """Something the user can mend, told in one line that names the key, the value and the choices.

    The command line prints the line and exits with code 1; a traceback is shown only with `HYDRA_FULL_ERROR=1`.
    """
