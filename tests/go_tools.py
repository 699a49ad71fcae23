"""Tools that are written in Go, for the long forms: built once, into build/tools."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PLACE = Path(__file__).resolve().parents[1] / "build" / "tools"

#: Their modules, in the versions that the tests know.
MODULES = {
    "grype": "github.com/anchore/grype/cmd/grype@v0.121.2",
    "syft": "github.com/anchore/syft/cmd/syft@v1.57.1",
}


def go_tool(name: str) -> Path:
    """Return the program; build it, which takes ten minutes, or skip the test where that cannot be."""
    PLACE.mkdir(parents=True, exist_ok=True)
    version = MODULES[name].rpartition("@")[2]
    program = PLACE / f"{name}-{version}" / name
    with open(PLACE / "lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process builds it, others wait
        if not program.exists():
            _build(name, program)
    return program


def _build(name: str, program: Path) -> None:
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
    if go is None:
        pytest.skip(f"there is no {name} in {PLACE}, and no go to build it with")
    made = program.with_name("made")
    done = subprocess.run(
        ["nice", go, "install", MODULES[name]],
        env=os.environ | {"GOBIN": str(made), "GOFLAGS": "-p=2", "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:  # Go is too old, or the module cannot be fetched: no fault of guestkit's
        pytest.skip(f"{MODULES[name]} does not build here: {done.stderr[-500:]}")
    os.replace(made / name, program)  # complete or absent
