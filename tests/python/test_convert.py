"""DiskConverter, blocking and async."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import json
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guestkit import (
    AsyncDiskConverter,
    CallTimeout,
    Conversion,
    DiskConverter,
    Error,
    convert_disk,
    probe,
    under,
)
from guestkit._qemu_img import QemuImg
from guestkit.cli import main
from guestkit.handle_options import Sandbox
from tests.images import naming

MIB = 1 << 20
CONTENT = b"what stands on the disk".ljust(MIB, b",")


class Sync:
    """The async converter, called like the blocking one."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(AsyncDiskConverter(**self._options), name)
        return lambda *given, **named: asyncio.run(call(*given, **named))


@pytest.fixture(params=[DiskConverter, Sync])
def converter(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.img"
    path.write_bytes(CONTENT)
    return path


def raw(path: Path, image_format: str) -> bytes:
    out = path.with_name("raw-again")
    subprocess.run(["qemu-img", "convert", "-f", image_format, "-O", "raw", path, out], check=True)
    return out.read_bytes()


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("image_format", ["raw", "qcow2", "vmdk", "vdi", "vhdx", "qcow"])
def test_convert(converter: Any, tmp_path: Path, source: Path, image_format: str) -> None:
    output = tmp_path / "a,b:c\n'\"" if image_format == "qcow2" else tmp_path / "output"
    parts: list[float] = []
    result = converter.convert(source, output, image_format, progress=parts.append)
    assert result == {
        "source_path": str(source),
        "output_path": str(output),
        "source_format": "raw",
        "output_format": image_format,
        "output_size": output.stat().st_size,
        "duration_secs": result["duration_secs"],
        "success": True,
        "error": None,
        "cause": None,
        "hint": "",
    }
    assert result["duration_secs"] > 0
    assert parts[-1] == 1.0
    assert sorted(parts) == parts
    assert converter.detect_format(output) == image_format
    assert raw(output, image_format) == CONTENT
    assert left_in(tmp_path) == {source.name, output.name, "raw-again"}
    assert json.loads(json.dumps(result)) == result


def test_a_conversion_that_failed_passed_for_one_that_is_done(tmp_path: Path, source: Path) -> None:
    """Regression: `DiskConverter().convert("missing", …)` as the line of a script raises nothing."""
    output = tmp_path / "output"
    with pytest.raises(Error, match=f"{tmp_path}/missing: no such file") as caught:
        convert_disk(tmp_path / "missing", output)
    assert (caught.value.op, caught.value.cause) == ("convert", "disk_missing")
    done = convert_disk(source, output, "vmdk")
    assert done == Conversion(
        source_format="raw", output_format="vmdk", size=output.stat().st_size, seconds=done.seconds
    )
    assert done.seconds > 0
    assert raw(output, "vmdk") == CONTENT
    with pytest.raises(Error) as caught:
        convert_disk(source, output)
    assert (caught.value.errno, caught.value.cause) == (errno.EEXIST, "already_exists")
    assert convert_disk(source, output, replace=True, compress=True).size < done.size
    with pytest.raises(Error, match="refers to another file"):
        overlay = tmp_path / "overlay"
        DiskConverter().create_disk(overlay, backing_file=source, backing_format="raw")
        convert_disk(overlay, tmp_path / "flat", source_format="qcow2")
    assert convert_disk(overlay, tmp_path / "flat", source_format="qcow2", backing="allow").size


@pytest.mark.parametrize("wrong", [{"timeout": -1}, {"sandbox": "some"}, {"backing": "maybe"}])
def test_a_wrong_argument_of_a_conversion(wrong: Any, tmp_path: Path, source: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        convert_disk(source, tmp_path / "output", **wrong)


@pytest.mark.parametrize("raised", [ValueError("enough"), Error("ls", "of the caller"), KeyboardInterrupt()])
def test_what_progress_raises_ends_a_conversion(raised: BaseException, tmp_path: Path, source: Path) -> None:
    def stop(part: float) -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        convert_disk(source, tmp_path / "output", progress=stop)
    assert caught.value is raised
    assert left_in(tmp_path) == {source.name}


def test_ctrl_c_ends_a_conversion_and_removes_what_was_written(
    tmp_path: Path, source: Path, stuck: Path
) -> None:
    program = "import sys; from guestkit import convert_disk; convert_disk(*sys.argv[1:])"
    command: list[str | Path] = [sys.executable, "-c", program, source, tmp_path / "output"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        stuck.read_bytes()
        assert len(list(tmp_path.glob(".guestkit-*/output"))) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT
    assert left_in(tmp_path) == {"bin", source.name}


def test_an_image_that_cannot_be_synced_was_told_without_its_name(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: "[Errno 5] Input/output error", as of a disk that fills up on NFS."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    output = tmp_path / "output"
    with pytest.raises(Error, match=f"{output}: Input/output error"):
        convert_disk(source, output)
    with pytest.raises(Error, match=f"{output}: Input/output error"):
        DiskConverter().create_disk(output, MIB)
    assert left_in(tmp_path) == {source.name}


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("permission", "qemu-img cannot be run: Permission denied"),
        ("folder", "a temporary directory cannot be made: No such file or directory"),
        ("space", "the output cannot be made: No space left on device"),
    ],
)
def test_what_the_host_refuses_was_no_error_of_the_conversion(
    missing: str,
    message: str,
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Regression: `convert_disk` raised OSError, and `guestkit convert --json` printed no JSON."""

    def fill(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    if missing == "permission":
        program = tmp_path / "bin" / "qemu-img"
        program.mkdir(parents=True)  # a directory, which not even root runs
        monkeypatch.setenv("PATH", str(program.parent))
    else:
        monkeypatch.setattr("guestkit._qemu_img._native.cage_program", lambda: "cage")
        if missing == "folder":
            monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "removed"))
        else:
            monkeypatch.setattr(Path, "open", fill)
    sandbox: Sandbox = "auto" if missing == "permission" else "strict"
    output = tmp_path / "output.qcow2"
    with pytest.raises(Error, match=message) as caught:
        convert_disk(source, output, sandbox=sandbox)
    assert caught.value.errno in (errno.EACCES, errno.ENOENT, errno.ENOSPC)
    assert main(["convert", "--json", "--sandbox", sandbox, str(source), str(output)]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == f"convert: {message}"


def test_a_vmdk_named_a_file_that_is_not_there(converter: Any, tmp_path: Path, source: Path) -> None:
    """Regression: its description called its extent "disk", the name that it had while it was written."""
    assert converter.convert(source, tmp_path / "web.vmdk", "vmdk")["error"] is None
    named = re.findall(rb'^RW \d+ SPARSE "(.*)"$', (tmp_path / "web.vmdk").read_bytes(), re.MULTILINE)
    assert named == [b"web.vmdk"]


def test_compress(converter: Any, tmp_path: Path, source: Path) -> None:
    converter.convert(source, tmp_path / "large")
    result = converter.convert(source, tmp_path / "small", compress=True)
    assert result["output_size"] < (tmp_path / "large").stat().st_size
    assert raw(tmp_path / "small", "qcow2") == CONTENT


def test_a_chain_is_flattened_or_kept(converter: Any, tmp_path: Path, source: Path) -> None:
    top = tmp_path / "top"
    converter.create_disk(top, backing_file=source, backing_format="raw")
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 64k", top], check=True, stdout=subprocess.DEVNULL
    )
    wanted = b"\1" * 65536 + CONTENT[65536:]

    refused = converter.convert(top, tmp_path / "flat", source_format="qcow2")
    assert not refused["success"]
    assert "refers to another file of this host" in refused["error"]
    assert not (tmp_path / "flat").exists()

    options = {"source_format": "qcow2", "backing": under(tmp_path)}
    assert converter.convert(top, tmp_path / "flat", **options)["success"]
    assert probe(tmp_path / "flat").references == ()
    assert raw(tmp_path / "flat", "qcow2") == wanted
    result = converter.convert(top, tmp_path / "kept", flatten=False, **options)
    assert result["success"], result["error"]
    assert probe(tmp_path / "kept").backing_file == str(source)
    assert (tmp_path / "kept").stat().st_size < (tmp_path / "flat").stat().st_size
    assert raw(tmp_path / "kept", "qcow2") == wanted


def test_what_goes_wrong_is_told_in_the_result(converter: Any, tmp_path: Path, source: Path) -> None:
    (tmp_path / "there").write_bytes(b"before")
    for given, message in [
        ((tmp_path / "missing", tmp_path / "there"), "no such file"),
        ((source, tmp_path / "no" / "folder"), "No such file or directory"),
        ((source, tmp_path / "there", "nonsense"), "nonsense"),
        ((source, source), "the output is the source"),
        (("/dev/zero", tmp_path / "there"), "is a character device"),
    ]:
        result = converter.convert(*given, replace=True)
        assert (result["success"], result["output_size"]) == (False, 0)
        assert message in result["error"]
    assert (tmp_path / "there").read_bytes() == b"before"
    assert source.read_bytes() == CONTENT
    assert left_in(tmp_path) == {"there", source.name}
    with pytest.raises(ValueError, match="argument 'backing'"):
        converter.convert(source, tmp_path / "x", backing="maybe")


def test_a_file_that_is_there_is_replaced_when_the_new_one_is_complete(
    converter: Any, tmp_path: Path, source: Path
) -> None:
    (tmp_path / "there").write_bytes(b"before")
    assert converter.convert(source, tmp_path / "there", replace=True)["success"]
    assert raw(tmp_path / "there", "qcow2") == CONTENT
    umask = os.umask(0o022)
    os.umask(umask)
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o644 & ~umask


Script = Callable[[str], None]


@pytest.fixture
def qemu_img(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Puts a shell script in the place of qemu-img."""
    program = tmp_path / "bin" / "qemu-img"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")

    def put(script: str) -> None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return put


@pytest.fixture
def stuck(tmp_path: Path, qemu_img: Script) -> Path:
    """A qemu-img that starts to write and never ends; a FIFO signals the start."""
    started = tmp_path / "bin" / "started"
    os.mkfifo(started)
    qemu_img(f'for output; do :; done\necho half > "$output"\n: > {started}\nexec sleep 1000')
    return started


def test_an_answer_of_any_length_was_kept_in_memory(tmp_path: Path, source: Path, qemu_img: Script) -> None:
    """Regression: an image that had taken qemu-img over could have it print gigabytes."""
    qemu_img("exec head -c 8388608 /dev/zero")
    converter, message = DiskConverter(), "qemu-img prints more than 4194304 bytes"
    with pytest.raises(Error, match=message):
        converter.get_info(source)
    with pytest.raises(Error, match=message):
        converter.check(source, "raw")
    result = converter.convert(source, tmp_path / "output", progress=print)
    assert (result["success"], result["error"]) == (False, f"convert: {message}")
    assert left_in(tmp_path) == {"bin", source.name}


@pytest.mark.parametrize("how", ["this process ignores SIGCHLD", "another thread waits for any child"])
def test_half_an_image_replaced_a_good_one_where_nobody_knows_how_qemu_img_ended(
    tmp_path: Path, source: Path, qemu_img: Script, how: str
) -> None:
    """Regression: Popen takes a status that is lost for 0."""
    qemu_img('for output; do :; done\n[ $1 = resize ] || echo half > "$output"\nexit 1')
    output = tmp_path / "output"
    output.write_text("good")
    program = """if True:
        import os, signal, subprocess, sys
        from guestkit import DiskConverter, Error

        if "ignores" in sys.argv[1]:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        else:  # between the end of its output and the question how it has ended
            begin = subprocess.Popen.__init__
            def then_reap(self, *words, **options):
                begin(self, *words, **options)
                os.waitpid(-1, 0)
            subprocess.Popen.__init__ = then_reap
        source, output = sys.argv[2:]
        print(DiskConverter().convert(source, output, replace=True)["error"])
        try:
            DiskConverter().resize(source, 1 << 20, "raw")
        except Error as error:
            print(error.errno)
    """
    command = [sys.executable, "-c", program, how, str(source), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    reason = "this process ignores SIGCHLD, or waits elsewhere for any child"
    assert done.stdout == f"convert: it is not known how qemu-img ended: {reason}\n{errno.ECHILD}\n"
    assert output.read_text() == "good"
    assert left_in(tmp_path) == {"bin", source.name, output.name}


def test_the_command_reported_a_failed_conversion_as_done_to_a_caller_that_ignores_sigchld(
    tmp_path: Path, source: Path, qemu_img: Script
) -> None:
    qemu_img("echo No space left >&2\nexit 1")
    command = [sys.executable, "-m", "guestkit", "convert", str(source), str(tmp_path / "output.qcow2")]
    ignoring = ["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh"]
    done = subprocess.run([*ignoring, *command], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "No space left" in done.stderr) == (1, True)
    assert left_in(tmp_path) == {"bin", source.name}


@pytest.mark.parametrize("printed", ["nonsense", '{"a": ' + "[" * 100_000], ids=["nonsense", "deep"])
def test_an_answer_that_is_no_json_was_an_error_of_python_s(
    tmp_path: Path, source: Path, qemu_img: Script, printed: str
) -> None:
    (tmp_path / "answer").write_text(printed)
    qemu_img(f"exec cat {tmp_path}/answer")
    for call in (DiskConverter().get_info, DiskConverter().check):
        with pytest.raises(Error, match="qemu-img prints no JSON: ") as caught:
            call(source, "raw")
        assert caught.value.errno == errno.EIO


def test_complaints_about_each_cluster_hid_why_a_check_failed(source: Path, qemu_img: Script) -> None:
    """Regression: all were kept in a file, as many as the image wanted, and the first ones were told."""
    qemu_img("seq -f 'Leaked cluster %.0f refcount=1 reference=0' 100000 >&2\necho no memory >&2\nexit 1")
    with pytest.raises(Error, match="no memory$") as caught:
        DiskConverter().check(source, "raw")
    assert caught.value.message.startswith("Leaked cluster ")
    assert len(caught.value.message) <= 4096


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_filesystem_without_hard_links_lost_a_finished_image(
    number: int, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    output = tmp_path / "output"
    assert DiskConverter().convert(source, output)["success"]
    assert DiskConverter().convert(source, output)["cause"] == "already_exists"
    assert left_in(tmp_path) == {source.name, output.name}


def test_an_image_that_was_there_was_replaced_unasked_even_if_it_came_meanwhile(
    converter: Any, tmp_path: Path, source: Path
) -> None:
    output = tmp_path / "output"

    def other_program(part: float) -> None:
        output.write_text("of another program")

    for progress in (other_program, None):  # during the conversion, and before it
        result = converter.convert(source, output, progress=progress)
        assert (result["success"], result["cause"]) == (False, "already_exists")
        assert result["error"] == f"convert: {output}: is there already"
        assert result["hint"] == "replace=True replaces it"
        assert output.read_text() == "of another program"
    output.unlink()
    output.symlink_to("nowhere")
    assert converter.convert(source, output)["cause"] == "already_exists"
    output.unlink()
    assert converter.convert(source, output)["success"]
    assert left_in(tmp_path) == {source.name, output.name}


@pytest.mark.parametrize("output", ["base.qcow2", "top.qcow2"])
@pytest.mark.parametrize("flatten", [True, False])
def test_the_output_replaced_a_file_of_the_source(
    converter: Any, overlay: Path, flatten: bool, output: str
) -> None:
    """Regression: the backing file was replaced, even by an image whose backing file was itself."""
    before = {path.name: path.read_bytes() for path in overlay.parent.iterdir()}
    target = overlay.with_name(output)
    options = {"source_format": "qcow2", "backing": under(overlay.parent), "flatten": flatten}
    result = converter.convert(overlay, target, replace=True, **options)
    assert (result["success"], result["hint"]) == (False, "")
    assert result["error"] == "convert: the output is the source, or one of its files"
    assert {path.name: path.read_bytes() for path in overlay.parent.iterdir()} == before


def test_the_output_replaced_the_packed_source(converter: Any, tmp_path: Path) -> None:
    packed = tmp_path / "disk.img.gz"
    packed.write_bytes(gzip.compress(CONTENT))
    (tmp_path / "other-name").hardlink_to(packed)
    for target in (packed, tmp_path / "other-name"):
        result = converter.convert(packed, target, replace=True)
        assert result["error"] == "convert: the output is the source, or one of its files"
    assert gzip.decompress(packed.read_bytes()) == CONTENT
    assert converter.convert(packed, tmp_path / "new", replace=True)["success"]


@pytest.mark.parametrize("replace", [True, False])
def test_what_is_no_file_was_replaced_by_an_image(
    converter: Any, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """Regression: a device by a file; a directory was refused, but only after the work."""
    monkeypatch.setattr(QemuImg, "run", None)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/null")
    (tmp_path / "link-to-file").symlink_to(source)
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "link", "link-to-file", "folder"):
        result = converter.convert(source, tmp_path / name, replace=replace)
        assert result["error"] == f"convert: {tmp_path / name}: is no regular file: not replaced"
        assert (result["cause"], result["hint"]) == ("already_exists", "")
    assert os.readlink(tmp_path / "link") == "/dev/null"
    assert (tmp_path / "fifo").is_fifo()
    assert left_in(tmp_path) == {source.name, "fifo", "link", "link-to-file", "folder"}


def test_a_replaced_image_was_open_to_other_users(converter: Any, tmp_path: Path, source: Path) -> None:
    (tmp_path / "there").touch(0o600)
    assert converter.convert(source, tmp_path / "there", replace=True)["success"]
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o600


def test_a_cancel_removes_the_half_written_file(tmp_path: Path, source: Path, stuck: Path) -> None:
    async def run() -> None:
        call = asyncio.create_task(AsyncDiskConverter().convert(source, tmp_path / "output"))
        await asyncio.to_thread(stuck.read_bytes)
        assert len(list(tmp_path.glob(".guestkit-*/output"))) == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert left_in(tmp_path) == {"bin", source.name}

    asyncio.run(run())


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_check_that_only_reads_could_not_be_cancelled(
    tmp_path: Path, source: Path, fifo: Path, qemu_img: Script
) -> None:
    """Regression: who cancelled it waited for its end, which an image can put off for hours."""
    qemu_img(f": > {fifo}\nsleep 30\n: > {tmp_path}/ended")

    async def run() -> None:
        call = asyncio.create_task(AsyncDiskConverter().check(source, "raw"))
        await asyncio.to_thread(fifo.read_bytes)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(run())
    assert not (tmp_path / "ended").exists()


@pytest.mark.parametrize(
    ("method", "options"), [("resize", {"size": 2 * MIB}), ("check", {"repair": "leaks"})], ids=str
)
def test_a_cancel_lets_what_writes_to_an_image_end(
    method: str, options: dict[str, Any], tmp_path: Path, source: Path, fifo: Path, qemu_img: Script
) -> None:
    """It complains of more than a pipe holds, so that the end is not reached before the cancel is seen."""
    qemu_img(f": > {fifo}\nread -r line < {fifo}\nseq 100000 >&2\necho '{{}}'\n: > {tmp_path}/ended")

    async def run() -> None:
        call = asyncio.create_task(getattr(AsyncDiskConverter(), method)(source, format="raw", **options))
        await asyncio.to_thread(fifo.read_bytes)
        call.cancel()
        with fifo.open("r+b", buffering=0) as writer:  # whoever opens it to write alone waits for a reader
            writer.write(b"go on\n")
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(run())
    assert (tmp_path / "ended").exists()


def test_qemu_img_went_on_when_a_signal_had_ended_its_program_and_all_of_its_group(
    source: Path, fifo: Path, qemu_img: Script
) -> None:
    """As timeout(1) and the terminal's own end do."""
    qemu_img(f"echo $$ > {fifo}; exec sleep 600")
    program = "import sys; from guestkit import DiskConverter; DiskConverter().get_info(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", program, source], start_new_session=True) as process:
        descriptor = os.pidfd_open(int(fifo.read_text()))
        os.killpg(process.pid, signal.SIGTERM)
    assert select.select([descriptor], [], [], 30)[0] == [descriptor]
    os.close(descriptor)


@pytest.mark.parametrize(
    "call",
    [
        'DiskConverter().resize(sys.argv[1], 2 << 20, "raw")',
        'DiskConverter().check(sys.argv[1], "raw", repair="all")',
        'asyncio.run(AsyncDiskConverter().resize(sys.argv[1], 2 << 20, "raw"))',
    ],
)
def test_ctrl_c_in_the_terminal_interrupted_what_writes_to_an_image(
    tmp_path: Path, source: Path, fifo: Path, qemu_img: Script, call: str
) -> None:
    qemu_img(f"read -r line < {fifo}; : > {tmp_path}/ended")
    program = f"""
import asyncio, sys
from guestkit import AsyncDiskConverter, DiskConverter
from guestkit._qemu_img import QemuImg
from guestkit.cli import main
from guestkit.handle_options import Sandbox

def read(*arguments):
    print("begun", flush=True)
    return QemuImg.read(*arguments)

QemuImg.read, QemuImg._read = QemuImg._read, read
{call}
"""
    command: list[str | Path] = [sys.executable, "-c", program, source]
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):  # it still waits
                process.wait(0.2)
        with fifo.open("r+b", buffering=0) as writer:
            writer.write(b"go on\n")
            assert process.wait(30) == -signal.SIGINT
    assert (tmp_path / "ended").exists()


def test_ctrl_c_before_the_limit_was_an_error_of_the_image(
    source: Path, qemu_img: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that goes on with the next image after an error would not have ended by Ctrl-C."""
    qemu_img("exec sleep 30")
    check_time, interrupts = QemuImg._check_time, [KeyboardInterrupt()]

    def interrupted(self: QemuImg) -> None:
        if interrupts:
            raise interrupts.pop()
        check_time(self)

    monkeypatch.setattr(QemuImg, "_check_time", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        DiskConverter(timeout=0.2).resize(source, 2 * MIB, "raw")
    assert isinstance(caught.value.__context__, CallTimeout)
    assert caught.value.__notes__ == ["took longer than 0.2 s (timeout) and was stopped"]


def test_what_qemu_img_said_was_lost_after_ctrl_c(
    source: Path, qemu_img: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu_img("echo qemu-img: No space left on device >&2; exit 1")
    read = QemuImg._read

    def interrupted(self: QemuImg, process: Any, said: Any, *others: Any) -> None:
        before = said.complaint
        read(self, process, said, *others)
        if said.complaint != before:
            raise KeyboardInterrupt

    monkeypatch.setattr(QemuImg, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        DiskConverter().resize(source, 2 * MIB, "raw")
    assert caught.value.__notes__ == ["No space left on device"]


@pytest.mark.parametrize("kind", [DiskConverter, Sync])
def test_nothing_limited_how_long_an_image_occupies_qemu_img(
    kind: Any, tmp_path: Path, source: Path, qemu_img: Script
) -> None:
    qemu_img(f"sleep 30\n: > {tmp_path}/ended")
    converter = kind(timeout=0.2)
    calls: list[Callable[[], object]] = [
        lambda: converter.get_info(source),
        lambda: converter.create_disk(tmp_path / "new", MIB),
        lambda: converter.resize(source, 2 * MIB, "raw"),
        lambda: converter.check(source, "raw"),
        lambda: converter.check(source, "raw", repair="all"),
    ]
    said = "took longer than 0.2 s (timeout) and was stopped"
    for call in calls:
        with pytest.raises(CallTimeout, match=re.escape(said)) as caught:
            call()
        assert (caught.value.errno, caught.value.seconds) == (errno.ETIMEDOUT, 0.2)
    with pytest.raises(CallTimeout, match=re.escape(said)):
        convert_disk(source, tmp_path / "output", timeout=0.2)
    result = converter.convert(source, tmp_path / "output")
    assert (result["success"], result["error"]) == (False, f"convert: {said}")
    assert result["cause"] == "call_timeout"
    assert left_in(tmp_path) == {"bin", source.name}


def test_the_limit_holds_while_a_disk_is_unpacked(tmp_path: Path) -> None:
    packed = tmp_path / "disk.img.gz"
    packed.write_bytes(gzip.compress(CONTENT))
    result = DiskConverter(timeout=0).convert(packed, tmp_path / "output")
    assert (result["success"], result["cause"], result["source_format"]) == (False, "call_timeout", "")


def test_an_exception_of_progress_ends_the_conversion(tmp_path: Path, source: Path) -> None:
    def stop(part: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DiskConverter().convert(source, tmp_path / "output", progress=stop)
    assert left_in(tmp_path) == {source.name}


def test_a_value_error_of_progress_was_lost(tmp_path: Path, source: Path) -> None:
    def stop(part: float) -> None:
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        DiskConverter().convert(source, tmp_path / "output", progress=stop)
    assert left_in(tmp_path) == {source.name}


@pytest.mark.parametrize(
    "raised", [BrokenPipeError(errno.EPIPE, "nobody reads it"), Error("ls", "of the caller")]
)
def test_an_error_of_progress_was_taken_for_one_of_the_conversion(
    tmp_path: Path, source: Path, raised: Exception
) -> None:
    """Regression: what `progress=print` raises once its reader is gone became {"success": False}."""

    def stop(part: float) -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        DiskConverter().convert(source, tmp_path / "output", progress=stop)
    assert caught.value is raised
    assert left_in(tmp_path) == {source.name}


def test_a_converter_goes_to_another_process(source: Path) -> None:
    """As the argument of a pool's `map`, so it holds no lock."""
    copy = pickle.loads(pickle.dumps(DiskConverter(timeout=60)))
    assert copy.timeout == 60
    assert copy.get_info(source)["format"] == "raw"


def test_info(converter: Any, tmp_path: Path, source: Path) -> None:
    converter.convert(source, tmp_path / "disk")
    info = converter.get_info(tmp_path / "disk")
    assert (info["filename"], info["format"], info["virtual-size"]) == (str(tmp_path / "disk"), "qcow2", MIB)
    overlay = tmp_path / "overlay"
    converter.create_disk(overlay, backing_file=source, backing_format="raw")
    with pytest.raises(Error, match="refers to another file of this host"):
        converter.get_info(overlay)
    info = converter.get_info(overlay, "qcow2", backing="allow")
    assert info["backing-filename"] == str(source)


@pytest.mark.parametrize("preallocation", ["off", "metadata", "falloc", "full"])
def test_create(converter: Any, tmp_path: Path, preallocation: str) -> None:
    path = tmp_path / "new,disk:x"
    info = converter.create_disk(path, 8 * MIB, preallocation=preallocation)
    assert (info.format, info.virtual_size) == ("qcow2", 8 * MIB)
    assert (path.stat().st_size > 8 * MIB) == (preallocation != "off")
    with pytest.raises(Error, match="new,disk:x: is there already") as caught:
        converter.create_disk(path, MIB)
    assert (caught.value.errno, caught.value.cause) == (errno.EEXIST, "already_exists")
    assert left_in(tmp_path) == {path.name}


def test_wrong_arguments(converter: Any, tmp_path: Path, source: Path) -> None:
    with pytest.raises(ValueError, match="'timeout' must not be negative"):
        type(converter)(timeout=-1).detect_format(source)
    with pytest.raises(ValueError, match="'backing_format' is needed: QEMU would guess"):
        converter.create_disk(tmp_path / "x", backing_file=source)
    with pytest.raises(ValueError, match="needs a size or a backing file"):
        converter.create_disk(tmp_path / "x")
    with pytest.raises(ValueError, match="must be positive"):
        converter.create_disk(tmp_path / "x", 0)
    with pytest.raises(ValueError, match="'preallocation'"):
        converter.create_disk(tmp_path / "x", 1, preallocation="some")
    with pytest.raises(TypeError, match="'size' must be int"):
        converter.resize(source, "1G", "raw")
    with pytest.raises(ValueError, match="'repair'"):
        converter.check(source, "raw", repair="some")


def test_resize(converter: Any, tmp_path: Path, source: Path) -> None:
    assert converter.resize(source, 2 * MIB, "raw").virtual_size == 2 * MIB
    with pytest.raises(Error, match="shrink"):
        converter.resize(source, MIB, "raw")
    assert converter.resize(source, MIB, "raw", shrink=True).virtual_size == MIB
    assert source.read_bytes() == CONTENT


def test_an_overlay_is_resized_and_checked_where_that_is_permitted(
    converter: Any, tmp_path: Path, source: Path
) -> None:
    overlay = tmp_path / "overlay"
    converter.create_disk(overlay, backing_file=source, backing_format="raw")
    with pytest.raises(Error, match="refers to another file of this host"):
        converter.resize(overlay, 2 * MIB, "qcow2")
    with pytest.raises(Error, match="refers to another file of this host"):
        converter.check(overlay, "qcow2")
    assert converter.resize(overlay, 2 * MIB, "qcow2", backing=under(tmp_path)).virtual_size == 2 * MIB
    assert converter.check(overlay, "qcow2", backing="allow")["clean"] is True


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """Return an overlay that names its backing file as it lies beside it."""
    folder = tmp_path / "images"
    folder.mkdir()
    for words in (["base.qcow2", str(MIB)], ["-b", "base.qcow2", "-F", "qcow2", "top.qcow2"]):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words], cwd=folder, check=True)
    return folder / "top.qcow2"


def test_an_overlay_of_a_relative_name_was_not_found_again(
    converter: Any, overlay: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(overlay)
    for path in (overlay, link):
        assert converter.check(path, "qcow2", backing="allow")["clean"] is True
        assert converter.check(path, "qcow2", backing="allow", repair="all")["clean"] is True
        info = converter.get_info(path, "qcow2", backing="allow")
        assert info["backing-filename"] == "base.qcow2"
        assert info["full-backing-filename"] == str(overlay.with_name("base.qcow2"))
    assert converter.resize(overlay, 2 * MIB, "qcow2", backing="allow").virtual_size == 2 * MIB
    assert probe(overlay.with_name("base.qcow2")).virtual_size == MIB


@pytest.mark.parametrize("name", ["file:base.qcow2", "file:{}/base.qcow2"])
def test_the_backing_file_of_a_name_with_file_was_garbled(name: str, overlay: Path) -> None:
    naming.overlay(overlay, name.format(overlay.parent), "qcow2")
    info = DiskConverter().get_info(overlay, "qcow2", backing="allow")
    assert info["full-backing-filename"] == str(overlay.with_name("base.qcow2"))


def test_qemu_img_opened_by_its_name_what_was_checked_as_a_descriptor(
    overlay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = overlay.with_name("base.qcow2")
    checked = QemuImg.checked

    @contextlib.contextmanager
    def swapped(job: QemuImg, *arguments: Any) -> Iterator[Any]:
        with checked(job, *arguments) as disk:
            base.rename(tmp_path / "away")
            base.write_bytes(b"not what was checked")
            yield disk
        (tmp_path / "away").rename(base)

    monkeypatch.setattr(QemuImg, "checked", swapped)
    absolute = str(base)
    command = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", absolute, "-F", "qcow2", str(overlay)]
    subprocess.run(command, check=True)
    assert DiskConverter().check(overlay, "qcow2", backing="allow")["clean"] is True
    assert DiskConverter().resize(overlay, 2 * MIB, "qcow2", backing="allow").virtual_size == 2 * MIB


def test_check(converter: Any, tmp_path: Path, source: Path) -> None:
    path = tmp_path / "disk"
    converter.convert(source, path)
    assert converter.check(path, "qcow2")["clean"] is True
    content = bytearray(path.read_bytes())
    content += bytes(-len(content) % 65536 + 65536)
    block = int.from_bytes(content[65536 : 65536 + 8], "big")  # of the first block of reference counts
    last = len(content) // 65536 - 1
    content[block + 2 * last : block + 2 * last + 2] = b"\0\1"  # a leaked cluster
    path.write_bytes(content)
    found = converter.check(path, "qcow2")
    assert (found["clean"], found["leaks"], found["filename"]) == (False, 1, str(path))
    assert converter.check(path, "qcow2", repair="leaks")["clean"] is True
    assert converter.check(path, "qcow2")["clean"] is True
    with pytest.raises(Error, match="does not support checks"):
        converter.check(source, "raw")
