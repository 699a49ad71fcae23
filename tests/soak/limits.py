"""Hosts with too little of something, and disks that do not keep still."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.images.corpus import images
from tests.images.writer import read_by_a_guest, written_to
from tests.soak.case import Case, Skipped, expect
from tests.soak.leftovers import within
from tests.soak.running import ROOT, own_mounts

ABOUT = "little memory, few descriptors, full and read-only directories; disks that vanish or change"
LIMIT = 900.0
MIB = 1 << 20

#: How long guestkit may take, in seconds: long enough for a busy host, where a result is expected.
PATIENCE = LIMIT / 3

#: Inspects, and prints how that ended: a result, an error of guestkit, or Python's own for lack of memory.
PROGRAM = """
import sys
try:
    from guestkit import Error, HandleOptions, inspect
    try:
        limit = float(sys.argv[3])
        found = inspect(sys.argv[1], timeout=limit, launch_timeout=limit, sandbox=sys.argv[2])
        print("inspected", len(found.operating_systems), len(found.failures))
    except Error as error:
        print(type(error).__name__, error.cause, str(error)[:300])
except (MemoryError, ImportError, OSError, RuntimeError) as error:
    # RuntimeError: "can't start new thread" is Python's own word for too few processes.
    print("Python:", type(error).__name__, str(error)[:300])
"""


def run(case: Case) -> None:
    """Use a guest within the limit."""
    kinds = (
        _descriptors, _processes, _address_space, _full, _unwritable, _read_only_root, _memory, _vanishing,
        _shrinking, _changing, _locked,
    )  # fmt: skip
    kind = kinds[(case.number + case.seed) % len(kinds)]
    case.tried(kind.__name__.lstrip("_").replace("_", " "))
    base = images(["debian"])["debian"]
    disk = case.input / "disk.img"
    subprocess.run(["cp", "--sparse=always", base, disk], check=True)
    kind(case, disk)


def _use(
    case: Case,
    disk: Path,
    *,
    limit: Callable[[], object] | None = None,
    before: tuple[str, ...] = (),
    environment: Mapping[str, str] = {},
) -> str:
    """Run the program; it ends with what it prints, whatever it lacks. Return that."""
    program = ["-X", "faulthandler", "-c", PROGRAM, str(disk), case.sandbox, str(PATIENCE)]
    done = subprocess.run(
        [*before, sys.executable, *program], cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="backslashreplace", check=False,
        preexec_fn=limit, timeout=LIMIT * 0.9,
    )  # fmt: skip
    (case.output / "program").write_text(
        done.stdout + done.stderr, encoding="utf-8", errors="backslashreplace"
    )
    told = done.stdout.strip()
    case.tried(told[:160] or f"status {done.returncode}")
    # Out of memory, libguestfs aborts, and Python may fail before its first line.
    good = done.returncode == 0 and bool(told)
    expect(good, "a result or an error", f"status {done.returncode}: {done.stdout}{done.stderr[-3000:]}")
    return told


def _descriptors(case: Case, disk: Path) -> None:
    most = case.random.randrange(8, 64)
    case.tried(f"{most} descriptors")
    _use(case, disk, limit=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))


def _ordinary_user() -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def _reachable() -> None:
    """Raise Skipped where another user cannot use this checkout."""
    if os.geteuid() != 0:
        raise Skipped("needs root, to become another user")
    if any(folder.stat().st_mode & 0o005 != 0o005 for folder in (ROOT, *ROOT.parents)):
        raise Skipped("another user cannot enter the checkout")


def _processes(case: Case, disk: Path) -> None:
    _reachable()
    most = case.random.randrange(1, 12)
    case.tried(f"{most} processes")
    case.folder.chmod(0o755)
    os.chown(disk, 65534, 65534)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        _ordinary_user()

    elsewhere = {"GUESTKIT_CACHEDIR": "/nonexistent", "HOME": "/nonexistent"}
    try:
        _use(case, disk, limit=limit, environment=elsewhere)
    except BlockingIOError as error:  # not even Python starts
        raise Skipped("that user runs other programs, which count, too") from error


def _address_space(case: Case, disk: Path) -> None:
    size = case.random.randrange(300, 3000) * MIB
    case.tried(f"{size // MIB} MB of address space")
    _use(case, disk, limit=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))


@contextmanager
def _small(case: Case, size: str) -> Iterator[Path]:
    """Yield a directory of a filesystem of that size."""
    if not own_mounts():
        raise Skipped("needs root, to mount")
    place = case.folder / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def _variables(case: Case) -> str:
    """Return the variable of a directory that guestkit or libguestfs writes to."""
    name = case.random.choice(
        ("TMPDIR", "LIBGUESTFS_TMPDIR", "LIBGUESTFS_CACHEDIR", "GUESTKIT_CACHEDIR", "XDG_RUNTIME_DIR")
    )
    case.tried(name)
    return name


def _full(case: Case, disk: Path) -> None:
    size = case.random.choice(("4k", "16k", "64k", "200k", "1m"))
    case.tried(size)
    with _small(case, size) as place:
        if case.random.random() < 0.5:
            (place / "filling").write_bytes(bytes(1 << 20)) if size == "1m" else None
        _use(case, disk, environment={_variables(case): str(place)})


def _unwritable(case: Case, disk: Path) -> None:
    how = case.random.choice(("missing", "file", "fifo", "read-only", "another user's", "a loop", "closed"))
    place = case.folder / "place"
    case.tried(how)
    if how == "file":
        place.write_text("content", encoding="utf-8")
    elif how == "fifo":
        os.mkfifo(place)
    elif how == "a loop":
        place.symlink_to(place)
    elif how != "missing":
        place.mkdir()
    if how == "closed":
        place.chmod(0)
    if how == "another user's":
        if os.geteuid() != 0:
            raise Skipped("needs root, to give a directory away")
        os.chown(place, 12345, 12345)
        place.chmod(0o777)
    if how == "read-only":
        if not own_mounts():
            raise Skipped("needs root, to mount")
        subprocess.run(["mount", "--bind", place, place], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
    try:
        _use(case, disk, environment={_variables(case): str(place)})
    finally:
        if how == "read-only":
            subprocess.run(["umount", "-l", place], check=True)


def _read_only_root(case: Case, disk: Path) -> None:
    if not own_mounts():
        raise Skipped("needs root, to mount")
    steps = ["mount --bind /tmp /mnt", "mount -o remount,bind,ro /", "mount -t tmpfs -o mode=1777 none /tmp"]
    for kept in (ROOT, disk.parent):  # the checkout and the soak may lie in /tmp
        if kept.is_relative_to("/tmp"):
            before, after = (
                shlex.quote(str(top / kept.relative_to("/tmp"))) for top in (Path("/mnt"), Path("/tmp"))
            )
            steps.append(f"mkdir -p {after} && mount --bind {before} {after}")
    # As the Containerfile has them: libguestfs' cache and QEMU's temporary files are in /var/tmp otherwise.
    chosen = case.random.random() < 0.7
    variables = {"TMPDIR": "/tmp/.", "LIBGUESTFS_CACHEDIR": "/tmp"} if chosen else {}
    command = ("unshare", "-m", "sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh")
    told = _use(case, disk, before=command, environment=variables)
    expect(told.startswith("inspected 1") or not chosen, "a read-only root with a /tmp suffices", told)


def _memory(case: Case, disk: Path) -> None:
    """Limit the memory of a control group, of version 1 or 2."""
    if case.cgroup is None:
        raise Skipped("needs --cgroup")
    size = case.random.randrange(80, 900) * MIB
    case.tried(f"{size // MIB} MB")
    group = case.cgroup / f"guestkit-soak-{os.getpid()}"
    group.mkdir()
    try:
        name = next(name for name in ("memory.max", "memory.limit_in_bytes") if (group / name).exists())
        (group / name).write_text(str(size), encoding="ascii")
        _use(case, disk, limit=lambda: (group / "cgroup.procs").write_text("0", encoding="ascii"))
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group once its last process is gone."""

    def is_removed() -> bool:
        with suppress(OSError):
            group.rmdir()
        return not group.exists()

    expect(within(60, is_removed), f"{group} is removed", "it still has processes")


