"""What a guest's files cost through fsspec, a mount and SFTP, compared with libguestfs' guestmount.

    ./run bench files [ROUNDS]

Opens the guest and reads a first small file, lists a directory of 10,000 files with their sizes, reads 2,000
small files, and reads 200 MB in sequence; a quarter of each in the short form. The ways alternate in each
round; each launches its own appliance for the first file, so that no cache of the guest's kernel helps. The
ratios are to the plain handle, used at its best. SFTP is `guestkit serve`, which encrypts all that it sends,
with asyncssh as its client, which has several requests on their way. guestmount, and guestfish's tar-out, of
which virt-tar-out is a wrapper for disks with a system, run libguestfs' own appliance; they are left out
where they are not installed, and mounts where the host has no FUSE. tar-out launches for what it does, which
counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncssh

from benchmarks.common import peers, program
from benchmarks.common.record import Record
from guestkit import Guestfs, open_guest
from guestkit.fs import GuestFileSystem
from guestkit.reading import read_chunks
from tests.images.corpus import Part, _make
from tests.images.trees import File

CHUNK = 1 << 20
FIRST = "/small/0000"
AT_ONCE = 16  # how many small files a program has on their way, where it can


@dataclass(frozen=True)
class Guest:
    """A disk, with a directory of many empty files, one of small files, and a large file."""

    disk: Path
    many: int
    small: int
    large: int  # bytes

    def make(self) -> None:
        tree: dict[str, File] = {f"many/{number:05}": b"" for number in range(self.many)}
        tree |= {name[1:]: os.urandom(1000 + number) for number, name in enumerate(self.names)}
        tree["large"] = os.urandom(self.large)
        _make([Part(tree, size=320 << 20)], self.disk)

    @property
    def names(self) -> list[str]:
        return [f"/small/{number:04}" for number in range(self.small)]

    @property
    def tasks(self) -> dict[str, str]:
        return {
            "first": "open it and read a first small file",
            "list": f"list {self.many:,} files with their sizes",
            "small": f"read {self.small:,} small files",
            "large": f"read {self.large >> 20} MB in sequence",
        }


Work = Mapping[str, Callable[[], object]]


@contextmanager
def plain(guest: Guest) -> Iterator[Work]:
    """The handle, by guestkit's own functions for many files."""
    with ExitStack() as stack:
        handles: list[Guestfs] = []

        def first() -> None:
            handles.append(stack.enter_context(open_guest(guest.disk)))
            handles[0].read_small(FIRST)

        yield {
            "first": first,
            "list": lambda: handles[0].walk("/many", max_depth=0),
            "small": lambda: handles[0].read_files(guest.names),
            "large": lambda: [None for _ in read_chunks(handles[0], "/large")],
        }


@contextmanager
def through_fsspec(guest: Guest) -> Iterator[Work]:
    def read(fs: GuestFileSystem) -> None:
        with fs.open("/large") as file:
            while file.read(CHUNK):
                pass

    with GuestFileSystem(guest.disk) as fs:
        yield {
            "first": lambda: fs.cat_file(FIRST),
            "list": lambda: fs.ls("/many"),
            "small": lambda: fs.cat(guest.names),
            "large": lambda: read(fs),
        }


def directory_of(guest: Guest, root: Path, mount: Callable[[], object]) -> Work:
    """What programs do with a directory, mounted for the first file."""

    def first() -> None:
        mount()
        (root / FIRST[1:]).read_bytes()

    def read() -> None:
        with (root / "large").open("rb", buffering=0) as file:
            while file.read(CHUNK):
                pass

    return {
        "first": first,
        "list": lambda: [entry.stat().st_size for entry in os.scandir(root / "many")],
        "small": lambda: [(root / name[1:]).read_bytes() for name in guest.names],
        "large": read,
    }


@contextmanager
def guestkit_mount(guest: Guest) -> Iterator[Work]:
    command = [sys.executable, "-m", "guestkit"]
    with tempfile.TemporaryDirectory() as root:
        mount = [*command, "mount", "--quiet", str(guest.disk), root]
        try:
            yield directory_of(guest, Path(root), lambda: subprocess.run(mount, check=True))
        finally:
            subprocess.run([*command, "unmount", root], check=True)


