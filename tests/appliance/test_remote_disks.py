"""Disks at URLs, and the recipes for remote disks in docs/images.md for which a server can run here."""

from __future__ import annotations

import asyncio
import base64
import glob
import lzma
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from aiohttp.typedefs import Handler

from guestkit import AsyncDiskConverter, AsyncGuestfs, Error, appliance
from guestkit.demo import DEMO_SYSTEM
from guestkit.guest import mount_guest

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


@pytest.fixture
async def site(demo_guest: Path, tmp_path: Path) -> AsyncIterator[BaseTestServer]:
    """A web server that has the demo guest, a qcow2, and a redirection to a file of this host."""

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPFound("file:///etc/passwd")

    (tmp_path / "disk.img").hardlink_to(demo_guest)
    (tmp_path / "disk.qcow2").write_bytes(b"QFI\xfb\0\0\0\x03".ljust(1 << 16, b"\0"))
    (tmp_path / "page.html").write_bytes(b"<html>" + b"<p>\n" * 4096)
    application = web.Application()
    application.router.add_get("/moved", moved)
    application.router.add_static("/", tmp_path)
    async with TestServer(application) as server:
        yield server


def nbdkits() -> list[str]:
    """Return the servers that this process has started and that still run."""
    command = ["ps", "--ppid", str(os.getpid()), "-o", "comm="]
    names = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return [name for name in names if name == "nbdkit"]


@pytest.mark.parametrize("sandbox", ["auto", "strict"])
async def test_a_disk_behind_a_web_server(sandbox: Any, site: BaseTestServer) -> None:
    if sandbox == "strict":
        await asyncio.to_thread(appliance.build)
    async with AsyncGuestfs(sandbox=sandbox) as g:
        await g.open_disk(str(site.make_url("/disk.img")), protocols=("http",))
        await g.launch()
        words = Path(f"/proc/{await g.get_pid()}/cmdline").read_bytes()
        assert (b"driver=nbd,server.type=fd" in words) == (sandbox == "strict")
        await g.run(mount_guest)
        assert await g.read_file("/etc/hostname") == f"{DEMO_SYSTEM.hostname}\n".encode()
        assert len(nbdkits()) == 1
    assert nbdkits() == []


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("/disk.img", {"protocols": ("file",)}, r'is a URL; .* or state protocols=\("http",\), and guestkit'),
        ("/disk.qcow2", {}, "/disk.qcow2: is no raw disk, and .*: a file may have any format"),
        ("/disk.qcow2", {"format": "qcow2"}, "/disk.qcow2: the header of any format but raw"),
        ("/page.html", {}, "/page.html: is no disk but html"),
        ("/disk.img", {"snapshot": "x"}, "/disk.img: a snapshot can be opened in a local file only"),
        ("/disk.img", {"readonly": False, "format": "raw"}, "is opened read-only"),
        ("/nothing", {}, "/nothing: cannot be read: .* 404"),
        ("/moved", {}, '/moved: cannot be read: .*rotocol "file" not supported'),
    ],
)
async def test_a_url_that_is_refused(
    site: BaseTestServer, name: str, options: dict[str, Any], reason: str
) -> None:
    async with AsyncGuestfs() as g:
        with pytest.raises(Error, match=reason):
            await g.open_disk(str(site.make_url(name)), **{"protocols": ("http",), **options})
        await g.add_drive_scratch(1 << 20)  # the handle stays usable
    assert nbdkits() == []


