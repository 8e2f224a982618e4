"""`__all__` of every package is what the package imports, written by this script.

python -m tests.public_names        # after an import was added to an __init__.py
"""

import ast
import pathlib
import re

PACKAGE = pathlib.Path(__file__).parents[1] / "jaxal"
LIST = re.compile(r"^__all__ = \[.*?^\]\n", flags=re.DOTALL | re.MULTILINE)


def packages() -> list[pathlib.Path]:
    """Files that say what is public, and define nothing that is."""
    files = {file: file.read_text() for file in sorted(PACKAGE.rglob("__init__.py"))}
    owned = re.compile(r"^(def|class) (?!_)", flags=re.MULTILINE)
    return [f for f, t in files.items() if LIST.search(t) and not owned.search(t)]


def with_names(text: str) -> str:
    """Returns the source of a package with `__all__` as its imports have it."""
    body = ast.parse(text).body
    names = {
        alias.asname or alias.name
        for node in body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxal.")
        for alias in node.names
    }
    lines = "".join(f'    "{name}",\n' for name in sorted(names))
    return LIST.sub(f"__all__ = [\n{lines}]\n", text)


if __name__ == "__main__":
    for file in packages():
        file.write_text(with_names(file.read_text()))
