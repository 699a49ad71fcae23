"""How far QEMU is confined: what SECURITY.md promises of a QEMU that a disk has taken over."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from guestkit import Error, Guestfs, LaunchError, LaunchInfo, appliance, under


@pytest.fixture(scope="module")
def lean() -> Path:
    """The lean appliance, with a warm one in it."""
    built = appliance.build().directory
    assert built.name.startswith("warm-"), "there is no warm appliance: the log says why"
    return built.parent


@contextmanager
def launched(folder: Path, hypervisor: Path | None = None, **options: Any) -> Iterator[Guestfs]:
    disk = folder / "disk.img"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    with Guestfs(accel="tcg", **options) as g:
        if hypervisor is not None:
            g.set_hv(hypervisor)
        g.add_drive(disk, format="raw", readonly=True)
        g.launch()
        yield g


def how(g: Guestfs) -> LaunchInfo:
    info = g.launch_info()
    assert info
    return info


def status(pid: int, field: str) -> set[str]:
    """Return what the kernel says of each of the process' threads."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return {line.split()[1] for text in texts for line in text.splitlines() if line.startswith(f"{field}:")}


@pytest.mark.parametrize("choice", ["warm", "lean", pytest.param("system", marks=pytest.mark.full)])
def test_qemu_filters_its_system_calls(choice: str, lean: Path, tmp_path: Path) -> None:
    named = {"warm": "auto", "lean": lean, "system": "system"}[choice]
    with launched(tmp_path, appliance=named) as g:
        assert (how(g).mode, how(g).sandbox, how(g).sandbox_reason) == (choice, "seccomp", "")
        assert status(g.get_pid(), "Seccomp") == {"2"}
        assert status(g.get_pid(), "NoNewPrivs") == {"1"}
        g.mkfs("ext4", "/dev/sda")  # it works all the same
        assert g.vfs_type("/dev/sda") == "ext4"


def test_it_does_not_if_that_is_not_wanted(lean: Path, tmp_path: Path) -> None:
    with launched(tmp_path, sandbox="none") as g:
        assert (how(g).mode, how(g).sandbox, how(g).sandbox_reason) == ("warm", "", "asked for")
        assert status(g.get_pid(), "Seccomp") == {"0"}


@contextmanager
def monitored(g: Guestfs, folder: Path) -> Iterator[socket.socket]:
    """Launch with a connection to QEMU's monitor."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "qmp"))
        listener.listen()
        g.config("-chardev", f"socket,id=monitor,path={folder}/qmp")
        g.config("-mon", "chardev=monitor,mode=control")
        g.launch()
        monitor, _ = listener.accept()
    with monitor:
        monitor.settimeout(60)
        greeting = b""
        while not greeting.endswith(b"\n"):
            greeting += monitor.recv(4096)
        says(monitor, "qmp_capabilities")
        yield monitor


def says(monitor: socket.socket, command: str, **arguments: str) -> bytes:
    """Return QEMU's next line after the command; nothing if it is gone."""
    said = b""
    try:
        monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while not said.endswith(b"\n") and (more := monitor.recv(4096)):
            said += more
        return said
    except (BrokenPipeError, ConnectionResetError):
        return b""


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_a_qemu_that_was_taken_over_starts_no_program(sandbox: Any, lean: Path, tmp_path: Path) -> None:
    """QEMU's own command that runs a program stands for code that a disk has QEMU run."""
    with Guestfs(accel="tcg", appliance=lean, sandbox=sandbox) as g:
        g.add_drive_scratch(1 << 20)
        with monitored(g, tmp_path) as monitor:
            proof = tmp_path / "proof"
            said = says(monitor, "migrate", uri=f"exec:cat >{proof}")
            limit = time.monotonic() + 60
            while said and b'"error"' not in said and b'"failed"' not in said and not proof.exists():
                assert time.monotonic() < limit, "QEMU neither starts the program nor says that it cannot"
                said = says(monitor, "query-migrate")
    assert proof.exists() == (sandbox == "none")


