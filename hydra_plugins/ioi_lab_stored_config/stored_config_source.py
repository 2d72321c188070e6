"""Hydra's view of a folder with stored configs: see `ioi_lab.cli.stored`."""

from __future__ import annotations

import sys
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf
from typing_extensions import override


class StoredConfigSearchPath(SearchPathPlugin):
    """Puts the folder of a stored config in front of what Hydra would read there itself."""

    @override
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from ioi_lab.cli.stored import stored_config

        found = stored_config(sys.argv[1:])
        if found is not None:
            search_path.append("stored", f"{StoredConfigSource.scheme()}://{found[0]}")


class StoredConfigSource(FileConfigSource):
    """The YAML files of a folder, checked and without what is about Hydra; nothing outside the folder is in it."""

    @staticmethod
    @override
    def scheme() -> str:
        return "stored"

    @override
    def load_config(self, config_path: str) -> ConfigResult:
        from ioi_lab.cli.stored import read_stored_config

        stored = read_stored_config(Path(self.path) / self._normalize_file_name(config_path))
        header = {"package": stored.package}
        return ConfigResult(self.provider, self.full_path(), OmegaConf.create(stored.content), header)

    @override
    def is_group(self, config_path: str) -> bool:
        return _is_within(config_path) and super().is_group(config_path)

    @override
    def is_config(self, config_path: str) -> bool:
        return _is_within(config_path) and super().is_config(config_path)


def _is_within(config_path: str) -> bool:
    """Whether a path is in the folder, and no option of a group of Hydra's own."""
    parts = Path(config_path).parts
    return not Path(config_path).is_absolute() and ".." not in parts and parts[:1] != ("hydra",)
