"""benchmarks/kvm.sh, with which a user who has KVM fills the table of figures."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import launch

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("words", "rounds"), [([], "5"), (["3"], "3")])
def test_the_script_measures_launches_with_kvm(words: list[str], rounds: str, tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    script = shutil.copy(ROOT / "benchmarks" / "kvm.sh", tmp_path / "benchmarks")
    (tmp_path / "run").write_text('#!/bin/sh\necho "$@"; exit 3\n', encoding="utf-8")
    (tmp_path / "run").chmod(0o755)
    done = subprocess.run([script, *words], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, f"bench launch {rounds} --accel kvm\n")


def test_a_host_without_kvm_is_told_why_and_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "why_no_kvm", lambda: "/dev/kvm is missing")
    monkeypatch.setattr(sys, "argv", ["launch.py", "--accel", "kvm"])
    with pytest.raises(SystemExit) as raised:
        launch.main()
    assert raised.value.code == "guestkit: nothing to measure: /dev/kvm is missing"
