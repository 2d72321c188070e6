"""Model folders: local ones, and repositories of the hub, which a stand-in on loopback serves."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest

from ioi_lab.errors import LabError
from ioi_lab.models import hub as lab_hub
from ioi_lab.models.hub import check_model_folder, damaged_files, hub_folder
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from tests.conftest import model_config
from tests.hub_stand_in import Handler, HubStandIn, Repository, Request, broken_off, silence, status, text

COMMIT = "607a30d783dfa663caf39e06633721c8d4cfcd7e"  # of conf/model/gpt2-small.yaml
CONTENTS = {path.name: path.read_bytes() for path in tiny_folder("tiny-gpt2").iterdir() if path.name != "README.md"}
WEIGHTS = "model.safetensors"


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(LabError, match=r"^model\.path: .*none' is not a folder; expected one with config\.json"):
        model_config(tmp_path / "none").check()


@pytest.mark.parametrize(
    ("files", "lacks"),
    [
        ([], r"config\.json, tokenizer\.json, \*\.safetensors"),
        (["config.json", "tokenizer.json"], r"\*\.safetensors"),
        (["model.safetensors", "vocab.json"], r"config\.json"),
        (["config.json", "pytorch_model-1-of-2.bin"], r"tokenizer\.json"),
    ],
)
def test_a_folder_that_is_not_a_model_is_reported(tmp_path, files, lacks):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(LabError, match=rf"is not a Hugging Face model folder: it lacks {lacks}$"):
        model_config(tmp_path).check()


@pytest.mark.parametrize("tokenizer", ["tokenizer.json", "tokenizer.model", "vocab.json"])
@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_every_kind_of_weights_and_tokenizer_will_do(tmp_path, tokenizer, weights):
    for name in ("config.json", tokenizer, weights):
        (tmp_path / name).touch()
    check_model_folder(tmp_path)


def use(monkeypatch, endpoint: str) -> None:
    """Do what `HF_ENDPOINT` does at the start of a process."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


