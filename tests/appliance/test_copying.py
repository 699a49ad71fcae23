"""Listing, reading and copying a guest's files, both ways, in one appliance with a writable disk."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestkit import ApplianceCrashed, Error, Guestfs, open_guest
from guestkit.copying import copy_in, copy_out
from guestkit.guest import mount_guest
from guestkit.reading import list_files, read_chunks
from tests.images import hostile
from tests.images.corpus import ROOT_UUID


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copying") / "disk.img"
    hostile.make(path)
    return path


@pytest.fixture(scope="module")
def g(disk: Path) -> Iterator[Guestfs]:
    steps: list[str] = []
    with open_guest(disk, readonly=False, format="raw", step=steps.append) as handle:
        yield handle
    assert steps[0] == "starting the appliance"
    assert steps[-1] == "writing to the disk"


def fails(number: int, text: str) -> pytest.RaisesExc[Error]:
    return pytest.RaisesExc(Error, check=lambda error: error.errno == number and text in str(error))


# Listing and reading.


def test_a_directory_is_listed_and_a_link_to_one_is_followed(g: Guestfs) -> None:
    assert {file.path for file in list_files(g, "/srv/directory")} == {"/srv/directory/$(touch owned)"}
    assert {file.path for file in list_files(g, "/bin")} == {"/bin/bash", "/bin/ls", "/bin/sh"}


def test_a_tree_is_listed_without_following_links(g: Guestfs) -> None:
    paths = {file.path: file for file in list_files(g, "/srv", recursive=True)}
    assert set(paths) == {f"/{name}" for name in hostile.FILES} | {"/srv/directory"}
    assert paths["/srv/link"].target == hostile.ATTACK


def test_a_file_is_listed_by_itself(g: Guestfs) -> None:
    (file,) = list_files(g, "/srv/out")
    assert (file.path, file.kind, file.target) == ("/srv/out", "l", "../../../../../../../../etc/passwd")
    (file,) = list_files(g, "/etc/hosts")
    assert (file.kind, file.size, file.target) == ("-", 20, "")
    with pytest.raises(Error) as caught:
        list_files(g, "/nope")
    assert caught.value.errno == errno.ENOENT


def test_a_large_file_is_read_in_chunks_to_its_end(g: Guestfs) -> None:
    content = os.urandom(5 << 20)
    g.write("/srv/large", content)
    chunks = list(read_chunks(g, "/srv/large"))
    assert len(chunks) > 1
    assert b"".join(chunks) == content
    g.rm("/srv/large")


def test_what_could_hang_the_appliance_is_not_read(g: Guestfs) -> None:
    g.mkfifo(0o600, "/srv/fifo")
    with fails(errno.EINVAL, "/srv/fifo: is no regular file"):
        list(read_chunks(g, "/srv/fifo"))
    g.rm("/srv/fifo")
    with fails(errno.ENOENT, "/nope: no such file"):
        list(read_chunks(g, "/nope"))


# Copying out of the guest.


def test_files_go_into_a_directory_under_their_names(g: Guestfs, tmp_path: Path) -> None:
    copied = copy_out(g, ["/etc/hosts", "/etc/../etc/os-release"], tmp_path)
    assert (copied.files, copied.skipped) == (2, ())
    assert (tmp_path / "hosts").read_text() == "127.0.0.1 localhost\n"
    assert hostile.ATTACK in (tmp_path / "os-release").read_text()  # a symlink named by the user is followed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hosts", "os-release"]


def test_a_file_gets_a_new_name_and_replaces_only_when_told(g: Guestfs, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    copy_out(g, ["/etc/hosts"], target)
    with fails(errno.EEXIST, f"{target}: is there already; replace=True replaces it"):
        copy_out(g, ["/etc/debian_version"], target)
    copy_out(g, ["/etc/debian_version"], target, replace=True)
    assert target.read_text() == "12.5\n"


def test_a_large_file_could_not_be_copied(g: Guestfs, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What was permitted in all was 16 GiB, and nobody could say otherwise."""
    g.touch("/etc/sparse")
    request.addfinalizer(lambda: g.rm("/etc/sparse"))
    g.truncate_size("/etc/sparse", 17 << 30)
    with fails(errno.EFBIG, "/etc/sparse: more than 17179869184 bytes in all; max_bytes permits more"):
        copy_out(g, ["/etc/sparse"], tmp_path)
    with fails(errno.EFBIG, "/etc/debian_version: more than 22 bytes in all; max_bytes permits more"):
        copy_out(g, ["/etc/hosts", "/etc/debian_version"], tmp_path, max_bytes=22)
    assert sorted(os.listdir(tmp_path)) == ["hosts"]
    copy_out(g, ["/etc/debian_version"], tmp_path, max_bytes=5)


