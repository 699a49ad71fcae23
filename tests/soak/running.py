"""Runs a case in a process of its own, and looks at what it leaves."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tests.soak import leftovers
from tests.soak.case import EXPECTED

ROOT = Path(__file__).resolve().parents[2]

#: Sweeps what killed processes have left, as the next program does that opens a handle.
SWEEP = "import guestkit; guestkit.Guestfs().close()"
SWEEP_LIMIT = 120.0


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        expected, happened: of a finding; happened is also why a case was skipped
    """

    kind: Literal["good", "found", "skipped"]
    tried: str
    seconds: float
    expected: str = ""
    happened: str = ""


@cache
def own_mounts() -> bool:
    """Return whether a process can have mounts of its own here: root can."""
    command = ["unshare", "-m", "mount", "--bind", "/tmp", "/tmp"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _own_tmp(folder: Path) -> bool:
    """Return whether the case can have a /tmp of its own: not if that hides its folder."""
    return own_mounts() and Path("/tmp") not in folder.parents


def _inside(folder: Path, command: list[str]) -> list[str]:
    """Return the command that runs this one with its own mounts, one of which is /tmp."""
    if not own_mounts():
        return command
    mount = f"mount --bind {shlex.quote(str(folder / 'tmp'))} /tmp && " if _own_tmp(folder) else ""
    return ["unshare", "-m", "sh", "-c", f'{mount}exec "$@"', "sh", *command]


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIBGUESTFS_")}
    kept.pop("TMPDIR", None)
    kept |= {leftovers.MARK: str(folder), "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"}
    return kept if _own_tmp(folder) else kept | {"TMPDIR": str(folder / "tmp")}


def run_case(
    name: str, seed: int, number: int, folder: Path, seconds: float, limit: float, cgroup: str
) -> Outcome:
    """Run the case in that folder, which then has all that it made.

    seconds: how long a case goes on that repeats something
    limit: how many seconds it may take
    """
    leftovers.end_processes(folder)  # of a soak that was killed
    shutil.rmtree(folder, ignore_errors=True)
    for directory in ("input", "output", "tmp"):
        (folder / directory).mkdir(parents=True)
    if _own_tmp(folder):
        (folder / "tmp").chmod(0o1777)
    words = [name, str(seed), str(number), str(folder), str(seconds), str(limit), cgroup]
    command = _inside(folder, [sys.executable, "-m", "tests.soak.attempt", *words])
    begun = time.monotonic()
    try:
        wrong = _run(command, folder, limit)
        took = time.monotonic() - begun
        reasons = [] if wrong is None else [wrong]
        reasons += _left(folder)
    finally:
        leftovers.end_processes(folder)
    outcome = folder / "outcome"
    tried = folder / "tried"
    lines = tried.read_text(encoding="utf-8").splitlines() if tried.exists() else ["nothing yet"]
    told = "; ".join(lines).replace(str(folder), "CASE")
    said = json.loads(outcome.read_text(encoding="utf-8")) if outcome.exists() and wrong is None else {}
    if said.get("kind") == "found" or (said.get("kind") == "skipped" and not reasons):
        return Outcome(said["kind"], told, took, said.get("expected", ""), said["happened"])
    if reasons:
        expected, happened = (" / ".join(words) for words in zip(*reasons, strict=True))
        return Outcome("found", told, took, expected, happened)
    return Outcome("good", told, took)


Reason = tuple[str, str]


def _run(command: list[str], folder: Path, limit: float) -> Reason | None:
    """Run the case; return what was expected and what happened if it did not come to its end."""
    with (
        (folder / "output" / "stdout").open("wb") as stdout,
        (folder / "output" / "stderr").open("wb") as stderr,
        subprocess.Popen(
            command, cwd=ROOT, env=_environment(folder), stdin=subprocess.PIPE, stdout=stdout, stderr=stderr,
            start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"the case ends within {limit:g} s", "it went on; stderr has the stacks"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if status == 0 and (folder / "outcome").exists():
        return None
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    end = (folder / "output" / "stderr").read_bytes()[-2000:].decode(errors="backslashreplace")
    return EXPECTED, f"the process ended with {how}\n{end}"


def _sweep(folder: Path) -> list[Reason]:
    """Have the next program open a handle, which sweeps; return what goes wrong with that."""
    command = _inside(folder, [sys.executable, "-c", SWEEP])
    expected = f"the next program sweeps, within {SWEEP_LIMIT:g} s"
    said = folder / "output" / "sweep"
    with said.open("wb") as output:
        try:
            status = subprocess.run(
                command, cwd=ROOT, env=_environment(folder), stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, check=False, timeout=SWEEP_LIMIT,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return [(expected, "it went on")]
    if status == 0:
        return []
    return [(expected, f"status {status}: {said.read_bytes()[-2000:].decode(errors='backslashreplace')}")]


def _left(folder: Path) -> list[Reason]:
    reasons: list[Reason] = []
    if processes := leftovers.left_processes(folder):
        reasons.append(("no process stays", "\n".join(processes)))
    tmp = folder / "tmp"
    if leftovers.left_files(tmp) and (folder / "kills").exists():
        reasons += _sweep(folder)
    if files := leftovers.left_files(tmp):
        reasons.append(("no temporary file stays", ", ".join(files)))
    if mounts := leftovers.left_mounts(folder):
        reasons.append(("nothing stays mounted", "\n".join(mounts)))
    secrets = folder / "secrets"
    if secrets.exists():
        texts = [path for path in (folder / "output").rglob("*") if path.is_file()]
        texts += [path for name in ("tried", "outcome") if (path := folder / name).exists()]
        if told := leftovers.files_with(secrets.read_bytes().splitlines(), texts):
            reasons.append(("no secret is in any output", ", ".join(told)))
    return reasons
