"""What the installed libguestfs lacks, and a module that cannot be loaded."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import guestkit
from guestkit import ActionMissing, AsyncGuestfs, Error, Guestfs, _native
from guestkit._missing import MissingAction
from guestkit._system import install_command
from guestkit.generated import since
from guestkit.generated.since import SINCE

PACKAGE = Path(guestkit.__file__).parent
MODULE = Path(_native.__file__)


def installed() -> tuple[int, ...]:
    with Guestfs() as g:
        version = g.version()
    return version["major"], version["minor"], version["release"]


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


# ---- actions


@pytest.mark.parametrize("name", SINCE)
async def test_an_action_that_libguestfs_lacks_was_an_unknown_attribute(name: str) -> None:
    """Regression: the stubs have every action; those of a later libguestfs raised a bare AttributeError."""
    here = ".".join(map(str, installed()))
    there = installed() >= numbers(SINCE[name])
    async with AsyncGuestfs() as a:
        with Guestfs() as g:
            for handle in (g, a):
                assert hasattr(handle, name) is hasattr(type(handle), name) is there
                if there:
                    continue
                with pytest.raises(ActionMissing) as caught:
                    getattr(handle, name)
                assert caught.value.errno == errno.ENOSYS
                assert str(caught.value) == (
                    f"{name}: libguestfs {here} lacks this action, which came with {SINCE[name]}"
                )


def test_an_action_that_came_after_the_build_names_both_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(since.SINCE, "grow", "1.44.9")
    monkeypatch.setattr(Guestfs, "grow", MissingAction("grow"), raising=False)
    with Guestfs() as g, pytest.raises(Error) as caught:
        _ = g.grow  # type: ignore[attr-defined]
    told = str(caught.value)
    assert told.startswith(f"grow: this guestkit was built for libguestfs {_native.LIBGUESTFS}, and ")
    assert "came with 1.44.9" in told
    assert told.endswith(
        f": build it anew for libguestfs {'.'.join(map(str, installed()))}, which is installed"
    )


@pytest.mark.parametrize("name", ["no_such_action", "_private", "__wrapped__"])
async def test_any_other_name_is_an_ordinary_mistake(name: str) -> None:
    async with AsyncGuestfs() as a:
        with Guestfs() as g:
            for handle in (g, a):
                with pytest.raises(AttributeError) as caught:
                    getattr(handle, name)
                assert type(caught.value) is AttributeError
                assert str(caught.value) == f"{type(handle).__name__!r} object has no attribute {name!r}"


# ---- the module


def import_from(folder: Path, before: str = "") -> str:
    """Import guestkit from there in a Python of its own; return the last line of the error."""
    done = subprocess.run(
        [
            Path(sys.base_prefix, "bin", Path(sys.executable).resolve().name),
            "-Pc",
            f"{before}\nimport guestkit",
        ],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done
    return done.stderr.splitlines()[-1]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, without the module."""
    ignored = shutil.ignore_patterns("__pycache__", "_native*.so")
    return Path(shutil.copytree(PACKAGE, tmp_path / "site" / "guestkit", ignore=ignored))


def change(package: Path, old: bytes, new: bytes) -> None:
    """Put the module into the package, with another name for what it needs."""
    content = MODULE.read_bytes()
    assert len(old) == len(new)
    assert b"\0" + old + b"\0" in content
    (package / MODULE.name).write_bytes(content.replace(b"\0" + old + b"\0", b"\0" + new + b"\0"))


def test_without_libguestfs_the_import_did_not_say_what_to_install(package: Path) -> None:
    change(package, b"libguestfs.so.0", b"libguestfs.so.9")
    command = install_command("libguestfs")
    assert command
    assert (
        import_from(package.parent) == f"ImportError: guestkit needs libguestfs; install it with: {command}"
    )


def test_a_libguestfs_that_is_too_old_is_told_apart(package: Path) -> None:
    change(package, b"guestfs_luks_uuid", b"guestfs_luks_void")
    told = import_from(package.parent)
    assert told.startswith("ImportError: guestkit needs libguestfs 1.44 or newer, and the one ")
    assert "undefined symbol: guestfs_luks_void" in told


def test_a_module_for_another_python_is_told_apart(package: Path) -> None:
    shutil.copy(MODULE, package / "_native.cpython-399-x86_64-linux-gnu.so")
    told = import_from(package.parent)
    assert f"guestkit in {package} was built for cpython-399-x86_64-linux-gnu, and this is cpython-3" in told


def test_a_checkout_without_the_module_names_the_command_that_makes_it(package: Path) -> None:
    told = import_from(package.parent)
    assert f"-m pip install {package.parent}, or use ./run exec" in told


def test_free_threaded_python_is_refused_with_the_reason(package: Path) -> None:
    pretence = "import sysconfig; sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1"
    assert import_from(package.parent, pretence).startswith(
        "ImportError: guestkit does not work with free-threaded Python, for which Boost.Python is not made: "
    )
