"""The programs in README.md and docs/ run unchanged."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from guestkit import open_guest
from guestkit.demo import DEMO_SYSTEM
from tests.docs.snippets import ROOT, block, blocks, qcow2, run_python, run_shell
from tests.fleets import fleet

CLEAR = "\x1b[2J"
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path, demo_guest: Path) -> Path:
    """A directory with the disk.qcow2 that the programs expect."""
    qcow2(demo_guest, tmp_path / "disk.qcow2")
    return tmp_path


def test_the_cpp_program(here: Path) -> None:
    (here / "program.cpp").write_text(block("README.md", "cpp", "int main"))
    (command,) = re.findall(r"^    (g\+\+ .*)$", README, re.MULTILINE)
    assert run_shell(f"{command}\n./a.out", here) == f"/dev/sda1: {DEMO_SYSTEM.product_name}\n"


def test_the_python_program(here: Path) -> None:
    printed = run_python(block("README.md", "python", "import Guestfs"), here)
    assert printed.startswith(f"/dev/sda1 {DEMO_SYSTEM.product_name}\n")
    assert " / ext4 " in printed  # the guest's fstab


@pytest.mark.parametrize(
    "program",
    [
        ROOT / "README.md",
        ROOT / "docs" / "cpp.md",
        *(ROOT / "examples").glob("*/inspect_vm.*"),
        ROOT / "include" / "guestkit" / "guest.hpp",
    ],
    ids=lambda path: path.name,
)
def test_a_guest_s_text_was_printed_raw_and_read_without_bounds(program: Path) -> None:
    text = program.read_text(encoding="utf-8")
    assert not re.findall(r"<< (?:root|device)\b|print\(root\b|\{(?:root|device)\}", text)
    assert not re.findall(r"read_lines\(|= g\.read_file\(|read_file\(\S+\.view", text)


@pytest.fixture(scope="module")
def hostile(demo_guest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a disk whose guest clears the screen in what it calls itself and in its files."""
    folder = tmp_path_factory.mktemp("hostile")
    with open_guest(
        qcow2(demo_guest, folder / "disk.qcow2"), readonly=False, format="qcow2", mounts={"/": "sda1"}
    ) as g:
        for file in ("hostname", "hosts", "fstab"):
            g.write(f"/etc/{file}", g.read_small(f"/etc/{file}").rstrip() + f" #{CLEAR}\n".encode())
        system = g.read_small("/etc/os-release").replace(b'PRETTY_NAME="', b'PRETTY_NAME="' + CLEAR.encode())
        g.write("/etc/os-release", system)
        g.write(f"/etc/.{CLEAR}", b"first in the directory\n")
    (folder / "web.key").write_text("opens nothing\n")
    return folder


@pytest.mark.parametrize(
    ("page", "marker"),
    [
        ("README.md", "import Guestfs"),
        ("async.md", "open_guest"),
        pytest.param("README.md", "AsyncGuestfs", marks=pytest.mark.full),
        ("coming-from-rust-guestkit.md", ""),
        ("coming-from-virt-tools.md", ""),
        pytest.param("files.md", "readline", marks=pytest.mark.full),
        ("fleet.md", "asyncio.run"),
        ("inspection.md", "unopened"),
        ("inspection.md", "open_guest"),
        pytest.param("keys.md", "a third one", marks=pytest.mark.full),
        ("keys.md", "asyncio"),
    ],
)
def test_a_program_printed_what_a_guest_says_as_it_is(page: str, marker: str, hostile: Path) -> None:
    printed = run_python(block(page, "python", marker), hostile)
    assert CLEAR not in printed
    assert r"\x1b[2J" in printed


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_a_program_read_a_file_of_a_guest_without_bounds(page: str) -> None:
    for program in blocks(page, "python"):
        assert not re.findall(r"\.(?:read_file|cat|read_lines|read_text)\(|\.readline\(\)", program)


def test_the_async_program(here: Path) -> None:
    printed = run_python(block("README.md", "python", "AsyncGuestfs"), here)
    assert printed == f"{[[DEMO_SYSTEM.product_name]] * 2}\n"


def test_the_figures_are_those_of_the_performance_page() -> None:
    figures = {
        (each["suite"], each["what"], each["who"]): statistics.median(each["samples"])
        for each in json.loads((ROOT / "benchmarks" / "figures.json").read_text())["figures"]
    }
    own, warm = (figures["launch", "1 disk", who] for who in ("libguestfs' own", "warm"))
    assert f"takes {warm:.1f} s without KVM instead of {own:.0f} s" in README
    faster = [
        seconds / figures[suite, what, "guestkit"]
        for (suite, what, who), seconds in figures.items()
        if (suite, who) == ("inspection", "virt-inspector")
    ]
    assert f"an inspection is {min(faster):.0f} to {max(faster):.0f} times" in " ".join(README.split())


def test_the_meson_line_is_the_one_that_the_consumer_test_builds() -> None:
    used = (ROOT / "tests" / "consumer" / "foreign" / "meson.build").read_text(encoding="utf-8")
    assert block("README.md", "meson", "dependency").strip() in used


def test_the_commands_are_those_of_run() -> None:
    told = subprocess.run([ROOT / "run", "--help"], capture_output=True, text=True, check=True).stdout
    for command in re.findall(r"^    \./run (\w+)", README, re.MULTILINE):
        assert f"run {command}" in told


