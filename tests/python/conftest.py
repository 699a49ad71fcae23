"""Shared by the Python tests: the facts, an echo of arguments, a hypervisor that hangs, and more."""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import json
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
import uvloop

from guestkit import AsyncGuestfs, Guestfs
from tests.watching import STDERR, watch

ROOT = Path(__file__).resolve().parents[2]

#: Seconds; only something that hangs takes longer.
PATIENCE = 20

#: Modules whose tests run on the async handle, too.
ALSO_ASYNC = {"test_values", "test_arguments", "test_errors", "test_memoryview"}

#: Since Python 3.12 each fork of a process with threads warns, and guestkit has some.
WITHOUT_WARNING = ("-W", "ignore:This process:DeprecationWarning")

T = TypeVar("T")

# ---- the facts


@functools.cache
def header() -> str:
    """Return the text of the installed guestfs.h."""
    command = ["pkg-config", "--variable=includedir", "libguestfs"]
    folder = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return Path(folder, "guestfs.h").read_text(encoding="utf-8")


@functools.cache
def facts() -> dict[str, Any]:
    """Return the table of libguestfs' API."""
    table: dict[str, Any] = json.loads((ROOT / "api" / "libguestfs.json").read_text(encoding="utf-8"))
    return table


@functools.cache
def installed_actions() -> list[dict[str, Any]]:
    """Return the table's actions and options that the installed libguestfs has."""
    macros = set(re.findall(r"^# ?define (GUESTFS_\w+)", header(), re.MULTILINE))
    return [
        action
        | {
            "optargs": [
                option
                for option in action["optargs"]
                if f"{action['c_optarg_prefix']}_{option['name'].upper()}_BITMASK" in macros
            ]
        }
        for action in facts()["actions"]
        if action["visibility"] != "internal" and f"GUESTFS_HAVE_{action['c_name'].upper()}" in macros
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `action` for every action, and one with `deprecated_action` for those."""
    for fixture, actions in (
        ("action", installed_actions()),
        ("deprecated_action", [a for a in installed_actions() if a["deprecated"]]),
    ):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, actions, ids=[action["name"] for action in actions])
    if (
        "g" in metafunc.fixturenames
        and Path(metafunc.module.__file__ or "").stem in ALSO_ASYNC
        and metafunc.definition.get_closest_marker("blocking_handle") is None
    ):
        metafunc.parametrize("g", ["Guestfs", "AsyncGuestfs"], indirect=True)


@pytest.fixture(scope="session")
def api() -> dict[str, Any]:
    return facts()


@pytest.fixture(scope="session")
def guestfs_h() -> str:
    return header()


# ---- handles


class ThroughAsync:
    """The blocking handle's methods, awaited on an AsyncGuestfs whose loop runs on another thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._handle = AsyncGuestfs(environment=False, accel="tcg")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._handle, name)

        def call(*arguments: Any, **options: Any) -> Any:
            async def make() -> Any:
                return await method(*arguments, **options)

            return asyncio.run_coroutine_threadsafe(make(), self._loop).result(PATIENCE)

        return call

    def end(self) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def g(request: pytest.FixtureRequest) -> Iterator[Guestfs]:
    if getattr(request, "param", "Guestfs") == "Guestfs":
        with Guestfs(environment=False, accel="tcg") as handle:
            yield handle
    else:
        through = ThroughAsync()
        yield through  # type: ignore[misc]
        through.end()


class Echo:
    """Calls internal_test, and returns the arguments as libguestfs received and printed them."""

    def __init__(self, handle: Guestfs, path: Path) -> None:
        self.handle = handle
        self._path = path

    def __call__(self, *positional: Any, **given: Any) -> dict[str, bytes]:
        """Call internal_test with these arguments, the others empty; return its lines by argument."""
        empty: dict[str, Any] = {
            "str": "", "optstr": None, "strlist": [], "b": False, "integer": 0, "integer64": 0,
            "filein": "", "fileout": "", "bufferin": b"",
        }  # fmt: skip
        for name in list(empty)[: len(positional)]:
            del empty[name]
        self.handle.internal_test_set_output(self._path)
        try:
            self.handle.internal_test(*positional, **empty | given)
        finally:
            self.handle.internal_test_close_output()
        return self.lines()

    def lines(self) -> dict[str, bytes]:
        """Return what the last call wrote, by argument."""
        lines = self._path.read_bytes().split(b"\n")
        (action,) = [a for a in installed_actions() if a["name"] == "internal_test"]
        required = [argument["name"] for argument in action["args"]]
        received = dict(zip(required, lines, strict=False))
        for line in lines[len(required) : -1]:
            name, _, value = line.partition(b": ")
            received[name.decode()] = value
        assert lines[-1] == b""
        assert list(received) == required + [option["name"] for option in action["optargs"]]
        return received


@pytest.fixture
def echo(g: Guestfs, tmp_path: Path) -> Echo:
    return Echo(g, tmp_path / "received")


# ---- event loops


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every coroutine test on both event loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def shield_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have asyncio.shield tell the loop of an exception that comes after a cancel, as since Python 3.14."""
    shield = asyncio.shield

    def tell(inner: asyncio.Future[Any]) -> None:
        if not inner.cancelled() and (error := inner.exception()) is not None:
            context = {"message": f"{type(error).__name__} exception in shielded future", "exception": error}
            inner.get_loop().call_exception_handler(context)

    def telling(inner: asyncio.Future[T]) -> asyncio.Future[T]:
        def ended(outer: asyncio.Future[T]) -> None:
            if not inner.done():
                inner.add_done_callback(tell)

        outer = shield(inner)
        outer.add_done_callback(ended)
        return outer

    monkeypatch.setattr(asyncio, "shield", telling)


# ---- threads


class Background(Generic[T]):
    """A call on its own thread, and its outcome."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._ended = threading.Event()
        self._result: list[T] = []
        self._error: Exception | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._function())
        except Exception as error:
            self._error = error
        finally:
            self._ended.set()

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    def wait(self) -> None:
        assert self._ended.wait(PATIENCE), "the call hangs"

    def result(self) -> T:
        """Wait for the end; return what the call returned or raise what it raised."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._result[0]


@pytest.fixture
def watchdog(pytestconfig: pytest.Config) -> Iterator[None]:
    """End the process soon if a test hangs with the GIL held, when no Python code can run."""
    faulthandler.dump_traceback_later(3 * PATIENCE, exit=True, file=pytestconfig.stash[STDERR])
    yield
    watch(pytestconfig)


@pytest.fixture
def background(watchdog: None) -> Callable[[Callable[[], T]], Background[T]]:
    return Background


# ---- a hypervisor that hangs

# It gives up by itself, so that a test whose interpreter freezes fails instead of hanging.
_HYPERVISOR = f"""#!/bin/sh
echo $$ > '{{folder}}/started'
[ -p '{{folder}}/released' ] && timeout {PATIENCE} head -n 1 '{{folder}}/released'
exit 1
"""


def make_appliance(folder: Path) -> None:
    """Make a directory that guestkit and libguestfs take for a fixed appliance, until it has to boot."""
    for name in ("kernel", "initrd", "README.fixed"):
        (folder / name).write_text("not empty\n")
    root = bytearray(4096)
    root[1024 + 0x38 : 1024 + 0x3A] = b"\x53\xef"  # the magic number of an ext file system
    root[1024 + 0x68 : 1024 + 0x78] = b"u" * 16  # its UUID
    (folder / "root").write_bytes(root)


@pytest.fixture
def appliance(tmp_path: Path) -> Path:
    """A fixed appliance in name only: nothing has to be built before the hypervisor is started."""
    folder = tmp_path / "appliance"
    folder.mkdir()
    make_appliance(folder)
    return folder


class Hypervisor:
    """A program that libguestfs takes for QEMU: it starts, waits until it is released, and fails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "hypervisor"
        self.path.write_text(_HYPERVISOR.format(folder=folder))
        self.path.chmod(0o755)
        # An existing appliance: otherwise launch would have supermin build one first.
        self.appliance = folder / "appliance"
        self.appliance.mkdir()
        make_appliance(self.appliance)
        self._disk = folder / "disk"
        self._disk.write_bytes(bytes(4096))
        for name in ("started", "released"):
            os.mkfifo(folder / name)
        self._started = os.open(folder / "started", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._released: int | None = os.open(folder / "released", os.O_RDWR | os.O_CLOEXEC)
        self._launches: list[Background[None]] = []
        self.pid = 0

    def serve(self, handle: Guestfs) -> None:
        """Make the handle launch this hypervisor. Needs accel="tcg", so that KVM is not probed."""
        handle.set_hv(self.path)
        handle.set_path(self.appliance)
        handle.set_cachedir(self._folder)
        handle.set_tmpdir(self._folder)
        handle.add_drive(self._disk, format="raw")

    def launch(self, handle: Guestfs) -> Background[None]:
        """Launch the handle on another thread; return once the hypervisor runs and the launch waits."""
        self.serve(handle)

        started = os.open(self._folder / "started", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

        def run() -> None:
            try:
                handle.launch()
            finally:
                os.write(started, b"0\n")
                os.close(started)

        launch = Background(run)
        self._launches.append(launch)
        self.wait_until_started()
        if self.pid == 0:
            launch.result()
        return launch

    def wait_until_started(self) -> None:
        """Wait until a launch has started the hypervisor, or has failed before that."""
        ready, _, _ = select.select([self._started], [], [], PATIENCE)
        assert ready, "the launch has not started the hypervisor"
        self.pid = int(os.read(self._started, 100).split()[0])

    def release(self) -> None:
        """Let it fail now, and whenever it is started again."""
        if self._released is not None:
            (self._folder / "released").unlink()
            os.write(self._released, b"\n")
            os.close(self._released)
            self._released = None

    def close(self) -> None:
        self.release()
        for launch in self._launches:
            launch.wait()
        os.close(self._started)


@pytest.fixture
def hypervisor(tmp_path: Path, watchdog: None) -> Iterator[Hypervisor]:
    folder = tmp_path / "hypervisor"
    folder.mkdir()
    hypervisor = Hypervisor(folder)
    yield hypervisor
    hypervisor.close()


# ---- other interpreters


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program in a new interpreter."""

    def python(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *WITHOUT_WARNING, "-c", program, *map(str, arguments)],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE,
        )

    return python
