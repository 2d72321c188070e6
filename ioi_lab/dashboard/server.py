"""The web server: it answers this machine only, sends files of runs only, and its pages ask no other host."""

from __future__ import annotations

import logging
import mimetypes
import socket
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, abort, request, send_file
from werkzeug.serving import BaseWSGIServer, make_server

from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.errors import LabError

HOST: Final = "127.0.0.1"
PORT: Final = 8060
"""The first port that is tried."""

FILES: Final = "/files/"
"""The beginning of the addresses of files."""

_TRIES: Final = 50
_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""The names by which a browser of this machine may call it; any other one may be a page that rebinds its own name."""

PAGE_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""What the pages of the dashboard may do: plotly makes functions of text, and Dash has scripts in its page."""

FILE_POLICY: Final = (
    "sandbox allow-scripts allow-modals allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'self'"
)
"""What a page of a run may do, which may be anybody's: run its own scripts on itself, without any host to ask."""


def guarded_server(runs: RunsFolder) -> Flask:
    """Return the server on which Dash puts its pages: with files of runs, and without answers to strangers."""
    server = Flask("ioi_lab.dashboard", static_folder=None)

    @server.before_request
    def _refuse_strangers() -> None:
        if not is_local(request.host) or not is_local_origin(request.headers.get("Origin")):
            abort(403, "the dashboard answers to 127.0.0.1 and localhost only")

    @server.after_request
    def _with_policy(response: Response) -> Response:
        is_file = request.path.startswith(FILES)
        response.headers["Content-Security-Policy"] = FILE_POLICY if is_file else PAGE_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    @server.get(f"{FILES}<path:name>")
    def _file(name: str) -> Response:
        path = runs.sent_file(name)
        if path is None:
            abort(404, "there is no such file in the runs folder")
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return send_file(path.resolve(), mimetype=kind, max_age=0)

    return server


def is_local(host: str) -> bool:
    """Return whether the `Host` of a request is a name of this machine."""
    try:
        return urlsplit(f"//{host}").hostname in _NAMES
    except ValueError:
        return False


def is_local_origin(origin: str | None) -> bool:
    """Return whether a request comes from a page of this machine, or from none."""
    return origin is None or (origin.startswith("http://") and is_local(origin.removeprefix("http://")))


def listening(server: Flask, port: int | None) -> BaseWSGIServer:
    """Return a server that listens on a port, or on the first free one from `PORT` on.

    Raises a `LabError` if the port is taken, or if none is free.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request
    ports = range(PORT, PORT + _TRIES) if port is None else [port]
    free = next((each for each in ports if _is_free(each)), None)
    if free is None:
        what = f"ports {PORT} to {PORT + _TRIES - 1} are" if port is None else f"port {port} is"
        raise LabError(f"--port: {what} taken; expected a free one, or none at all: then the first free one is taken")
    try:
        return make_server(HOST, free, server, threaded=True)
    except (OSError, SystemExit) as error:
        raise LabError(f"--port: cannot listen on port {free} of {HOST}; expected a free one above 1023") from error


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((HOST, port))
        except PermissionError:
            return True  # `make_server` says why not
        except OSError:
            return False
    return True
