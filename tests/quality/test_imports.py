"""guestkit's modules import each other in one direction only.

An import inside a function counts: it hides a cycle without breaking it. One for type checkers does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def modules(root: Path) -> dict[str, Path]:
    """Return the modules of the package guestkit below root, by name."""
    found = {}
    for path in (root / "guestkit").rglob("*.py"):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imported(node: ast.AST) -> Iterator[str]:
    """Return the names that the code imports: modules, or names from modules."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for other in node.orelse:
            yield from imported(other)
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "guestkit's imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imported(child)


def graph(root: Path) -> Mapping[str, set[str]]:
    """Return the modules of the package that each module imports."""
    written = modules(root)
    known = {*written, "guestkit._native"}
    edges: dict[str, set[str]] = {}
    for name, path in written.items():
        names = set(imported(ast.parse(path.read_text(encoding="utf-8"))))
        edges[name] = {one if one in known else one.rpartition(".")[0] for one in names} & known
    return edges


def circle(root: Path) -> list[str]:
    """Return a cycle of modules that import each other; empty if there is none."""
    try:
        TopologicalSorter(graph(root)).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_module_imports_one_that_imports_it() -> None:
    assert circle(ROOT) == []
    assert graph(ROOT)["guestkit.aio.fleet"] >= {"guestkit.fleet", "guestkit.aio.handle"}


@pytest.mark.parametrize(
    "back",
    [
        "import guestkit.a",
        "from guestkit import a",
        "from guestkit.a import name",
        "def late():\n    from guestkit import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    from guestkit import a",
    ],
)
def test_a_circle_is_found_however_it_is_imported(tmp_path: Path, back: str) -> None:
    package = tmp_path / "guestkit"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from guestkit.a import name")
    (package / "a.py").write_text("from guestkit.inner.b import other\nname = 1")
    (package / "inner" / "__init__.py").touch()
    (package / "inner" / "b.py").write_text(f"other = 2\n{back}")
    assert set(circle(tmp_path)) == {"guestkit.a", "guestkit.inner.b"}


def test_an_import_for_type_checkers_closes_no_circle(tmp_path: Path) -> None:
    (tmp_path / "guestkit").mkdir()
    (tmp_path / "guestkit" / "a.py").write_text("import guestkit.b")
    (tmp_path / "guestkit" / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import guestkit.a"
    )
    assert circle(tmp_path) == []