def without_seccomp(tmp_path: Path) -> Path:
    """A QEMU that has no filter."""
    with Guestfs() as g:
        qemu = g.get_hv()
    source = tmp_path / "qemu.c"
    source.write_text(
        "#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\n"
        "int main(int count, char** words) {\n"
        "  for (int i = 1; i < count; ++i)\n"
        '    if (strcmp(words[i], "-sandbox") == 0) return fputs("no such option\\n", stderr), 1;\n'
        f'  return execv("{qemu}", words);\n'
        "}\n"
    )
    program = tmp_path / "qemu"
    subprocess.run(["cc", source, "-o", program], check=True)
    return program


def test_a_qemu_without_seccomp_launches_and_that_is_told(lean: Path, tmp_path: Path) -> None:
    program = without_seccomp(tmp_path)
    with launched(tmp_path, program, appliance=lean) as g:
        assert how(g).sandbox == ""
        assert how(g).sandbox_reason == f"{program} cannot filter system calls (no such option)"
        assert status(g.get_pid(), "Seccomp") == {"0"}


def test_a_script_in_the_place_of_qemu_gets_no_option_that_it_may_not_know(
    lean: Path, tmp_path: Path
) -> None:
    with Guestfs() as g:
        qemu = g.get_hv()
    script = tmp_path / "qemu"
    script.write_text(f'#!/bin/sh\nexec {qemu} "$@"\n')
    script.chmod(0o755)
    with launched(tmp_path, script, appliance=lean) as g:
        assert (how(g).sandbox, how(g).sandbox_reason) == ("", "the hypervisor is a script of the user's")


def test_an_appliance_has_no_network_unless_it_is_asked_for(lean: Path, tmp_path: Path) -> None:
    with launched(tmp_path) as g:
        assert not g.get_network()
        words = Path(f"/proc/{g.get_pid()}/cmdline").read_bytes().split(b"\0")
        assert not [word for word in words if word.startswith((b"-net", b"-nic"))]
        assert not [word for word in words if b"virtio-net" in word or b"e1000" in word]
        assert b"-nodefaults" in words  # else QEMU would add a network card of its own
        assert g.debug("sh", ["ls /sys/class/net"]).split() == ["lo"]


# ---- strict: no files but the disks


