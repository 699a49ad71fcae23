"""The template of the warm appliance: a lean one, booted once to its pause and saved there.

The machine must be the one that libguestfs starts. So its command line is taken from a lean appliance that
was launched. The program that later restores the template (appliance/hypervisor.cpp) then starts QEMU again
with that command line.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO

from guestkit._programs import readable, signals_held
from guestkit.errors import ApplianceError
from guestkit.handle import Guestfs

__all__ = ["NotEmulated", "TemplateError", "build_template", "hypervisor_file", "machine_command"]

#: The timeout for booting to the pause and saving it, in seconds.
PATIENCE = 180

#: The firmware that QEMU loads besides the kernel; the saved state depends on it.
FIRMWARE = (
    "bios-256k.bin", "bios-microvm.bin", "pvh.bin", "linuxboot.bin", "linuxboot_dma.bin", "kvmvapic.bin",
    "efi-virtio.rom",
)  # fmt: skip


class TemplateError(ApplianceError):
    """The snapshot could not be made; the text says why."""


class NotEmulated(TemplateError):
    """KVM works here, with which no appliance is restored."""


def build_template(lean: Path, hypervisor: Path, command: list[bytes] | None) -> tuple[Path, list[Path]]:
    """Make the files of a template in a directory beneath the lean appliance.

    Returns the directory and the other files that the template was made from.

    command: of the lean appliance's machine, as `machine_command` says; None: a launch finds it out
    """
    if command is None:
        command = _launched_command(lean)
    if not command:
        raise NotEmulated("appliance", "with KVM no appliance is restored")
    memory = int(command[command.index(b"-m") + 1]) << 20
    made = Path(tempfile.mkdtemp(prefix="new-", dir=lean))
    try:
        (made / "command").write_bytes(b"".join(word + b"\0" for word in command))
        shutil.copyfile(hypervisor, made / "hypervisor")
        (made / "hypervisor").chmod(0o700)
        (made / "probes").mkdir(mode=0o700)
        # Each machine maps the memory file privately, but QEMU opens it for writing: other users cannot.
        of_one_user = not lean.stat().st_mode & 0o055
        try:
            _snapshot(made, lean, memory, shared=of_one_user)
        except TemplateError:  # x-ignore-shared is experimental: fall back to saving all memory in the state
            if not of_one_user or _is_full(made):
                raise
            _snapshot(made, lean, memory, shared=False)
        qemu = Path(os.fsdecode(command[0]))
        return made, [
            qemu,
            hypervisor,
            *_firmware(qemu),
            *(lean / name for name in ("kernel", "initrd", "root")),
        ]
    except BaseException as error:
        ours = isinstance(error, (TemplateError, OSError, subprocess.SubprocessError))
        no_room = ours and _is_full(made)  # as long as what was made fills it
        shutil.rmtree(made, ignore_errors=True)
        if not no_room:
            raise
        message = f"the file system of {lean} is full: a warm appliance takes up to {memory >> 20} MiB there"
        remedy = "free space there, or set GUESTKIT_CACHEDIR to a directory with more"
        raise TemplateError("appliance", message, errno.ENOSPC, "no_space", remedy) from error


def _is_full(folder: Path) -> bool:
    """Return whether less than 1 MiB is left. QEMU does not always say so when it dies of it."""
    return shutil.disk_usage(folder).free < 1 << 20


def _launched_command(lean: Path) -> list[bytes]:
    """Launch the lean appliance; return what `machine_command` says."""
    with tempfile.NamedTemporaryFile(suffix=".img") as disk, Guestfs(environment=False, appliance=lean) as g:
        disk.truncate(1 << 20)
        g.add_drive(disk.name, format="raw", readonly=True)
        g.launch()
        return machine_command(g)


def machine_command(g: Guestfs) -> list[bytes]:
    """Return the command with which libguestfs started the handle's QEMU, program first; none with KVM."""
    info = g.launch_info()
    if info is None or info.accelerator != "tcg":
        return []
    words = Path(f"/proc/{g.get_pid()}/cmdline").read_bytes().split(b"\0")
    return [os.fsencode(hypervisor_file(g) or g.get_hv()), *words[1:-1]]


