"""A guest's files in a directory, mounted by a program: `mounted`, and libguestfs' own `mount_local`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guestkit import ApplianceCrashed, AsyncGuestfs, Error, Event, Guestfs, HandleClosed, fuse, open_guest
from guestkit.demo import DEMO_SYSTEM
from guestkit.guest import mount_guest

PATIENCE = 100

pytestmark = pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="this host has no /dev/fuse")


@pytest.fixture(scope="module")
def g(demo_guest: Path) -> Iterator[Guestfs]:
    """A launched handle, mounted: whoever mounts it in a directory leaves it as it was."""
    with open_guest(demo_guest) as g:
        yield g


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "a directory"
    path.mkdir()
    yield path
    assert fuse.mount_at(str(path)) is None


@contextlib.contextmanager
def sitting_in(directory: Path) -> Iterator[None]:
    """A program whose current directory that is."""
    with subprocess.Popen(["sleep", "1000"], cwd=directory) as program:
        try:
            yield
        finally:
            program.kill()


def ends(function: Callable[[], object]) -> None:
    """Run it on a thread; fail if it does not end."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it hangs"
    if failures:
        raise failures[0]


def is_mounted(path: Path) -> bool:
    return fuse.mount_at(str(path)) is not None


def test_a_handle_with_nothing_to_show_told_of_guestfish(g: Guestfs, directory: Path) -> None:
    with (
        Guestfs() as idle,
        pytest.raises(Error, match=r"^mounted: the handle is not launched; launch it, then mount .*\)$"),
        idle.mounted(directory),
    ):
        pass
    g.umount_all()
    with (
        pytest.raises(Error, match=r"^mounted: no filesystem is mounted in the handle; mount one .*\)$"),
        g.mounted(directory),
    ):
        pass
    mount_guest(g)


def test_programs_read_the_directory_and_the_handle_refuses_calls_until_it_is_unmounted(
    g: Guestfs, directory: Path
) -> None:
    release = g.read_file("/etc/os-release")
    with g.mounted(directory) as path:
        assert path == directory.resolve()
        assert (
            subprocess.run(["cat", "etc/os-release"], cwd=path, capture_output=True, check=True).stdout
            == release
        )
        with pytest.raises(OSError, match="Read-only"):
            (path / "new").touch()
        for call in (lambda: g.ls("/"), g.get_verbose, g.umount_local, g.mount_local_run):
            with pytest.raises(
                Error, match="the handle serves .* until that is unmounted; use the files"
            ) as told:
                ends(call)
            assert (told.value.cause, told.value.errno) == ("mounted", errno.EBUSY)
        with pytest.raises(Error, match="something is mounted there already"), g.mounted(directory):
            pass
        assert is_mounted(directory)
    assert os.listdir(directory) == []
    assert g.read_file("/etc/os-release") == release


def test_a_call_that_waits_when_the_mount_begins_is_refused(g: Guestfs, directory: Path) -> None:
    """The hypervisor stands still meanwhile, so that the mount has the turn and does not yet serve."""
    has_turn, refused = threading.Event(), []

    def call() -> None:
        try:
            g.ls("/etc")
        except Error as error:
            refused.append(error.cause)

    hypervisor = g.get_pid()
    number = g.set_event_callback(lambda *event: has_turn.set(), Event.ENTER)
    mounting = contextlib.ExitStack()
    first = threading.Thread(target=lambda: mounting.enter_context(g.mounted(directory)))
    callers = [threading.Thread(target=call) for _ in range(5)]
    os.kill(hypervisor, signal.SIGSTOP)
    try:
        first.start()
        assert has_turn.wait(PATIENCE)
        for caller in callers:
            caller.start()
    finally:
        os.kill(hypervisor, signal.SIGCONT)
    for thread in (first, *callers):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    mounting.close()
    g.delete_event_callback(number)
    assert refused == ["mounted"] * 5


