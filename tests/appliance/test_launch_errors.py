"""Failed launches say why, and how to fix it."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from guestkit import CallTimeout, Error, Event, Guestfs, LaunchError, set_appliance_limit

MEGABYTE = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with open(path, "wb") as file:
        file.truncate(MEGABYTE)
    return path


@contextmanager
def locked(disk: Path) -> Iterator[None]:
    """Have another process keep the disk open for writing."""
    with subprocess.Popen(
        ["qemu-io", "-f", "raw", disk], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("length\n")
        other.stdin.flush()
        assert "1 MiB" in other.stdout.readline()  # it has opened the disk
        yield
        other.stdin.close()


def failure(g: Guestfs) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        g.launch()
    return caught.value


def test_a_disk_that_another_process_writes(disk: Path) -> None:
    with locked(disk), Guestfs() as g:
        g.add_drive(disk, format="raw")
        error = failure(g)
    assert error.cause == "disk_locked"
    assert "open_disk, which takes no lock" in error.hint
    assert str(disk) in str(error)
    assert any('"write" lock' in line for line in error.console)


def test_a_disk_that_is_gone_when_it_is_opened(disk: Path) -> None:
    with Guestfs() as g:
        g.add_drive(disk, format="raw", readonly=True)
        disk.unlink()
        error = failure(g)
    assert error.cause == "disk_missing"
    assert str(disk) in str(error)


def test_a_cache_that_cannot_be_written_was_told_as_a_missing_hypervisor(disk: Path) -> None:
    with Guestfs(appliance="system") as g:
        g.set_cachedir("/proc")  # where not even root can make a file
        g.add_drive(disk, format="raw", readonly=True)
        error = failure(g)
    assert error.cause == "no_space"
    assert "set LIBGUESTFS_CACHEDIR" in error.hint


@pytest.mark.parametrize("most", [9, 15])
def test_a_launch_with_nine_descriptors_crashed_the_process(disk: Path, most: int) -> None:
    program = (
        "import resource, sys\n"
        "from guestkit import Error, inspect\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)\n"
        "try: inspect(sys.argv[1], format='raw')\n"
        "except Error as error: print(error.errno == 24, error)\n"
    )
    command = [sys.executable, "-c", program, str(disk), str(most)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=100).stdout
    assert said.startswith("True ")
    assert "raise the limit (ulimit -n)" in said


@pytest.mark.parametrize("add", [Guestfs.add_drive, Guestfs.open_disk])
def test_temporary_files_that_cannot_be_written(
    disk: Path, add: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/proc")  # where not even root can make a file
    with Guestfs() as g, pytest.raises(Error) as caught:
        add(g, disk, format="raw", readonly=True)
    assert caught.value.cause == "no_space"
    assert "set TMPDIR" in caught.value.hint


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda g: g.set_hv("/nonexistent/qemu"), "qemu_missing"),
        (lambda g: g.set_memsize(64_000_000), "memory"),
        (lambda g: g.set_path("/nonexistent"), "appliance_damaged"),
        (lambda g: g.config("-nosuchoption", None), "unknown"),
    ],
    ids=["hypervisor", "memory", "appliance", "option"],
)
def test_a_launch_that_cannot_work(disk: Path, spoil: Callable[[Guestfs], None], cause: str) -> None:
    with Guestfs() as g:
        g.add_drive(disk, format="raw")
        spoil(g)
        error = failure(g)
    assert error.cause == cause
    assert bool(error.hint) == (cause != "unknown")
    assert "LIBGUESTFS_DEBUG" not in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (again.cause, again.hint, again.console) == (error.cause, error.hint, error.console)


@pytest.mark.parametrize(
    ("root", "fault"),
    [(b"", "is empty"), (b"something else", "is not an ext2, ext3 or ext4 file system")],
    ids=["empty", "no file system"],
)
def test_a_fixed_appliance_with_a_damaged_root_crashed_the_process(
    disk: Path, tmp_path: Path, root: bytes, fault: str
) -> None:
    for name in ("kernel", "initrd", "README.fixed"):
        (tmp_path / name).write_text("content")
    (tmp_path / "root").write_bytes(root)
    with Guestfs() as g:
        g.add_drive(disk, format="raw")
        g.set_path(tmp_path)
        error = failure(g)
    assert error.cause == "appliance_damaged"
    assert error.message == f"the fixed appliance is damaged: {tmp_path / 'root'} {fault}"
    assert "libguestfs-make-fixed-appliance" in error.hint


def test_verbose_lines_still_come_out_on_stderr(disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """guestkit subscribes to these events, and libguestfs prints only those without a subscriber."""
    with Guestfs() as g:
        g.add_drive(disk, format="raw")
        g.set_hv("/nonexistent/qemu")
        g.set_verbose(True)
        failure(g)
        g.set_verbose(False)
        assert "libguestfs: launch: " in capfd.readouterr().err
        failure(g)
        assert capfd.readouterr().err == ""


def test_an_appliance_that_was_killed_kept_its_place_until_its_handle_was_closed(disk: Path) -> None:
    set_appliance_limit(1)
    try:
        with Guestfs(call_timeout=2, cancel_grace=0) as first, Guestfs(admission_timeout=20) as second:
            for g in (first, second):
                g.add_drive(disk, format="raw", readonly=True)
            first.launch()
            with pytest.raises(CallTimeout):
                first.sleep(600)
            second.launch()
    finally:
        set_appliance_limit(None)


# Regression: every later call reported that the appliance had crashed.
def test_a_shutdown_during_another_threads_launch_is_no_crash(disk: Path) -> None:
    with Guestfs(accel="tcg") as g, ThreadPoolExecutor(2) as threads:
        g.add_drive(disk, format="raw", readonly=True)
        shutdowns: list[Future[None]] = []
        begun = threading.Event()

        def shutdown() -> None:
            begun.set()
            g.shutdown()

        def during_the_launch(*event: object) -> None:
            shutdowns.append(threads.submit(shutdown))
            begun.wait()

        g.set_event_callback(during_the_launch, Event.LAUNCH_DONE)
        threads.submit(g.launch).result()
        shutdowns[0].result()
        with pytest.raises(Error, match=r"the handle is not launched; call launch\(\) first") as caught:
            g.list_devices()
        assert type(caught.value) is Error
