"""A stand-in for the Hugging Face hub on loopback: what `huggingface_hub` asks for a model, and the faults it can meet.

`with HubStandIn([Repository("gpt2", folder)]) as hub:` serves the files of `folder`; a process with the environment
variable `HF_ENDPOINT=hub.endpoint` downloads from it. Differences from the real hub: no TLS, no Xet, and a repository
that does not exist is always named as such (`X-Error-Code`): over https, `huggingface_hub` guesses it from a plain 401.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 100_000
"""Files of this many bytes are stored by their SHA-256 behind a redirect, as by git-lfs."""

CHUNK = 1 << 20


@dataclass(frozen=True)
class HubFile:
    """A file of a repository with the identifiers that the hub gives it."""

    path: Path
    name: str

    @cached_property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def is_large(self) -> bool:
        return self.size >= LARGE

    @cached_property
    def etag(self) -> str:
        """The SHA-256 of a large file, git's identifier of any other."""
        digest = hashlib.sha256() if self.is_large else hashlib.sha1(f"blob {self.size}\0".encode())
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    @property
    def entry(self) -> dict[str, Any]:
        """The file in the listing of a repository."""
        entry = {"type": "file", "path": self.name, "size": self.size, "oid": self.etag[:40]}
        return entry | ({"lfs": {"oid": self.etag, "size": self.size, "pointerSize": 130}} if self.is_large else {})


@dataclass
class Repository:
    """A model repository: the files of `folder` at every revision in `commits`."""

    name: str
    folder: Path
    commits: dict[str, str] = field(default_factory=lambda: {"main": "a" * 40})
    old_names: tuple[str, ...] = ()
    token: str | None = None
    """The token that a private or gated repository asks for."""

    gated: bool = False
    """Whether anyone may list the files, and only those with the token may read them."""

    @cached_property
    def files(self) -> dict[str, HubFile]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        names = [path.relative_to(self.folder).as_posix() for path in paths]
        return {name: HubFile(path, name) for name, path in zip(names, paths, strict=True)}

    def commit(self, revision: str) -> str | None:
        return revision if revision in self.commits.values() else self.commits.get(revision)


@dataclass(frozen=True)
class Request:
    """A request that the stand-in was sent."""

    method: str
    path: str
    token: str | None
    range: str | None


