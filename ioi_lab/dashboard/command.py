"""`ioi-lab dashboard`: look at runs in the browser, on this machine alone."""

from __future__ import annotations

import argparse
import logging
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ioi_lab.errors import LabError
from ioi_lab.models.gguf import cache_folder
from ioi_lab.programs import CommandParser, typed_command
from ioi_lab.runs.finding import RUNS
from ioi_lab.terminal import print_early_logs_as_text, printable, say

_NEEDED: Final = ("dash", "dash_ag_grid", "plotly")


def main() -> None:
    """Parse the command line and serve the pages until Ctrl-C; a mistake ends with one line and exit code 1."""
    print_early_logs_as_text()
    options = _options()
    try:
        _serve(Path(options.folder).expanduser(), options.port, is_opened=not options.no_browser)
    except (LabError, OSError) as error:
        sys.exit(f"error: {printable(str(error))}")
    except KeyboardInterrupt:
        say("")


def _options() -> argparse.Namespace:
    parser = CommandParser(prog=typed_command("dashboard"), description=__doc__)
    parser.add_argument("folder", nargs="?", default=RUNS, help="the folder with the runs (default: runs)")
    parser.add_argument("--port", type=int, help="the port (default: the first free one from 8060 on)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    return parser.parse_args()


def check(folder: Path, port: int | None) -> None:
    """Raise a `LabError` unless the folder and the port can be used and the extra is installed."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise LabError(f"the dashboard needs {', '.join(missing)}; install the extra: pip install 'ioi-lab[dashboard]'")
    if not folder.is_dir():
        raise LabError(f"{str(folder)!r} is not a folder; expected one with runs, such as {RUNS}")
    if port is not None and not 0 < port < 65536:
        raise LabError(f"--port: got {port}, expected 1 to 65535")


def _serve(folder: Path, port: int | None, *, is_opened: bool) -> None:
    check(folder, port)
    from ioi_lab.dashboard.app import make_app
    from ioi_lab.dashboard.index import Index, Refresher
    from ioi_lab.dashboard.places import RunsFolder
    from ioi_lab.dashboard.server import HOST, listening

    logging.getLogger("ioi_lab.runs.table").setLevel(logging.ERROR)  # pages show what is damaged
    index = Index(RunsFolder(folder.absolute()), cache_folder())
    refresher = Refresher(index)
    server = listening(make_app(index, refresher).server, port)
    refresher.start()
    address = f"http://{HOST}:{server.port}/"
    say(f"runs of {folder}: {address} (Ctrl-C ends it)")
    if is_opened:
        webbrowser.open(address)
    server.serve_forever()
