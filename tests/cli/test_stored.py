"""Stored configs: whatever a folder holds, running its config imports and reads nothing of its choice."""

from __future__ import annotations

import json
import os
import sys

import pytest
import yaml

from ioi_lab.cli.stored import read_stored_config, stored_config
from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.errors import LabError

HEADER = {"defaults": ["run_folder", "_self_"]}
PATCH = {
    "model": {"source": "tiny", "path": "tiny-gpt2"},
    "task": {"_target_": "ioi_lab.tasks.ioi.IOITask", "n": 4},
    "intervention": {"_target_": "ioi_lab.interventions.patch.Patch", "name": "patch", "layer": 2},
    "tracker": {"name": "none"},
    "name": "stored",
    "resume": True,
    "figures": False,
}
EVIL = {"_target_": "evil_module.Evil", "dir": "evil"}
TRUST = (
    r"expected a name in ioi_lab, or in a package that you trust and name first \(export IOI_LAB_PLUGINS=evil_module\)"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module that leaves a mark if it is imported, and options that name it."""
    (tmp_path / "evil_module.py").write_text("import builtins\nbuiltins.evil_was_imported = True\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("IOI_LAB_PLUGINS", raising=False)
    stored = tmp_path / "stored"
    for group in ("hydra/launcher", "hydra/callbacks", "model"):
        (stored / group).mkdir(parents=True)
        (stored / group / "evil.yaml").write_text(yaml.dump({"_target_": "ioi_lab.tasks.ioi.IOITask", "dir": "evil"}))
    (stored / "to_hydra.yaml").write_text("# @package hydra\n" + yaml.dump({"callbacks": {"evil": EVIL}}))
    (stored / "to_job.yaml").write_text("# @package _global_.hydra.job\n" + yaml.dump({"env_set": {"A": "evil"}}))
    (stored / "all.yaml").write_text("# @package _global_\n" + yaml.dump({"hydra": {"callbacks": {"evil": EVIL}}}))
    (stored / "model" / "hydra.yaml").write_text("# @package _name_\n" + yaml.dump({"callbacks": {"evil": EVIL}}))
    (tmp_path / "outside.yaml").write_text("# @package hydra\n" + yaml.dump({"callbacks": {"evil": EVIL}}))
    yield stored
    assert "evil_module" not in sys.modules


def write(folder, content):
    head = f"# @package {content['@package']}\n" if "@package" in content else ""
    keys = {key: value for key, value in content.items() if key != "@package"}
    (folder / "config.yaml").write_text(head + yaml.dump(keys, sort_keys=False))


def defaults(*entries):
    return {"defaults": ["run_folder", *entries, "_self_"], **PATCH}


INTO_HYDRA = {
    "callbacks": HEADER | PATCH | {"hydra": {"callbacks": {"evil": EVIL}}},
    "launcher": HEADER | PATCH | {"hydra": {"launcher": EVIL}},
    "sweeper": HEADER | PATCH | {"hydra": {"sweeper": EVIL}},
    "logging": HEADER | PATCH | {"hydra": {"job_logging": {"handlers": {"evil": {"()": "evil_module.Evil"}}}}},
    "environment": HEADER | PATCH | {"hydra": {"job": {"env_set": {"IOI_LAB_PLUGINS": "evil"}, "chdir": True}}},
    "folder": HEADER | PATCH | {"hydra": {"run": {"dir": "/evil"}, "output_subdir": "../evil"}},
    "search path": HEADER | PATCH | {"hydra": {"searchpath": ["file:///evil", "pkg://evil_module"]}},
    "values that ask": HEADER | PATCH | {"hydra": {"run": {"dir": "evil/${oc.env:HOME}/${now:%Y}"}}},
    "the package of the config": {"@package": "hydra", "callbacks": {"evil": EVIL}},
    "a part of it": {"@package": "_global_.hydra.callbacks", "evil": EVIL},
    "an option": defaults({"hydra/launcher": "evil"}),
    "another option": defaults({"override hydra/launcher": "evil"}),
    "an absolute option": defaults({"override /hydra/launcher": "evil"}),
    "an optional option": defaults({"optional /hydra/callbacks": "evil"}),
    "an option moved there": defaults({"model@hydra.launcher": "evil"}),
    "an option moved there absolutely": defaults({"model@_global_.hydra.launcher": "evil"}),
    "a config next to it": defaults("to_hydra"),
    "a config next to it, for jobs": defaults("to_job"),
    "a config of all packages next to it": defaults("all"),
    "a config moved there": defaults("model/evil@hydra.launcher"),
    "a config of this name": defaults({"model": "hydra"}),
    "a list of options": defaults({"hydra/callbacks": ["evil"]}),
}
OUTSIDE = {
    "a config outside": defaults("../outside"),
    "a config outside, through the lab's": defaults("/../outside"),
    "a group outside": defaults({"../stored/model": "evil"}),
    "an option outside": defaults({"model": "../../outside"}),
    "an option to be found out": defaults({"model": "${name}"}),
    "no list": PATCH | {"defaults": {"hydra/launcher": "evil"}},
}


@pytest.mark.parametrize("content", INTO_HYDRA.values(), ids=INTO_HYDRA.keys())
def test_nothing_stored_reaches_hydras_own_config(sweep, folder, content):
    write(folder, content)
    outcome = sweep("-cd", "stored", "--config-name=config", "--cfg", "hydra")
    assert outcome.code == 0, outcome.err
    shown = yaml.safe_load(outcome.out[outcome.out.index("hydra:\n") :])["hydra"]
    assert "evil" not in json.dumps(shown)
    is_in_file_itself = "defaults" not in content or content["defaults"][1] not in ("to_hydra", "to_job", "all")
    line = f"{folder / 'config.yaml'}: ignored "
    assert (line in outcome.out) == is_in_file_itself


@pytest.mark.parametrize("content", OUTSIDE.values(), ids=OUTSIDE.keys())
def test_a_stored_config_names_options_alone(sweep, folder, content):
    write(folder, content)
    line = sweep("-cd", "stored", "--config-name=config", "--cfg", "hydra").error_line
    assert "expected options of the lab's config groups, by name" in line or "expected a list" in line


TARGETS = {
    "task._target_": PATCH | {"task": EVIL},
    "intervention._target_": PATCH | {"intervention": EVIL | {"_partial_": True, "_args_": [1]}},
    "intervention.lens._target_": PATCH | {"intervention": {"lens": EVIL}},
    "intervention.names.1._target_": PATCH | {"intervention": {"names": ["a", EVIL]}},
    "task._args_.0._target_": PATCH | {"task": {"_target_": "ioi_lab.tasks.ioi.IOITask", "_args_": [EVIL]}},
    "extra.a.0.0._target_": PATCH | {"extra": {"a": [[EVIL]]}},
}


@pytest.mark.parametrize(("key", "content"), TARGETS.items(), ids=TARGETS.keys())
def test_a_class_of_an_unknown_package_is_named_in_one_line(sweep, folder, key, content):
    write(folder, HEADER | content)
    for flags in ([], ["-m"]):
        outcome = sweep(*flags, "--config-dir", "stored", "--config-name", "config", "seed=0,1" if flags else "seed=0")
        with pytest.raises(LabError, match=rf"^error: {key}: got 'evil_module\.Evil', {TRUST}$"):
            raise LabError(outcome.error_line)


ASKS = [
    "${oc.env:HOME}",
    "${oc.env:HOME,evil}",
    "a ${oc.env:HOME} b",
    "${oc.decode:'1'}",
    "${hydra:runtime.cwd}",
    "${now:%Y}",
    "${oc.create:{a: 1}}",
    "${oc.select:name}",
    "${oc.${name}:HOME}",
    "${task.${oc.env:HOME}}",
    "\\\\${oc.env:HOME}",
    "${own_resolver:1}",
    "${",
    "${name}" + "x" * 2000,
]


@pytest.mark.parametrize("text", ASKS)
@pytest.mark.parametrize("place", ["value", "list", "below"])
def test_a_value_that_asks_a_resolver_is_refused(folder, text, place):
    placed = {"value": text, "list": [0, text], "below": {"a": {"b": text}}}[place]
    write(folder, PATCH | {"extra": placed})
    with pytest.raises(LabError, match=r"^extra.*: got .*, but a stored config can neither read the environment nor "):
        read_stored_config(folder / "config.yaml")


@pytest.mark.parametrize("text", ["${name}", "a ${task.n}", "costs $5", "{a}", "\\${oc.env:HOME}"])
def test_other_values_stay(folder, text):
    write(folder, PATCH | {"extra": text})
    assert read_stored_config(folder / "config.yaml").content["extra"] == text


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)
DAMAGED = {
    "aliases of aliases": BOMB,
    "an alias of itself": "a: &a [*a]\n",
    "deep lists": f"a: {'[' * 900}{']' * 900}\n",
    "open lists": "[" * 5000,
    "a Python object": "a: !!python/object/apply:os.system [evil]\n",
    "another Python object": "a: !!python/name:evil_module.Evil\n",
    "no keys": "- 1\n",
    "a header of too many words": "# @package a b\na: 1\n",
    "no UTF-8": b"a: \xff\xfe\n",
    "large": "a: 1 #" + "x" * 5_000_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_what_is_no_config_is_reported_in_one_line(folder, content):
    file = folder / "config.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(LabError, match=r"config\.yaml") as caught:
        read_stored_config(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_never_ends_is_not_opened(folder, make):
    make(folder / "config.yaml")
    with pytest.raises(LabError, match=r"is a (pipe|folder|device); expected a file$"):
        read_stored_config(folder / "config.yaml")


def test_other_configs_are_hydras_to_find(folder, tmp_path, monkeypatch):
    """A config of the lab's own, a folder of options alone, and a file that does not exist are not stored configs."""
    monkeypatch.chdir(tmp_path)
    write(folder, PATCH)
    for flags in (
        ["--config-name", "sweep"],
        ["--config-dir", "stored"],
        ["--config-dir", "stored", "--config-name", "sweep"],
        ["--config-dir", "stored", "--config-name", "nothing"],
    ):
        assert stored_config([*flags, "seed=1"]) is None
    for flags in (
        ["--config-dir", "stored", "--config-name", "config"],
        ["-m", "-cd=stored", "-cn", "config.yaml"],
        ["--config-name=config", "--config-dir=x", "-cd", "stored", "--cfg", "all"],
    ):
        assert stored_config([*flags, "seed=1"]) == (folder, "config.yaml")


def test_a_config_is_named_in_its_folder_alone(sweep, folder, tmp_path):
    """By a path, Hydra would read it as one of the lab's own."""
    write(folder, PATCH)
    for name in (os.path.relpath(folder / "config", CONFIG_FOLDER), str(folder / "config"), "../stored/config"):
        line = sweep("--config-dir", "stored", "--config-name", name).error_line
        assert (
            line == f"error: --config-name: got {name!r}, expected a name; its folder is given by --config-dir FOLDER"
        )


@pytest.mark.parametrize("flag", ["--config-path", "-cp", "--experimental-rerun"])
def test_flags_that_would_run_stored_code_are_refused(sweep, flag):
    line = sweep(flag, "stored", "seed=1").error_line
    assert line.endswith("a stored config is run again with --config-dir FOLDER --config-name config")
