"""The program that libguestfs runs in place of QEMU, with a fake QEMU that only lists its open files."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guestkit import _native, appliance
from tests.images import naming

MACHINE = (
    "-nodefaults", "-machine", "accel=tcg", "-m", "1", "-kernel", "/a/kernel",
    "-drive", "file=/a/root,snapshot=on,id=appliance,cache=unsafe,if=none,format=raw",
    "-device", "scsi-hd,drive=appliance", "-append", "panic=1", "-name", "guestkit-1-1",
)  # fmt: skip


class Template:
    """A template of a machine with 1 MB of memory, whose other files are a few bytes each."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "warm-1"
        self.directory.mkdir(mode=0o700)
        self._open_files = folder / "open-files"
        qemu = folder / "qemu"
        qemu.write_text(
            f"#!{os.path.realpath(sys.executable)} -ISs\n"
            f"import os\n"
            f"found = []\n"
            f"for number in range(64):\n"
            f"    try: found.append(os.readlink(f'/proc/self/fd/{{number}}'))\n"
            f"    except OSError: pass\n"
            f"open({str(self._open_files)!r}, 'a').write('\\n'.join(found))\n"
        )
        qemu.chmod(0o700)
        shutil.copy(appliance._programs() / "appliance-hypervisor", self.directory / "hypervisor")
        words = [str(qemu), *MACHINE]
        (self.directory / "command").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))
        for name in ("root", "state"):
            (self.directory / name).write_bytes(b"content")
        (self.directory / "mem").write_bytes(bytes(1 << 20))
        self.sign()

    def sign(self) -> None:
        files = ("command", "hypervisor", "root", "state")
        for name in files:
            (self.directory / name).chmod(0o700)
        appliance._write_manifest(self.directory, [], files)

    def run(self, *arguments: str, most_files: int | None = None) -> tuple[str, list[str]]:
        """Run the program as libguestfs does; return its messages, and the files that are open in QEMU."""

        def limit() -> None:
            if most_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))

        ended = subprocess.run(
            [self.directory / "hypervisor", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, check=True, timeout=60, preexec_fn=limit,
        )  # fmt: skip
        mine = ("/dev/null", "pipe:", "/proc/")
        files = self._open_files.read_text().splitlines()
        return ended.stderr, sorted(file for file in files if not file.startswith(mine))


@pytest.fixture
def landlock() -> None:
    if not _native.landlock_version():
        pytest.skip("this kernel has no Landlock")


@pytest.fixture
def template(tmp_path: Path) -> Template:
    return Template(tmp_path)


def shorten(template: Template) -> None:
    os.truncate(template.directory / "mem", 4096)


def link(template: Template) -> None:
    memory = template.directory / "mem"
    memory.rename(memory.with_name("elsewhere"))
    memory.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(shorten, "the template's memory is too short"), (link, "mem: Too many levels of symbolic links")],
)
def test_a_qemu_that_booted_after_all_had_the_templates_files_and_sockets_open(
    template: Template, damage: Callable[[Template], None], reason: str
) -> None:
    damage(template)
    said, files = template.run(*MACHINE)
    assert said.startswith("guestkit: normal boot: ")
    assert said.strip().endswith(reason)
    assert files == []


def test_a_qemu_whose_watcher_cannot_start_has_none_of_them_open_either(template: Template) -> None:
    standard, of_the_restore = 3, 6
    said, files = template.run(*MACHINE, most_files=standard + of_the_restore)
    assert said == "guestkit: normal boot: QEMU cannot be watched (pidfd_open): Too many open files\n"
    assert files == []


def test_a_restored_qemu_has_the_state_the_memory_and_two_sockets_open(template: Template) -> None:
    said, files = template.run(*MACHINE)
    assert said.startswith("guestkit: restoring\n")
    sockets = [file for file in files if file.startswith("socket:")]
    assert len(sockets) == 2
    assert [file for file in files if file not in sockets] == [
        str(template.directory / name) for name in ("mem", "state")
    ]


