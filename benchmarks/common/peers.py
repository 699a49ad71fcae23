"""What guestkit is compared with: whether it is installed, and how it is run."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import venv
from typing import Any

from benchmarks.common.machine import DISSECT_TARGET, ROOT, accelerator
from benchmarks.common.record import Record

SYSTEM_PYTHON = "/usr/bin/python3"  # the one that has python3-guestfs
DIST_PACKAGES = "/usr/lib/python3/dist-packages"  # where that has it


def environment() -> dict[str, str]:
    """Return an environment in which libguestfs' programs do not try a KVM that runs no guests."""
    forced = {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"} if accelerator() == "tcg" else {}
    return {**os.environ, **forced}


def program(record: Record, name: str) -> bool:
    """Return whether the program is installed; else what it would do is left out."""
    if shutil.which(name) is not None:
        return True
    record.leave_out(f"{name} is not installed")
    return False


def module(record: Record) -> Any:
    """Return python3-guestfs' module; None: it is not installed for this Python, and is left out."""
    sys.path.append(DIST_PACKAGES)
    try:
        return importlib.import_module("guestfs")
    except ImportError:
        record.leave_out("python3-guestfs is not installed for this Python")
        return None
    finally:
        sys.path.pop()


def system_python(record: Record) -> bool:
    """Return whether the system's Python has python3-guestfs; else that is left out."""
    done = subprocess.run([SYSTEM_PYTHON, "-c", "import guestfs"], capture_output=True, check=False)
    if done.returncode != 0:
        record.leave_out(f"python3-guestfs is not installed for {SYSTEM_PYTHON}")
    return done.returncode == 0


def header(record: Record, name: str) -> bool:
    """Return whether g++ finds the header; else what includes it is left out."""
    command = ["g++", "-E", "-x", "c++", "-include", name, "/dev/null", "-o", "/dev/null"]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return True
    record.leave_out(f"{name} is not installed")
    return False


def dissect_target(record: Record) -> str:
    """Return a Python that has dissect.target, from PyPI; "": it cannot be had, and is left out."""
    directory = ROOT / "build" / "dissect"
    complete = directory / f"complete-{DISSECT_TARGET}"
    if not complete.exists():
        venv.create(directory, clear=True, with_pip=True)
        package = f"dissect.target[full]=={DISSECT_TARGET}"
        try:
            subprocess.run([directory / "bin/pip", "install", "--quiet", package], check=True)
        except subprocess.CalledProcessError:
            record.leave_out("dissect.target cannot be installed from PyPI")
            return ""
        complete.touch()
    return str(directory / "bin/python")