def writable(pid: int, folder: Path) -> set[str]:
    """Return the files beneath the folder that the process has open to write."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        name = os.readlink(link)
        about = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().splitlines()
        )
        if int(about["flags"], 8) & os.O_ACCMODE != os.O_RDONLY and Path(name).is_relative_to(folder):
            found.add(name)
    return found


@pytest.mark.parametrize("choice", ["auto", "lean", "warm"])
def test_a_qemu_that_is_shut_in_has_its_disks(choice: str, lean: Path, tmp_path: Path) -> None:
    warm = sorted(lean.glob("warm-*"))[-1]
    base, top, flat = tmp_path / "base.img", tmp_path / "top.qcow2", tmp_path / "flat.vmdk"
    with base.open("wb") as file:
        file.write(b"from the base")
        file.truncate(1 << 20)
    make = ("qemu-img", "create", "-q", "-f")
    subprocess.run([*make, "qcow2", "-b", base, "-F", "raw", top], check=True)
    subprocess.run([*make, "vmdk", "-o", "subformat=monolithicFlat", flat, "2M"], check=True)
    with (tmp_path / "written.img").open("wb") as file:
        file.truncate(64 << 20)
    named: dict[str, Any] = {"lean": {"appliance": lean}, "warm": {"appliance": warm}, "auto": {}}[choice]
    with Guestfs(accel="tcg", sandbox="strict", **named) as g:
        g.open_disk(top, format="qcow2", backing=under(tmp_path))
        g.open_disk(flat, format="vmdk", backing=under(tmp_path))
        g.open_disk(tmp_path / "written.img", format="raw", readonly=False)
        g.add_drive(base, format="raw", readonly=True)
        g.launch()
        assert (how(g).mode, how(g).sandbox, how(g).sandbox_reason) == ("lean", "seccomp, landlock", "")
        assert how(g).reason == (
            "asked for" if choice == "lean" else "sandbox=strict shares no memory with other appliances"
        )
        assert writable(g.get_pid(), lean) == set()
        assert g.pread_device("/dev/sda", 13, 0) == g.pread_device("/dev/sdd", 13, 0) == b"from the base"
        assert g.blockdev_getsize64("/dev/sdb") == 2 << 20
        g.mkfs("ext4", "/dev/sdc")
        g.mount("/dev/sdc", "/")
        g.write("/file", b"content")
        g.shutdown()
    with Guestfs(accel="tcg") as g:
        g.open_disk(tmp_path / "written.img", format="raw")
        g.launch()
        g.mount_ro("/dev/sda", "/")
        assert g.read_file("/file") == b"content"


@pytest.mark.parametrize("kind", ["vmdk", "qcow2"])
def test_a_disk_of_several_files_could_not_be_written_to(kind: str, lean: Path, tmp_path: Path) -> None:
    disk = tmp_path / f"disk.{kind}"
    more = {"vmdk": "subformat=monolithicFlat", "qcow2": f"data_file={tmp_path}/data,data_file_raw=on"}
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, "-o", more[kind], disk, "64M"], check=True)
    with Guestfs(accel="tcg", sandbox="strict") as g:
        g.open_disk(disk, format=kind, readonly=False, backing=under(tmp_path))
        g.launch()
        g.pwrite_device("/dev/sda", b"content", 512)
        g.sync()
        assert g.pread_device("/dev/sda", 7, 512) == b"content"
        g.shutdown()
    name = {"vmdk": "disk-flat.vmdk", "qcow2": "data"}[kind]
    assert (tmp_path / name).read_bytes()[512:519] == b"content"


@pytest.mark.parametrize("local", [False, True], ids=["TCP", "a Unix socket"])
def test_a_disk_on_a_server_could_not_be_opened_by_a_qemu_that_is_shut_in(
    lean: Path, tmp_path: Path, local: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ready, disk = tmp_path / "ready", tmp_path / "disk.img"
    disk.write_bytes(b"content".ljust(1 << 20, b"\0"))
    listen = ["-U", f"{tmp_path}/nbd"] if local else ["-i", "127.0.0.1", "-p", str(port)]
    name = f"nbd+unix:///?socket={tmp_path}/nbd" if local else f"nbd://localhost:{port}"
    command = ["nbdkit", "-f", "-r", *listen, "-P", str(ready), "file", str(disk)]
    with subprocess.Popen(command) as server:
        try:
            while not ready.exists():
                assert server.poll() is None, "nbdkit has ended"
            with Guestfs(accel="tcg", sandbox="strict") as g:
                g.open_disk(name, format="raw", protocols={"nbd"})
                g.set_network(local)  # a card of its own, in the same launch
                g.launch()
                assert (b"-netdev" in Path(f"/proc/{g.get_pid()}/cmdline").read_bytes()) == local
                assert how(g).sandbox == "seccomp, landlock"
                assert g.pread_device("/dev/sda", 7, 0) == b"content"
        finally:
            server.terminate()


def test_a_snapshot_of_a_disk_is_read_by_a_qemu_that_is_shut_in(lean: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1M"], check=True)
    subprocess.run(["qemu-img", "snapshot", "-c", "one", disk], check=True)
    with Guestfs() as other:
        other.set_tmpdir(tmp_path)
        with Guestfs(accel="tcg", sandbox="strict") as g:
            g.set_tmpdir(tmp_path)
            g.open_disk(disk, format="qcow2", snapshot="one")
            g.launch()
            assert g.blockdev_getsize64("/dev/sda") == 1 << 20
            (private,) = tmp_path.glob("guestkit-*")
            assert list(private.glob("cage-*"))
        assert list(private.iterdir()) == []


def test_a_qemu_that_is_shut_in_has_no_rights_of_its_users(lean: Path, tmp_path: Path) -> None:
    with launched(tmp_path, sandbox="strict") as g:
        kept = "6" if os.geteuid() == 0 else "0"  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        for field in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            (rights,) = status(g.get_pid(), field)
            assert rights.lstrip("0") == (kept if field in ("CapPrm", "CapEff") else "0").lstrip("0"), field
        assert status(g.get_pid(), "Seccomp_filters") == {"2"}  # QEMU's, and the cage's


def test_the_sockets_of_a_killed_process_were_not_found_if_its_qemu_was_shut_in(
    lean: Path, tmp_path: Path
) -> None:
    """QEMU's command line then does not name the socket."""
    with Guestfs(accel="tcg", sandbox="strict") as g:
        g.set_tmpdir(tmp_path)
        g.add_drive_scratch(1 << 20)
        g.launch()
        (note,) = tmp_path.glob("guestkit-*/sockets-of-*")
        assert note.read_text().startswith(f"{g.get_sockdir()}/libguestfs")