def test_a_qemu_that_is_shut_in_could_write_the_memory_of_others(landlock: None, template: Template) -> None:
    cage = f"{os.getpid()}::{template.directory.parent}"
    said, files = template.run(*MACHINE, "-guestkit-cage", cage)
    assert said == "guestkit: normal boot: a QEMU that is shut in shares no memory with others\n"
    assert files == []


@pytest.mark.parametrize("link", ["qmp", "warm"])
def test_a_restore_that_talks_without_end_filled_the_watchers_memory(template: Template, link: str) -> None:
    (template.directory.parent / "qemu").write_text(
        f"#!{sys.executable} -ISs\n"
        f"import os, re, sys\n"
        f"number = int(re.search(r'id=guestkit.{link},fd=([0-9]+)', ' '.join(sys.argv))[1])\n"
        f"while True: os.write(number, b'x' * 4096)\n"
    )
    ended = subprocess.run(
        [template.directory / "hypervisor", *MACHINE],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stderr.endswith("guestkit: restore failed: what it says has no end\n")


def test_a_qemu_that_is_asked_what_it_can_do_has_nothing_open(template: Template) -> None:
    said, files = template.run("-version")
    assert (said, files) == ("", [])


# ---- the cage: what a QEMU that is shut in can still do


#: A QEMU that tries one thing after the other, and says as JSON what it could.
TRIES = """
import ctypes, fcntl, json, os, resource, signal, socket, struct, sys
environment = sorted(os.environ)
def tried(what):
    try:
        return what()
    except OSError as error:
        return error.strerror
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        return os.strerror(ctypes.get_errno())
    return "done"
def made(family, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind):
        return "made"
def paired(kind):
    for each in socket.socketpair(socket.AF_UNIX, kind):
        each.close()
    return "made"
def capabilities():
    header, sets = struct.pack("Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    libc.capget(header, sets)
    effective, permitted, inheritable = struct.unpack("III", sets.raw[:12])
    bounds, has_bound = 0, 23
    for each in range(41):
        bounds |= libc.prctl(has_bound, each, 0, 0, 0) << each
    return [effective, permitted, inheritable, any(sets.raw[12:]), bounds]
def read(path):
    with open(path) as file:
        return file.read(7)
def write(path):
    with open(path, "a") as file:
        return file.write("x")
def request(number, size=4096):
    return fcntl.ioctl(given["disk"], number, bytearray(size)) and "done"
def connect():
    with socket.create_connection(("127.0.0.1", given["port"])):
        return "connected"
print(json.dumps({
    "the environment": environment,
    "the disk": tried(lambda: read(f"/proc/self/fd/{given['disk']}")),
    "to write to the disk": tried(lambda: write(f"/proc/self/fd/{given['disk']}")),
    "the variables of the firmware": tried(lambda: write(given["written"][:-7] + "libguestfs1/vars.fd")),
    "a host's name": tried(lambda: read("/etc/hosts")) != "Permission denied",
    "the disk that is written to": tried(lambda: write(given["written"])),
    "another file": tried(lambda: read(given["secret"])),
    "the descriptors of another process": tried(lambda: os.listdir(f"/proc/{os.getppid()}/fd")),
    "a temporary file": tried(lambda: write(os.environ["TMPDIR"] + "/file")),
    "a new file beside the disk": tried(lambda: write(given["secret"] + "2")),
    "TCP": tried(connect),
    "a signal": tried(lambda: os.kill(os.getppid(), 0)),
    "a signal by the kernel": tried(lambda: fcntl.fcntl(given["disk"], fcntl.F_SETOWN, os.getppid())),
    "a lease of its disk": tried(lambda: fcntl.fcntl(given["disk"], 1024, fcntl.F_RDLCK)),
    "a delegation of its disk": tried(lambda: fcntl.fcntl(given["disk"], 1040, bytes(8))),
    "to watch a directory": tried(
        lambda: fcntl.fcntl(os.open(os.environ["TMPDIR"], os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_CREATE)
    ),
    "requests": {name: tried(lambda: request(number)) for name, number in given["requests"].items()},
    "its own requests": [
        name for name, number in given["needed"].items()
        if tried(lambda: request(number)) == "Permission denied"
    ],
    "its own signal": tried(lambda: signal.raise_signal(signal.SIGCONT)),
    "the limits of others": tried(lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE)),
    "its own limits": tried(lambda: resource.prlimit(0, resource.RLIMIT_NPROC))[0] != 0,
    "the mode of its disk": tried(lambda: os.chmod(given["written"], 0o600)),
    "the mode of a file": tried(lambda: os.chmod(given["secret"], 0o777)),
    "the owner of a file": tried(lambda: os.chown(given["secret"], os.getuid(), os.getgid())),
    "the times of a file": tried(lambda: os.utime(given["secret"])),
    "to set an attribute": tried(lambda: os.setxattr(given["secret"], "user.x", b"x")),
    "to read an attribute": tried(lambda: os.getxattr(given["secret"], "user.y")),
    "to list the attributes": tried(lambda: os.listxattr(given["secret"])),
    "to shorten a file by name": tried(lambda: os.truncate(given["secret"], 1)),
    "to shorten a file": tried(lambda: os.open(given["secret"], os.O_RDONLY | os.O_TRUNC)),
    "sockets": {
        name: tried(lambda: made(getattr(socket, name), kind))
        for name, kind in (("AF_UNIX", 1), ("AF_INET", 2), ("AF_INET6", 1), ("AF_VSOCK", 1),
                           ("AF_NETLINK", 2), ("AF_PACKET", 2), ("AF_ALG", 5))
    },
    "a pair of sockets": tried(lambda: paired(socket.SOCK_STREAM)),
    "a pair of sockets that send to any name": tried(lambda: paired(socket.SOCK_DGRAM)),
    "calls": {name: call(number, 0, 0, 0, 0, 0) for name, number in given["calls"].items()},
    "a new namespace": call(given["clone"], 0x10000000 | 17, 0, 0, 0, 0),
    "what a filter cannot see": [call(435, 0, 0), call(437, -100, 0, 0, 0)],
    "a program": tried(lambda: os.posix_spawn("/bin/true", ["true"], {})),
    "capabilities": capabilities(),
    "words": sys.argv[1:],
}))
"""


#: Calls that are refused whatever their arguments are, and clone: their numbers on x86-64, and on aarch64.
CALLS = {
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "open_tree": (428, 428), "unshare": (272, 97), "setns": (308, 268),
    "personality": (135, 92), "kexec_load": (246, 104), "init_module": (175, 105), "finit_module": (313, 273),
    "shmget": (29, 194), "msgget": (68, 186), "mq_open": (240, 180), "clock_settime": (227, 112),
    "io_uring_setup": (425, 425), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "fchmodat2": (452, 452), "setxattrat": (463, 463), "inotify_add_watch": (254, 27),
    "open_by_handle_at": (304, 265),
    "setpriority": (141, 140), "sched_setattr": (314, 274), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30), "rt_sigqueueinfo": (129, 138), "tkill": (200, 130),
}  # fmt: skip
CLONE = (56, 220)
ARM = os.uname().machine == "aarch64"

