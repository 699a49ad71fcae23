"""A hostile guest, served to real clients: one appliance for nearly all of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import aiohttp
import asyncssh
import pytest

from guestkit import Error, Guestfs, open_guest
from guestkit.serving import Served, ServeOptions, Server, gate, serve
from tests.images import hostile
from tests.images.corpus import ROOT_UUID, Part, _make
from tests.images.trees import Fifo, File, Link

#: Seconds; only something that hangs takes longer.
PATIENCE = 60

LARGE = bytes(range(256)) * (64 << 10)  # 16 MB: eight turns

PASSWORD = "a 'secret' ü"
AUTHORIZATION = f"Basic {base64.b64encode(f'guest:{PASSWORD}'.encode()).decode()}"

EXTRA: dict[str, File] = {
    "data/fifo": Fifo(),
    "data/to-fifo": Link("fifo"),
    "data/nowhere": Link("/no/such/file"),
    "data/circle": Link("circle"),
    "data/to-directory": Link("/usr/bin"),
    "data/to-shadow": Link("../../../../../../../../etc/shadow"),
    "data/large": LARGE,
    "data/letters": b"abcdefghij",
    "data/javascript:alert(1)": b"",
    "data/page.html": b"<script>alert(1)</script>",
    "new/empty": None,
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serving") / "disk.img"
    _make([Part({**hostile.tree(), **EXTRA}, uuid=ROOT_UUID, size=96 << 20)], path)
    return path


@pytest.fixture(scope="module")
def g(disk: Path) -> Iterator[Guestfs]:
    copy = disk.with_name("copy.img")
    shutil.copyfile(disk, copy)
    with open_guest(copy, readonly=False, format="raw") as handle:
        handle.mknod_b(0o644, 8, 0, "/data/device")
        handle.utimens("/data/letters", -5, 0, -5, 0)  # before 1970
        yield handle


class Serving:
    """The guest, served to be read, or to be written, on a loop of its own."""

    def __init__(self, g: Guestfs, readonly: bool) -> None:
        self._begun: Future[tuple[Server, Callable[[], object]]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(g, readonly)))
        self._thread.start()
        self.server, self._stop = self._begun.result(PATIENCE)

    async def _serve(self, g: Guestfs, readonly: bool) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with Server(g, ServeOptions(readonly=readonly, password=PASSWORD)) as server:
            self._begun.set_result((server, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    @property
    def served(self) -> Served:
        return self.server.served

    @property
    def sftp_port(self) -> int:
        return int(self.served.sftp.rstrip("/").rpartition(":")[2])

    def end(self) -> None:
        self._stop()
        self._thread.join(PATIENCE)


@pytest.fixture(scope="module")
def reading(g: Guestfs) -> Iterator[Serving]:
    serving = Serving(g, True)
    yield serving
    serving.end()


@pytest.fixture(scope="module")
def writing(g: Guestfs) -> Iterator[Serving]:
    serving = Serving(g, False)
    yield serving
    serving.end()


# ---- clients


class Answer:
    """What curl got."""

    def __init__(self, output: bytes) -> None:
        head, _, self.body = output.partition(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head, _, self.body = self.body.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }


def curl(url: str, *words: str | Path, password: str = PASSWORD) -> Answer:
    command = [
        "curl",
        "-sS",
        "-i",
        "--path-as-is",
        "-m",
        str(PATIENCE),
        "-u",
        f"guest:{password}",
        *words,
        url,
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return Answer(done.stdout)


@pytest.fixture
def openssh(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run one of OpenSSH's programs, which asks for the password."""
    ask = tmp_path / "ask"
    ask.write_text('#!/bin/sh\nprintf "%s\\n" "$PASSWORD"\n')
    ask.chmod(0o700)
    options = {
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "PubkeyAuthentication": "no",
        "NumberOfPasswordPrompts": "1",
        "BatchMode": "no",
        "LogLevel": "ERROR",
    }

    def run(
        *words: str | Path, input: str = "", password: str = PASSWORD
    ) -> subprocess.CompletedProcess[str]:
        program, *arguments = map(str, words)
        given = [f"-o{name}={value}" for name, value in options.items()]
        return subprocess.run(
            [program, "-F", "none", *given, *arguments],
            env=os.environ | {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "PASSWORD": password},
            input=input,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=PATIENCE,
            check=False,
        )

    return run


