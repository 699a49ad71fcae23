"""benchmarks/kvm.sh, with which a user who has KVM fills the table of figures."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: What `./run bench launch --accel kvm` prints, in part.
PRINTED = """\
lean: built in 4.0 s, 201 MB on disk
 1 disks, plain:  3.20 s (1.00), PSS 434 MB (1.00), private 430 MB (1.00)
 1 disks, lean :  0.96 s (0.30), PSS 284 MB (0.66), private 280 MB (0.65)
20 disks, plain:  5.00 s (1.00), PSS 434 MB (1.00), private 430 MB (1.00)
20 disks, lean :  2.00 s (0.40), PSS 284 MB (0.66), private 280 MB (0.65)
lean, the kernel: 0.31 s
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "benchmarks").mkdir()
    return Path(shutil.copy(ROOT / "benchmarks" / "kvm.sh", tmp_path / "benchmarks"))


def measure(script: Path, run: str) -> subprocess.CompletedProcess[str]:
    """Run the script beside a `run` that does this for the probe, the description and the benchmark."""
    fake = script.parent.parent / "run"
    fake.write_text(f"#!/bin/sh\n{run}\n", encoding="utf-8")
    fake.chmod(0o755)
    (script.parent.parent / "printed").write_text(PRINTED, encoding="utf-8")
    return subprocess.run([script, "3"], capture_output=True, text=True, timeout=60, check=False)


def test_the_figures_become_a_table(script: Path) -> None:
    done = measure(script, '[ "$1" = exec ] || { echo "$*" >&2; cat "$(dirname "$0")/printed"; }')
    assert (done.returncode, done.stderr) == (0, "bench launch 3 --accel kvm\n")
    assert done.stdout == (
        "| with KVM | libguestfs' own | lean |\n"
        "|---|---|---|\n"
        "| 1 disk | 3.20 s | 0.96 s (0.30) |\n"
        "| 20 disks | 5.00 s | 2.00 s (0.40) |\n"
        "\n"
        "lean, the kernel: 0.31 s\n"
    )


def test_a_benchmark_that_fails_leaves_no_table(script: Path) -> None:
    done = measure(script, '[ "$1" = exec ] || exit 3')
    assert (done.returncode, done.stdout) == (3, "")


def test_a_host_without_kvm_is_told_why_and_measures_nothing(script: Path) -> None:
    done = measure(script, 'echo "$1" >&2; exit 1')
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "exec\n")
