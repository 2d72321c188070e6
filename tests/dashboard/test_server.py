"""The web server answers this machine only, and sends files of the runs folder only."""

from __future__ import annotations

import socket

import pytest

from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.dashboard.server import HOST, PORT, guarded_server, is_local, is_local_origin, listening
from ioi_lab.errors import LabError


@pytest.fixture
def client(leave, runs_folder, tmp_path):
    folder = leave("demo/now")
    (folder / "report.html").write_text("<title>report</title><script>1</script>")
    (tmp_path / "secret.csv").write_text("secret")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    return guarded_server(RunsFolder(runs_folder)).test_client()


def test_files_of_runs_are_sent(client):
    answer = client.get("/files/demo/now/results.csv")
    assert answer.status_code == 200
    assert answer.mimetype == "text/csv"
    assert answer.data.startswith(b"component,layer")


@pytest.mark.parametrize(
    "path",
    [
        "/files/../secret.csv",
        "/files/demo/now/../../../secret.csv",
        "/files/%2e%2e/secret.csv",
        "/files/..%2fsecret.csv",
        "/files/demo/..%2f..%2fsecret.csv",
        "/files/%252e%252e%252fsecret.csv",
        "/files//etc/passwd",
        "/files/%2fetc%2fpasswd",
        "/files/demo/now/link.csv",
        "/files/demo/now/.hydra/overrides.yaml",
        "/files/demo/now",
        "/files/demo/now/none.csv",
        "/files/demo%5c..%5c..%5csecret.csv",
        "/files/demo/now/results.csv%00.html",
    ],
)
def test_what_is_outside_or_hidden_is_not(client, path):
    answer = client.get(path)
    assert answer.status_code in (308, 404)
    assert b"secret" not in answer.data


def test_absolute_paths_are_not(client, tmp_path):
    assert client.get(f"/files/{tmp_path}/secret.csv", follow_redirects=True).status_code == 404


def test_a_report_may_run_its_own_scripts_and_ask_nobody(client):
    answer = client.get("/files/demo/now/report.html")
    policy = answer.headers["Content-Security-Policy"]
    assert answer.mimetype == "text/html"
    assert policy.startswith("sandbox allow-scripts")
    assert "default-src 'none'" in policy
    assert "allow-same-origin" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8060", "192.168.0.7", "", "[::1"])
def test_other_names_of_the_host_are_refused(client, host):
    assert client.get("/files/demo/now/results.csv", headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null"])
def test_pages_of_other_hosts_are_refused(client, origin):
    assert client.get("/files/demo/now/results.csv", headers={"Origin": origin}).status_code == 403


def test_names_of_this_machine():
    assert all(map(is_local, ["127.0.0.1:8060", "localhost", "localhost:99", "[::1]:8060"]))
    assert is_local_origin(None)
    assert is_local_origin("http://localhost:8060")


def test_a_taken_port_is_one_line(client):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(LabError, match=rf"--port: port {port} is taken; expected a free one"):
            listening(client.application, port)


def test_the_first_free_port_is_taken_if_none_is_asked_for(client, monkeypatch):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        monkeypatch.setattr("ioi_lab.dashboard.server.PORT", other.getsockname()[1])
        server = listening(client.application, None)
    assert server.port != other
    assert server.host == HOST
    server.server_close()
    assert PORT == 8060
