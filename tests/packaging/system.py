"""Debian systems in folders, where packages are built, installed and used as on a machine of their own."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Mounts what programs need below $1, but no /dev/kvm; then runs the rest there.
ENTER = """
root=$1; shift
if [ -n "$READ_ONLY" ]; then
  mount --bind "$root" "$root"; mount -o remount,ro,bind "$root"
  mount -t tmpfs -o mode=1777 tmp "$root/tmp"
fi
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm"; mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
exec chroot --userspec="$USER_NUMBER" "$root" /usr/bin/env -i PATH="$PATH" LANG=C.UTF-8 "$@"
"""


class System:
    """A Debian system in a folder."""

    def __init__(self, root: Path, packages: Sequence[str]) -> None:
        self.root = root
        mirror = [
            f"deb http://deb.debian.org/{name} main"
            for name in ("debian bookworm", "debian-security bookworm-security")
        ]
        command = [
            "mmdebstrap",
            "--variant=apt",
            "--quiet",
            f"--include={','.join(packages)}",
            "bookworm",
            str(root),
        ]
        done = subprocess.run([*command, *mirror], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.fail(f"no system could be made: {done.stderr[-2000:]}")
        shutil.copy("/etc/resolv.conf", root / "etc")

    def run(
        self,
        *command: str,
        user: int = 0,
        folder: str = "/",
        environment: Mapping[str, str] | None = None,
        read_only: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the system, whatever its exit status."""
        words = [f"{name}={value}" for name, value in (environment or {}).items()]
        script = ["sh", "-c", 'cd "$0" && exec "$@"', folder, *command]
        return subprocess.run(
            [
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-euc",
                ENTER,
                "enter",
                self.root,
                *words,
                *script,
            ],
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "READ_ONLY": "1" if read_only else "",
                "USER_NUMBER": f"{user}:{user}",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def must(self, *command: str, folder: str = "/", environment: Mapping[str, str] | None = None) -> str:
        """Run a command as root; return what it printed."""
        done = self.run(*command, folder=folder, environment=environment)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout


def build_dependencies() -> list[str]:
    """The packages that debian/control says are enough."""
    control = (ROOT / "debian" / "control").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^Build-Depends:\n((?: .*\n)+)", control, re.MULTILINE)
    names = [line.split()[0].strip(",") for line in listed.splitlines()]
    return ["debhelper" if name == "debhelper-compat" else name for name in names]