#: Requests of ioctl(2) that change a file or its filesystem, many through a descriptor to read alone.
REQUESTS = {
    "FS_IOC_SETFLAGS": 0x40086602, "FS_IOC_FSSETXATTR": 0x401C5820, "FS_IOC_SETVERSION": 0x40087602,
    "EXT4_IOC_SETVERSION": 0x40086604, "FS_IOC_ENABLE_VERITY": 0x40806685,
    "FS_IOC_ADD_ENCRYPTION_KEY": 0xC0506617, "FS_IOC_SET_ENCRYPTION_POLICY": 0x800C6613,
    "FAT_IOCTL_SET_ATTRIBUTES": 0x40047211, "BTRFS_IOC_SUBVOL_CREATE": 0x5000940E,
    "F2FS_IOC_SET_PIN_FILE": 0x4004F50D, "SG_IO": 0x2285, "IOC_PR_RESERVE": 0x401070C9,
    "TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "FIOSETOWN": 0x8901, "SIOCSPGRP": 0x8902,
}  # fmt: skip
#: Requests that QEMU has for KVM, for disks and for its descriptors.
NEEDED = {
    "KVM_GET_API_VERSION": 0xAE00, "BLKGETSIZE64": 0x80081272, "BLKSSZGET": 0x1268,
    "CDROM_DRIVE_STATUS": 0x5326, "FIONREAD": 0x541B, "FIONBIO": 0x5421,
    "XFS_IOC_DIOINFO": 0x800C581E, "FICLONE": 0x40049409, "FICLONERANGE": 0x4020940D,
}  # fmt: skip