@contextlib.asynccontextmanager
async def sftp_client(serving: Serving) -> Any:
    async with (
        asyncssh.connect(
            "127.0.0.1", serving.sftp_port, username="guest", password=PASSWORD, known_hosts=None, config=None
        ) as connection,
        connection.start_sftp_client() as client,
    ):
        yield client


# ---- HTTP, reading


def test_curl_reads_files_and_ranges(reading: Serving) -> None:
    url = f"{reading.served.http}data/letters"
    whole = curl(url)
    assert (whole.status, whole.body, whole.headers["content-length"]) == (200, b"abcdefghij", "10")
    for asked, body, told in [
        ("2-4", b"cde", "bytes 2-4/10"),
        ("7-", b"hij", "bytes 7-9/10"),
        ("-3", b"hij", "bytes 7-9/10"),
        ("5-99", b"fghij", "bytes 5-9/10"),
    ]:
        part = curl(url, "-r", asked)
        assert (part.status, part.body, part.headers["content-range"]) == (206, body, told)
    beyond = curl(url, "-r", "10-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */10")
    assert curl(url, "-r", "0-1,4-5").body == b"abcdefghij"  # several: all of it, as HTTP permits
    head = curl(url, "-I")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "10")


def test_a_download_goes_on_where_it_ended_only_if_the_file_is_the_same(reading: Serving) -> None:
    url = f"{reading.served.http}data/letters"
    etag = curl(url).headers["etag"]
    assert curl(url, "-r", "2-4", "-H", f"If-Range: {etag}").status == 206
    assert curl(url, "-r", "2-4", "-H", 'If-Range: "another"').status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("no/such/file", 404),
        ("data/letters/below", 404),
        ("data/nowhere", 404),
        ("data/circle", 404),
        ("etc/hosts%00", 404),
        ("data/fifo", 403),
        ("data/to-fifo", 403),
        ("data/device", 403),
    ],
)
def test_what_cannot_be_read_has_the_protocols_own_status(reading: Serving, path: str, status: int) -> None:
    assert curl(f"{reading.served.http}{path}").status == status


def test_no_path_and_no_symlink_leads_to_this_hosts_files(reading: Serving, g: Guestfs) -> None:
    url = reading.served.http
    passwd = g.read_file("/etc/passwd")
    assert passwd != Path("/etc/passwd").read_bytes()
    for path in ("../../../../etc/passwd", "srv/%2e%2e/..%2f../etc/passwd", "srv/out", "//etc/passwd"):
        assert curl(f"{url}{path}").body == passwd
    assert curl(f"{url}data/to-shadow").status == 404
    assert curl(f"{url}proc/self/environ").status == 404


def test_a_file_is_never_shown_as_a_page_of_the_servers(reading: Serving) -> None:
    answer = curl(f"{reading.served.http}data/page.html")
    assert answer.body == b"<script>alert(1)</script>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


