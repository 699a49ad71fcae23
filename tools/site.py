"""What the site of the documentation has besides docs/: pages of the root, and references made from the code.

MkDocs calls these functions: see mkdocs.yml.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
#: Pages that people look for in the root of a repository, and their places in the site.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
}
#: Pages made of docstrings: their name, title, and the objects that they describe.
PYTHON = (
    (
        "python",
        "Python",
        (
            "guestkit.handle.Guestfs", "guestkit.handle.set_appliance_limit",
            "guestkit.handle_options.HandleOptions", "guestkit.guest", "guestkit.fleet",
            "guestkit.inspection", "guestkit.comparison", "guestkit.file_comparison", "guestkit.reports",
            "guestkit.sboms", "guestkit.languages", "guestkit.files", "guestkit.reading",
            "guestkit.copying", "guestkit.fs", "guestkit.fuse", "guestkit.serving",
            "guestkit.disks.Domain", "guestkit.images", "guestkit.archives", "guestkit.opening",
            "guestkit.unpack",
            "guestkit.convert", "guestkit.appliance", "guestkit.doctor", "guestkit.events", "guestkit.errors",
            "guestkit.generated.values", "guestkit.printable", "guestkit.compat",
        ),
    ),
    ("aio", "asyncio", ("guestkit.aio", "guestkit.aio.handle.AsyncGuestfs", "guestkit.aio.events")),
)  # fmt: skip
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in docs/."""
    for name, place in PAGES.items():
        files.append(File.generated(config, place, content=_read(name)))
    files.append(File.generated(config, "reference/actions.md", content=actions()))
    for name, title, objects in PYTHON:
        text = "\n\n".join([f"# {title}", *(f"::: {one}" for one in objects)])
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for made in headers():
        place = f"reference/headers/{made.name}"
        files.append(File.generated(config, place, abs_src_path=str(made)))
    for page in [*files.documentation_pages()]:
        for target in _outside(page):
            if files.get_file_from_path(f"source/{target}") is None:
                files.append(_source(target, config))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to where the site has what they name."""
    file = page.file
    here = _origin(file)
    up = "../" * file.src_uri.count("/")

    def place(match: re.Match[str]) -> str:
        target = _target(here, match[1])
        if target is None:
            return match[1]
        name = str(target.relative_to(ROOT))
        if name in PAGES:
            return up + PAGES[name]
        if name.startswith("docs/"):
            return up + name.removeprefix("docs/")
        return f"{up}source/{name}" + ("/index.md" if target.is_dir() else "")

    return LINK.sub(place, markdown)


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _origin(file: File) -> Path:
    """Return the folder from which the page's links are meant."""
    return ROOT if file.src_uri in PAGES.values() else (ROOT / "docs" / file.src_uri).parent


def _target(here: Path, link: str) -> Path | None:
    """Return the file of this repository that is meant; None: there is none, which MkDocs tells."""
    path = (here / link).resolve()
    return path if path.is_relative_to(ROOT) and path.exists() else None


def _outside(page: File) -> Iterator[str]:
    """Yield what the page refers to of this repository and the site would not have."""
    for link in LINK.findall(page.content_string):
        target = _target(_origin(page), link)
        name = str(target.relative_to(ROOT)) if target else ""
        if name and name not in PAGES and not name.startswith("docs/"):
            yield name


def _source(name: str, config: MkDocsConfig) -> File:
    """Return a file of the repository as it is, or a page of what is in a folder."""
    path = ROOT / name
    if path.is_dir():
        listed = [str(one.relative_to(path)) for one in sorted(path.rglob("*")) if one.is_file()]
        text = f"# {name}\n\n" + "\n".join(f"- `{one}`" for one in listed if "__pycache__" not in one)
        return File.generated(config, f"source/{name}/index.md", content=text)
    return File.generated(config, f"source/{name}", content=path.read_bytes())


def headers() -> list[Path]:
    """Make the reference of the C++ headers by Doxygen; return its files."""
    made = ROOT / "build" / "docs" / "html"
    made.parent.mkdir(parents=True, exist_ok=True)
    command = ["doxygen", "docs/Doxyfile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PluginError(f"doxygen: {done.stdout}{done.stderr}")
    return sorted(path for path in made.rglob("*") if path.is_file())


def actions() -> str:
    """Return a page of every action of libguestfs, as the stubs of the Python package have them."""
    (handle,) = [
        node
        for node in ast.parse(_read("guestkit/_native.pyi")).body
        if isinstance(node, ast.ClassDef) and node.name == "Handle"
    ]
    parts = [
        "# Actions",
        "What libguestfs does is a method of `Guestfs`, and, awaited, of `AsyncGuestfs`; in C++ it has the "
        "same name and arguments: [its reference](headers/index.html). guestfs(3) is the manual.",
    ]
    known = {action["name"]: action for action in json.loads(_read("api/libguestfs.json"))["actions"]}
    for method in handle.body:
        if isinstance(method, ast.FunctionDef) and method.name in known:
            parts += [
                f"## {method.name} {{#{method.name}}}",
                f"```python\n{_signature(method)}\n```",
                _about(method),
            ]
    return "\n\n".join(parts)


def _signature(method: ast.FunctionDef) -> str:
    arguments = ast.unparse(method.args).removeprefix("self").removeprefix(", ")
    returned = ast.unparse(method.returns) if method.returns else "None"
    return f"{method.name}({arguments}) -> {returned}"


def _about(method: ast.FunctionDef) -> str:
    """Return the docstring in Markdown: its lines about arguments are a list."""
    text = ast.get_docstring(method) or ""
    return re.sub(r"^(?!C: )(\w+): ", r"- `\1`: ", text, flags=re.MULTILINE)