#: What a QEMU that is shut in keeps.
ENVIRONMENT = {"HOME": "/", "LANG": "C.UTF-8", "LC_TIME": "C", "PATH": "/usr/bin:/bin"}


def caged(
    folder: Path, *more: str, owner: int | None = None, value: str | None = None
) -> tuple[dict[str, object], str]:
    """Run a QEMU in a cage; return what it could do, and its messages."""
    qemu = folder / "qemu"
    program = folder / "lean" / "cage"
    program.parent.mkdir()
    shutil.copy(appliance._programs() / appliance.HYPERVISOR, program)
    program.with_name("command").write_bytes(os.fsencode(qemu) + b"\0")
    for name in ("disk", "written", "secret"):
        (folder / name).write_text(f"{name} content")
    (folder / "private").mkdir()
    (folder / "libguestfs1").mkdir()
    (folder / "libguestfs1" / "vars.fd").write_text("")
    with (folder / "disk").open() as disk, socket.create_server(("127.0.0.1", 0)) as server:
        given = {
            "disk": disk.fileno(),
            "port": server.getsockname()[1],
            "written": str(folder / "written"),
            "secret": str(folder / "secret"),
            "calls": {name: numbers[ARM] for name, numbers in CALLS.items()},
            "clone": CLONE[ARM],
            "requests": REQUESTS,
            "needed": NEEDED,
        }
        qemu.write_text(f"#!{os.path.realpath(sys.executable)} -ISs\ngiven = {given!r}\n{TRIES}")
        qemu.chmod(0o700)
        cage = value if value is not None else f"{owner or os.getpid()}:{disk.fileno()}:{folder}/private"
        drive = f"file={folder}/written,format=raw,id=hd0,if=none"
        words = ["-kernel", f"{folder}/kernel/vmlinuz", "-drive", drive]
        words += [
            "-drive",
            f"if=pflash,format=raw,file={folder}/libguestfs1/vars.fd",
            "-guestkit-cage",
            cage,
            *more,
        ]
        done = subprocess.run(
            [program, *words],
            env={**ENVIRONMENT, "SSH_AUTH_SOCK": "/run/agent", "XDG_RUNTIME_DIR": "/run", "TOKEN": "x",
                 "http_proxy": "p"},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    return json.loads(done.stdout or "{}"), done.stderr


def test_a_qemu_that_is_shut_in_reaches_its_disks_and_nothing_else(landlock: None, tmp_path: Path) -> None:
    could, said = caged(tmp_path)
    assert said == ""
    words = could.pop("words")
    assert isinstance(words, list)
    assert [word for word in words if "cage" in word.replace(str(tmp_path), "")] == []
    denied = "Permission denied"
    kept = 0b110 if os.geteuid() == 0 else 0  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    capabilities = could.pop("capabilities")
    assert isinstance(capabilities, list)
    assert capabilities[:4] == [kept, kept, 0, False]
    assert os.geteuid() != 0 or capabilities[4] == kept
    assert could.pop("sockets") == dict.fromkeys(
        ("AF_UNIX", "AF_INET", "AF_INET6", "AF_VSOCK", "AF_NETLINK", "AF_PACKET", "AF_ALG"), denied
    )
    assert could.pop("calls") == dict.fromkeys(CALLS, denied)
    assert could.pop("requests") == dict.fromkeys(REQUESTS, denied)
    assert could == {
        "the environment": sorted([*ENVIRONMENT, "TMPDIR"]),
        "the disk": "disk co",
        "to write to the disk": denied,
        "the disk that is written to": 1,
        "the variables of the firmware": 1,
        "a host's name": False,
        "another file": denied,
        "the descriptors of another process": denied,
        "a temporary file": 1,
        "a new file beside the disk": denied,
        "TCP": denied,
        "a signal": denied,
        "a signal by the kernel": denied,
        "a lease of its disk": denied,
        "a delegation of its disk": denied,
        "to watch a directory": denied,
        "its own requests": [],
        "its own signal": None,
        "the limits of others": denied,
        "its own limits": True,
        "the mode of its disk": denied,
        "the mode of a file": denied,
        "the owner of a file": denied,
        "the times of a file": denied,
        "to set an attribute": denied,
        "to read an attribute": denied,
        "to list the attributes": denied,
        "to shorten a file by name": denied,
        "to shorten a file": denied,
        "a pair of sockets": "made",
        "a pair of sockets that send to any name": denied,
        "a new namespace": denied,
        "what a filter cannot see": ["Function not implemented"] * 2,
        "a program": denied,
    }


@pytest.mark.parametrize(
    ("option", "given", "taken"),
    [
        ("-chardev", "socket,path={},id=channel0", "socket,fd=(\\d+),id=channel0"),
        (
            "-netdev",
            "stream,id=usernet,addr.type=unix,addr.path={}",
            "stream,id=usernet,addr.type=fd,addr.str=(\\d+)",
        ),
    ],
    ids=["the guest's", "passt's"],
)
def test_a_unix_socket_of_its_own_is_given_to_qemu_as_a_connection(
    landlock: None, tmp_path: Path, option: str, given: str, taken: str
) -> None:
    path = tmp_path / "a,b.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        could, said = caged(tmp_path, option, given.format(str(path).replace(",", ",,")))
        listener.settimeout(1)
        listener.accept()[0].close()
    assert said == ""
    assert isinstance(could["words"], list)
    assert re.fullmatch(taken, could["words"][-1])
    assert could["sockets"]["AF_UNIX"] == could["sockets"]["AF_INET"] == "Permission denied"  # type: ignore[index]


def test_a_socket_that_nobody_listens_to_is_told(landlock: None, tmp_path: Path) -> None:
    could, said = caged(tmp_path, "-chardev", f"socket,path={tmp_path}/no,id=channel0")
    assert could == {}
    assert said == f"guestkit: QEMU cannot be shut in: {tmp_path}/no: No such file or directory\n"


@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize("name", ["", "a,b"])
def test_a_disk_behind_a_unix_socket_gave_qemu_every_socket_of_the_user(
    landlock: None, tmp_path: Path, readonly: bool, name: str
) -> None:
    path = tmp_path / "nbd.sock"
    disk = f"nbd:unix:{path}" + (f":exportname={name}" if name else "")
    if readonly:  # libguestfs lays an image of its own over it
        overlay = tmp_path / "libguestfs2" / "overlay1.qcow2"
        overlay.parent.mkdir()
        naming.overlay(overlay, disk)
        drive = f"file={overlay},format=qcow2,id=hd1,if=none"
    else:
        drive = f"file={disk.replace(',', ',,')},format=raw,id=hd1,if=none"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        could, said = caged(tmp_path, "-drive", drive)
        listener.settimeout(1)
        listener.accept()[0].close()
    assert said == ""
    assert set(could["sockets"].values()) == {"Permission denied"}  # type: ignore[attr-defined]
    words = could["words"]
    assert isinstance(words, list)
    export = ",{}export=a,,b" if name else ""
    if readonly:
        number = re.search("server.str=([0-9]+)", words[-1])[1]  # type: ignore[index]
        assert words[-3] == f"{drive},backing=guestkit-nbd{number}"
        assert words[-2:] == [
            "-blockdev",
            f"driver=nbd,server.type=fd,server.str={number}{export.format('')},read-only=on,"
            f"node-name=guestkit-nbd{number}",
        ]
    else:
        server = r"file\.driver=nbd,file\.server\.type=fd,file\.server\.str=\d+"
        assert re.fullmatch(f"format=raw,id=hd1,if=none,{server}{export.format('file.')}", words[-1])


def test_a_disk_whose_server_has_gone_is_told(landlock: None, tmp_path: Path) -> None:
    could, said = caged(tmp_path, "-drive", f"file=nbd:unix:{tmp_path}/no,format=raw,id=hd1,if=none")
    assert could == {}
    assert said == f"guestkit: QEMU cannot be shut in: {tmp_path}/no: No such file or directory\n"


def test_a_network_card_that_was_asked_for_has_its_network(landlock: None, tmp_path: Path) -> None:
    could, _ = caged(tmp_path, "-netdev", "user,id=usernet")
    assert could["TCP"] == "connected"
    assert could["a host's name"]
    sockets = could["sockets"]
    assert isinstance(sockets, dict)
    assert [name for name, result in sockets.items() if result == "made"] == ["AF_INET", "AF_INET6"]
    assert could["the environment"] == sorted([*ENVIRONMENT, "TMPDIR", "http_proxy"])


def test_a_disk_whose_owner_is_gone_is_told_and_qemu_does_not_run(landlock: None, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    could, said = caged(tmp_path, owner=ended.pid)
    assert could == {}
    assert said.startswith("guestkit: a disk cannot be taken into QEMU's cage: /proc/")


@pytest.mark.parametrize(
    "value",
    ["", "1", "1:2", "1::", "1::relative", "x:3:/tmp", "0:3:/tmp", "-1:3:/tmp", "1:3x:/tmp", "1:3,:/tmp",
     "1:3wx:/tmp", "1:w:/tmp",
     "1:,3:/tmp", "1:-3:/tmp", "1:99999999999:/tmp", " 1:3:/tmp"],
)  # fmt: skip
def test_a_cage_that_is_not_understood_left_qemu_free(tmp_path: Path, value: str) -> None:
    could, said = caged(tmp_path, value=value)
    assert could == {}
    assert (
        said == f"guestkit: QEMU cannot be shut in: the value of -guestkit-cage is not understood: {value}\n"
    )


def test_a_cage_without_a_value_left_qemu_free(landlock: None, tmp_path: Path) -> None:
    could, said = caged(tmp_path, "-guestkit-cage")
    assert could == {}
    assert said == "guestkit: QEMU cannot be shut in: -guestkit-cage has no value\n"


@pytest.mark.parametrize("name", ["file", "file.file.filename"])
@pytest.mark.parametrize("server", [True, False])
def test_a_disk_on_a_server_could_not_be_reached(
    landlock: None, tmp_path: Path, name: str, server: bool
) -> None:
    """libguestfs lays an image of its own over a disk that is only read."""
    overlay = tmp_path / "libguestfs2" / "overlay1.qcow2"
    overlay.parent.mkdir()
    backing = "nbd:localhost:10809" if server else str(tmp_path / "secret")
    if not server:
        (tmp_path / "secret").write_text("")
    naming.overlay(overlay, backing)
    could, _ = caged(tmp_path, "-drive", f"{name}={overlay},format=qcow2,id=hd1,if=none")
    assert could["TCP"] == ("connected" if server else "Permission denied")
    assert could["another file"] == ("Permission denied" if server else "secret ")


def test_a_disk_that_has_an_overlays_name_gets_no_network(landlock: None, tmp_path: Path) -> None:
    """Its guest may have written into its header what it likes."""
    disk = tmp_path / "overlay1.qcow2"
    other = tmp_path / "case"
    other.mkdir()
    naming.overlay(disk, "nbd:localhost:1")
    could, _ = caged(other, "-drive", f"file={disk},format=qcow2,id=hd1,if=none")
    assert could["TCP"] == "Permission denied"
