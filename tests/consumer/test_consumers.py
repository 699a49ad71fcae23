"""Programs outside the tree: guestkit as a Meson subproject, by pkg-config and as a wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = Path(__file__).parent / "foreign"
EXPECTED = "direct 777\n"


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run a command; return what it printed; on failure show all of it."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def nothing_of_ours() -> dict[str, str]:
    """Without the paths that `./run` sets: a stranger's machine."""
    return {"PKG_CONFIG_PATH": "", "CPLUS_INCLUDE_PATH": ""}


def test_a_foreign_meson_project_takes_guestkit_as_a_subproject(
    tmp_path: Path, nothing_of_ours: dict[str, str]
) -> None:
    project = tmp_path / "foreign"
    shutil.copytree(FOREIGN, project)
    (project / "subprojects").mkdir()
    # Only what a tarball of the project holds.
    names = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            target = project / "subprojects" / "guestkit" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    build = tmp_path / "build"
    told = run("meson", "setup", build, project, environment=nothing_of_ours)
    assert "python" not in told.lower()
    run("meson", "compile", "-C", build)
    assert run(build / "program") == EXPECTED
    # None of our tests in somebody else's project, and nothing of ours installed with it.
    targets = json.loads(run("meson", "introspect", "--targets", build))
    assert [target["name"] for target in targets] == ["program"]
    assert json.loads(run("meson", "introspect", "--installed", build)) == {}


def test_pkg_config_finds_an_installed_guestkit(tmp_path: Path, nothing_of_ours: dict[str, str]) -> None:
    prefix = tmp_path / "prefix"
    build = tmp_path / "build"
    run("meson", "setup", build, ROOT, f"--prefix={prefix}", "-Dpython=disabled", "-Dtests=disabled")
    run("meson", "install", "-C", build)
    (pc,) = prefix.rglob("guestkit.pc")
    flags = run(
        "pkg-config", "--cflags", "--libs", "guestkit",
        environment={**nothing_of_ours, "PKG_CONFIG_PATH": str(pc.parent)},
    ).split()  # fmt: skip
    program = tmp_path / "program"
    sources = sorted(FOREIGN.glob("*.cpp"))
    run("g++", "-std=c++20", "-Wall", "-Wextra", *sources, *flags, "-o", program, environment=nothing_of_ours)
    assert run(program) == EXPECTED


def test_a_wheel_holds_all_that_the_package_needs(tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("guestkit-*.whl")
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    program = (
        "import guestkit, guestkit.appliance as a; print(guestkit.Guestfs().get_memsize(), a._programs())"
    )
    # Without the path hook of the tests' environment, which would find the checkout.
    base = Path(sys.base_prefix, "bin", "python3.11")
    told = run(base, "-P", "-c", program, environment={"PYTHONPATH": str(tmp_path / "site")})
    assert told == f"1280 {tmp_path / 'site' / 'guestkit'}\n"
