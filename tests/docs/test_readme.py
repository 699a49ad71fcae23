"""The programs in README.md and docs/ run unchanged."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from guestkit.demo import DEMO_SYSTEM
from tests.fleets import fleet

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippet(language: str, marker: str) -> str:
    """Return the one block in that language that contains the marker."""
    blocks = re.findall(rf"^```{re.escape(language)}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if marker in block]
    return str(block)


@pytest.fixture
def here(tmp_path: Path, demo_guest: Path) -> Path:
    """A directory with the disk.qcow2 that the programs expect."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(demo_guest), "-F", "raw"]
    subprocess.run([*command, str(tmp_path / "disk.qcow2")], check=True)
    return tmp_path


def output(command: list[str], here: Path, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_cpp_program(here: Path) -> None:
    (here / "program.cpp").write_text(snippet("cpp", "int main"))
    (command,) = re.findall(r"^    (g\+\+ .*)$", README, re.MULTILINE)
    output(["sh", "-ec", command], here)
    assert output(["./a.out"], here) == f"/dev/sda1: {DEMO_SYSTEM.product_name}\n"


def test_the_python_program(here: Path) -> None:
    printed = output([sys.executable, "-c", snippet("python", "import Guestfs")], here)
    assert printed.startswith(f"/dev/sda1 {DEMO_SYSTEM.product_name}\n")
    assert " / ext4 " in printed  # the guest's fstab


def test_the_async_program(here: Path) -> None:
    printed = output([sys.executable, "-c", snippet("python", "AsyncGuestfs")], here)
    assert printed == f"{[[DEMO_SYSTEM.product_name]] * 2}\n"


def test_the_meson_line_is_the_one_that_the_consumer_test_builds() -> None:
    used = (ROOT / "tests" / "consumer" / "foreign" / "meson.build").read_text(encoding="utf-8")
    assert snippet("meson", "dependency").strip() in used


def test_the_commands_are_those_of_run() -> None:
    told = subprocess.run([ROOT / "run", "--help"], capture_output=True, text=True, check=True).stdout
    for command in re.findall(r"^    \./run (\w+)", README, re.MULTILINE):
        assert f"run {command}" in told


def program(name: str, marker: str) -> str:
    """Return the one Python program on that page that contains the marker."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if marker in block]
    return str(found)


def test_the_programs_about_inspection(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    printed = output([sys.executable, "-c", program("inspection.md", "unopened")], tmp_path)
    assert printed == f"{DEMO_SYSTEM.product_name} {DEMO_SYSTEM.hostname} 5 packages\n"
    assert output([sys.executable, "-c", program("diff.md", "diff(")], tmp_path) == "0 differences\n"
    printed = output([sys.executable, "-c", program("inspection.md", "open_guest")], tmp_path)
    assert printed == f"{DEMO_SYSTEM.hostname}\n\n"
    assert (tmp_path / "fstab").read_text().startswith("LABEL=demo-root / ext4 ")
    assert (tmp_path / "var" / "lib" / "dpkg" / "status").exists()


@pytest.mark.full
def test_the_programs_about_files_that_differ(demo_guest: Path, here: Path) -> None:
    (here / "base.img").symlink_to(demo_guest)
    (here / "disk.qcow2").rename(here / "overlay.qcow2")
    (here / "disk.qcow2").symlink_to(demo_guest)
    output(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(demo_guest), "web.qcow2"], here)
    for snapshot in ("before", "after"):
        output(["qemu-img", "snapshot", "-c", snapshot, "web.qcow2"], here)
    assert output([sys.executable, "-c", program("diff.md", "diff_files")], here) == "0 differences\n"
    (commands,) = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "diff.md").read_text(), re.M | re.S)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert output(["sh", "-ec", commands.replace("--backing .", "--backing /")], here, environment) == ""


def test_the_programs_about_results_that_are_kept(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    while time.time_ns() - demo_guest.stat().st_ctime_ns < 2e9:  # younger disks are not kept
        time.sleep(0.1)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "caches")}
    printed = output([sys.executable, "-c", program("cache.md", "cached")], tmp_path, environment)
    assert printed == "True True\n"
    (commands,) = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "cache.md").read_text(), re.M | re.S)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    output(["sh", "-ec", commands], tmp_path, environment)
    for name in ("first", "second"):  # what Python has kept, the command knows
        report = json.loads((tmp_path / f"{name}.jsonl").read_text())
        assert report["inspection"]["provenance"]["cached"]
        assert report["inspection"]["operating_systems"][0]["hostname"] == DEMO_SYSTEM.hostname


def test_the_programs_about_bills_of_materials(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    printed = output([sys.executable, "-c", program("sbom.md", "to_json")], tmp_path)
    assert printed == "5 packages; complete\n"
    written = json.loads((tmp_path / "disk.cdx.json").read_text())
    assert "pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64&distro=debian-12.5" in [
        one.get("purl") for one in written["components"]
    ]
    assert output([sys.executable, "-c", program("sbom.md", "hash_disks")], tmp_path) == "True\n"


@pytest.mark.full
def test_the_program_about_packages_of_languages(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    printed = output([sys.executable, "-c", program("sbom.md", "find_packages")], tmp_path)
    assert printed == "0 packages of languages, 5 in all\n"


def test_the_programs_about_reports(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    assert output([sys.executable, "-c", program("report.md", "Friday")], tmp_path) == ""
    assert "<h1>Friday</h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "fleet.jsonl").write_text(json.dumps(fleet(1)[0].to_dict()))
    printed = output([sys.executable, "-c", program("report.md", "load(")], tmp_path)
    assert re.fullmatch(r"\d{5,} characters of HTML\n", printed)


def test_the_programs_about_fleets(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    printed = output([sys.executable, "-c", program("fleet.md", "asyncio.run")], tmp_path)
    assert printed == f"disk.qcow2 {DEMO_SYSTEM.product_name}\n"
    script = tmp_path / "processes.py"
    script.write_text(program("fleet.md", "ProcessPoolExecutor"))
    assert output([sys.executable, str(script)], tmp_path) == "disk.qcow2 inspected\n"


def test_the_programs_about_asyncio(here: Path) -> None:
    text = (ROOT / "docs" / "async.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inspecting, watching, streaming = [
        output([sys.executable, "-c", program, "disk.qcow2", "disk.qcow2"], here).splitlines()
        for program in programs
    ]
    assert inspecting == [f"{[[DEMO_SYSTEM.product_name]] * 2}"]
    assert watching == ["True"]
    assert streaming == [r"b'one\ntwo\n'"]


def test_the_program_of_those_who_come_from_guestfish(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    printed = output([sys.executable, "-c", program("coming-from-virt-tools.md", "open_guest")], tmp_path)
    assert printed.splitlines()[0] == DEMO_SYSTEM.hostname


def test_the_drop_in_program() -> None:
    drop_in = program("coming-from-python-guestfs.md", "set_memsize")
    assert output([sys.executable, "-c", drop_in], ROOT) == "1024\n"


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="this host has no FUSE")
def test_the_program_that_ends_mount_local(here: Path) -> None:
    (here / "mnt").mkdir()
    serving = program("coming-from-python-guestfs.md", "mount_local")
    assert output([sys.executable, "-c", serving], here) == "True\n1\n"


def test_the_programs_of_fast_launch(here: Path) -> None:
    text = (ROOT / "docs" / "fast-launch.md").read_text(encoding="utf-8")
    told, chosen = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert re.match(r"(warm|lean|system) (kvm|tcg) \d+\.\d s", output([sys.executable, "-c", told], here))
    assert output([sys.executable, "-c", chosen], here).startswith("[")
