"""Another Debian in a directory, in which the long tests run the checkout as on a machine of its own.

A release is made once, by mmdebstrap, and kept below build/chroots. The processes in it have a namespace of
their own for mounts and process numbers: what a test mounts, starts or forgets there ends with it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build" / "chroots"

#: Besides what `./run` installs: what a user's machine has. The kernel for the appliance is added, too.
BASE = ("ca-certificates", "git", "procps")

#: Binds what programs expect, then becomes the program.
ENTER = """
root=$1; shift
for place in dev sys; do mount --rbind "/$place" "$root/$place"; done
mount -t proc proc "$root/proc"
if [ -d /etc/ssl/certs ]; then mount --bind /etc/ssl/certs "$root/etc/ssl/certs"; fi
exec chroot "$root" "$@"
"""


def packages_of_run() -> list[str]:
    """Return the packages that `./run` installs on Debian for the commands and the tests."""
    script = (ROOT / "run").read_text(encoding="utf-8")
    lists = re.findall(r"^(?:test_)?packages=\(([^)]*)\)", script, re.MULTILINE)
    return debian_packages(*(thing for words in lists for thing in words.split()))


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
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(
        self, *command: str, directory: str = "/", timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, as root; return it with its output. No process and no mount of it is left."""
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        variables = {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **{
                name: value
                for name, value in os.environ.items()
                if name.lower().endswith("_proxy") or name in ("PIP_CERT", "PIP_INDEX_URL")
            },
            **self.variables,
        }
        return subprocess.run(
            [
                "unshare", "--mount", "--pid", "--fork", "--kill-child",
                "sh", "-euc", ENTER, "sh", self.root,
                "env", "-i", f"--chdir={directory}",
                *(f"{name}={value}" for name, value in variables.items()),
                *command,
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=timeout,
        )  # fmt: skip

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


def chroot(
    release: str,
    *,
    packages: Sequence[str] | None = None,
    apt_options: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    kept_in: Path = PLACE,
) -> Chroot:
    """Return a Debian of that release; make it, which takes minutes, unless there is one with these packages.

    packages: besides `BASE` and a kernel; by default those that `./run` installs
    apt_options: for releases whose archive needs some
    variables: for the environment of what runs there
    kept_in: a directory that keeps one of each release
    """
    kernel = debian_packages("kernel")
    wanted = sorted({*BASE, *kernel, *(packages_of_run() if packages is None else packages)})
    key = hashlib.sha256("\n".join([release, *wanted, *apt_options]).encode()).hexdigest()[:12]
    place = kept_in / f"{release}-{key}"
    if not place.exists():
        kept_in.mkdir(parents=True, exist_ok=True)
        for former in kept_in.glob(f"{release}-*"):
            shutil.rmtree(former)
        with tempfile.TemporaryDirectory(prefix="new-", dir=kept_in) as folder:
            made = Path(folder) / "root"
            done = subprocess.run(
                [
                    "mmdebstrap", "--quiet", "--mode=root", "--variant=important",
                    f"--include={','.join(wanted)}", "--aptopt=APT::Install-Recommends \"false\"",
                    *(f"--aptopt={option}" for option in apt_options), release, made,
                ],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-4000:]
            try:
                made.rename(place)
            except OSError:
                if not place.exists():
                    raise
                # Another process was faster: a directory that is not empty cannot be replaced.
    return Chroot(place, variables or {})
