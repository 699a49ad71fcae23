"""The programs in docs/write.md change a guest; most share one appliance."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import guestkit
import guestkit.fs
from guestkit import Guestfs, open_guest
from guestkit.copying import copy_in
from guestkit.fs import GuestFileSystem
from tests.docs.snippets import block, blocks, qcow2, run_python, run_shell
from tests.images import corpus

LABEL = "system_u:object_r:etc_t:s0"
HOSTS = b"127.0.0.1 localhost # kept\n"


@pytest.fixture(scope="module")
def g(demo_guest: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guestfs]:
    disk = qcow2(demo_guest, tmp_path_factory.mktemp("write") / "disk.qcow2")
    with open_guest(disk, readonly=False, format="qcow2", appliance="auto") as handle:
        yield handle


@pytest.fixture(autouse=True)
def hosts(g: Guestfs) -> None:
    """Every test begins with a file that has an owner, a mode and a label."""
    g.write("/etc/hosts", HOSTS)
    g.chown(7, 8, "/etc/hosts")
    g.chmod(0o640, "/etc/hosts")
    g.setxattr("security.selinux", LABEL, len(LABEL), "/etc/hosts")


def state(g: Guestfs, path: str) -> tuple[int, int, int, list[str]]:
    """Return the file's owner, group, mode and attributes."""
    seen = g.statns(path)
    names = [each["attrname"] for each in g.getxattrs(path)]
    return seen["st_uid"], seen["st_gid"], stat.S_IMODE(seen["st_mode"]), names


KEPT = (7, 8, 0o640, ["security.selinux"])


@pytest.fixture
def run(g: Guestfs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a program, for which any disk is that guest; return what it prints."""

    def opened(disk: str, **options: Any) -> Any:
        assert (options["readonly"], options["format"]) == (False, "qcow2")
        return nullcontext(g)

    def filesystem(disk: str, **options: Any) -> GuestFileSystem:
        return GuestFileSystem(handle=g, readonly=False)

    def run(marker: str) -> str:
        monkeypatch.setattr(guestkit, "open_guest", opened)
        monkeypatch.setattr(guestkit.fs, "GuestFileSystem", filesystem)
        exec(block("write.md", "python", marker), {})
        return capsys.readouterr().out

    return run


def test_a_file_is_written(g: Guestfs, run: Any) -> None:
    assert run("/etc/motd") == ""
    assert g.read_file("/etc/motd") == b"Maintained by guestkit\n"
    assert state(g, "/etc/motd") == (0, 0, 0o644, [])


def test_a_transaction_keeps_what_belongs_to_the_file(g: Guestfs, run: Any) -> None:
    run("fs.transaction")
    assert g.read_file("/etc/hosts") == HOSTS + b"192.0.2.7 web\n"
    assert g.read_file("/etc/hostname") == b"web\n"
    assert state(g, "/etc/hosts") == KEPT


def test_augeas_changes_one_setting(g: Guestfs, run: Any) -> None:
    assert run("aug_set") == "b'192.0.2.7\\tweb'\n"
    assert g.read_file("/etc/hosts").startswith(HOSTS)
    assert state(g, "/etc/hosts") == (7, 8, 0o640, [])


def test_a_new_file_gets_the_label_of_another(g: Guestfs, run: Any) -> None:
    before, after = run("copy_attributes").splitlines()
    assert before == "[]"
    assert LABEL in after


@pytest.mark.full
def test_a_value_of_the_registry_is_changed(tmp_path: Path) -> None:
    disk = tmp_path / "windows.img"
    with disk.open("wb") as file:
        file.truncate(128 << 20)
    with Guestfs() as g:
        g.add_drive(disk, format="raw")
        g.launch()
        corpus.windows(g, "/dev/sda")
        g.shutdown()
    program = block("write.md", "python", "hivex_open")
    assert run_python(program, tmp_path) == "WEB\n"
    (system,) = guestkit.inspect(disk, format="raw").operating_systems
    assert system.hostname == "WEB"
    with open_guest(disk, readonly=False, format="raw") as g:  # as Windows does before it writes to the log
        g.pwrite(system.windows.system_hive if system.windows else "", b"\xff", 4)
    with pytest.raises(AssertionError, match="changes in the hive's logs"):
        run_python(program, tmp_path)


@pytest.mark.full
def test_a_file_is_replaced_in_cpp(demo_guest: Path, tmp_path: Path) -> None:
    disk = qcow2(demo_guest, tmp_path / "disk.qcow2")
    with open_guest(disk, readonly=False, format="qcow2") as g:
        g.chmod(0o640, "/etc/hosts")
    (tmp_path / "program.cpp").write_text(block("write.md", "cpp"))
    run_shell("g++ -std=c++20 program.cpp $(pkg-config --cflags --libs guestkit-compiled)\n./a.out", tmp_path)
    with open_guest(disk) as g:
        assert g.read_file("/etc/hosts") == b"127.0.0.1 localhost\n"
        assert stat.S_IMODE(g.statns("/etc/hosts")["st_mode"]) == 0o640
        assert not g.exists("/etc/hosts.new")


def test_which_ways_keep_owner_mode_and_label(g: Guestfs, tmp_path: Path) -> None:
    """What the table and the text say of them."""
    (tmp_path / "hosts").write_bytes(HOSTS)
    (tmp_path / "hosts").chmod(0o600)
    g.write("/etc/hosts", b"")
    g.write_append("/etc/hosts", HOSTS)
    g.upload(tmp_path / "hosts", "/etc/hosts")
    assert state(g, "/etc/hosts") == KEPT
    copy_in(g, [tmp_path / "hosts"], "/etc", replace=True)
    assert state(g, "/etc/hosts") == (0, 0, 0o600, [])


@pytest.mark.full
def test_the_command(demo_guest: Path, tmp_path: Path) -> None:
    disk = qcow2(demo_guest, tmp_path / "disk.qcow2")
    run_shell(block("write.md", "sh"), tmp_path)
    with open_guest(disk) as changed:
        assert changed.read_file("/etc/motd") == b"Maintained by guestkit\n"


@pytest.mark.full
def test_the_programs_run_one_after_the_other(demo_guest: Path, tmp_path: Path) -> None:
    qcow2(demo_guest, tmp_path / "disk.qcow2")
    written, tried, transaction, augeas, label, made = (
        run_python(program, tmp_path)
        for program in blocks("write.md", "python")
        if "windows.img" not in program
    )
    assert (written, transaction) == ("", "")
    assert (tried, made) == ("True\n", "vmdk\n")
    assert augeas == "b'192.0.2.7\\tweb'\n"
    assert label == "[]\n[]\n"  # hosts of this guest have none
    assert not (tmp_path / "try.qcow2").exists()
    with open_guest(tmp_path / "disk.qcow2") as changed:
        assert changed.read_file("/etc/motd") == b"Maintained by guestkit\n"
        assert changed.read_file("/etc/hostname") == b"web\n"
