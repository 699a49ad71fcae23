"""The programs in docs/images.md run unchanged."""

from __future__ import annotations

import lzma
import re
import subprocess
from pathlib import Path

import pytest

from tests import domains
from tests.docs.snippets import block, blocks, run_python, run_shell
from tests.images.archives import Drive, ovf, tar


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def qemu_img(*words: str) -> None:
        subprocess.run(["qemu-img", *words], check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)

    qemu_img("create", "-q", "-f", "qcow2", "disk.qcow2", "1M")
    qemu_img("snapshot", "-c", "before", "disk.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", "overlay.qcow2")
    qemu_img("create", "-q", "-f", "vmdk", "disk.vmdk", "1M")
    web = domains.domain("web", domains.disk(tmp_path / "disk.qcow2"))
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", domains.write(tmp_path / "libvirt.xml", web))
    (tmp_path / "packed.img.xz").write_bytes(lzma.compress(bytes(1 << 20)))
    disks = {f"disk{number}.vmdk": (tmp_path / "disk.vmdk").read_bytes() for number in (1, 2)}
    drives = [Drive(name, address=number) for number, name in enumerate(disks)]
    (tmp_path / "web.ova").write_bytes(tar({"web.ovf": ovf(drives), **disks}))
    return tmp_path


@pytest.mark.parametrize(
    "program", blocks("images.md", "python"), ids=lambda text: re.sub(r"\W+", "-", text[:40])
)
def test_a_python_program(here: Path, program: str) -> None:
    run_python(program, here, quiet=True)


def test_the_cpp_program(here: Path) -> None:
    (here / "program.cpp").write_text(block("images.md", "cpp"))
    run_shell("g++ -std=c++20 program.cpp $(pkg-config --cflags --libs guestkit-compiled)\n./a.out", here)
