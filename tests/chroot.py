"""Another Debian in a directory, in which the long tests work as on a machine of its own.

`make` makes one by mmdebstrap; `kept` makes a release once, and keeps it below build/chroots. The processes
in it have a namespace of their own for mounts and process numbers: what a test mounts, starts or forgets
there ends with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build" / "chroots"

#: Besides what `./run` installs: what a user's machine has. The kernel for the appliance is added, too.
BASE = ("ca-certificates", "git", "procps")

#: Mounts below $1 what programs expect, then becomes the program. $2 is "read-only" or empty, $3 "private"
#: for a /dev without the host's devices, such as /dev/kvm, $4 the number of the user.
ENTER = """
root=$1 read_only=$2 dev=$3 user=$4; shift 4
if [ "$read_only" ]; then
  mount --bind "$root" "$root"; mount -o remount,ro,bind "$root"
  mount -t tmpfs -o mode=1777 tmp "$root/tmp"
fi
mount -t proc proc "$root/proc"
if [ "$dev" = private ]; then
  mount -t tmpfs -o mode=755 dev "$root/dev"
  for device in null zero full random urandom tty; do
    touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
  done
  ln -s /proc/self/fd "$root/dev/fd"
  mkdir "$root/dev/shm"; mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
else
  mount --rbind /dev "$root/dev"
  mount --rbind /sys "$root/sys"
fi
if [ -d /etc/ssl/certs ] && [ -d "$root/etc/ssl/certs" ]; then
  mount --bind /etc/ssl/certs "$root/etc/ssl/certs"
fi
exec chroot --userspec="$user:$user" "$root" "$@"
"""


def packages_of_run() -> list[str]:
    """Return the packages that `./run` installs on Debian for the commands and the tests."""
    script = (ROOT / "run").read_text(encoding="utf-8")
    lists = re.findall(r"^(?:test_packages|packages|own_programs)=\(([^)]*)\)", script, re.MULTILINE)
    return debian_packages(*(thing for words in lists for thing in words.split() if thing[0] != '"'))


def debian_packages(*things: str) -> list[str]:
    """Return Debian's packages of these rows of guestkit/system_packages.txt, for this machine."""
    table = (ROOT / "guestkit" / "system_packages.txt").read_text(encoding="utf-8")
    debian = {row[0]: row[1] for row in map(str.split, table.splitlines()) if row and row[0] != "#"}
    machine = platform.machine()
    names = [debian.get(f"{thing}:{machine}", debian[thing]) for thing in things]
    return [package for name in names for package in name.split(",") if package not in "-."]


@dataclass(frozen=True)
class Chroot:
    """A Debian below `root`; needs root to make and to enter."""

    root: Path

    def run(
        self,
        *command: str,
        directory: str = "/",
        environment: Mapping[str, str] | None = None,
        user: int = 0,
        read_only: bool = False,
        private_dev: bool = False,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there; return it with its output. No process and no mount of it is left.

        environment: variables besides those that each command gets
        user: the number of the user and of the group
        read_only: all but /tmp can only be read, as in `podman run --read-only --tmpfs /tmp`
        private_dev: /dev has what every container has, and no device of the host, such as /dev/kvm
        """
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        variables = {
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **({} if user else {"HOME": "/root"}),
            **{
                name: value
                for name, value in os.environ.items()
                if name.lower().endswith("_proxy") or name in ("PIP_CERT", "PIP_INDEX_URL")
            },
            **(environment or {}),
        }
        return subprocess.run(
            [
                "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ENTER, "sh",
                self.root, "read-only" if read_only else "", "private" if private_dev else "", str(user),
                "env", "-i", f"--chdir={directory}",
                *(f"{name}={value}" for name, value in variables.items()),
                *command,
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=timeout,
        )  # fmt: skip

    def must(
        self,
        *command: str,
        directory: str = "/",
        environment: Mapping[str, str] | None = None,
        private_dev: bool = False,
    ) -> str:
        """Run a command as root, which must succeed; return what it wrote to stdout."""
        done = self.run(*command, directory=directory, environment=environment, private_dev=private_dev)
        assert done.returncode == 0, (done.stdout + done.stderr)[-10000:]
        return done.stdout

    def clone(self, directory: str = "/srv/guestkit") -> str:
        """Put the checkout there, with its uncommitted changes and without what was built; return where."""
        place = self.root / directory.lstrip("/")
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, place], check=True)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True,
        )  # fmt: skip
        names = {os.fsdecode(name) for name in listed.stdout.split(b"\0") if name}
        for name in names:
            if (ROOT / name).exists():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, place / name, follow_symlinks=False)
            else:
                (place / name).unlink(missing_ok=True)
        return directory


def make(
    root: Path,
    release: str,
    packages: Iterable[str],
    *,
    variant: str = "apt",
    apt_options: Iterable[str] = (),
) -> Chroot:
    """Make a Debian of that release in `root`, which takes minutes.

    variant: what there is besides the packages: mmdebstrap's "apt" is next to nothing, as in a container;
        "important" is what a machine has
    apt_options: for releases whose archive needs some
    """
    done = subprocess.run(
        [
            "mmdebstrap", "--quiet", "--mode=root", f"--variant={variant}",
            f"--include={','.join(packages)}", "--aptopt=APT::Install-Recommends \"false\"",
            *(f"--aptopt={option}" for option in apt_options), release, root,
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return Chroot(root)


def kept(
    release: str,
    *,
    packages: Iterable[str] | None = None,
    apt_options: Sequence[str] = (),
    place: Path = PLACE,
) -> Chroot:
    """Return a Debian of that release; make it unless there is one with these packages.

    packages: besides `BASE` and a kernel; by default those that `./run` installs
    place: a directory that keeps one of each release
    """
    kernel = debian_packages("kernel")
    wanted = sorted({*BASE, *kernel, *(packages_of_run() if packages is None else packages)})
    key = hashlib.sha256("\n".join([release, *wanted, *apt_options]).encode()).hexdigest()[:12]
    root = place / f"{release}-{key}"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one maker at a time; the others find it made
        for former in [*place.glob("new-*"), *place.glob(f"{release}-*")]:
            if former != root:  # another list of packages, or an attempt that was broken off
                shutil.rmtree(former)
        if not root.exists():
            attempt = place / f"new-{release}"
            make(attempt, release, wanted, variant="important", apt_options=apt_options)
            attempt.rename(root)
    return Chroot(root)
