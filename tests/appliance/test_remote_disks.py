"""The recipes for remote disks in docs/images.md for which a server can run here."""

from __future__ import annotations

import asyncio
import lzma
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from guestkit import AsyncDiskConverter, AsyncGuestfs
from guestkit.demo import DEMO_SYSTEM

ROOT = Path(__file__).resolve().parents[2]
RECIPES = (ROOT / "docs" / "images.md").read_text(encoding="utf-8").splitlines()

#: Long enough for a server to start, in seconds.
PATIENCE = 60


def recipe(*words: str) -> str:
    """Return the one command in the document that contains all these words; a NUL matches its end."""
    commands = [line.strip() for line in RECIPES if line.startswith("    ")]
    (found,) = [line for line in commands if all(word in f"{line}\0" for word in words)]
    return found


@asynccontextmanager
async def serving(command: str, socket: Path) -> AsyncIterator[None]:
    """Run a recipe's server in the foreground; yield once it listens."""
    words = shlex.split(command)
    foreground = ["-f"] if words[0] == "nbdkit" else []
    server = await asyncio.create_subprocess_exec(words[0], *foreground, *words[1:])
    try:
        async with asyncio.timeout(PATIENCE):
            while not socket.exists():
                assert server.returncode is None
                await asyncio.sleep(0.01)
        yield
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()


async def hostname(socket: Path) -> str:
    async with AsyncGuestfs() as g:
        await g.open_disk(f"nbd+unix:///?socket={socket}", format="raw", protocols=("nbd",))
        await g.launch()
        (root,) = await g.inspect_os()
        return await g.inspect_get_hostname(root)


@pytest.mark.parametrize("packed", [False, pytest.param(True, marks=pytest.mark.full)], ids=["plain", "xz"])
async def test_a_disk_behind_a_web_server(demo_guest: Path, tmp_path: Path, packed: bool) -> None:
    if packed:
        (tmp_path / "disk.img.xz").write_bytes(lzma.compress(demo_guest.read_bytes(), preset=0))
        command = recipe("curl", "--filter=xz")
    else:
        (tmp_path / "disk.img").hardlink_to(demo_guest)
        command = recipe("curl", "disk.img\0")
    site = web.Application()
    site.router.add_static("/", tmp_path)
    socket = tmp_path / "disk.sock"
    async with TestServer(site) as server:
        command = command.replace("https://example.com", str(server.make_url("/")).rstrip("/"))
        async with serving(command.replace("/tmp/disk.sock", str(socket)), socket):
            assert await hostname(socket) == DEMO_SYSTEM.hostname


async def test_an_image_of_your_own_behind_qemu_nbd(demo_guest: Path, tmp_path: Path) -> None:
    image, socket = tmp_path / "disk.qcow2", tmp_path / "disk.sock"
    assert (await AsyncDiskConverter().convert(demo_guest, image, source_format="raw"))["success"]
    command = recipe("qemu-nbd", "-f qcow2").replace("disk.qcow2", str(image))
    async with serving(command.replace("/tmp/disk.sock", str(socket)), socket):
        assert await hostname(socket) == DEMO_SYSTEM.hostname


async def test_what_is_told_to_type_for_a_url_works(demo_guest: Path, tmp_path: Path) -> None:
    """Regression: `guestkit inspect https://…` reported that there was no such file."""

    async def shell(command: str) -> tuple[int | None, str, str]:
        words = shlex.split(command.replace("guestkit ", f"{sys.executable} -m guestkit ", 1))
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await process.communicate()
        return process.returncode, output.decode(), errors.decode()

    (tmp_path / "disk.img").hardlink_to(demo_guest)
    site = web.Application()
    site.router.add_static("/", tmp_path)
    socket = tmp_path / "disk.sock"
    async with TestServer(site) as server:
        status, output, errors = await shell(f"guestkit ls {server.make_url('/disk.img')}")
        assert (status, output) == (1, "")
        said = re.search(r"\((nbdkit .*?)\); then type: (guestkit .*)", errors)
        assert said is not None
        serve, inspect = (each.replace("/tmp/disk.sock", str(socket)) for each in said.groups())
        async with serving(serve, socket):
            status, output, errors = await shell(inspect)
        assert status == 0, errors
        assert DEMO_SYSTEM.hostname in output
