"""The packages of the wheel: those of this folder, and `conf/` as `ioi_lab.conf`. The rest is in pyproject.toml."""

from setuptools import find_namespace_packages, setup

FOUND = find_namespace_packages(include=["ioi_lab*", "hydra_plugins*"])

setup(packages=[*FOUND, "ioi_lab.conf"], package_dir={"ioi_lab.conf": "conf"})
