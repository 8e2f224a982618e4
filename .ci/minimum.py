"""Prints the lower bounds of pyproject.toml as constraints for pip."""

import pathlib
import re
import tomllib

project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"].values()
for wanted in [*project["dependencies"], *(name for extra in extras for name in extra)]:
    if bound := re.fullmatch(r"([\w-]+)>=([\d.]+)", wanted):
        print(f"{bound[1]}=={bound[2]}")
