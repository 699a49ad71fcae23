"""What the cache of appliances holds, and what a build makes of it, without an appliance that could boot."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import guestkit
from guestkit import _initrd, _native, appliance
from guestkit._template import TemplateError
from guestkit.appliance import Appliance, ApplianceError
from guestkit.cli import main
from guestkit.doctor import diagnose

LEAN = ("README.fixed", "initrd", "kernel", "root")
WARM = ("command", "hypervisor", "root", "state")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    place.mkdir(mode=0o700)
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(place))
    return place


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of packages from which appliances are built."""
    file = tmp_path / "status"
    file.write_text("one package")
    monkeypatch.setattr(appliance, "PACKAGE_DATABASES", (file,))
    return file


def made(place: Path, files: tuple[str, ...], *inputs: Path) -> Path:
    """Make a directory that is as good as an appliance, until it is launched."""
    place.mkdir(mode=0o700)
    for name in files:
        (place / name).write_text(name)
        (place / name).chmod(0o700)
    appliance._write_manifest(place, [appliance._row("input", path, str(path)) for path in inputs], files)
    assert appliance.check(place) == ""
    return place


@pytest.fixture
def during(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Make builds take no time and need nothing, of appliances that cannot boot.

    Returns what happens while supermin runs.
    """
    happens: list[Callable[[], object]] = []
    (tmp_path / appliance.HYPERVISOR).touch()

    def supermin(*command: str, **_: Any) -> None:
        place = Path(command[-1])
        place.mkdir()
        (place / "kernel").write_bytes(b"MZ")
        (place / "initrd").write_bytes(_initrd.slim(_initrd._entry("TRAILER!!!", 0, b"")))
        (place / "root").write_bytes(b"")
        for happen in happens:
            happen()

    monkeypatch.setattr(appliance, "_inputs", lambda: [database])
    monkeypatch.setattr(appliance, "_supermin_directory", lambda: tmp_path)
    monkeypatch.setattr(appliance, "_programs", lambda: tmp_path)
    monkeypatch.setattr(appliance, "_qemu", lambda: tmp_path / "qemu")
    monkeypatch.setattr(appliance, "_run", supermin)
    monkeypatch.setattr(appliance, "_replace_programs", lambda *_: None)
    monkeypatch.setattr(appliance, "_try_out", lambda *_, **__: [])
    return happens


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != "lock")


# ---- what is good


def test_a_warm_appliance_was_good_whose_lean_one_is_not(
    cache: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: after an update of packages no launch used it, and the doctor said that it is ready."""
    lean = made(cache / "lean-1", LEAN, database)
    warm = made(lean / "warm-1", WARM)
    assert appliance.appliances() == [Appliance(lean, ""), Appliance(warm, "")]
    assert main(["appliance", "check"]) == 0
    database.write_text("another package")
    capsys.readouterr()
    assert main(["appliance", "check"]) == 1
    changed = f"{database} has changed since the appliance was built"
    assert capsys.readouterr().out == f"{lean}: {changed}\n{warm}: {changed}\n"
    (told,) = [one for one in diagnose() if one.name == "appliance"]
    assert (told.level, changed in told.message) == ("warning", True)


# ---- builds


def test_packages_that_changed_during_a_build_were_taken_for_what_it_was_built_from(
    cache: Path, database: Path, during: list[Callable[[], object]]
) -> None:
    during.append(lambda: database.write_text("another package"))
    with pytest.raises(ApplianceError, match=f"{database} has changed.*build it again"):
        appliance.build(warm=False)
    assert names(cache) == []
    during.clear()
    built = appliance.build(warm=False)
    assert names(cache) == [built.directory.name]


def test_an_appliance_that_could_not_be_removed_kept_the_new_one_from_its_place(
    cache: Path, during: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS keeps the files that a running appliance has open, and the directory with them."""
    built = appliance.build(warm=False).directory
    (built / "old").touch()
    real = shutil.rmtree

    def rmtree(path: Any, *arguments: Any, **options: Any) -> None:
        if not os.path.exists(os.path.join(path, "old")):
            real(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    assert appliance.build(force=True, warm=False) == Appliance(built, "")
    assert not (built / "old").exists()


def test_a_warm_appliance_from_the_future_was_never_renewed(
    cache: Path, during: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was ahead when it was built."""
    asked: list[Path] = []

    def build_template(lean: Path, *_: object) -> NoReturn:
        asked.append(lean)
        raise TemplateError("appliance", "no")

    monkeypatch.setattr(appliance, "build_template", build_template)
    lean = appliance.build(warm=False).directory
    warm = made(lean / "warm-1", WARM)
    assert appliance.build() == Appliance(warm, "")
    assert asked == []
    tomorrow = time.time() + 86400
    os.utime(warm / "manifest", (tomorrow, tomorrow))
    assert appliance.build().directory == lean
    assert asked == [lean]


def test_a_full_disk_was_told_without_its_name(
    cache: Path, during: list[Callable[[], object]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: "error: [Errno 28] No space left on device", for writes do not tell what they write to."""
    with open("/dev/full", "wb", buffering=0) as full:
        during.append(lambda: full.write(b"x"))
        assert main(["appliance", "build"]) == 1
    assert f"{cache}: No space left on device" in capsys.readouterr().err
    assert names(cache) == []


def test_a_build_needed_room_for_the_appliance_that_it_replaces(
    cache: Path, database: Path, during: list[Callable[[], object]]
) -> None:
    """Regression: 600 MB are taken by one that no launch uses any more."""
    good, spoilt = made(cache / "lean-other", LEAN), made(cache / "lean-old", LEAN, database)
    database.write_text("another package")
    seen: list[list[str]] = []
    during.append(lambda: seen.append(names(cache)))
    built = appliance.build(warm=False).directory
    assert (good.name in seen[0], spoilt.name in seen[0]) == (True, False)
    assert names(cache) == [built.name]


def test_hosts_that_share_a_home_removed_each_others_appliances(
    cache: Path, database: Path, during: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appliance, "_host", lambda: "a")
    first = appliance.build(warm=False).directory
    database.write_text("other packages")
    monkeypatch.setattr(appliance, "_host", lambda: "b")
    second = appliance.build(warm=False).directory
    assert names(cache) == sorted((first.name, second.name))
    database.write_text("an upgrade")
    assert appliance.build(warm=False).directory != second
    assert (first.is_dir(), second.is_dir()) == (True, False)


def test_an_appliance_for_all_was_built_of_what_only_root_reaches(
    tmp_path: Path, database: Path, during: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: of a guestkit in root's home. The build succeeded, and no other user's launch used it."""
    monkeypatch.setattr(appliance, "SYSTEM_CACHE", tmp_path / "system")
    tmp_path.chmod(0o700)
    told = f"cannot look at {database}, .*: {tmp_path} is closed"
    with pytest.raises(ApplianceError, match=told) as caught:
        appliance.build(warm=False, system=True)
    assert "/opt" in caught.value.hint
    assert names(tmp_path / "system") == []
    monkeypatch.setattr(appliance, "_inputs", lambda: [Path("/etc/passwd")])
    assert appliance.build(warm=False, system=True).fault == ""


def test_why_there_is_no_warm_appliance_is_told_with_what_to_do(
    cache: Path,
    during: list[Callable[[], object]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def build_template(*_: object) -> NoReturn:
        raise TemplateError("appliance", "the disk is\nfull", errno.ENOSPC, "no_space", "free space")

    monkeypatch.setattr(appliance, "build_template", build_template)
    lean = appliance.build().directory
    assert caplog.messages == ["there is no warm appliance: the disk is full; free space"]
    assert (lean / appliance.FAILURE).read_text() == "the disk is full; free space"


def test_no_errors_of_a_build_were_errors_of_guestkit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Regression: `except guestkit.Error` missed what fails most often, which had no cause and no hint."""
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(tmp_path / "cache"))
    monkeypatch.setattr(appliance, "_supermin_directory", lambda: tmp_path)
    monkeypatch.setattr(appliance, "_programs", lambda: tmp_path)
    monkeypatch.setattr(appliance, "kernels", list)
    monkeypatch.setattr(appliance, "hint", lambda thing: f"install the {thing}")
    with pytest.raises(guestkit.Error) as caught:
        appliance.build()
    error = pickle.loads(pickle.dumps(caught.value))
    message = "there is no kernel in /boot or /lib/modules"
    assert (type(error), error.op, error.message) == (ApplianceError, "appliance", message)
    assert (error.errno, error.cause, error.hint) == (
        errno.ENOENT,
        "kernel_unreadable",
        "install the kernel",
    )
    assert main(["appliance", "build"]) == 1
    assert f"error: {message}; install the kernel\n" in capsys.readouterr().err


# ---- removing


def test_what_a_killed_build_had_left_was_not_removed(cache: Path) -> None:
    (cache / "new-1").mkdir()
    (cache / "kvm-works").touch()
    appliance.remove()
    assert names(cache) == ["kvm-works"]


def test_that_an_appliance_is_still_there_was_not_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lean = made(cache / "lean-1", LEAN)

    def busy(*_: Any, **__: Any) -> NoReturn:
        raise OSError(errno.EBUSY, "Device or resource busy", str(lean))

    monkeypatch.setattr(os, "rmdir", busy)
    assert main(["appliance", "remove"]) == 1
    assert "Device or resource busy" in capsys.readouterr().err


def test_one_appliance_that_stayed_kept_the_others(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS, where a directory with open files cannot be removed. No launch finds it any more."""
    for number in range(3):
        made(cache / f"lean-{number}", LEAN)
    remove = shutil.rmtree

    def rmtree(path: Path) -> None:
        if path.name == "new-lean-1":
            raise OSError(errno.ENOTEMPTY, "Directory not empty", str(path))
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(OSError, match="not empty"):
        appliance.remove()
    assert names(cache) == ["new-lean-1"]
    assert appliance.appliances() == []


# ---- names of directories


def test_a_quotation_mark_or_a_byte_that_is_no_utf_8_ended_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: in the name of the cache, or of the directory where guestkit is installed."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b'/a "b" \xff'))
    for name in ("root/bin", "scratch", "programs"):
        (folder / name).mkdir(parents=True)
    (folder / "root" / "init").write_text("init's")
    (folder / "root" / "bin" / "udevadm").write_text("udev's")
    for program in appliance.PROGRAMS:
        (folder / "programs" / program).write_text(f"our {program}")
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    image = tmp_path / "root.img"
    words = ["mke2fs", "-q", "-t", "ext2", "-d", str(folder / "root"), str(image), "1M"]
    subprocess.run(words, env=environment, check=True)
    monkeypatch.setattr(appliance, "_programs", lambda: folder / "programs")
    with (tmp_path / "lock").open("w") as lock:
        appliance._replace_programs(image, folder / "scratch", lock.fileno())
    for name, content in (
        ("/init", "our appliance-init"),
        ("/init.stock", "init's"),
        ("/bin/udevadm", "our appliance-settle"),
        ("/bin/udevadm.stock", "udev's"),
        ("/guestkit-preload.so", "our appliance-preload.so"),
    ):
        words = ["debugfs", "-R", f"cat {name}", str(image)]
        shown = subprocess.run(words, env=environment, check=True, capture_output=True).stdout
        assert shown == content.encode()
    ours = folder / "programs" / appliance.PROGRAMS[0]
    assert appliance.check(made(folder / "lean-1", LEAN, ours)) == ""
    assert appliance._key([str(ours)]).startswith("lean-")


def test_a_cache_with_a_comma_in_its_name_built_what_libguestfs_cannot_launch(
    tmp_path: Path, during: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It doubles the comma in the name of the kernel, of which QEMU then finds none."""
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(tmp_path / "a,b"))
    with pytest.raises(ApplianceError, match="directory with a comma in its name: .*/a,b") as caught:
        appliance.build(warm=False)
    assert "GUESTKIT_CACHEDIR" in caught.value.hint


# ---- another user's directory


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_build_by_root_that_was_refused_left_directories_in_the_users_home(tmp_path: Path) -> None:
    """Regression: after `sudo -E guestkit appliance build`, which is refused, the user's own one was, too."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, -1)
    place = home / ".cache" / "guestkit" / "appliance"
    for make in (_native.make_private_directory, _native.make_directory):
        assert make(place, 0o700) == f"{home} belongs to another user"
    assert list(home.iterdir()) == []