def reads_in_vain(g: Guestfs, hypervisor: int, mounted: Path) -> threading.Thread:
    """Have the appliance stand still, and a thread wait for what is in the directory."""
    asked = threading.Event()

    def note(event: Event, number: int, call: str, numbers: list[int]) -> None:
        if call != "mount_local_run":
            asked.set()

    def read() -> None:
        with contextlib.suppress(OSError):
            os.listdir(mounted / "usr")

    os.listdir(mounted)  # so that it serves
    g.set_event_callback(note, Event.ENTER)
    os.kill(hypervisor, signal.SIGSTOP)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert asked.wait(PATIENCE)
    return reader


def test_two_mounts_that_hung_kept_each_other_from_being_cut_off(demo_guest: Path, tmp_path: Path) -> None:
    """Regression: the first waited for the reader of the second, with a lock that the second needed."""
    readers, closers = [], []
    with contextlib.ExitStack() as handles:
        with contextlib.ExitStack() as standing_still:
            for name in ("first", "second"):
                g = handles.enter_context(open_guest(demo_guest))
                hypervisor = g.get_pid()
                mounting = contextlib.ExitStack()
                (tmp_path / name).mkdir()
                mounted = mounting.enter_context(g.mounted(tmp_path / name))
                standing_still.callback(os.kill, hypervisor, signal.SIGCONT)
                readers.append(reads_in_vain(g, hypervisor, mounted))
                closers.append(threading.Thread(target=mounting.close, daemon=True))
            for closer in closers:
                closer.start()
            for reader in readers:
                reader.join(PATIENCE)
                assert not reader.is_alive(), "it hangs"
        for closer in closers:
            closer.join(PATIENCE)
            assert not closer.is_alive(), "it hangs"


@pytest.mark.parametrize("by", ["the end", "another program"])
def test_a_program_that_sits_in_the_directory_does_not_hold_it(g: Guestfs, directory: Path, by: str) -> None:
    with contextlib.ExitStack() as stack:
        with g.mounted(directory) as path:
            stack.enter_context(sitting_in(path / "etc"))
            inside = os.open(path, os.O_PATH)
            if by == "another program":
                subprocess.run(["fusermount", "-u", "-z", path], check=True)
        with pytest.raises(OSError, match="not connected|aborted"):
            os.open("etc/hosts", os.O_RDONLY, dir_fd=inside)
        os.close(inside)
    assert g.is_dir("/etc")


def test_a_callback_may_use_the_directory_and_is_refused_the_handle(g: Guestfs, directory: Path) -> None:
    """In libguestfs, it runs on the thread that serves the directory, and waits for itself."""
    seen: list[object] = []
    enough = threading.Event()

    def look(*event: object) -> None:
        if enough.is_set():
            return
        try:
            g.ls("/")
        except Error as error:
            seen.append(error.cause)
        seen.append(len(os.listdir(directory)) > 5)
        if len(seen) > 20:
            enough.set()

    with g.mounted(directory) as path:
        number = g.set_event_callback(look, Event.ENTER)
        ends(lambda: subprocess.run(["ls", "etc"], cwd=path, capture_output=True, check=True))
        assert enough.wait(PATIENCE)
        g.delete_event_callback(number)
    assert set(seen) == {"mounted", True}


def test_no_mount_from_inside_a_call(g: Guestfs, directory: Path) -> None:
    seen: list[int] = []

    def mount(*event: object) -> None:
        with pytest.raises(Error, match="cannot serve the directory") as told, g.mounted(directory):
            pass
        seen.append(told.value.errno)

    number = g.set_event_callback(mount, Event.ENTER)
    g.ls("/")
    g.delete_event_callback(number)
    assert set(seen) == {errno.EDEADLK}


def test_cancel_ends_what_libguestfs_own_calls_serve(g: Guestfs, directory: Path) -> None:
    """Regression: a cancel killed the hypervisor, and `mount_local_run` went on."""
    g.mount_local(directory, readonly=True)
    serving = threading.Thread(target=g.mount_local_run)
    serving.start()
    assert "etc" in os.listdir(directory)
    with pytest.raises(Error, match="the handle serves"):
        ends(g.umount_local)
    with sitting_in(directory / "etc"):
        g.cancel()
        serving.join(PATIENCE)
    assert not serving.is_alive()
    assert g.is_dir("/etc")


