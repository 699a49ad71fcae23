"""Launches that guestkit's appliance must not break: libvirt's, and virt-rescue's."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestkit import appliance
from guestkit.appliance import Appliance

pytestmark = pytest.mark.full

#: Seconds; only something that hangs takes longer.
PATIENCE = 300


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GUESTKIT_CACHEDIR", str(tmp_path_factory.mktemp("other") / "appliance"))
        yield appliance.build()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user with a separate libvirt")
def test_libvirt_starts_libguestfs_own_appliance(open_checkout: None) -> None:
    program = (
        "import sys; from guestkit import Guestfs, appliance; appliance.build()\n"
        "g = Guestfs(); g.add_drive(sys.argv[1], format='raw', readonly=True); g.launch()\n"
        "info = g.launch_info(); print(info.mode, info.reason, g.list_devices(), sep='; ')"
    )
    home = Path(tempfile.mkdtemp(prefix="guestkit-user-", dir="/var/tmp"))
    own = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "GUESTKIT_CACHEDIR": str(home / "cache")}
    try:
        disk = home / "disk.img"
        disk.write_bytes(bytes(1 << 20))
        for path in (home, disk):
            shutil.chown(path, "nobody")
        done = subprocess.run(
            ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
             sys.executable, "-c", program, disk],
            env={**os.environ, **own, "LIBGUESTFS_BACKEND": "libvirt"},
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert done.stdout == "system; libguestfs' backend is not direct; ['/dev/sda']\n", done.stderr
    finally:
        for daemon in home.glob("libvirt/*.pid"):  # it would stay for a while, to serve other clients
            os.kill(int(daemon.read_text()), signal.SIGTERM)
        shutil.rmtree(home, ignore_errors=True)


def test_virt_rescue_has_its_shell(built: Appliance) -> None:
    lean = built.directory.parent if built.directory.name.startswith("warm-") else built.directory
    environment = os.environ | {"LIBGUESTFS_PATH": str(lean), "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    if lean != built.directory:
        environment["LIBGUESTFS_HV"] = str(built.directory / "hypervisor")
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe("virt-rescue", ["virt-rescue", "--scratch"], environment)
    output = b""
    try:
        asked = False
        while b"answer-42 /dev/sda" not in output:
            assert select.select([terminal], [], [], PATIENCE)[0], output
            output += os.read(terminal, 4096)
            if not asked and b"><rescue>" in output:
                asked = True
                os.write(terminal, b"echo answer-$((6*7)) $(ls /dev/sda)\n")
    finally:
        os.kill(process, signal.SIGKILL)
        os.close(terminal)
        os.waitpid(process, 0)
