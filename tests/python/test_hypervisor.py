"""The program that libguestfs runs in place of QEMU, with a fake QEMU that only lists its open files."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guestkit import appliance

MACHINE = (
    "-nodefaults", "-machine", "accel=tcg", "-m", "1", "-kernel", "/a/kernel",
    "-drive", "file=/a/root,snapshot=on,id=appliance,cache=unsafe,if=none,format=raw",
    "-device", "scsi-hd,drive=appliance", "-append", "panic=1", "-name", "guestkit-1-1",
)  # fmt: skip


class Template:
    """A template of a machine with 1 MB of memory, whose other files are a few bytes each."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "warm-1"
        self.directory.mkdir(mode=0o700)
        self._open_files = folder / "open-files"
        qemu = folder / "qemu"
        qemu.write_text(
            f"#!{sys.executable} -ISs\n"
            f"import os\n"
            f"found = []\n"
            f"for number in os.listdir('/proc/self/fd'):\n"
            f"    try: found.append(os.readlink('/proc/self/fd/' + number))\n"
            f"    except OSError: pass\n"
            f"open({str(self._open_files)!r}, 'w').write('\\n'.join(found))\n"
        )
        qemu.chmod(0o700)
        shutil.copy(appliance._programs() / "appliance-hypervisor", self.directory / "hypervisor")
        words = [str(qemu), *MACHINE]
        (self.directory / "command").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))
        for name in ("root", "state"):
            (self.directory / name).write_bytes(b"content")
        (self.directory / "mem").write_bytes(bytes(1 << 20))
        self.sign()

    def sign(self) -> None:
        files = ("command", "hypervisor", "root", "state")
        for name in files:
            (self.directory / name).chmod(0o700)
        appliance._write_manifest(self.directory, [], files)

    def run(self, *arguments: str, most_files: int | None = None) -> tuple[str, list[str]]:
        """Run the program as libguestfs does; return its messages, and the files that are open in QEMU."""

        def limit() -> None:
            if most_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))

        ended = subprocess.run(
            [self.directory / "hypervisor", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, check=True, timeout=60, preexec_fn=limit,
        )  # fmt: skip
        mine = ("/dev/null", "pipe:", "/proc/")
        files = self._open_files.read_text().splitlines()
        return ended.stderr, sorted(file for file in files if not file.startswith(mine))


@pytest.fixture
def template(tmp_path: Path) -> Template:
    return Template(tmp_path)


def shorten(template: Template) -> None:
    os.truncate(template.directory / "mem", 4096)


def link(template: Template) -> None:
    memory = template.directory / "mem"
    memory.rename(memory.with_name("elsewhere"))
    memory.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(shorten, "the template's memory is too short"), (link, "mem: Too many levels of symbolic links")],
)
def test_a_qemu_that_booted_after_all_had_the_templates_files_and_sockets_open(
    template: Template, damage: Callable[[Template], None], reason: str
) -> None:
    damage(template)
    said, files = template.run(*MACHINE)
    assert said.startswith("guestkit: normal boot: ")
    assert said.strip().endswith(reason)
    assert files == []


def test_a_qemu_whose_watcher_cannot_start_has_none_of_them_open_either(template: Template) -> None:
    standard, of_the_restore = 3, 6
    said, files = template.run(*MACHINE, most_files=standard + of_the_restore)
    assert said == "guestkit: normal boot: no process can be started\n"
    assert files == []


def test_a_restored_qemu_has_the_state_the_memory_and_two_sockets_open(template: Template) -> None:
    said, files = template.run(*MACHINE)
    assert said.startswith("guestkit: restoring\n")
    sockets = [file for file in files if file.startswith("socket:")]
    assert len(sockets) == 2
    assert [file for file in files if file not in sockets] == [
        str(template.directory / name) for name in ("mem", "state")
    ]


def test_a_qemu_that_is_asked_what_it_can_do_has_nothing_open(template: Template) -> None:
    said, files = template.run("-version")
    assert (said, files) == ("", [])
