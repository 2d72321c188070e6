"""Hydra's view of the config groups in `conf/` of the current folder: their options come after those of the lab."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin
from typing_extensions import override


class OwnConfigSearchPath(SearchPathPlugin):
    """Appends `conf/` of the current folder to the search path of the lab's commands."""

    @override
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from ioi_lab.config import CONFIG_FOLDER, own_config_folder

        own = own_config_folder()
        # Hydra asks the plugins of all installed packages, also for programs that are not the lab's.
        is_of_the_lab = any(element.path == str(CONFIG_FOLDER) for element in search_path.get_path())
        if own is not None and is_of_the_lab:
            search_path.append("own", f"file://{own}")
