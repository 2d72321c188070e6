"""The browser of tests of pages: headless, and without a network."""

from __future__ import annotations

import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_path() -> str:
    """The path of a browser; without one, the test is skipped, or fails if $IOI_LAB_NEEDS_BROWSER is set."""
    path = os.environ.get("IOI_LAB_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None and os.environ.get("IOI_LAB_NEEDS_BROWSER"):
        pytest.fail(f"no browser was found; looked for {', '.join(BROWSERS)} and $IOI_LAB_BROWSER")
    if path is None:
        pytest.skip("no Chromium or Chrome on this machine (`make browser` installs one on Debian)")
    return path