def test_a_file_that_the_host_had_no_room_for_replaced_a_good_one(g: Guestfs, tmp_path: Path) -> None:
    g.write("/etc/large", os.urandom(5000))
    target = tmp_path / "mine"
    target.write_text("good")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with fails(errno.EFBIG, "large"):
            copy_out(g, ["/etc/large"], target, replace=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.read_text() == "good"
    assert list(tmp_path.iterdir()) == [target]
    g.rm("/etc/large")


def test_a_link_of_the_host_is_replaced_and_not_followed(g: Guestfs, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    target = tmp_path / "target"
    target.symlink_to(precious)
    copy_out(g, ["/etc/hosts"], target, replace=True)
    assert precious.read_text() == "mine"
    assert not target.is_symlink()


def test_a_hostile_tree_stays_inside_of_its_target(g: Guestfs, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    target.parent.mkdir()
    seen: list[tuple[int, int]] = []
    copied = copy_out(g, ["/srv"], target, recursive=True, progress=lambda *now: seen.append(now))
    names = {os.fsencode(path.relative_to(target)) for path in target.rglob("*")}
    expected = {os.fsencode(name.removeprefix("srv/")) for name in hostile.FILES} | {b"directory"}
    assert names == expected - {b"out", b"absolute"}
    assert sorted(skipped.path for skipped in copied.skipped) == ["/srv/absolute", "/srv/out"]
    assert all(skipped.reason.startswith("a symlink that points outside") for skipped in copied.skipped)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in target.parent.iterdir()] == ["b"]
    assert seen[-1] == (copied.bytes, copied.bytes)


def test_a_tree_needs_to_be_asked_for_and_a_new_place(g: Guestfs, tmp_path: Path) -> None:
    with fails(errno.EISDIR, "/srv: is a directory"):
        copy_out(g, ["/srv"], tmp_path)
    (tmp_path / "srv").mkdir()
    with fails(errno.EEXIST, f"{tmp_path / 'srv'}: is there already"):
        copy_out(g, ["/srv"], tmp_path, recursive=True, replace=True)
    with fails(errno.ENOTDIR, f"{tmp_path / 'no'}: is no directory"):
        copy_out(g, ["/etc/hosts", "/etc/fstab"], tmp_path / "no")


def test_a_directory_is_copied_to_a_new_name_that_ends_in_a_slash(g: Guestfs, tmp_path: Path) -> None:
    """As cp -r does; only a file needs a directory that is there."""
    copy_out(g, ["/srv/directory"], f"{tmp_path}/new/", recursive=True)
    assert (tmp_path / "new").is_dir()


def test_the_whole_guest_under_a_new_name(g: Guestfs, tmp_path: Path) -> None:
    with fails(errno.EEXIST, "/ needs a new name"):
        copy_out(g, ["/"], tmp_path, recursive=True)
    copied = copy_out(g, ["/"], tmp_path / "all", recursive=True)
    assert copied.files > 10
    assert (tmp_path / "all" / "etc" / "debian_version").read_text() == "12.5\n"


def test_a_device_is_refused_and_leaves_nothing(g: Guestfs, tmp_path: Path) -> None:
    g.mkfifo(0o600, "/srv/fifo")
    with fails(errno.EINVAL, "/srv/fifo: "):
        copy_out(g, ["/srv/fifo"], tmp_path)
    g.rm("/srv/fifo")
    assert list(tmp_path.iterdir()) == []
    with fails(errno.ENOENT, "/nope: "):
        copy_out(g, ["/nope"], tmp_path)


# Copying into the guest.


def test_a_tree_goes_in_and_belongs_to_root(g: Guestfs, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "program").write_text("x" * 3_000_000)
    (tree / "program").chmod(0o4755)
    (tree / "link").symlink_to("../../..")
    (tree / "below" / os.fsdecode(b"\xff")).write_text("")
    os.mkfifo(tree / "fifo")
    seen: list[tuple[int, int]] = []
    copied = copy_in(g, [tree], "/usr/local", recursive=True, progress=lambda *now: seen.append(now))
    assert (copied.files, copied.directories, copied.symlinks, copied.bytes) == (2, 2, 1, 3_000_000)
    assert [skipped.path for skipped in copied.skipped] == [str(tree / "fifo")]
    assert seen[-1][0] == 3_000_000
    found = {
        file.path.removeprefix("/usr/local/tree"): file
        for file in list_files(g, "/usr/local/tree", recursive=True)
    }
    assert set(found) == {"/below", "/below/\udcff", "/link", "/program"}
    program = found["/program"]
    assert (program.uid, program.gid, program.mode, program.size) == (0, 0, 0o755, 3_000_000)
    assert program.mtime == int((tree / "program").stat().st_mtime)
    assert found["/link"].target == "../../.."
    assert stat.S_IMODE((tree / "program").stat().st_mode) == 0o4755


def test_a_file_goes_in_under_a_new_name_and_replaces_only_when_told(g: Guestfs, tmp_path: Path) -> None:
    source = tmp_path / "motd"
    source.write_text("hello\n")
    copy_in(g, [source], "/etc/motd")
    assert g.read_file("/etc/motd") == b"hello\n"
    source.write_text("again\n")
    with fails(errno.EEXIST, "/etc/motd: is there already in the guest"):
        copy_in(g, [source], "/etc/motd")
    copy_in(g, [source], "/etc/motd", replace=True)
    assert g.read_file("/etc/motd") == b"again\n"


def test_what_cannot_go_in_is_said_before_anything_is_written(g: Guestfs, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_text("")
    with fails(errno.ENOENT, "missing: No such file or directory"):
        copy_in(g, [source, tmp_path / "missing"], "/usr/local")
    assert not g.exists("/usr/local/file")
    with fails(errno.EISDIR, f"{tmp_path}: is a directory"):
        copy_in(g, [tmp_path], "/usr/local")
    with fails(errno.ENOTDIR, "/no: is no directory in the guest"):
        copy_in(g, [source], "/no/file")
    with fails(errno.EINVAL, "/dev/null: is neither a file nor a directory"):
        copy_in(g, ["/dev/null"], "/usr/local")


def test_a_file_replaced_another_of_the_same_copy(g: Guestfs, tmp_path: Path) -> None:
    sources = [tmp_path / "a" / "file", tmp_path / "b" / "file"]
    for source in sources:
        source.parent.mkdir()
        source.write_text(str(source))
    with fails(errno.EEXIST, "/usr/local/file: several of the files would get this name"):
        copy_in(g, sources, "/usr/local", replace=True)
    assert not g.exists("/usr/local/file")
    with fails(errno.EEXIST, f"{tmp_path}/hosts: several of the files would get this name"):
        copy_out(g, ["/etc/hosts", "/etc/../etc/hosts"], tmp_path, replace=True)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_an_appliance_that_died_during_a_copy_was_told_as_another_call_that_failed(
    g: Guestfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*arguments: object, **options: object) -> None:
        raise ApplianceCrashed("tar_in", "the appliance is gone", console=["Kernel panic"])

    (tmp_path / "file").write_text("hello\n")
    monkeypatch.setattr(Guestfs, "tar_in", dies)
    with pytest.raises(ApplianceCrashed) as caught:
        copy_in(g, [tmp_path / "file"], "/etc/new")
    assert caught.value.console == ("Kernel panic",)


@pytest.mark.parametrize("kind", [BrokenPipeError, FileNotFoundError])
def test_an_error_of_progress_was_taken_for_one_of_the_copy(
    g: Guestfs, tmp_path: Path, kind: type[OSError]
) -> None:
    """The end of a pipe was ignored, and the part that was copied told as all of it."""

    def progress(done: int, total: int) -> None:
        raise kind("mine")

    (tmp_path / "file").write_bytes(bytes(1 << 20))
    with pytest.raises(kind, match="^mine$"):
        copy_in(g, [tmp_path / "file"], "/etc/progress", progress=progress)


def test_a_host_file_that_became_shorter_was_told_as_a_broken_archive(g: Guestfs, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(bytes(3 << 20))
    g.write("/usr/local/file", b"kept")
    with fails(errno.EIO, f"{short}: became shorter while it was copied"):
        copy_in(g, [short], "/usr/local/file", replace=True, progress=lambda *_: os.truncate(short, 2 << 20))
    assert g.read_file("/usr/local/file") == b"kept"
    assert not [name for name in g.ls("/usr/local") if name.startswith(".")]
    g.rm("/usr/local/file")


def test_a_file_that_says_it_is_empty_was_copied_empty(g: Guestfs) -> None:
    """One of /sys, which says 4096, ended the whole copy."""
    copied = copy_in(g, ["/proc/self/limits", "/sys/class/net/lo/mtu"], "/usr/local")
    limits = Path("/proc/self/limits").read_bytes()
    assert g.read_file("/usr/local/limits") == limits
    assert g.read_file("/usr/local/mtu") == Path("/sys/class/net/lo/mtu").read_bytes()
    assert (copied.files, copied.bytes > len(limits)) == (2, True)
    for name in ("limits", "mtu"):
        g.rm(f"/usr/local/{name}")


def test_a_directory_behind_an_absolute_link_is_the_guests_and_not_the_appliances(
    g: Guestfs, tmp_path: Path
) -> None:
    """Regression: the copy went to the appliance's own directory of that name."""
    source = tmp_path / "umount"
    source.write_bytes(b"copied")
    g.ln_s("/usr/local", "/srv/inside")
    g.ln_s("/usr", "/srv/above")
    copy_in(g, [source], "/srv/inside")
    assert g.read_file("/usr/local/umount") == b"copied"
    copy_in(g, [source], "/srv/above/local/other")
    assert g.read_file("/usr/local/other") == b"copied"
    assert g.debug("sh", ["ls /usr/local/umount /usr/local/other 2>/dev/null | wc -l"]).strip() == "0"
    for name in ("/usr/local/umount", "/usr/local/other", "/srv/inside", "/srv/above"):
        g.rm(name)


def test_a_disk_that_is_full_says_so(g: Guestfs, tmp_path: Path) -> None:
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(64 << 20)
    before = g.ls("/usr/local")
    with fails(errno.ENOSPC, f"{source}: the guest's filesystem is full"):
        copy_in(g, [source], "/usr/local")
    assert g.ls("/usr/local") == before


# Mounting. This test comes last, because it changes what is mounted.


def test_a_guest_is_mounted_by_its_root_or_by_any_filesystem(g: Guestfs) -> None:
    opened = g.mount_info()
    found = mount_guest(g, readonly=False)
    assert found == opened == g.mount_info()
    assert (found.root, dict(found.mountpoints)) == ("/dev/sda1", {"/": "/dev/sda1"})
    assert found.system is not None
    assert found.system.hostname == hostile.ATTACK
    alone = mount_guest(g, root="/dev/sda1", readonly=False)
    assert alone.system is not None
    assert alone.system.hostname == hostile.ATTACK
    assert mount_guest(g, root=f"UUID={ROOT_UUID}", readonly=False) == alone
    with fails(
        errno.ENOENT, "/dev/sdz1: it is the guest's disk 26, and 1 was given; the filesystems are /dev/sda1"
    ):
        mount_guest(g, root="/dev/sdz1")