def test_mount_local_run_returned_while_its_directory_was_still_mounted(
    g: Guestfs, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a cancel had cut the connection off, it was unmounted by another thread."""
    tools, own = tmp_path / "tools", shutil.which("fusermount")
    tools.mkdir()
    slow = tools / "fusermount"
    slow.write_text(f'#!/bin/sh\ncase " $* " in *" -z "*) sleep 1;; esac\nexec {own} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    g.mount_local(directory, readonly=True)
    left: list[object] = []

    def serve() -> None:
        g.mount_local_run()
        left.append(fuse.mount_at(str(directory)))

    serving = threading.Thread(target=serve)
    serving.start()
    with sitting_in(directory / "etc"):
        g.cancel()
        serving.join(PATIENCE)
    assert left == [None]


def test_a_connection_that_ended_meanwhile_hid_the_mounts_own(g: Guestfs, directory: Path) -> None:
    """Regression: descriptors were told apart by number; nothing ended such a mount while it was in use."""
    others = [os.open("/dev/fuse", os.O_RDWR) for _ in range(4)]  # as of a handle whose mount ends

    def end_others(*event: object) -> None:
        while others and event[2] in (b"mount_local", "mount_local"):
            numbers.append(others[0])
            os.close(others.pop(0))

    numbers: list[int] = []
    callback = g.set_event_callback(end_others, Event.ENTER)
    g.mount_local(directory, readonly=True)
    g.delete_event_callback(callback)
    assert "/dev/fuse" in [os.readlink(f"/proc/self/fd/{n}") for n in numbers if is_open(n)]
    serving = threading.Thread(target=g.mount_local_run, daemon=True)
    serving.start()
    with sitting_in(directory / "etc"):
        g.cancel()
        serving.join(PATIENCE)
        assert not serving.is_alive()
    assert g.is_dir("/etc")


def is_open(number: int) -> bool:
    return os.path.lexists(f"/proc/self/fd/{number}")


def test_a_block_whose_program_lost_its_path_never_ended(
    g: Guestfs, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: fusermount was looked up at the end, and who did not find it waited for ever."""

    def mount() -> None:
        with g.mounted(directory) as path:
            stays.enter_context(sitting_in(path / "etc"))
            monkeypatch.setenv("PATH", "/nonexistent")

    with contextlib.ExitStack() as stays:
        ends(mount)
    assert g.is_dir("/etc")


def test_another_fusermount_unmounted_than_had_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first/fusermount", "second/fusermount", "second/fusermount3", "relative/fusermount3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"relative:{tmp_path}/none:{tmp_path}/first:{tmp_path}/second")
    assert fuse._program() == f"{tmp_path}/first/fusermount"
    monkeypatch.setenv("PATH", f"{tmp_path}/second")
    assert fuse._program() == f"{tmp_path}/second/fusermount3"


def test_ctrl_c_ends_the_block_and_unmounts(g: Guestfs, directory: Path) -> None:
    with pytest.raises(KeyboardInterrupt), g.mounted(directory) as path, (path / "etc/hosts").open():
        signal.raise_signal(signal.SIGINT)
    assert g.is_dir("/etc")


def test_guestkit_unmount_ends_it_and_leaves_the_program_alone(g: Guestfs, directory: Path) -> None:
    with g.mounted(directory) as path, sitting_in(path / "etc"):
        with pytest.raises(Error, match="is in use by sleep"):
            fuse.unmount(str(directory))
        fuse.unmount(str(directory), force=True)
        assert not is_mounted(directory)
    assert g.is_dir("/etc")


