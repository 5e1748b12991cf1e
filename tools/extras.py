"""Prints the requirements of pyproject.toml's extras, one a line, and those of the package itself.

usage: python tools/extras.py test dev | pip install -r /dev/stdin
"""

import sys
import tomllib
from pathlib import Path


def main(extras: list[str]) -> None:
    """Reads pyproject.toml beside this folder."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        print(requirement)
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            print(requirement)


if __name__ == "__main__":
    main(sys.argv[1:])