def offline(monkeypatch, value: bool = True) -> None:
    """Do what `HF_HUB_OFFLINE` does at the start of a process."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", value)


@pytest.fixture
def repository(tmp_path) -> Repository:
    """tiny-gpt2 under GPT-2's name, with the files of other formats that the real repository has."""
    folder = tmp_path / "repository"
    shutil.copytree(tiny_folder("tiny-gpt2"), folder)
    for name in ("pytorch_model.bin", "onnx/config.json", "onnx/model.safetensors", "consolidated.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"another format")
    return Repository("openai-community/gpt2", folder, {"main": COMMIT}, old_names=("gpt2",))


@pytest.fixture
def hub(tmp_path, monkeypatch, repository) -> Iterator[HubStandIn]:
    """A stand-in for the hub, with an empty cache and without waits between retries."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(lab_hub, "_ANSWER_SECONDS", 0.3)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    offline(monkeypatch, False)
    with HubStandIn([repository]) as stand_in:
        use(monkeypatch, stand_in.endpoint)
        yield stand_in
        huggingface_hub.close_session()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(repository: str = "gpt2", revision: str | None = None) -> str:
    with pytest.raises(LabError) as caught:
        hub_folder(repository, revision)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    return line


def test_a_first_download_has_what_is_read_and_the_second_run_needs_no_network(hub, monkeypatch):
    """The old name is redirected, as the hub does; large files come from another host."""
    folder = hub_folder("gpt2", COMMIT)
    assert folder.name == COMMIT
    assert contents(folder) == CONTENTS
    assert sorted(hub.downloads()) == sorted(CONTENTS)
    hub.requests.clear()
    assert hub_folder("gpt2", COMMIT) == folder
    assert hub.requests == []
    hub.stop()
    assert hub_folder("gpt2", COMMIT) == folder
    offline(monkeypatch)
    assert hub_folder("gpt2", COMMIT) == folder


@pytest.mark.parametrize("revision", ["main", "step1", None])
def test_a_branch_follows_the_hub_and_stays_usable_without_it(hub, repository, monkeypatch, revision):
    repository.commits["step1"] = COMMIT
    assert hub_folder("gpt2", revision).name == COMMIT
    repository.commits |= {"main": "b" * 40, "step1": "b" * 40}
    hub.requests.clear()
    newer = hub_folder("gpt2", revision)
    assert newer.name == "b" * 40
    assert contents(newer) == CONTENTS
    assert hub.downloads() == []  # the files are the same
    hub.requests.clear()
    assert hub_folder("gpt2", revision) == newer
    assert len(hub.requests) == 2  # the newest commit, once, with the redirect of the old name
    hub.faults.append(status(503))
    assert hub_folder("gpt2", revision) == newer
    hub.stop()
    assert hub_folder("gpt2", revision) == newer
    offline(monkeypatch)
    assert hub_folder("gpt2", revision) == newer


def test_the_token_is_sent_to_the_hub_alone(hub, repository, monkeypatch):
    repository.token, repository.gated = "hf_good", True
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert contents(hub_folder("gpt2", None)) == CONTENTS
    tokens = {(request.path.startswith("/cdn/"), request.token) for request in hub.requests}
    assert tokens == {(False, "hf_good"), (True, None)}


def refuses_every_token(handler: Handler, request: Request) -> bool:
    handler.reply(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
    return True


def gated(hub: HubStandIn, monkeypatch) -> None:
    hub.repositories[0].token, hub.repositories[0].gated = "hf_good", True


def gated_for_this_token(hub: HubStandIn, monkeypatch) -> None:
    gated(hub, monkeypatch)
    monkeypatch.setenv("HF_TOKEN", "hf_bad")


def private(hub: HubStandIn, monkeypatch) -> None:
    hub.repositories[0].token = "hf_good"


def bad_token(hub: HubStandIn, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    hub.faults.append(refuses_every_token)


def cache_below_a_file(hub: HubStandIn, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", f"{__file__}/cache")


def disk_full(hub: HubStandIn, monkeypatch) -> None:
    def write(*arguments: object, **keywords: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", write)


def fault(answer: Callable[[Handler, Request], bool]) -> Callable[[HubStandIn, pytest.MonkeyPatch], None]:
    return lambda hub, monkeypatch: hub.faults.append(answer)


REFUSALS = {
    "not started": (lambda hub, monkeypatch: use(monkeypatch, "http://127.0.0.1:9"), "Connection refused"),
    "no such host": (lambda hub, monkeypatch: use(monkeypatch, "http://no-such-host.invalid"), "rror: "),
    "no address": (lambda hub, monkeypatch: use(monkeypatch, "hub.example"), "missing an 'http://'"),
    "silent": (fault(silence), "(TimeoutError|ReadTimeout): timed out"),
    "500": (fault(status(500)), "answered 500 Internal Server Error"),
    "503": (fault(status(503)), r"answered 503 Service Unavailable\); run it again later"),
    "429": (fault(status(429)), "answered 429 Too Many Requests"),
    "login page": (fault(text(b"<html>log in</html>")), "JSONDecodeError"),
    "another program": (fault(text(b"[]")), "TypeError"),
    "breaks off": (fault(broken_off(-1, after=0)), "peer closed connection"),
    "breaks down": (fault(broken_off(-1, reset=True)), "Connection reset by peer"),
    "gated": (gated, r"ask for access at http://[^ ]+/gpt2 and set HF_TOKEN to your token"),
    "gated for it": (gated_for_this_token, r"your token has no access\); ask for access at http://[^ ]+/gpt2"),
    "private": (private, r"or it is private\); look at http://[^ ]+/gpt2; if it is private, set HF_TOKEN"),
    "bad token": (bad_token, r"your token is refused: 401\); set HF_TOKEN to a token that can read it"),
    "odd token": (lambda hub, monkeypatch: monkeypatch.setenv("HF_TOKEN", "hf_bad€"), "HF_TOKEN has characters"),
    "offline": (lambda hub, monkeypatch: offline(monkeypatch), r"HF_HUB_OFFLINE is set\); unset it once"),
    "cache below a file": (cache_below_a_file, r"cannot use .*cache: Not a directory\); set HF_HOME to a folder"),
    "disk full": (disk_full, r"no space left for .*cache\); make room, or set HF_HOME to a folder on another disk"),
}


@pytest.mark.parametrize("revision", [COMMIT, "main"])
@pytest.mark.parametrize("case", REFUSALS)
def test_what_goes_wrong_is_one_line_and_leaves_nothing_that_looks_whole(hub, tmp_path, case, revision):
    arrange, expected = REFUSALS[case]
    with pytest.MonkeyPatch.context() as monkeypatch:
        arrange(hub, monkeypatch)
        line = refused("gpt2", revision)
    assert line.startswith(f"model.path: cannot get 'gpt2' (revision {revision}) from the hub at ")
    assert "and it is not cached (" in line
    assert re.search(expected, line), line
    assert line.endswith(lab_hub.WITHOUT_HUB)
    assert "hf_bad" not in line
    with pytest.MonkeyPatch.context() as monkeypatch:
        offline(monkeypatch)
        assert "HF_HUB_OFFLINE is set" in refused("gpt2", revision)
    assert list(tmp_path.glob("cache/*/blobs/*.incomplete")) == []
    hub.faults.clear()
    hub.repositories[0].token = None
    assert contents(hub_folder("gpt2", revision)) == CONTENTS  # the same command, when the hub can be reached


def test_what_does_not_exist_is_named(hub):
    line = refused("nobody/nothing", "main")
    assert "no such repository" in line
    assert f"{hub.endpoint}/nobody/nothing" in line
    assert "write it as owner/name" in refused("a/b/c")
    line = refused("gpt2", "step7")
    assert line.startswith("model.revision: got 'step7', expected null, or a branch, tag or commit that http")
    assert line.endswith("/gpt2 has")


def test_the_real_hub_is_named_without_its_address(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    line = refused("nobody/no-such-model", "main")  # offline, as all tests are
    assert line.startswith(
        "model.path: cannot get 'nobody/no-such-model' (revision main) from the Hugging Face hub, and "
    )


def test_a_download_that_breaks_off_goes_on_where_it_was(hub):
    hub.faults.append(broken_off(3, after=50_000))
    assert contents(hub_folder("gpt2", COMMIT)) == CONTENTS
    asked = [request.range for request in hub.requests if request.path.startswith("/cdn/") and request.method == "GET"]
    assert asked == [None, "bytes=50000-", "bytes=100000-", "bytes=150000-"]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json", "config.json"])
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink])
def test_a_damaged_file_in_the_cache_is_downloaded_again(hub, monkeypatch, caplog, name, damage):
    folder = hub_folder("gpt2", COMMIT)
    assert damaged_files(folder) == []
    damage((folder / name).resolve())
    assert damaged_files(folder) == [name]
    offline(monkeypatch)
    line = refused("gpt2", COMMIT)
    assert damage == Path.unlink or f"in the cache, {name} is damaged (HF_HUB_OFFLINE is set)" in line
    offline(monkeypatch, False)
    hub.requests.clear()
    assert contents(hub_folder("gpt2", COMMIT)) == CONTENTS
    assert hub.downloads() == [name]
    assert damage == Path.unlink or f"'gpt2': in the cache, {name} is damaged; downloading it again" in caplog.text


def test_weights_that_arrive_damaged_are_not_used(hub, repository):
    size = len(CONTENTS[WEIGHTS])
    assert hub.large_files  # with the checksums of what the hub should serve
    (repository.folder / WEIGHTS).write_bytes(bytes(size))
    assert f"'gpt2': {WEIGHTS} was damaged on the way" in refused("gpt2", COMMIT)
    (repository.folder / WEIGHTS).write_bytes(CONTENTS[WEIGHTS])
    assert contents(hub_folder("gpt2", COMMIT)) == CONTENTS


def test_the_checksums_of_mirrors_are_not_mistaken_for_damage(tmp_path):
    """Mirrors name files by other checksums; systems without links have no names of blobs at all."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    names = ["aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", "5d41402abc4b2a76b9719d911017c592", "any-name"]  # SHA-1, MD5
    for name in names:
        (tmp_path / "blobs" / name).write_bytes(b"hello")
        (tmp_path / "snapshot" / f"{name}.json").symlink_to(tmp_path / "blobs" / name)
    (tmp_path / "snapshot" / "model.safetensors").touch()
    (tmp_path / "snapshot" / "pytorch_model.bin").symlink_to(tmp_path / "removed, as nothing reads it")
    (tmp_path / "snapshot" / "copied.json").write_bytes(b"hello")
    assert damaged_files(tmp_path / "snapshot") == []


def test_older_weights_are_fetched_only_if_there_are_no_safetensors(hub, repository, monkeypatch):
    (repository.folder / WEIGHTS).unlink()
    folder = hub_folder("gpt2", COMMIT)
    assert contents(folder) == {name: CONTENTS[name] for name in CONTENTS if name != WEIGHTS} | {
        "pytorch_model.bin": b"another format"
    }
    offline(monkeypatch)
    assert hub_folder("gpt2", COMMIT) == folder


def test_a_repository_without_a_model_is_reported(hub, repository):
    (repository.folder / WEIGHTS).unlink()
    (repository.folder / "pytorch_model.bin").unlink()
    assert "is not a Hugging Face model folder: it lacks *.safetensors" in refused("gpt2", COMMIT)


def in_a_process(hub: HubStandIn, cache: Path, limit: str = "") -> subprocess.Popen[str]:
    """Start a process that gets the model as a user's does, by environment variables alone."""
    code = f"""
import sys
{limit}
from ioi_lab.errors import LabError
from ioi_lab.models.hub import hub_folder
try:
    print(hub_folder("gpt2", "main"))
except LabError as error:
    sys.exit(str(error))
"""
    environment = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment |= {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", *environment)}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_jobs_that_start_together_download_each_file_once(hub, tmp_path):
    jobs = [in_a_process(hub, tmp_path / "cache") for _ in range(3)]
    answers = [job.communicate() for job in jobs]
    assert [error for _, error in answers] == ["", "", ""]
    (folder,) = {Path(line.strip()) for line, _ in answers}
    assert contents(folder) == CONTENTS
    assert sorted(hub.downloads()) == sorted(CONTENTS)


def test_a_file_system_that_takes_no_more_is_one_line(hub, tmp_path):
    """The limit of the size of a file stands in for a full disk, which needs the rights to mount one."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))"
    line, error = in_a_process(hub, tmp_path / "cache", limit).communicate()
    assert (line, error.count("\n")) == ("", 1)
    assert f"no space left for {tmp_path / 'cache'}); make room" in error
    assert contents(hub_folder("gpt2", "main")) == CONTENTS


def test_a_run_of_gpt2_small_downloads_it_and_reads_the_cache_next_time(hub, sweep, tmp_path):
    """The whole way of `model=gpt2-small`, with a tiny model in its repository."""
    command = ("tracker=none", "figures=false", "model=gpt2-small", "task.n=4", "intervention.layer=0")
    outcome = sweep(*command, "name=first")
    assert outcome.code == 0, outcome.err
    hub.stop()
    outcome = sweep(*command, "name=second")
    assert outcome.code == 0, outcome.err
    origins = [json.loads(path.read_text())["model"] for path in tmp_path.glob("runs/*/*/provenance.json")]
    assert [(origin["name"], origin["revision"]) for origin in origins] == [("gpt2-small", COMMIT)] * 2


def test_a_run_without_the_hub_ends_in_one_line(hub, sweep, tmp_path):
    hub.stop()
    outcome = sweep("tracker=none", "model=pythia-410m")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1, outcome.err
    assert "cannot get 'EleutherAI/pythia-410m' (revision step143000)" in outcome.err


def test_a_cache_that_other_tools_have_filled_is_read(tmp_path, monkeypatch, random_folders):
    """The layout of the hub's cache without a listing of the repository, as older versions of its library leave it."""
    repository = tmp_path / "models--someone--model"
    commit = "0" * 40
    shutil.copytree(random_folders["gpt2"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = load_model(model_config("someone/model", source="hub", revision="main"))
    assert model.folder == repository / "snapshots" / commit
    assert model.shape.n_layers == 2
    (repository / "refs" / "main").write_text("")
    assert "it is not cached" in refused("someone/model", "main")
