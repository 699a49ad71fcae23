"""Where Boost comes from, and which Pythons are built for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def configure(build: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    python = (
        ()
        if any("python_command" in option for option in options)
        else (f"-Dpython_command={sys.executable}",)
    )
    return subprocess.run(
        ["meson", "setup", build, ROOT, "-Dpython=enabled", *python, *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the build's fixed requirements, as pip does; return its Python."""
    folder = tmp_path_factory.mktemp("builder")
    system = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", *system["requires"]], check=True)
    return folder / "bin" / "python"


def requirements(builder: Path, *options: str, **environment: str) -> list[str]:
    """Ask the build backend, as pip does, which Boost the build needs from PyPI."""
    program = (
        "import json, sys, build_backend\n"
        "settings = json.loads(sys.argv[1])\n"
        "print(json.dumps(build_backend.get_requires_for_build_wheel(settings)))\n"
        "print(json.dumps(build_backend.get_requires_for_build_sdist(settings)))"
    )
    done = subprocess.run(
        [builder, "-c", program, json.dumps({"setup-args": options} if options else None)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tools"), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    for_wheel, for_sdist = (
        [word for word in json.loads(line) if "boost" in word] for line in done.stdout.splitlines()
    )
    assert for_wheel == for_sdist  # Meson configures the build for a source distribution, too
    return for_wheel


def test_the_build_says_which_boost_it_took(tmp_path: Path) -> None:
    done = configure(tmp_path)
    assert done.returncode == 0, done.stdout
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("Message: Boost.Python")]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert told.startswith(f"Message: Boost.Python for Python {version}: 1.")
    assert told.endswith((", the system's", f", cmeel-boost of {sys.executable}"))


def test_pypis_boost_that_is_not_there_is_named_with_the_command(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    done = configure(tmp_path / "build", "-Dboost=cmeel", f"-Dpython_command={python}")
    assert done.returncode != 0
    assert f"{python} has no cmeel-boost: {python} -m pip install cmeel-boost" in done.stdout


def test_headers_of_one_boost_were_compiled_with_the_library_of_another(tmp_path: Path) -> None:
    """Regression: the compiler searches other folders than Meson, such as those of CPLUS_INCLUDE_PATH."""
    version = tmp_path / "other" / "boost" / "version.hpp"
    version.parent.mkdir(parents=True)
    version.write_text('#define BOOST_VERSION 105500\n#define BOOST_LIB_VERSION "1_55"\n', encoding="utf-8")
    done = configure(tmp_path / "build", CPLUS_INCLUDE_PATH=str(tmp_path / "other"))
    assert done.returncode != 0
    assert (
        "the compiler finds the headers of Boost 1.55 before those of Boost.Python, which is 1."
        in done.stdout
    )


@pytest.mark.parametrize(
    ("pretence", "reason"),
    [
        ("sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1", "does not work with free-threaded Python"),
        ("sysconfig.get_python_version = lambda: '3.10'", "needs Python 3.11 or newer"),
    ],
)
def test_a_python_that_cannot_work_is_refused_with_the_reason(
    pretence: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sysconfig\n{pretence}\n", encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    done = configure(tmp_path / "build", f"-Dpython_command={python}")
    assert done.returncode != 0
    assert reason in " ".join(done.stdout.split())
    assert str(python) in done.stdout


def test_the_build_asks_pypi_for_boost_only_where_it_would_be_used(builder: Path) -> None:
    """Regression: as a fixed requirement it kept distributions, which have Boost, from building."""
    wanted = ["cmeel-boost ~= 1.90.0"]
    assert requirements(builder, "-Dboost=system") == requirements(builder, "-Dboost=source") == []
    assert requirements(builder, BOOST_ROOT="/opt/boost") == []
    assert requirements(builder, "-Dboost=cmeel") == wanted
    assert requirements(builder, CXX="false") == wanted  # no Boost that this compiler could link with
    assert requirements(builder, CXX="/nonexistent/c++") == wanted