class Page(HTMLParser):
    """The elements, links and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        assert {name for name, _ in attrs} <= {"href", "lang", "charset"}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_names_are_text_in_a_page(reading: Serving) -> None:
    answer = curl(f"{reading.served.http}srv/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(answer.body.decode())
    usual = {"html", "head", "meta", "title", "style", "body", "h1", "table", "tr", "td", "a"}
    assert page.elements == usual
    assert hostile.ESCAPED.replace("/script", "\u2044script") in page.text
    assert r"\xff\u202e.txt" in page.text
    assert f"link → {hostile.ESCAPED}" in page.text
    assert "\x1b" not in page.text
    for link in page.links:
        assert re.fullmatch(r"/([A-Za-z0-9%._~-]+/?)*", link)
        if link not in ("/", "/srv/link"):  # the other names lead to what they name
            assert curl(f"{reading.served.http}{link[1:]}").status == 200


def test_a_page_permits_no_script_and_special_files_have_no_link(reading: Serving) -> None:
    answer = curl(f"{reading.served.http}data/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in policy
    assert "sandbox allow-downloads" in policy
    page = Page(answer.body.decode())
    assert "fifo (FIFO)" in page.text
    assert "device (block device)" in page.text
    assert "/data/fifo" not in page.links
    assert "/data/device" not in page.links
    assert "/data/javascript%3Aalert%281%29" in page.links


def test_a_directory_without_its_slash_is_redirected_on_this_server(reading: Serving) -> None:
    for path, place in (("data", "/data/"), ("/data/to-directory", "/data/to-directory/")):
        answer = curl(f"{reading.served.http}{path}")
        assert (answer.status, answer.headers["location"]) == (301, place)
    assert curl(f"{reading.served.http}/evil.example/../data").headers["location"] == "/data/"


def test_webdav_lists_what_can_be_opened(reading: Serving) -> None:
    def hrefs(path: str, depth: str) -> set[str]:
        answer = curl(f"{reading.served.http}{path}", "-X", "PROPFIND", "-H", f"Depth: {depth}")
        assert answer.status == 207
        tree = ElementTree.fromstring(answer.body)
        return {found.text or "" for found in tree.iter("{DAV:}href")}

    found = hrefs("data", "1")
    assert {"/data/", "/data/letters", "/data/to-directory/"} <= found
    assert not {"/data/fifo", "/data/device", "/data/nowhere", "/data/circle", "/data/to-fifo"} & found
    assert hrefs("data/letters", "0") == {"/data/letters"}
    assert "/srv/%FF%E2%80%AE.txt" in hrefs("srv", "1")
    assert curl(f"{reading.served.http}data", "-X", "PROPFIND", "-H", "Depth: infinity").status == 403
    assert curl(f"{reading.served.http}data/fifo", "-X", "PROPFIND", "-H", "Depth: 0").status == 403
    assert curl(reading.served.http, "-X", "OPTIONS").headers["allow"] == "GET, HEAD, OPTIONS, PROPFIND"
    assert curl(reading.served.http, "-X", "LOCK").status == 405


@pytest.mark.parametrize("method", ["PUT", "DELETE", "MKCOL", "MOVE", "COPY"])
def test_nothing_changes_what_is_served_to_be_read(reading: Serving, g: Guestfs, method: str) -> None:
    url = f"{reading.served.http}data/{'new' if method == 'MKCOL' else 'letters'}"
    words = ["-H", "Destination: /data/new"] if method in ("MOVE", "COPY") else []
    answer = curl(url, "-X", method, *words)
    assert answer.status == 403
    assert b"served read-only" in answer.body
    assert g.read_file("/data/letters") == b"abcdefghij"
    assert not g.exists("/data/new")


# ---- who is admitted


def test_a_wrong_password_is_refused_and_slowed(
    reading: Serving,
    openssh: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    slept = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await slept(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    answer = curl(reading.served.http, password="guess")
    assert (answer.status, answer.headers["www-authenticate"].split()[0]) == (401, "Basic")
    assert b"data" not in answer.body
    done = openssh("sftp", "-P", str(reading.sftp_port), "guest@127.0.0.1", input="ls\n", password="guess")
    assert done.returncode == 255
    assert "Permission denied" in done.stderr
    done = openssh("sftp", "-P", str(reading.sftp_port), "other@127.0.0.1", input="ls\n")
    assert done.returncode == 255
    assert waits == [gate.DELAY] * 3
    without = subprocess.run(["curl", "-si", reading.served.http], capture_output=True, check=True).stdout
    assert Answer(without).status == 401
    assert curl(reading.served.http).status == 200


def test_ssh_gives_files_and_nothing_else(
    reading: Serving, openssh: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    where = ["-p", str(reading.sftp_port), "guest@127.0.0.1"]
    for words in (
        ["ssh", *where, "id"],
        ["ssh", "-W", "127.0.0.1:22", *where],
        ["ssh", "-s", *where, "other"],
    ):
        done = openssh(*words)
        assert done.returncode == 255 or done.stdout == ""
        assert "uid=" not in done.stdout
        assert done.returncode != 0


# ---- SFTP, reading


def test_openssh_reads_a_guests_files(
    reading: Serving, tmp_path: Path, openssh: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    place = f"scp://guest@127.0.0.1:{reading.sftp_port}/"
    done = openssh("scp", f"{place}data/large", tmp_path / "large")
    assert done.returncode == 0, (
        done.stderr
    )  # asyncssh by itself sends no status, which scp takes for a failure
    assert (tmp_path / "large").read_bytes() == LARGE
    batch = f"""
        pwd
        cd ../../..
        -cd /data/letters
        pwd
        ls -l /data
        ls -l /srv
        get /srv/out {tmp_path}/passwd
        -get /data/fifo {tmp_path}/fifo
        -get /data/device {tmp_path}/device
        -get /no/such {tmp_path}/no
        -put {tmp_path}/large /data/letters
        -rm /data/letters
        df -h /
    """
    done = openssh("sftp", "-b", "-", "-P", str(reading.sftp_port), "guest@127.0.0.1", input=batch)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Remote working directory: /\n") == 2
    assert "\x1b" not in done.stdout
    assert re.search(r"^-rw-r--r-- .* 10 Jan  1  1970 letters$", done.stdout, re.MULTILINE)
    assert re.search(r"^prw.* fifo$", done.stdout, re.MULTILINE)
    assert b"root:" in (tmp_path / "passwd").read_bytes()
    assert (tmp_path / "passwd").read_bytes() != Path("/etc/passwd").read_bytes()
    for name in ("fifo", "device", "no"):
        assert not (tmp_path / name).exists() or not (tmp_path / name).read_bytes()
    assert done.stderr.count("Permission denied") == 2


async def test_another_client_sees_names_as_bytes_and_symlinks_as_such(reading: Serving) -> None:
    async with sftp_client(reading) as client:
        names = {name.filename: name.attrs for name in await client.readdir(b"/srv")}
        assert b"\xff\xe2\x80\xae.txt" in names
        assert stat.S_ISLNK(names[b"out"].permissions)
        assert await client.readlink(b"/srv/out") == b"../../../../../../../../etc/passwd"
        assert await client.realpath(b"/srv/../../..") == b"/"
        assert (await client.stat(b"/data/letters")).mtime == 0
        assert (await client.statvfs(b"/data")).bsize > 0
        with pytest.raises(asyncssh.SFTPFailure, match="not opened"):
            await client.open(b"/data/fifo", "rb")
        with pytest.raises(asyncssh.SFTPNoSuchFile):
            await client.listdir(b"/data/letters")
        async with client.open(b"/data/large", "rb") as file:
            for offset, size in ((5 << 20, 1000), (0, 10), (len(LARGE) - 5, 100), (3, 3 << 20)):
                data = await file.read(size, offset)
                assert data == LARGE[offset : offset + size]
            assert await file.read(10, len(LARGE)) == b""


async def test_one_client_has_not_all_the_files_open(reading: Serving) -> None:
    from guestkit.serving import limits

    async with sftp_client(reading) as client:
        files = [await client.open(b"/data/letters", "rb") for _ in range(limits.OPEN)]
        with pytest.raises(asyncssh.SFTPFailure, match="Too many open files"):
            await client.open(b"/data/letters", "rb")
        await files[0].close()
        await client.open(b"/data/letters", "rb")


async def test_a_small_read_is_answered_while_a_large_one_runs(reading: Serving) -> None:
    async with (
        aiohttp.ClientSession(reading.served.http, headers={"Authorization": AUTHORIZATION}) as session,
        sftp_client(reading) as client,
        client.open(b"/data/letters", "rb") as file,
        session.get("/data/large") as stalled,
    ):
        assert await stalled.content.readexactly(1) == LARGE[:1]  # and no more: its client is slow
        async with session.get("/data/large") as large:
            begun = await large.content.readexactly(1 << 20)
            rest = asyncio.create_task(large.content.read())
            async with session.get("/data/letters") as small:
                assert await small.read() == b"abcdefghij"
            assert await file.read(10, 0) == b"abcdefghij"
            assert not rest.done()
            assert begun + await rest == LARGE


# ---- writing


def test_curl_writes_by_webdav(writing: Serving, g: Guestfs, tmp_path: Path) -> None:
    url = writing.served.http
    (tmp_path / "file").write_bytes(LARGE[: 3 << 20])

    def asked(path: str, *words: str | Path) -> int:
        return curl(f"{url}{path}", *words).status

    assert asked("new/dav", "-X", "MKCOL") == 201
    assert asked("new/dav", "-X", "MKCOL") == 405
    assert asked("new/no/dav", "-X", "MKCOL") == 409
    assert asked("new/dav/file", "-T", tmp_path / "file") == 201
    assert g.read_file("/new/dav/file") == LARGE[: 3 << 20]
    g.chmod(0o640, "/new/dav/file")
    (tmp_path / "file").write_bytes(b"shorter")
    assert asked("new/dav/file", "-T", tmp_path / "file") == 204
    assert g.read_file("/new/dav/file") == b"shorter"
    assert stat.S_IMODE(g.statns("/new/dav/file")["st_mode"]) == 0o640
    assert asked("new/dav/file", "-T", tmp_path / "file", "-H", "Content-Encoding: gzip") == 204
    assert g.read_file("/new/dav/file") == b"shorter"  # stored as it came, and never unpacked here
    assert asked("new/no/file", "-T", tmp_path / "file") == 409
    assert asked("data/fifo", "-T", tmp_path / "file") == 403
    to = ("-H", f"Destination: {url}new/dav/{quote('ü')}")
    assert asked("new/dav/file", "-X", "COPY", *to) == 201
    assert asked("new/dav/file", "-X", "COPY", *to, "-H", "Overwrite: F") == 412
    assert asked("new/dav/file", "-X", "MOVE", *to) == 204
    assert asked("new/dav", "-X", "COPY", *to) == 403
    assert asked("new/dav/file", "-X", "MOVE", "-H", "Destination: http://other.example/x") == 502
    assert g.ls("/new/dav") == ["ü"]
    g.ln("/new/dav/ü", "/new/dav/hard")
    assert asked("new/dav/hard", "-X", "MOVE", *to) == 204  # rename(2) would leave both names
    assert g.ls("/new/dav") == ["ü"]
    assert asked("new/dav", "-X", "DELETE") == 204
    assert asked("new/dav", "-X", "DELETE") == 404
    assert asked("", "-X", "DELETE") == 403


async def test_an_upload_that_breaks_off_leaves_the_old_file(writing: Serving, g: Guestfs) -> None:
    g.write("/new/kept", b"old")
    host, port = writing.served.http.removeprefix("http://").rstrip("/").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = ("PUT /new/kept HTTP/1.1", "Host: x", f"Authorization: {AUTHORIZATION}", "Content-Length: 5000000")
    writer.write("\r\n".join([*head, "", ""]).encode() + bytes(2_000_000))
    await writer.drain()
    writer.close()
    async with asyncio.timeout(PATIENCE), sftp_client(writing) as client:
        while sorted(await client.listdir("/new")) != ["empty", "kept"]:  # until the server has noticed
            pass
    assert g.read_file("/new/kept") == b"old"
    g.rm("/new/kept")


def test_openssh_writes(
    writing: Serving, g: Guestfs, tmp_path: Path, openssh: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(LARGE[: 1 << 20])
    file.chmod(0o751)
    os.utime(file, (1_000_000_000, 1_000_000_000))
    (tmp_path / "directory").mkdir(0o700)
    shutil.copy2(file, tmp_path / "directory")
    place = f"scp://guest@127.0.0.1:{writing.sftp_port}/"
    assert openssh("scp", "-p", file, f"{place}new/copied").returncode == 0
    assert g.read_file("/new/copied") == LARGE[: 1 << 20]
    seen = g.statns("/new/copied")
    assert (stat.S_IMODE(seen["st_mode"]), seen["st_mtime_sec"]) == (0o751, 1_000_000_000)
    assert openssh("scp", "-rp", tmp_path / "directory", f"{place}new/tree").returncode == 0
    assert stat.S_IMODE(g.statns("/new/tree")["st_mode"]) == 0o700
    assert g.statns("/new/tree/file")["st_mtime_sec"] == 1_000_000_000
    batch = f"""
        mkdir /new/sftp
        put {file} /new/sftp/a
        rename /new/sftp/a /new/sftp/b
        ln -s ../../../../etc /new/sftp/link
        put {file} /new/sftp/link/through
        chmod 600 /new/sftp/b
        chown 7 /new/sftp/b
        -put {file} /data/fifo
        -ln /new/sftp/b /new/sftp/hard
        -rmdir /new/sftp
        rm /new/copied
    """
    done = openssh("sftp", "-b", "-", "-P", str(writing.sftp_port), "guest@127.0.0.1", input=batch)
    assert done.returncode == 0, done.stderr
    assert g.ls("/new/sftp") == ["b", "link"]
    assert g.exists("/etc/through")
    seen = g.statns("/new/sftp/b")
    assert (stat.S_IMODE(seen["st_mode"]), seen["st_uid"]) == (0o600, 7)
    assert not g.exists("/new/copied")
    g.rm_rf("/new/tree")


async def test_open_files_are_written_as_their_modes_say(writing: Serving, g: Guestfs) -> None:
    g.write("/new/file", b"abc")
    async with sftp_client(writing) as client:
        async with client.open(b"/new/file", "ab") as file:
            await file.write(b"def")
        assert g.read_file("/new/file") == b"abcdef"
        async with client.open(b"/new/file", "r+b") as file:
            assert await file.read(2) == b"ab"
            await file.write(b"X", 1)
            assert await file.read(6, 0) == b"aXcdef"  # not what was read ahead before
            await file.truncate(3)
            assert await file.read(6, 0) == b"aXc"
            await file.fsync()
        with pytest.raises(asyncssh.SFTPFailure, match="File exists"):
            await client.open(b"/new/file", "xb")
        with pytest.raises(asyncssh.SFTPFailure):
            await client.rename(b"/new/file", b"/data/letters")
        with pytest.raises(asyncssh.SFTPNoSuchFile):
            await client.open(b"/new/none", "r+b")
        async with client.open(b"/new/file", "r+b") as file:
            await client.posix_rename(b"/data/fifo", b"/new/file")
            with pytest.raises(asyncssh.SFTPFailure, match="not opened"):
                await file.write(b"Y", 0)  # the name is a FIFO's by now
            with pytest.raises(asyncssh.SFTPFailure, match="not opened"):
                await file.read(1, 0)
            await client.posix_rename(b"/new/file", b"/data/fifo")


# ---- its life


def children(process: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text(encoding="ascii").split()
    ]


@contextlib.contextmanager
def command(disk: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str], int]]:
    """`guestkit serve`, when it serves: the process, what it told, and a descriptor of its hypervisor."""
    words = [sys.executable, "-m", "guestkit", "serve", "--json", str(disk)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            (qemu,) = (
                child for child in children(process.pid) if "qemu" in os.readlink(f"/proc/{child}/exe")
            )
            hypervisor = os.pidfd_open(qemu)
            yield process, told, hypervisor
            os.close(hypervisor)
        finally:
            process.kill()


def test_a_killed_hypervisor_ends_the_server_with_a_message(disk: Path) -> None:
    with command(disk) as (process, told, hypervisor):
        assert curl(f"{told['http']}data/letters", password=told["password"]).body == b"abcdefghij"
        signal.pidfd_send_signal(hypervisor, signal.SIGKILL)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert said.endswith("guestkit: error: the hypervisor has ended: nothing more can be served\n")


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_the_disk_is_free(disk: Path, number: signal.Signals) -> None:
    with command(disk) as (process, told, hypervisor):
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
        assert select.select([hypervisor], [], [], 0)[0], "the hypervisor goes on"
        assert process.returncode == -number
        assert said.endswith("guestkit: interrupted\n")
        assert told["password"] not in said


def test_an_address_in_use_and_a_handle_without_files_are_told(g: Guestfs, reading: Serving) -> None:
    port = reading.sftp_port
    with pytest.raises(Error, match=rf"127\.0\.0\.1, port {port}: Address already in use; choose another"):
        serve(g, ServeOptions(port=port))
    with pytest.raises(Error, match="there is no port 65536"):
        serve(g, ServeOptions(port=65535))
    with pytest.raises(Error, match=r"no\.such\.name\.invalid: "):
        serve(g, ServeOptions(listen="no.such.name.invalid"))
    assert g.exists("/etc/passwd")


def test_the_end_of_serving_cuts_off_and_keeps_what_was_written(g: Guestfs) -> None:
    class Stop(BaseException):
        pass

    def ready(served: Served) -> None:
        told.append(served)
        assert curl(f"{served.http}new/last", "-X", "PUT", "-d", "x", password=served.password).status == 201
        login = base64.b64encode(f"guest:{served.password}".encode()).decode()
        head = ("PUT /new/half HTTP/1.1", "Host: x", f"Authorization: Basic {login}", "Content-Length: 9")
        client.connect(("127.0.0.1", int(served.http.rstrip("/").rpartition(":")[2])))
        client.sendall("\r\n".join([*head, "", "half"]).encode())
        while b".guestkit-" not in curl(f"{served.http}new/", password=served.password).body:
            pass  # until the upload has begun
        raise Stop

    told: list[Served] = []
    with socket.socket() as client, pytest.raises(Stop):
        serve(g, ServeOptions(readonly=False), ready=ready)
    assert g.read_file("/new/last") == b"x"
    assert not [name for name in g.ls("/new") if name.startswith(".guestkit-") or name == "half"]
    refused = subprocess.run(["curl", "-sS", told[0].http], capture_output=True, text=True, check=False)
    assert "onnect" in refused.stderr
    assert not [thread for thread in threading.enumerate() if thread.name == "guestkit-serve"]


# ---- a browser

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")


@pytest.mark.full
@pytest.mark.skipif(BROWSER is None, reason="needs chromium-headless-shell or chromium")
def test_no_script_of_a_guests_runs_in_a_browser(reading: Serving, tmp_path: Path) -> None:
    def browse(url: str) -> tuple[str, str]:
        words = [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path}/profile",
        ]
        words += ["--enable-logging=stderr", "--timeout=5000", "--dump-dom", url]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=True)
        return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)

    control = tmp_path / "control.html"
    control.write_text("<script>console.log('it runs')</script>", encoding="utf-8")
    assert "it runs" in browse(control.as_uri())[1]
    url = reading.served.http.replace("//", f"//guest:{quote(PASSWORD)}@")
    for path in ("srv/", "data/", "no/such/%3Cscript%3Ealert(1)%3C%2fscript%3E"):
        dom, said = browse(f"{url}{path}")
        assert "<h1>" in dom
        assert said == ""
    assert "<script>" not in dom
