"""A process that has imported the lab, and forks for each command: 2 s per command instead of 15 s.

`python -m tests.docs.lab_server SOCKET` serves `SHIM`, a script that stands for a command in `PATH`.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import socket
import sys
from pathlib import Path

IMPORTED = ("matplotlib.pyplot", "pandas", "transformer_lens.model_bridge", "ioi_lab.jobs.experiment")
"""What takes most of the time of a short command."""

SHIM = """#!{python} -IS
import json, os, socket, sys
name = os.path.basename(sys.argv[0])
with open(os.environ["TYPED"], "a") as typed:
    typed.write(json.dumps([name, *sys.argv[1:]]) + chr(10))
if os.environ.get("ONLY_TYPED"):
    sys.exit(0)
server = socket.socket(socket.AF_UNIX)
server.connect({socket!r})
job = json.dumps([name, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(job).to_bytes(8, "big")], [0, 1, 2])
server.sendall(job)
sys.exit(int.from_bytes(server.recv(1), "big"))
"""
"""What is typed is noted in the file `TYPED`; with `ONLY_TYPED` nothing else happens."""


def write_shims(folder: Path, server: Path) -> None:
    """Write the commands of the documentation into a folder for `PATH`."""
    for name in ("ioi-lab", "python"):
        (folder / name).write_text(SHIM.format(python=sys.executable, socket=str(server)))
        (folder / name).chmod(0o755)


def serve(path: str) -> None:
    """Import what commands need, then fork for each."""
    for module in IMPORTED:
        importlib.import_module(module)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    while True:
        client, _ = server.accept()
        watcher = os.fork()
        if watcher == 0:
            _watch(client)
        client.close()
        _reap()


def _reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _watch(client: socket.socket) -> None:
    """Run one command in a process of its own, and send its exit code."""
    size, descriptors, _, _ = socket.recv_fds(client, 8, 3)
    job = b""
    while len(job) < int.from_bytes(size, "big"):
        job += client.recv(1 << 20)
    command = os.fork()
    if command == 0:
        client.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        _run(*json.loads(job))
    _, status = os.waitpid(command, 0)
    code = os.waitstatus_to_exitcode(status)
    client.sendall((code if code >= 0 else 128 - code).to_bytes(1, "big"))
    os._exit(0)


def _run(name: str, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for file in ("__main__", "__mp_main__"):
        sys.modules.pop(file, None)
    if name == "python":
        sys.argv = arguments
        sys.path[0] = folder
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        sys.argv = [name, *arguments]
        runpy.run_module("ioi_lab", run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