def test_lost_writes_after_a_killed_hypervisor_are_an_error(
    demo_guest: Path, directory: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    shutil.copy(demo_guest, disk)
    with (
        pytest.raises(ApplianceCrashed, match="died during an earlier call"),  # from closing such a guest
        open_guest(disk, readonly=False, format="raw") as g,
    ):
        with g.mounted(directory, readonly=False) as path:
            (path / "etc/motd").write_text("hello\n")
        assert g.read_file("/etc/motd") == b"hello\n"
        number = g.get_pid()
        with (
            pytest.raises(Error, match="what was written last may be lost") as told,
            g.mounted(directory, readonly=False) as path,
        ):
            (path / "etc/motd").write_text("lost\n")
            os.kill(number, signal.SIGKILL)
            with pytest.raises(OSError, match="Invalid argument|Input/output error"):
                (path / "etc/hosts").read_bytes()
        assert told.value.errno == errno.EIO
    assert os.listdir(directory) == []


#: Mounts, then ends in the requested way.
PROGRAM = """
import gc, os, signal, subprocess, sys
from guestkit import Guestfs, fuse
how, disk, directory = sys.argv[1:]


def sit():
    command = ["sleep", "60"]
    subprocess.Popen(command, cwd=path / "etc", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


g = Guestfs()
g.open_disk(disk)
g.launch()
g.mount_ro("/dev/sda1", "/")
block = g.mounted(directory)
path = block.__enter__()
print(len(os.listdir(path)) > 5, flush=True)
if how == "close":
    g.close()
elif how == "collected":
    del block, g
    gc.collect()
elif how == "no descriptors":
    sit()
    spare = []
    try:
        while True:
            spare.append(os.dup(1))
    except OSError:
        pass
    g.close()
    for number in spare:
        os.close(number)
elif how == "exit in use":
    sit()
elif how == "killed":
    sit()
    os.kill(os.getpid(), signal.SIGKILL)
if how in ("close", "collected", "no descriptors"):
    print(fuse.mount_at(directory), os.listdir(directory))
"""


def long_form(value: object) -> object:
    return pytest.param(value, marks=pytest.mark.full)


@pytest.mark.parametrize(
    "how", [long_form("close"), long_form("collected"), "no descriptors", "exit in use", long_form("killed")]
)
def test_a_program_that_ends_while_it_is_mounted(demo_guest: Path, directory: Path, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how, demo_guest, directory],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    told = "True\nNone []\n" if how in ("close", "collected", "no descriptors") else "True\n"
    assert (done.stdout, done.returncode) == (told, -signal.SIGKILL if how == "killed" else 0), done.stderr
    wait_until_unmounted(directory)
    assert os.listdir(directory) == []


def test_closing_a_handle_unmounted_what_another_had_mounted_there_since(
    g: Guestfs, demo_guest: Path, directory: Path
) -> None:
    """Regression: only the directory's name was known of a mount."""
    with open_guest(demo_guest) as first:
        first.mount_local(directory, readonly=True)
        subprocess.run(["fusermount", "-u", directory], check=True)
        with g.mounted(directory) as path:
            first.close()
            assert "etc" in os.listdir(path)


def wait_until_unmounted(directory: Path) -> None:
    """Wait, as long as patience lasts; the kernel tells by poll(2) when the mounts change."""
    with open("/proc/self/mountinfo", "rb") as table:
        changes = select.poll()
        changes.register(table, select.POLLPRI | select.POLLERR)
        while is_mounted(directory):
            assert changes.poll(PATIENCE * 1000), "it is still mounted"


def test_asyncio(demo_guest: Path, directory: Path) -> None:
    async def listing(path: Path) -> list[str]:
        return await asyncio.to_thread(os.listdir, path)

    async def main() -> None:
        async with AsyncGuestfs() as g:
            await g.open_disk(demo_guest)
            await g.launch()
            await g.mount_ro("/dev/sda1", "/")
            async with g.mounted(directory) as path:
                assert "etc" in await listing(path)
                with pytest.raises(Error, match="the handle serves"):
                    await g.ls("/")
                with pytest.raises(Error, match="something is mounted there already"):
                    async with g.mounted(directory):
                        pass
                assert is_mounted(directory)
            assert await g.is_dir("/etc")

            inside = asyncio.Event()

            async def stay() -> None:
                async with g.mounted(directory):
                    inside.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(stay())
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not is_mounted(directory)
            assert await g.is_dir("/etc")

            for turns in range(4):  # a cancel at any step of the mounting
                task = asyncio.create_task(stay())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert not is_mounted(directory)

            await g.mount_local(directory, readonly=True)
            serving = asyncio.create_task(anext_of(g.mount_local_run()))
            assert "etc" in await listing(directory)
            with pytest.raises(Error, match="the handle serves"):
                await g.ls("/")
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            assert await g.is_dir("/etc")

            block = g.mounted(directory)
            await block.__aenter__()
            await g.close()
            assert not is_mounted(directory)
            await block.__aexit__(None, None, None)
            with pytest.raises(HandleClosed):
                await g.ls("/")

    async def anext_of(call: object) -> None:
        await call  # type: ignore[misc]

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


@pytest.mark.full
def test_python3_guestfs_hangs_where_guestkit_refuses(demo_guest: Path, directory: Path) -> None:
    """If this fails, python3-guestfs is as good by now: say so in docs/coming-from-python-guestfs.md."""
    program = """
import os, sys, threading
import guestfs
g = guestfs.GuestFS(python_return_dict=True)
g.add_drive_opts(sys.argv[1], readonly=1, format="raw")
g.launch()
g.mount_ro("/dev/sda1", "/")
g.mount_local(sys.argv[2], readonly=1)
threading.Thread(target=g.mount_local_run).start()
os.listdir(sys.argv[2])
print("serving", flush=True)
g.get_verbose()
print("not reached", flush=True)
"""
    environment = os.environ | {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", program, demo_guest, directory],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as peer:
        try:
            assert peer.stdout is not None
            assert peer.stdout.readline() == b"serving\n"
            with pytest.raises(subprocess.TimeoutExpired):
                peer.wait(10)
        finally:
            peer.kill()
            peer.wait()
            subprocess.run(["fusermount", "-u", "-z", directory], check=False)


PROGRAM_IN_CPP = """
#include <guestkit/async.hpp>
#include <guestkit/guest.hpp>
#include <fstream>
#include <iostream>

int main(int, char** argv) {
  guestkit::AsyncGuestfs g;
  g.open_disk(argv[1], {.format = "raw"});
  g.launch();
  g.run([](guestkit::Guestfs& handle) { guestkit::mount_guest(handle); });
  auto shown = g.mounted(argv[2]).get();
  std::cout << std::ifstream(shown.path() / "etc/hostname").rdbuf();
  try {
    g.is_dir("/etc");
  } catch (const guestkit::Error& e) {
    std::cout << (e.cause() == guestkit::Cause::mounted) << '\\n';
  }
  shown.unmount();
  std::cout << g.is_dir("/etc").get() << '\\n';
  auto cancelled = g.mounted(argv[2]).get();
  g.cancel();
  cancelled.wait();
  std::cout << std::filesystem::is_empty(argv[2]) << '\\n';
  auto again = g.mounted(argv[2]).get();
  g.close().get();
  std::cout << std::filesystem::is_empty(argv[2]) << '\\n';
}
"""


@pytest.mark.full
def test_a_c_plus_plus_program_that_does_not_block(demo_guest: Path, directory: Path, tmp_path: Path) -> None:
    source, program = tmp_path / "program.cpp", tmp_path / "program"
    source.write_text(PROGRAM_IN_CPP)
    command = ["pkg-config", "--cflags", "--libs", "guestkit-async"]
    flags = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["g++", "-std=c++20", source, *flags, "-o", program], check=True)
    done = subprocess.run(
        [program, demo_guest, directory], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout == f"{DEMO_SYSTEM.hostname}\n1\n1\n1\n1\n"