def hypervisor_file(g: Guestfs) -> Path | None:
    """Return the program that the handle runs as its hypervisor; None if there is none.

    Since libguestfs 1.60, `get_hv` may return a name to look for in PATH.
    """
    found = shutil.which(g.get_hv())
    return None if found is None else Path(found).absolute()


def _firmware(qemu: Path) -> list[Path]:
    answer = subprocess.run([qemu, "-L", "help"], capture_output=True, text=True, check=True).stdout
    places = [Path(folder) / name for folder in answer.splitlines() for name in FIRMWARE]
    return sorted({place.resolve() for place in places if place.exists()})


def _snapshot(made: Path, lean: Path, memory: int, *, shared: bool) -> None:
    """Boot to the pause; save the root disk, the devices' state and, if shared, the memory in a file."""
    for name in ("root", "mem", "state"):
        (made / name).unlink(missing_ok=True)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", lean / "root", made / "root"],
        check=True, stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    if shared:
        with (made / "mem").open("wb") as file:
            file.truncate(memory)
    qmp, its_qmp = socket.socketpair()
    port, its_port = socket.socketpair()
    with (
        qmp,
        port,
        tempfile.TemporaryFile() as console,
        (made / "state").open("wb") as state,
        signals_held() as release,
    ):
        with its_qmp, its_port:
            ends = (its_qmp.fileno(), its_port.fileno())
            machine = subprocess.Popen(
                [made / "hypervisor", "--template", *map(str, ends)],
                pass_fds=(*ends, state.fileno()), stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip
        try:
            release()
            deadline = time.monotonic() + PATIENCE
            if _line(port, deadline) != b"ready\n":
                raise TemplateError("appliance", "the appliance did not come to its pause")
            _save(qmp, state, shared, deadline)
        except (TemplateError, OSError, ValueError) as error:
            console.seek(0)
            last = console.read().decode(errors="replace").strip()[-500:]
            what = error.message if isinstance(error, TemplateError) else str(error)
            raise TemplateError("appliance", f"{what}: {last}" if last else what) from error
        finally:
            machine.kill()
            machine.wait()


def _line(end: socket.socket, deadline: float) -> bytes:
    """Return the next line; a partial one at the end of the stream or at the deadline."""
    line = b""
    while not line.endswith(b"\n"):
        byte = end.recv(1) if readable([end], deadline - time.monotonic()) else b""
        if not byte:
            break
        line += byte
    return line


def _save(qmp: socket.socket, state: BinaryIO, shared: bool, deadline: float) -> None:
    """Save the running machine, as a migration to a file."""
    capabilities = [
        {"capability": "events", "state": True},
        {"capability": "x-ignore-shared", "state": shared},
    ]
    commands: list[dict[str, Any]] = [
        {"execute": "qmp_capabilities"},
        {"execute": "migrate-set-capabilities", "arguments": {"capabilities": capabilities}},
        {"execute": "migrate-set-parameters", "arguments": {"max-bandwidth": 1 << 40}},
        {"execute": "getfd", "arguments": {"fdname": "state"}},
        {"execute": "migrate", "arguments": {"uri": f"file:/proc/self/fd/{state.fileno()}"}, "id": "by name"},
    ]
    socket.send_fds(qmp, [json.dumps(command).encode() for command in commands], [state.fileno()])
    begun, status = False, None
    while line := _line(qmp, deadline):
        answer = json.loads(line)
        if "error" in answer and answer.get("id") == "by name":
            # Before version 8.2 QEMU knows files as descriptors only, and since 11.1 by their names only.
            again = {"execute": "migrate", "arguments": {"uri": "fd:state"}, "id": "by descriptor"}
            qmp.sendall(json.dumps(again).encode())
            status = None
        elif "error" in answer:
            raise TemplateError("appliance", f"QEMU: {answer['error'].get('desc')}")
        begun |= "return" in answer and "id" in answer
        if answer.get("event") == "MIGRATION":
            status = answer["data"].get("status")
        if begun and status == "completed":
            return
        if begun and status in ("failed", "cancelled"):
            break
    raise TemplateError("appliance", "the state cannot be saved")