@contextmanager
def through_sftp(guest: Guest) -> Iterator[Work]:
    """`guestkit serve` and asyncssh: requests as that program's users make them, some files at a time."""
    command = [sys.executable, "-m", "guestkit", "serve", "--quiet", "--json", "--protocol", "sftp"]
    clients: list[asyncssh.SFTPClient] = []

    async def connect(served: dict[str, str], stack: AsyncExitStack) -> None:
        port = urlsplit(served["sftp"]).port or 0
        connection = await stack.enter_async_context(
            asyncssh.connect(
                "127.0.0.1", port, username=served["user"], password=served["password"], known_hosts=None
            )
        )
        clients.append(await connection.start_sftp_client())

    async def read(*names: str) -> int:
        left = iter(names)  # of all readers

        async def read_some() -> int:
            size = 0
            for name in left:
                async with clients[0].open(name, "rb") as file:
                    size += len(await file.read())
            return size

        return sum(await asyncio.gather(*(read_some() for _ in range(AT_ONCE))))

    async def large() -> int:
        async with clients[0].open("/large", "rb") as file:
            return sum([len(data) async for _, data in await file.read_parallel()])

    with ExitStack() as stack:
        loop = stack.enter_context(asyncio.Runner())
        connections = AsyncExitStack()

        def first() -> None:
            server = stack.enter_context(subprocess.Popen([*command, guest.disk], stdout=subprocess.PIPE))
            stack.callback(server.terminate)
            stack.callback(lambda: loop.run(connections.aclose()))
            assert server.stdout is not None
            loop.run(connect(json.loads(server.stdout.readline()), connections))
            loop.run(read(FIRST))

        yield {
            "first": first,
            "list": lambda: loop.run(clients[0].readdir("/many")),
            "small": lambda: loop.run(read(*guest.names)),
            "large": lambda: loop.run(large()),
        }


@contextmanager
def guestmount(guest: Guest) -> Iterator[Work]:
    with tempfile.TemporaryDirectory() as folder:
        pid = Path(folder, "pid")
        root = Path(folder, "root")
        root.mkdir()
        options = ["--ro", "--format=raw", "-a", str(guest.disk), "-m", "/dev/sda1", "--pid-file", str(pid)]
        mount = ["guestmount", *options, str(root)]
        try:
            yield directory_of(
                guest, root, lambda: subprocess.run(mount, check=True, env=peers.environment())
            )
        finally:
            ended = os.pidfd_open(int(pid.read_text()))
            subprocess.run(["guestunmount", root], check=True)
            select.select([ended], [], [])
            os.close(ended)


@contextmanager
def tar_out(guest: Guest) -> Iterator[Work]:
    options = ["--ro", "--format=raw", "-a", str(guest.disk), "-m", "/dev/sda1"]
    command = ["guestfish", *options, "tar-out", "/small", "-"]
    yield {
        "small": lambda: subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, env=peers.environment()
        )
    }


def measure(record: Record) -> None:
    ways: dict[str, Callable[[Guest], AbstractContextManager[Work]]] = {
        "plain handle": plain,
        "fsspec": through_fsspec,
        "SFTP": through_sftp,
    }
    if Path("/dev/fuse").exists():
        ways["guestkit mount"] = guestkit_mount
        if peers.program(record, "guestmount"):
            ways["guestmount"] = guestmount
    else:
        record.leave_out("this host has no FUSE")
    if peers.program(record, "guestfish"):
        ways["guestfish tar-out"] = tar_out
    part = 4 if record.short else 1
    with tempfile.TemporaryDirectory() as folder:
        guest = Guest(Path(folder, "disk.img"), 10_000 // part, 2_000 // part, (200 << 20) // part)
        guest.make()
        for who in record.turns(ways):
            with ways[who](guest) as work:
                for task, function in work.items():
                    with record.timed(guest.tasks[task], who):
                        function()


def main() -> None:
    program.run("files", program.benchmark("files", __doc__).parse_args(), measure)


if __name__ == "__main__":
    main()