Fault = Callable[["Handler", Request], bool]
"""Answers a request in its own way and returns True, or leaves it alone."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization")
        token = authorization.removeprefix("Bearer ") if authorization else None
        request = Request(self.command, urlsplit(self.path).path, token, self.headers.get("Range"))
        self.server.hub.requests.append(request)
        if not any(fault(self, request) for fault in self.server.hub.faults):
            self.answer(request)

    do_HEAD = do_GET  # noqa: N815 (http.server looks for these names)

    def answer(self, request: Request) -> None:
        if request.path.startswith("/cdn/"):
            self.send_file(self.server.hub.large_files[request.path.removeprefix("/cdn/")], request, {})
            return
        pattern = r"/api/models/(?P<name>.+?)(/(?P<kind>revision|tree)/(?P<revision>[^/]+))?"
        file_pattern = r"/(?P<name>.+?)/(?P<kind>resolve)/(?P<revision>[^/]+)/(?P<file>.+)"
        match = re.fullmatch(pattern, request.path) or re.fullmatch(file_pattern, request.path)
        repository = self.server.hub.repository(match["name"]) if match else None
        if match is None or repository is None:
            self.refuse(401 if request.token is None else 404, "RepoNotFound")
        elif match["name"] != repository.name:
            self.reply(307, {"Location": request.path.replace(match["name"], repository.name, 1)})
        elif repository.token not in (None, request.token) and not (repository.gated and match["kind"] != "resolve"):
            self.refuse(401 if request.token is None else 403, "GatedRepo" if repository.gated else "RepoNotFound")
        else:
            self.answer_about(repository, match.groupdict(), request)

    def answer_about(self, repository: Repository, asked: dict[str, str | None], request: Request) -> None:
        commit = repository.commit(unquote(asked["revision"] or "main"))
        if commit is None:
            self.refuse(404, "RevisionNotFound")
        elif asked["kind"] == "tree":
            self.reply_json([file.entry for file in repository.files.values()])
        elif asked["kind"] != "resolve":
            siblings = [{"rfilename": name} for name in repository.files]
            self.reply_json({"id": repository.name, "sha": commit, "siblings": siblings})
        elif (file := repository.files.get(unquote(asked["file"] or ""))) is None:
            self.refuse(404, "EntryNotFound")
        elif file.is_large:  # on another host: `localhost`, not 127.0.0.1
            location = f"http://localhost:{self.server.server_port}/cdn/{file.etag}"
            linked = {"X-Linked-ETag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
            self.reply(302, {"Location": location, "X-Repo-Commit": commit} | linked)
        else:
            self.send_file(file, request, {"X-Repo-Commit": commit})

    def send_file(self, file: HubFile, request: Request, headers: dict[str, str]) -> None:
        start = int(request.range.removeprefix("bytes=").rstrip("-")) if request.range else 0
        headers |= {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes", "Content-Length": str(file.size - start)}
        if request.range:
            headers["Content-Range"] = f"bytes {start}-{file.size - 1}/{file.size}"
        self.send_head(206 if request.range else 200, headers)
        if self.command == "HEAD":
            return
        with file.path.open("rb") as content:
            content.seek(start)
            while chunk := content.read(CHUNK):
                self.wfile.write(chunk)

    def refuse(self, status: int, code: str = "") -> None:
        self.reply(status, {"X-Error-Code": code} if code else {})

    def reply_json(self, content: Any) -> None:
        self.reply(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_head(status, headers | {"Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def hang_up(self, reset: bool = False) -> None:
        """Close the connection in the middle of an answer; `reset`: as a host that crashes does (TCP RST)."""
        self.wfile.flush()
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        """Be silent."""

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # the other side or a fault has closed the connection
            self.close_connection = True

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()


class Server(ThreadingHTTPServer):
    """The socket of the stand-in."""

    daemon_threads = True
    hub: HubStandIn


class HubStandIn:
    """Serves repositories on a free port of loopback, as a context manager."""

    def __init__(self, repositories: Sequence[Repository]) -> None:
        self.repositories = list(repositories)
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.stopped = threading.Event()
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.hub = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def repository(self, name: str) -> Repository | None:
        """Return the repository of this name, or that had this name once."""
        return next((each for each in self.repositories if name == each.name or name in each.old_names), None)

    @property
    def large_files(self) -> dict[str, HubFile]:
        """The large files by their SHA-256."""
        return {file.etag: file for each in self.repositories for file in each.files.values() if file.is_large}

    def downloads(self) -> list[str]:
        """Return the names of the files whose contents were asked for, one for each request."""
        large = {f"/cdn/{checksum}": file.name for checksum, file in self.large_files.items()}
        asked = [request.path for request in self.requests if request.method == "GET" and "/api/" not in request.path]
        return [large[path] if path in large else path.rpartition("/")[2] for path in asked]

    def __enter__(self) -> HubStandIn:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop answering: connections are refused from now on."""
        if self.stopped.is_set():
            return
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def __exit__(self, *error: object) -> None:
        self.stop()


def status(code: int) -> Fault:
    """Answer everything with this HTTP status."""

    def answer(handler: Handler, request: Request) -> bool:
        handler.refuse(code)
        return True

    return answer


def text(body: bytes) -> Fault:
    """Answer everything with this page, as the login page of a wireless network does."""

    def answer(handler: Handler, request: Request) -> bool:
        handler.reply(200, {"Content-Type": "text/html"}, body)
        return True

    return answer


def silence(handler: Handler, request: Request) -> bool:
    """Answer nothing until the stand-in stops."""
    handler.server.hub.stopped.wait()
    handler.hang_up()
    return True


def broken_off(times: int, after: int = 50_000, reset: bool = False) -> Fault:
    """Close the connection of this many downloads of large files after so many bytes."""
    left = [times]

    def break_off(handler: Handler, request: Request) -> bool:
        if not request.path.startswith("/cdn/") or request.method != "GET" or left[0] == 0:
            return False
        left[0] -= 1
        file = handler.server.hub.large_files[request.path.removeprefix("/cdn/")]
        start = int(request.range.removeprefix("bytes=").rstrip("-")) if request.range else 0
        ranged = {"Content-Range": f"bytes {start}-{file.size - 1}/{file.size}"} if start else {}
        handler.send_head(206 if start else 200, {"Content-Length": str(file.size - start)} | ranged)
        with file.path.open("rb") as content:
            content.seek(start)
            handler.wfile.write(content.read(after))
        handler.hang_up(reset)
        return True

    return break_off