def test_the_programs_about_inspection(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    printed = run_python(block("inspection.md", "python", "unopened"), tmp_path)
    assert printed == f"{DEMO_SYSTEM.product_name} {DEMO_SYSTEM.hostname} 5 packages\n"
    assert run_python(block("diff.md", "python", "diff("), tmp_path) == "0 differences\n0 of packages\n"
    run_shell(block("inspection.md", "sh", "fleet.jsonl"), tmp_path)
    printed = run_python(block("inspection.md", "python", "fleet.jsonl"), tmp_path)
    assert printed == f"disk.qcow2 {DEMO_SYSTEM.product_name} 5\n"
    printed = run_python(block("inspection.md", "python", "open_guest"), tmp_path)
    told, mounted = printed.splitlines()
    assert (told, mounted[:12]) == (DEMO_SYSTEM.hostname, "{'/': '/dev/")
    assert (tmp_path / "fstab").read_text().startswith("LABEL=demo-root / ext4 ")
    assert (tmp_path / "var" / "lib" / "dpkg" / "status").exists()


@pytest.mark.full
def test_the_programs_about_files_that_differ(demo_guest: Path, here: Path) -> None:
    (here / "base.img").symlink_to(demo_guest)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(demo_guest), "-F", "raw"]
    subprocess.run([*command, str(here / "overlay.qcow2")], check=True)
    web = qcow2(demo_guest, here / "web.qcow2")
    for snapshot in ("before", "after"):
        subprocess.run(["qemu-img", "snapshot", "-c", snapshot, web], check=True)
    assert run_python(block("diff.md", "python", "diff_guests"), here) == "0 differences\n"
    commands = block("diff.md", "sh")
    assert run_shell(commands.replace("--backing .", "--backing /"), here) == ""


def test_the_programs_about_results_that_are_kept(
    demo_guest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    while time.time_ns() - demo_guest.stat().st_ctime_ns < 2e9:  # younger disks are not kept
        time.sleep(0.1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    printed = run_python(block("cache.md", "python", "cached"), tmp_path)
    assert printed == "True True\n"
    run_shell(block("cache.md", "sh"), tmp_path)
    for name in ("first", "second"):  # what Python has kept, the command knows
        report = json.loads((tmp_path / f"{name}.jsonl").read_text())
        assert report["inspection"]["provenance"]["cached"]
        assert report["inspection"]["operating_systems"][0]["hostname"] == DEMO_SYSTEM.hostname


def test_the_programs_about_bills_of_materials(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    printed = run_python(block("sbom.md", "python", "to_json"), tmp_path)
    assert printed == "5 packages; complete\n"
    written = json.loads((tmp_path / "disk.cdx.json").read_text())
    assert "pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64&distro=debian-12.5" in [
        one.get("purl") for one in written["components"]
    ]
    assert run_python(block("sbom.md", "python", "hash_disks"), tmp_path) == "True\n"


@pytest.mark.full
def test_the_program_about_packages_of_languages(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    printed = run_python(block("sbom.md", "python", "find_in_guest"), tmp_path)
    assert printed == "0 packages of languages, 5 in all\n"
    assert run_python(block("sbom.md", "python", "to_thread"), tmp_path) == "5 packages\n"


def test_the_programs_about_reports(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    assert run_python(block("report.md", "python", "Friday"), tmp_path) == ""
    assert "<h1>Friday</h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "fleet.jsonl").write_text(json.dumps(fleet(1)[0].to_dict()))
    printed = run_python(block("report.md", "python", "load("), tmp_path)
    assert re.fullmatch(r"\d{5,} characters of HTML\n", printed)


def test_the_programs_about_fleets(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    printed = run_python(block("fleet.md", "python", "asyncio.run"), tmp_path)
    assert printed == f"disk.qcow2 {DEMO_SYSTEM.product_name}\n"
    (tmp_path / "processes.py").write_text(block("fleet.md", "python", "ProcessPoolExecutor"))
    assert run_shell("python -W error processes.py", tmp_path) == "disk.qcow2 inspected\n"


def test_the_programs_about_asyncio(here: Path) -> None:
    inspecting, opened, watching, streaming = [
        run_python(program, here, "disk.qcow2", "disk.qcow2").splitlines()
        for program in blocks("async.md", "python")
    ]
    assert inspecting == [f"{[[DEMO_SYSTEM.product_name]] * 2}"]
    assert opened == [DEMO_SYSTEM.hostname, "True"]
    assert watching == ["True"]
    assert streaming == [r"b'one\ntwo\n'"]


def test_the_program_of_those_who_come_from_guestfish(demo_guest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").symlink_to(demo_guest)
    printed = run_python(block("coming-from-virt-tools.md", "python", "open_guest"), tmp_path)
    assert printed.splitlines()[0] == DEMO_SYSTEM.hostname


def test_the_drop_in_program() -> None:
    drop_in = block("coming-from-python-guestfs.md", "python", "set_memsize")
    assert run_python(drop_in, ROOT) == "1024\n"


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="this host has no FUSE")
def test_the_program_that_ends_mount_local(here: Path) -> None:
    (here / "mnt").mkdir()
    serving = block("coming-from-python-guestfs.md", "python", "mount_local")
    assert run_python(serving, here) == "True\n1\n"


def test_the_programs_of_fast_launch(here: Path) -> None:
    told, chosen = blocks("fast-launch.md", "python")
    assert re.match(r"(warm|lean|system) (kvm|tcg) \d+\.\d s", run_python(told, here))
    assert run_python(chosen, here).startswith("[")
