"""Serving without an appliance: options, who is admitted, the host key, what is replaced of asyncssh."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from guestkit import ApplianceCrashed, CallTimeout, Error, Guestfs, HandleClosed
from guestkit.cli import main
from guestkit.serving import ServeOptions, gate, pages, sftp, web
from guestkit.serving.gate import Gate
from guestkit.serving.guest import Guest, path_of, reason
from guestkit.serving.host_key import host_key

# ---- options


def test_each_server_has_a_random_password_that_no_text_shows() -> None:
    one, other = ServeOptions(), ServeOptions()
    assert one.password != other.password
    assert len(one.password) >= 24
    assert one.password not in repr(one)
    assert one.readonly
    assert one.listen == "127.0.0.1"


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"readonly": 0}, TypeError, "readonly must be bool"),
        ({"protocols": ()}, ValueError, 'must be of "sftp" and "http"'),
        ({"protocols": ("ftp",)}, ValueError, 'must be of "sftp" and "http"'),
        ({"port": 65536}, ValueError, "port must be from 0 to 65535"),
        ({"user": ""}, ValueError, "without a colon"),
        ({"user": "a:b"}, ValueError, "without a colon"),
        ({"password": ""}, ValueError, "password must be a text in one line"),
        ({"password": "a\nb"}, ValueError, "password must be a text in one line"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        ServeOptions(**options)  # type: ignore[arg-type]


# ---- names


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"", "/"),
        (b".", "/"),
        (b"etc/hosts", "/etc/hosts"),
        (b"//etc//hosts/", "/etc/hosts"),
        (b"/../../etc/./x/../hosts", "/etc/hosts"),
        (b"/\xff\n", "/\udcff\n"),
    ],
)
def test_a_path_stays_in_the_guest(name: bytes, path: str) -> None:
    assert path_of(name) == path


def test_a_path_with_a_nul_leads_to_no_file() -> None:
    with pytest.raises(FileNotFoundError):
        path_of(b"/etc\0/hosts")


def test_a_link_is_never_another_servers_or_a_script() -> None:
    assert pages.link("/a/javascript:alert(1)") == "/a/javascript%3Aalert%281%29"
    assert pages.link("/\udcff<\"'&") == "/%FF%3C%22%27%26"
    assert pages.link("/etc", directory=True) == "/etc/"
    assert pages.link("/", directory=True) == "/"


def test_times_that_cannot_be_told_are_left_out() -> None:
    for seconds in (1 << 62, -(1 << 62)):
        entry = {"name": "/x", "type": "file", "size": 3, "mode": 0o100644, "mtime": seconds}
        assert '<a href="/x">x</a></td><td>3</td><td></td>' in "".join(pages.page("/", [entry]))
        assert "getlastmodified" not in "".join(pages.multistatus([("/x", entry)]))
        assert 0 <= sftp._seconds(seconds) < 1 << 32


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=3-", (3, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-40", (0, 10)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=٣-", None),
        ("bytes=" + "9" * 5000 + "-", None),
    ],
)
def test_ranges(text: str, found: tuple[int, int] | None) -> None:
    assert web._range(text, 10) == found


@pytest.mark.parametrize("text", ["bytes=10-", "bytes=-0", "bytes=9999999999999999999-"])
def test_ranges_beyond_the_end(text: str) -> None:
    with pytest.raises(web.Refused, match="the file has 10 bytes"):
        web._range(text, 10)


# ---- errors


@pytest.mark.parametrize(
    ("error", "number", "lost", "status"),
    [
        (CallTimeout("pread", "too long"), errno.ETIMEDOUT, False, 504),
        (ApplianceCrashed("pread", "\x1b[31mhostile"), errno.EIO, True, 500),
        (HandleClosed("pread", "closed"), errno.EIO, True, 500),
        (Error("walk", "\x1b[31mhostile"), errno.EIO, False, 500),
        (OSError(errno.ENOSPC, "no space", "/x"), errno.ENOSPC, False, 507),
        (OSError(errno.EBUSY, "busy", "/x"), errno.EBUSY, False, 423),
    ],
)
async def test_what_is_wrong_is_told_without_the_guests_words(
    error: Exception, number: int, lost: bool, status: int
) -> None:
    def fail(g: Guestfs) -> None:
        raise error

    with Guestfs() as g:
        guest = Guest(g, readonly=True)
        with pytest.raises(OSError, match=r"^\[Errno") as told:
            await guest.look(fail)
        assert told.value.errno == number
        assert "\x1b" not in reason(told.value)
        assert guest.lost.is_set() == lost
        assert web._STATUS.get(number, 500) == status
        with pytest.raises(PermissionError, match="served read-only"):
            await guest.change(fail, "/x")


# ---- who is admitted


class Clock:
    """In place of `asyncio.sleep`: waits until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        monkeypatch.setattr(gate.asyncio, "sleep", self._sleep)  # type: ignore[attr-defined]

    async def _sleep(self, seconds: float) -> None:
        assert seconds == gate.DELAY
        self.waiting.append(asyncio.get_running_loop().create_future())
        await self.waiting[-1]

    def tick(self) -> None:
        self.waiting.pop().set_result(None)


