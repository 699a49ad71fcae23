"""Reading and changing a real disk, in one shared appliance."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestkit import ApplianceCrashed, Error, Guestfs

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def g() -> Iterator[Guestfs]:
    """An appliance with a scratch disk: /dev/sda1 ext4 mounted on /, /dev/sda2 free for LVM."""
    with Guestfs() as handle:
        handle.add_drive_scratch(512 * MEGABYTE)
        handle.launch()
        handle.part_init("/dev/sda", "gpt")
        handle.part_add("/dev/sda", "primary", 2048, 524287)
        handle.part_add("/dev/sda", "primary", 524288, -2048)
        handle.mkfs("ext4", "/dev/sda1", label="scratch")
        handle.mount("/dev/sda1", "/")
        yield handle


def test_partitions_come_back_as_dicts_with_numbers(g: Guestfs) -> None:
    partitions = g.part_list("/dev/sda")
    assert [p["part_num"] for p in partitions] == [1, 2]
    assert partitions[0]["part_start"] == 2048 * 512
    assert partitions[0]["part_size"] == (524287 - 2048 + 1) * 512
    assert g.vfs_label("/dev/sda1") == "scratch"
    assert g.list_filesystems()["/dev/sda1"] == "ext4"


@pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)) * 16, b"\0" * (3 * MEGABYTE)])
def test_what_is_written_is_read_back(g: Guestfs, content: bytes) -> None:
    g.write("/file", content)
    assert g.read_file("/file") == content
    assert g.filesize("/file") == len(content)
    g.write_append("/file", b"more")
    assert g.read_file("/file") == content + b"more"


def test_file_names_are_bytes(g: Guestfs) -> None:
    g.mkdir("/names")
    name = b"/names/caf\xe9 \xff \x1b[31m"
    g.write(name, b"content")
    (listed,) = g.ls("/names")
    assert listed.encode("utf-8", "surrogateescape") == name.removeprefix(b"/names/")
    assert g.read_file("/names/" + listed) == b"content"
    assert g.exists(name) is True
    assert sorted(entry["name"] for entry in g.readdir("/names")) == [".", "..", listed]


def test_upload_download_and_tar_carry_files_both_ways(g: Guestfs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"host" * 1000)
    g.upload(source, "/uploaded")
    g.download("/uploaded", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    g.mkdir_p("/tree/deep")
    g.write("/tree/deep/leaf", b"leaf")
    g.tar_out("/tree", tmp_path / "tree.tar", compress="gzip")
    g.mkdir("/copy")
    g.tar_in(tmp_path / "tree.tar", "/copy", compress="gzip")
    assert g.find("/copy/") == ["deep", "deep/leaf"]


def test_lvm_is_made_used_and_removed(g: Guestfs) -> None:
    g.pvcreate("/dev/sda2")
    g.vgcreate("VG", ["/dev/sda2"])
    g.lvcreate("one", "VG", 32)
    g.lvcreate("two", "VG", 64)
    assert g.lvs() == ["/dev/VG/one", "/dev/VG/two"]
    volumes = g.lvs_full()
    assert [(v["lv_name"], v["lv_size"]) for v in volumes] == [("one", 32 * MEGABYTE), ("two", 64 * MEGABYTE)]
    assert all(len(v["lv_uuid"]) == 32 for v in volumes)
    assert volumes[0]["snap_percent"] is None  # a percentage that does not apply
    g.mkfs("ext2", "/dev/VG/one")
    g.mkdir("/lv")
    g.mount("/dev/VG/one", "/lv")
    g.write("/lv/file", b"on LVM")
    assert g.mountpoints()["/dev/VG/one"] == "/lv"
    g.umount("/lv")
    g.vgremove("VG")
    assert g.lvs() == []


def test_extended_attributes_are_bytes(g: Guestfs) -> None:
    g.touch("/attributes")
    g.lsetxattr("user.raw", b"\xff\x01", 2, "/attributes")
    assert {"attrname": "user.raw", "attrval": b"\xff\x01"} in g.getxattrs("/attributes")


def test_an_error_names_the_action_the_reason_and_the_errno(g: Guestfs) -> None:
    with pytest.raises(Error) as caught:
        g.read_file("/missing")
    assert caught.value.op == "read_file"
    assert "/missing" in caught.value.message
    assert "No such file or directory" in str(caught.value)
    with pytest.raises(Error) as caught:
        g.mkdir("/lost+found")
    assert (caught.value.op, caught.value.errno) == ("mkdir", errno.EEXIST)


def test_a_cancelled_download_raises_eintr_and_the_handle_lives(g: Guestfs, tmp_path: Path) -> None:
    g.touch("/big")
    g.truncate_size("/big", 400 * MEGABYTE)
    returned = threading.Event()

    def keep_cancelling() -> None:
        # A cancel that comes before the transfer begins has no effect, so repeat it.
        while not returned.wait(0.03):
            g.user_cancel()

    canceller = threading.Thread(target=keep_cancelling)
    canceller.start()
    with pytest.raises(Error) as caught:
        g.download("/big", tmp_path / "big")
    returned.set()
    canceller.join()
    assert caught.value.errno == errno.EINTR
    assert caught.value.message
    assert g.exists("/big") is True


def test_a_getter_waits_in_its_own_thread_only(g: Guestfs) -> None:
    """Upstream's binding keeps the GIL in getters: one beside a long call freezes the whole interpreter."""
    done = threading.Event()

    def long_call() -> None:
        g.debug("sh", ["sleep", "2"])
        done.set()

    caller = threading.Thread(target=long_call)
    getter = threading.Thread(target=g.get_memsize)
    caller.start()
    getter.start()
    turns = 0
    while not done.wait(0.01):
        turns += 1
    caller.join()
    getter.join()
    assert turns > 50  # this thread ran all the while


def test_the_appliance_dying_is_an_error_of_its_own(tmp_path: Path) -> None:
    """Uses its own handle, so that nothing is left behind."""
    with Guestfs() as handle:
        handle.add_drive_scratch(MEGABYTE)
        handle.launch()
        os.kill(handle.get_pid(), signal.SIGKILL)
        with pytest.raises(ApplianceCrashed) as caught:
            handle.list_devices()
        assert caught.value.op == "list_devices"
        with pytest.raises(ApplianceCrashed, match="the appliance died during an earlier call"):
            handle.list_devices()