# ---- disks that do not keep still


def _meanwhile(case: Case, disk: Path, change: Callable[[], object]) -> None:
    """Change the disk at a random moment while it is inspected."""
    delay = case.random.uniform(0, 2.5)  # a quiet host needs no more for all of it
    case.tried(f"after {delay:.1f} s")
    timer = threading.Timer(delay, change)
    timer.start()
    try:
        _use(case, disk)
    finally:
        timer.cancel()
        timer.join()


def _vanishing(case: Case, disk: Path) -> None:
    _meanwhile(case, disk, disk.unlink)


def _shrinking(case: Case, disk: Path) -> None:
    size = case.random.choice((0, 512, MIB, disk.stat().st_size // 2))
    case.tried(f"to {size} bytes")
    _meanwhile(case, disk, lambda: os.truncate(disk, size))


def _changing(case: Case, disk: Path) -> None:
    if case.random.random() < 0.5:
        new = disk.with_suffix(".qcow2")
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, new], check=True)
        new.rename(disk)
    noise = case.random.randbytes(256 << 10)
    places = [case.random.randrange(0, disk.stat().st_size) for _ in range(16)]

    def change() -> None:
        with disk.open("r+b") as file:
            for number, place in enumerate(places):
                file.seek(place)
                file.write(noise[number << 14 : number + 1 << 14])

    _meanwhile(case, disk, change)


def _locked(case: Case, disk: Path) -> None:
    kind = case.random.choice(("raw", "qcow2"))
    if kind == "qcow2":
        made = disk.with_suffix(".qcow2")
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, made], check=True)
        disk = made
    if shutil.which("qemu-nbd") is None:
        raise Skipped("there is no qemu-nbd")
    if kind == "raw" and case.random.random() < 0.5:
        with read_by_a_guest(disk):
            told = _use(case, disk)
    else:
        with written_to(disk, kind):
            told = _use(case, disk)
    expect(told.startswith("inspected 1"), "a disk in use can be read", told)
