"""A qemu-img that is shut in converts, resizes and checks disks, and reaches no other file."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from guestkit import Error, _native, appliance
from guestkit.aio.convert import AsyncDiskConverter
from guestkit.cli import main
from guestkit.convert import DiskConverter

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True, scope="module")
def _built() -> None:
    appliance.build()


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A disk with some data at its begin and at its end."""
    path = tmp_path / "disk.img"
    path.write_bytes(b"begin".ljust(4 * MEGABYTE - 3, b"\0") + b"end")
    return path


@pytest.fixture(params=["overlay", "extents"])
def disk(request: pytest.FixtureRequest, raw: Path, tmp_path: Path) -> tuple[Path, str]:
    """The same data in a disk of two files, and its format."""
    path, kind = tmp_path / "disk", "qcow2"
    if request.param == "overlay":
        qemu_img("create", "-f", "qcow2", "-b", raw, "-F", "raw", path)
    else:
        path, kind = tmp_path / "disk.vmdk", "vmdk"
        qemu_img("convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", raw, path)
    return path, kind


@pytest.mark.parametrize("to", ["qcow2", "vmdk", "vdi", "vhdx", "vpc"])
def test_each_format_is_written(to: str, disk: tuple[Path, str], raw: Path, tmp_path: Path) -> None:
    path, kind = disk
    output = tmp_path / "output"
    result = DiskConverter(sandbox="strict").convert(path, output, to, source_format=kind, backing="allow")
    assert result["success"], result["error"]
    back = tmp_path / "back.img"
    qemu_img("convert", "-f", to, "-O", "raw", output, back)
    assert back.read_bytes()[: 4 * MEGABYTE] == raw.read_bytes()
    assert output.stat().st_mode & 0o777 == 0o666 & ~umask()


def test_the_output_names_a_backing_file(raw: Path, tmp_path: Path) -> None:
    overlay, output = tmp_path / "overlay.qcow2", tmp_path / "output.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", raw, "-F", "raw", overlay)
    converter = DiskConverter(sandbox="strict")
    result = converter.convert(overlay, output, flatten=False, source_format="qcow2", backing="allow")
    assert result["success"], result["error"]
    assert converter.get_info(output, "qcow2", backing="allow")["backing-filename"] == str(raw)


def umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_it_tells_of_disks_checks_and_resizes_them(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    qemu_img("convert", "-O", "qcow2", raw, path)
    converter = DiskConverter(sandbox="strict")
    assert converter.get_info(path)["virtual-size"] == 4 * MEGABYTE
    assert converter.check(path, "qcow2")["clean"]
    assert converter.check(path, "qcow2", repair="leaks")["clean"]
    assert converter.resize(path, 8 * MEGABYTE, "qcow2").virtual_size == 8 * MEGABYTE


async def test_the_async_twin_shuts_it_in_too(raw: Path, tmp_path: Path, taken_over: Path) -> None:
    result = await AsyncDiskConverter(sandbox="strict").convert(raw, tmp_path / "output")
    assert "begun" in str(result["error"])
    assert f"{taken_over}: Permission denied" in str(result["error"])


@pytest.fixture
def taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, and a program in place of qemu-img that tells what is in it."""
    secret = tmp_path / "secret"
    secret.write_text("of the host\n")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "qemu-img"
    program.write_text(f'#!/bin/sh\necho begun >&2\nread -r line <"{secret}" && echo "$line" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return secret


@pytest.mark.parametrize(
    ("sandbox", "said"), [("auto", "of the host"), ("none", "of the host"), ("strict", "Permission denied")]
)
def test_a_qemu_img_that_a_disk_had_taken_over_read_files_of_the_host(
    sandbox: Literal["auto", "none", "strict"],
    said: str,
    raw: Path,
    tmp_path: Path,
    taken_over: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first two show that the program does what it is for."""
    result = DiskConverter(sandbox=sandbox).convert(raw, tmp_path / "output")
    assert not result["success"]
    assert "begun" in str(result["error"])
    assert said in str(result["error"])
    words = ["convert", "--sandbox", sandbox, str(raw), str(tmp_path / "output.qcow2")]
    assert main(words) == 1
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("output*"))


def test_what_shuts_it_in_is_named_where_it_lacks(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(tmp_path / "none"))
    assert _native.cage_program() == ""
    with pytest.raises(Error, match="sandbox=strict: .* an appliance that guestkit has built") as caught:
        DiskConverter(sandbox="strict").get_info(raw, "raw")
    assert (caught.value.errno, caught.value.hint) == (errno.ENOTSUP, "guestkit appliance build")


def test_where_it_cannot_be_shut_in_the_error_is_of_what_the_host_cannot_do(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cage = tmp_path / "cage"
    cage.write_text("#!/bin/sh\necho 'no Landlock here' >&2\nexit 127\n")
    cage.chmod(0o755)
    monkeypatch.setattr(_native, "cage_program", lambda: str(cage))
    with pytest.raises(Error, match="sandbox=strict: no Landlock here") as caught:
        DiskConverter(sandbox="strict").get_info(raw, "raw")
    assert caught.value.errno == errno.ENOTSUP


def test_a_sandbox_that_there_is_not_is_refused() -> None:
    for converter in (DiskConverter, AsyncDiskConverter):
        with pytest.raises(ValueError, match='sandbox must be "auto", "strict" or "none"'):
            converter(sandbox="tight")  # type: ignore[arg-type]
