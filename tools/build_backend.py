"""What pip and build call: meson-python, with two things of our own.

Boost comes from PyPI only where the system's does not fit: it is large, and distributions build without PyPI.

An editable install takes the Python files from the checkout, but the extension module as it was built: after
a change of C++, install it again. meson-python's runs ninja in each import. That fails where pip has deleted
the tools after the build, or where the user may not write the tree, and two programs that start at the same
time compile into the same files.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory

import mesonpy  # type: ignore[import-not-found]  # only builds have it
from editable import finder
from mesonpy import build_sdist, build_wheel

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

Settings = dict[str, str | list[str]] | None

ROOT = Path(__file__).resolve().parent.parent

#: boost/meson.build knows which of its libraries this release needs.
_PYPIS_BOOST = "cmeel-boost ~= 1.90.0"


# Without isolation, the environment need not be activated, and PATH may lead to an older Meson of the
# system, whose list of what to install meson-python does not understand.
for _file in distribution("meson").files or ():
    if _file.parts[-2:] == ("bin", "meson"):
        _tools = os.path.dirname(os.path.normpath(_file.locate()))
        os.environ["PATH"] = os.pathsep.join([_tools, os.environ.get("PATH", os.defpath)])


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return what the build needs beside pyproject.toml's requirements."""
    return [*mesonpy.get_requires_for_build_wheel(config_settings), *_boost(config_settings)]


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    """Return the same for a source distribution: Meson, which makes it, configures the build."""
    return [*mesonpy.get_requires_for_build_sdist(config_settings), *_boost(config_settings)]


get_requires_for_build_editable = get_requires_for_build_wheel


def _boost(settings: Settings) -> list[str]:
    return [] if _has_boost(str(settings)) else [_PYPIS_BOOST]


def _has_boost(settings: str) -> bool:
    """Return whether boost/meson.build will not look for PyPI's."""
    for choice, has in (("system", True), ("source", True), ("cmeel", False)):
        if f"-Dboost={choice}" in settings:
            return has
    if "BOOST_ROOT" in os.environ:
        return True
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    library = f"-lboost_python{sys.version_info.major}{sys.version_info.minor}"
    command = [*compiler, "-x", "c++", "-", "-shared", library, "-o", os.devnull]
    program = "#if !__has_include(<boost/python.hpp>)\n#error\n#endif\n"
    try:
        done = subprocess.run(command, input=program, text=True, capture_output=True, check=False)
    except FileNotFoundError:  # Meson tells of the missing compiler
        return False
    return done.returncode == 0


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build what is compiled into build/editable, and a wheel that leads there and to the checkout."""
    place = ROOT / "build" / "editable" / str(sysconfig.get_config_var("SOABI"))
    settings = {"build-dir": str(place / "meson"), **(config_settings or {})}
    with TemporaryDirectory() as made:
        name = str(build_wheel(made, settings, metadata_directory))
        with (
            zipfile.ZipFile(Path(made, name)) as whole,
            zipfile.ZipFile(Path(wheel_directory, name), "w") as wheel,
        ):
            record = []

            def add(path: str, content: bytes) -> None:
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                record.append(f"{path},sha256={digest},{len(content)}\n")
                wheel.writestr(path, content)

            for path in whole.namelist():
                if path.endswith(".dist-info/RECORD"):
                    record_path = path
                elif not path.startswith("guestkit/"):
                    add(path, whole.read(path))
                elif not (ROOT / path).exists():  # compiled
                    _put(place / path, whole.read(path), mode=whole.getinfo(path).external_attr >> 16)
            add("_guestkit_editable.py", finder(str(ROOT / "guestkit"), str(place / "guestkit")).encode())
            add("_guestkit_editable.pth", b"import _guestkit_editable\n")
            wheel.writestr(record_path, "".join([*record, f"{record_path},,\n"]))
    return name


def _put(path: Path, content: bytes, mode: int) -> None:
    """Write the file in one step: a running program may have the former one loaded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    new.chmod(mode & 0o777)
    new.replace(path)