@pytest.mark.parametrize("sandbox", ["strict", "auto"])
def test_a_qemu_img_that_was_taken_over_reads_no_other_file(
    sandbox: Any, lean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in its place stands for code that a disk has it run."""
    disk, secret, program = tmp_path / "disk.qcow2", tmp_path / "secret", tmp_path / "bin" / "qemu-img"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1M"], check=True)
    subprocess.run(["qemu-img", "snapshot", "-c", "one", disk], check=True)
    secret.write_text("it is read")
    program.parent.mkdir()
    program.write_text(
        f"#!{os.path.realpath(sys.executable)} -ISs\n"
        "import socket, sys\n"
        "for attempt in (lambda: open(sys.argv[-1], 'r+b').write(b'x') and 'written',\n"
        f"                lambda: open({str(secret)!r}).read(),\n"
        "                lambda: socket.socket(socket.AF_UNIX) and 'made'):\n"
        "    try: print(attempt())\n"
        "    except OSError as error: print(error.strerror)\n"
        "sys.exit(1)\n"
    )
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with Guestfs(sandbox=sandbox) as g, pytest.raises(Error, match="cannot be copied") as caught:
        g.open_disk(disk, format="qcow2", snapshot="one")
    told = ("it is read", "made") if sandbox == "auto" else ("Permission denied",) * 2
    assert "\\x0a".join(("written", *told)) in caught.value.message


@pytest.mark.parametrize("sandbox", ["strict", "auto"])
def test_a_qemu_that_was_taken_over_reads_no_other_file(sandbox: Any, lean: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret".ljust(512, b"\0"))
    with Guestfs(accel="tcg", appliance=lean, sandbox=sandbox) as g:
        g.add_drive_scratch(1 << 20)
        with monitored(g, tmp_path) as monitor:
            secret = {"node-name": "secret", "filename": str(tmp_path / "secret")}
            said = says(monitor, "blockdev-add", driver="file", **secret)
    assert (b"Permission denied" in said) == (sandbox == "strict"), said


@pytest.mark.parametrize("sandbox", ["strict", "auto"])
def test_a_backing_file_that_nobody_permitted_is_not_read(sandbox: Any, lean: Path, tmp_path: Path) -> None:
    """By add_drive, which follows what the image names."""
    secret, disk = tmp_path / "secret", tmp_path / "disk.qcow2"
    secret.write_bytes(bytes(1 << 20))
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(disk)]
    subprocess.run(command, check=True)
    with Guestfs(accel="tcg", sandbox=sandbox) as g:
        g.add_drive(disk, format="qcow2", readonly=True)
        if sandbox == "auto":
            g.launch()
            return
        with pytest.raises(LaunchError, match="secret.*Permission denied.*shut in .*strict") as caught:
            g.launch()
        assert caught.value.cause == "disk_unreadable"
        assert "backing=under(" in caught.value.hint


@pytest.mark.parametrize("choice", ["auto", "lean"])
def test_a_hypervisor_of_the_users_was_ignored_by_a_launch_that_is_shut_in(
    choice: str, lean: Path, tmp_path: Path
) -> None:
    with Guestfs() as g:
        qemu = g.get_hv()
    (tmp_path / "qemu").symlink_to(qemu)
    with Guestfs(accel="tcg", sandbox="strict", appliance=lean if choice == "lean" else "auto") as g:
        g.set_hv(tmp_path / "qemu")
        g.add_drive_scratch(1 << 20)
        with pytest.raises(LaunchError, match="sandbox=strict: the hypervisor is the user's"):
            g.launch()


def test_a_hypervisor_of_the_users_was_ignored_by_a_warm_appliance_that_was_named(
    lean: Path, tmp_path: Path
) -> None:
    with Guestfs() as g:
        qemu = Path(g.get_hv())
    (tmp_path / "qemu").symlink_to(qemu)
    with launched(tmp_path, tmp_path / "qemu", appliance=sorted(lean.glob("warm-*"))[-1]) as g:
        assert (how(g).mode, how(g).reason) == ("lean", "the hypervisor is the user's")
        run = Path(f"/proc/{g.get_pid()}/cmdline").read_bytes().split(b"\0")[0]
        # guestkit puts more slashes in front of a long name, which libguestfs would write beyond its memory.
        assert b"/" + run.lstrip(b"/") == bytes(tmp_path / "qemu")


def test_a_kernel_without_landlock_shuts_nobody_in_and_that_is_told(lean: Path) -> None:
    program = (
        "import guestkit, sys\n"
        "with guestkit.Guestfs(accel='tcg', sandbox='strict') as g:\n"
        "    g.add_drive_scratch(1 << 20)\n"
        "    try: g.launch()\n"
        "    except guestkit.LaunchError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_LANDLOCK.format(error=errno.ENOSYS) + program],
        capture_output=True, text=True, check=True, timeout=100,
    ).stdout  # fmt: skip
    assert "sandbox=strict: this kernel has no Landlock" in said


#: Has the kernel answer that it has no Landlock: a filter of system calls that does nothing else.
WITHOUT_LANDLOCK = """
import ctypes, struct
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | {error}), (0x06, 0, 0, 0x7fff0000)]
filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
libc = ctypes.CDLL(None)
no_new_privs, seccomp = 38, 22
assert libc.prctl(no_new_privs, 1, 0, 0, 0) == 0
assert libc.prctl(seccomp, 2, struct.pack("HxxxxxxP", len(code), ctypes.addressof(filter)), 0, 0) == 0
"""


def test_a_qemu_without_seccomp_is_not_shut_in(lean: Path, tmp_path: Path) -> None:
    with Guestfs(accel="tcg", sandbox="strict", appliance=lean) as g:
        g.set_hv(without_seccomp(tmp_path))
        g.add_drive_scratch(1 << 20)
        with pytest.raises(LaunchError, match="sandbox=strict: .* cannot filter system calls"):
            g.launch()


def test_a_script_in_the_place_of_qemu_is_not_shut_in(lean: Path, tmp_path: Path) -> None:
    script = tmp_path / "qemu"
    script.write_text('#!/bin/sh\nexec qemu-system-x86_64 "$@"\n')
    script.chmod(0o755)
    with Guestfs(accel="tcg", sandbox="strict", appliance=lean) as g:
        g.set_hv(script)
        g.add_drive_scratch(1 << 20)
        with pytest.raises(LaunchError, match="sandbox=strict: the hypervisor is a script of the user's"):
            g.launch()


def test_an_appliance_that_guestkit_has_not_built_is_not_shut_in(tmp_path: Path) -> None:
    with Guestfs(accel="tcg", appliance="system", sandbox="strict") as g:
        g.add_drive_scratch(1 << 20)
        with pytest.raises(LaunchError, match=r"sandbox=strict: it needs .*guestkit appliance build"):
            g.launch()
