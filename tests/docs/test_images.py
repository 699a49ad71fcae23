"""The programs in docs/images.md run unchanged."""

from __future__ import annotations

import lzma
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import domains
from tests.images.archives import Drive, ovf, tar

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


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


@pytest.mark.parametrize("program", blocks("python"), ids=lambda text: re.sub(r"\W+", "-", text[:40]))
def test_a_python_program(here: Path, program: str) -> None:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_cpp_program(here: Path) -> None:
    (program,) = blocks("cpp")
    (here / "program.cpp").write_text(program)
    command = ["g++", "-std=c++20", f"-I{ROOT / 'include'}", "program.cpp", "-lguestfs"]
    subprocess.run(command, cwd=here, check=True)
    subprocess.run(["./a.out"], cwd=here, check=True)