async def test_a_password_in_a_url_is_not_shown(
    site: BaseTestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    popen = subprocess.Popen

    def spy(command: list[str], **options: Any) -> Any:
        started.append(command)
        return popen(command, **options)

    monkeypatch.setattr("guestkit._nbdkit.subprocess.Popen", spy)
    url = site.make_url("/nothing?signature=s1gned").with_user("me").with_password("s3cret")
    async with AsyncGuestfs() as g:
        with pytest.raises(Error) as caught:
            await g.open_disk(str(url), protocols=("http",))
    assert "s3cret" not in str(caught.value) + str(started)
    assert "s1gned" not in str(caught.value)
    assert "user=me" in started[0]


async def test_a_killed_program_left_the_password_of_a_url_in_tmpdir(tmp_path: Path) -> None:
    """Regression: it lay in a file as long as the handle."""
    asked: list[str | None] = []
    served = tmp_path / "served.img"
    served.write_bytes(b"\xff" * (1 << 20))

    async def disk(request: web.Request) -> web.FileResponse:
        asked.append(request.headers.get("Authorization"))
        return web.FileResponse(served)

    application = web.Application()
    application.router.add_get("/disk.img", disk)
    async with TestServer(application) as server, AsyncGuestfs() as g:
        await g.set_tmpdir(str(tmp_path))
        url = server.make_url("/disk.img").with_user("me").with_password("s3c:r et")
        await g.open_disk(str(url), format="raw", protocols=("http",))
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert [path for path in files if b"s3c:r et" in path.read_bytes()] == []
    assert {base64.b64decode((words or "").removeprefix("Basic ")) for words in asked} == {b"me:s3c:r et"}


async def test_an_open_that_waits_for_a_server_can_be_cancelled() -> None:
    """A server that accepts the connection, and never answers."""
    before = set(glob.glob("/tmp/nbdkit*"))
    asked, ended = asyncio.Event(), asyncio.Event()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(accepted, "127.0.0.1", 0) as server, AsyncGuestfs() as g:
        port = server.sockets[0].getsockname()[1]
        opening = asyncio.ensure_future(g.open_disk(f"http://127.0.0.1:{port}/x", protocols=("http",)))
        await asyncio.wait_for(asked.wait(), PATIENCE)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(opening, PATIENCE)
        await asyncio.wait_for(ended.wait(), 15)  # not when nbdkit gives up the server: after 30 seconds
        assert nbdkits() == []
    assert set(glob.glob("/tmp/nbdkit*")) <= before


@pytest.mark.full
async def test_a_server_that_is_slow_but_answers_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guestkit._nbdkit._ANSWER", 5)

    @web.middleware
    async def slow(request: web.Request, handler: Handler) -> web.StreamResponse:
        await asyncio.sleep(0.4)
        return await handler(request)

    (tmp_path / "disk.img").write_bytes(b"\xff" * (1 << 20))  # which takes 16 requests
    application = web.Application(middlewares=[slow])
    application.router.add_static("/", tmp_path)
    loop = asyncio.get_running_loop()
    async with TestServer(application) as server, AsyncGuestfs() as g:
        began = loop.time()
        await g.open_disk(str(server.make_url("/disk.img")), format="raw", protocols=("http",))
        assert loop.time() - began > 5


@pytest.mark.full
async def test_a_packed_disk_behind_a_web_server(
    demo_guest: Path, site: BaseTestServer, tmp_path: Path
) -> None:
    (tmp_path / "disk.img.xz").write_bytes(lzma.compress(demo_guest.read_bytes(), preset=0))
    socket = tmp_path / "disk.sock"
    command = recipe("curl", "--filter=xz").replace(
        "https://example.com", str(site.make_url("/")).rstrip("/")
    )
    async with serving(command.replace("/tmp/disk.sock", str(socket)), socket):
        assert await hostname(socket) == DEMO_SYSTEM.hostname


async def test_an_image_of_your_own_behind_qemu_nbd(demo_guest: Path, tmp_path: Path) -> None:
    image, socket = tmp_path / "disk.qcow2", tmp_path / "disk.sock"
    assert (await AsyncDiskConverter().convert(demo_guest, image, source_format="raw"))["success"]
    command = recipe("qemu-nbd", "-f qcow2").replace("disk.qcow2", str(image))
    async with serving(command.replace("/tmp/disk.sock", str(socket)), socket):
        assert await hostname(socket) == DEMO_SYSTEM.hostname


async def test_what_is_told_to_type_for_a_url_works(site: BaseTestServer, tmp_path: Path) -> None:
    """Regression: `guestkit inspect https://…` reported that there was no such file."""

    async def shell(command: str) -> tuple[int | None, str, str]:
        words = shlex.split(command.replace("guestkit ", f"{sys.executable} -m guestkit ", 1))
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await process.communicate()
        return process.returncode, output.decode(), errors.decode()

    url = site.make_url("/disk.img")
    status, output, errors = await shell(f"guestkit convert {url} {tmp_path}/new.img")
    assert (status, output) == (1, "")
    assert f"download it (curl -fLO {url})" in errors
    assert "nbd" not in errors  # converting takes files alone
    async with AsyncGuestfs() as g:
        with pytest.raises(Error) as caught:
            await g.open_disk(str(url))
    said = re.search(r"\((nbdkit .*?)\); open (nbd\+unix:\S+) with format=raw", str(caught.value))
    assert said is not None, caught.value
    socket = tmp_path / "disk.sock"
    serve, served = (each.replace("/tmp/disk.sock", str(socket)) for each in said.groups())
    async with serving(serve, socket):
        status, output, errors = await shell(f"guestkit inspect --format raw {served}")
    assert status == 0, errors
    assert DEMO_SYSTEM.hostname in output