async def _turns() -> None:
    """Let all that can run do so."""
    for _ in range(10):
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(done.set_result, None)
        await done


async def test_guesses_of_an_address_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, door = Clock(monkeypatch), Gate("guest", "right")
    wrong = [asyncio.create_task(door.admits("1.2.3.4", "guest", f"guess {i}")) for i in range(2)]
    await _turns()
    wrong[0].cancel()  # hangs up, and gains nothing
    right = asyncio.create_task(door.admits("1.2.3.4", "guest", "right"))
    await _turns()
    assert len(clock.waiting) == 1
    assert await door.admits("5.6.7.8", "guest", "right")
    clock.tick()
    await _turns()
    assert not right.done()
    clock.tick()
    assert await wrong[1] is False
    assert await right
    assert not door._addresses


async def test_too_many_guesses_are_refused_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, door = Clock(monkeypatch), Gate("guest", "right")
    guesses = [asyncio.create_task(door.admits("1.2.3.4", "guest", "x")) for _ in range(gate.WAITING)]
    await _turns()
    assert not await door.admits("1.2.3.4", "guest", "right")
    for _ in guesses:
        clock.tick()
        await _turns()
    assert await asyncio.gather(*guesses) == [False] * gate.WAITING
    assert await door.admits("1.2.3.4", "guest", "right")


async def test_names_and_passwords_are_not_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "DELAY", 0)
    door = Gate("guest", "p\u00fc")
    assert await door.admits("", "guest", "pu\u0308")  # as SSH's clients normalise it
    assert not await door.admits("", "gues", "tp\u00fc")
    assert not await door.admits("", "guest", "\udcff")


# ---- the host key


def test_the_host_key_is_kept_for_this_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(cache))
    old = os.umask(0)
    try:
        key = host_key()
    finally:
        os.umask(old)
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert host_key().get_fingerprint() == key.get_fingerprint()
    file.chmod(0o644)
    with pytest.raises(Error, match="others may read or write it: remove it"):
        host_key()
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(Error, match="SFTP has no host key"):
        host_key()
    file.unlink()
    kept = host_key().get_fingerprint()
    cache.chmod(0o777)
    assert host_key().get_fingerprint() != kept
    assert "SFTP's host key is not kept" in caplog.text


# ---- asyncssh


def test_no_method_of_asyncsshs_own_server_reaches_this_hosts_files() -> None:
    """A new release may bring one more."""
    harmless = {
        "channel", "connection", "env", "logger",  # the connection
        "convert_attrs", "_to_sftpname",  # by what is replaced
        "lock", "unlock",  # not supported
    }  # fmt: skip
    inherited = {
        name for name in vars(asyncssh.SFTPServer) if not (name.startswith("__") or name in vars(sftp.Files))
    }
    assert inherited == harmless
    files = sftp.Files.__new__(sftp.Files)
    for method in (files.map_path, files.reverse_map_path):
        with pytest.raises(asyncssh.SFTPOpUnsupported):
            method(b"/etc/passwd")


# ---- the libraries, and the command


@pytest.mark.parametrize(
    "library",
    ["asyncssh", *(pytest.param(other, marks=pytest.mark.full) for other in ("aiohttp", "fsspec"))],
)
def test_a_missing_library_is_told_with_the_extra(
    python: Callable[..., subprocess.CompletedProcess[str]], library: str
) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from guestkit.cli import main\n"
        "sys.exit(main(['serve', 'no-disk']))"
    )
    done = python(program)
    assert done.returncode == 1
    expected = f"{library} is not installed, which serving needs: pip install 'libguestkit[serve]'"
    assert done.stderr == f"guestkit: error: {expected}\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--rw"], "its --format has to be stated"),
        (["--port", "0"], "not a port"),
        (["--port", "70000"], "not a port"),
        (["--user", "a:b"], "user must be a name without a colon"),
        (["--password", "secret"], "there is no option '--password'"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], text: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *words, "no-disk"])
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


def test_the_password_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from guestkit.cli import serve

    monkeypatch.setenv(serve.VARIABLE, "from the environment")
    (tmp_path / "file").write_text("from a file\nanother line\n")
    assert serve._password(None) == "from the environment"
    monkeypatch.setenv(serve.VARIABLE, "from the environment")
    assert serve._password(str(tmp_path / "file")) == "from a file"
    assert serve.VARIABLE not in os.environ  # it is not passed on to programs
    assert serve._password(None) is None
