"""The recipes in docs/tools.md run unchanged, on a guest that means harm."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guestkit import fuse
from tests.go_tools import go_tool
from tests.grype_database import grype_database, matches
from tests.images import trees
from tests.images.corpus import ROOT_UUID, Part, _make
from tests.images.trees import Fifo, File, Link

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")

#: Seconds; only something that hangs takes longer.
PATIENCE = 120

PACKAGES = {"bash": "5.2.15-2+b2", "libc6": "2.36-9+deb12u4", "vim": "2:9.0.1378-2"}
SOURCES = {"libc6": "glibc"}
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
#: The files in /srv that have a key; the name of one clears the screen.
WITH_KEY = {"[a]*", "\x1b[2J", "key", "large"}
FILES = WITH_KEY | {".ignore", "requests.csv"}

needs_fuse = pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="this host has no /dev/fuse")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def cages_work() -> bool:
    """Return whether this user may have namespaces, which some hosts and containers refuse."""
    try:
        done = subprocess.run(
            ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


caged = pytest.mark.skipif(not cages_work(), reason="bubblewrap is missing, or this host refuses namespaces")


def recipes(heading: str, language: str = "sh") -> list[str]:
    """Return the recipes of that section."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


CAGED, MOUNT, UNMOUNT = recipes("The cage")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the disk, which has a link to a secret of this host, and the cage."""
    here = tmp_path_factory.mktemp("tools")
    (here / "secret").write_text(f"{KEY}of this host\n")
    (here / "bin").mkdir()
    (here / "bin" / "caged").write_text(CAGED)
    (here / "bin" / "caged").chmod(0o755)
    status = "".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n"
        f"Source: {SOURCES.get(name, name)}\nVersion: {version}\n\n"
        for name, version in PACKAGES.items()
    )
    with_keys: dict[str, File] = {f"srv/{name}": f"{KEY}of the guest\n" for name in WITH_KEY - {"large"}}
    tree = trees.debian(
        **{
            "var/lib/dpkg/status": status,
            ".syft.yaml": "exclude: ['./var/**']\n",
            "srv/.ignore": "key\n",
            **with_keys,
            "home/caf\udce9": "a name that is no UTF-8\n",
            "srv/fifo": Fifo(),
            "srv/out": Link(str(here / "secret")),
            "srv/in": Link("key"),
            "srv/requests.csv": "path,bytes\n/,1\n/a,2\n/,3\n",
            "srv/large": bytes(2 << 20) + KEY.encode(),
        }
    )
    _make([Part(tree, uuid=ROOT_UUID)], here / "web.img")
    command = ["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", "web.img", "web.qcow2"]
    subprocess.run(command, cwd=here, check=True)
    (here / "rules.yar").write_text('rule key { strings: $a = "BEGIN OPENSSH PRIVATE KEY" condition: $a }\n')
    return here


def output(here: Path, *command: str | Path) -> str:
    """Run a command where the disk is, with the cage and the guestkit under test; return what it prints."""
    places = [here / "bin", Path(sys.executable).parent, os.environ["PATH"]]
    done = subprocess.run(
        command,
        cwd=here,
        env=os.environ | {"PATH": ":".join(map(str, places))},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(here: Path) -> Callable[[str], str]:
    """Runs the commands of a recipe."""
    return lambda commands: output(here, "bash", "-ec", commands)


@pytest.fixture(scope="module")
def mounted(here: Path, run: Callable[[str], str]) -> Iterator[Path]:
    run(MOUNT)
    try:
        yield here / "mnt"
    finally:
        run(UNMOUNT)
    assert fuse.mount_at(str(here / "mnt")) is None


@caged
@needs_fuse
def test_a_symlink_to_a_secret_of_this_host_leads_nowhere_in_the_cage(
    mounted: Path, run: Callable[[str], str]
) -> None:
    assert run("cat mnt/srv/out") == f"{KEY}of this host\n"  # why there is a cage
    assert run("caged mnt cat /guest/srv/out 2>&1 || true").endswith("No such file or directory\n")
    seen = run(
        "caged mnt sh -c 'echo $(ls -A /), $(ls -A /tmp /dev/shm), $(pwd), $(grep -c : /proc/net/dev)'"
    )
    assert seen == "bin dev guest lib lib64 proc tmp usr, /dev/shm: /tmp:, /tmp, 1\n"


@caged
@needs_fuse
@pytest.mark.parametrize("program", ["grep", pytest.param("rg", marks=needs("rg"))])
def test_a_search_finds_what_the_guest_has_and_nothing_of_this_host(
    program: str, mounted: Path, run: Callable[[str], str]
) -> None:
    (commands,) = recipes("Search")
    (command,) = [line for line in commands.splitlines() if line.startswith(f"caged mnt {program} ")]
    printed = run(command)
    found = {line.removeprefix("/guest/srv/") for line in printed.splitlines()}
    assert found == WITH_KEY - {"\x1b[2J"} | {"^[[2J"}


@caged
@needs("rsync")
@needs_fuse
def test_rsync_restores_files_and_no_link_out_of_them(
    mounted: Path, here: Path, run: Callable[[str], str]
) -> None:
    rsync, _ = recipes("Restore files")
    run(rsync)
    restored = here / "restored"
    assert {path.name for path in restored.iterdir()} == FILES | {"in"}
    assert (restored / "in").readlink() == Path("key")


@needs("rclone")
@pytest.mark.full
def test_rclone_restores_from_a_server(here: Path, run: Callable[[str], str]) -> None:
    _, rclone = recipes("Restore files")
    run(f"trap 'kill $! 2>/dev/null || true' EXIT\n{rclone}")
    assert {path.name for path in (here / "copied").iterdir()} == FILES


@pytest.mark.full
@pytest.mark.timeout(3600)  # they may have to be built
def test_grype_and_syft_read_the_bill_of_a_guest(
    here: Path, run: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find, convert, _ = recipes("Vulnerable packages")
    fixed = {"bash": PACKAGES["bash"], "glibc": "2.36-9+deb12u5", "vim": "3:1"}
    for name, value in grype_database(here / "grype", fixed).items():
        monkeypatch.setenv(name, value)
    run(f"PATH={go_tool('grype').parent}:$PATH\n{find}")
    assert matches(here / "vulnerable.json") == {("CVE-glibc", "libc6"), ("CVE-vim", "vim")}
    run(f"PATH={go_tool('syft').parent}:$PATH\n{convert}")
    assert packages_in(here / "web.syft.json") == PACKAGES


@caged
@needs_fuse
@pytest.mark.full
@pytest.mark.timeout(3600)
def test_syft_reads_the_files_of_a_guest_and_not_its_settings(
    mounted: Path, here: Path, run: Callable[[str], str]
) -> None:
    _, _, scan = recipes("Vulnerable packages")
    syft = go_tool("syft")
    run(f"PATH={syft.parent}:$PATH\n{scan}")
    assert packages_in(here / "mounted.syft.json") == PACKAGES
    run(f"cd mnt && {syft} scan dir:. -o syft-json={here}/hidden.syft.json")
    assert packages_in(here / "hidden.syft.json") == {}  # why no tool is started there


def packages_in(document: Path) -> dict[str, str]:
    """Return the packages of dpkg in a document of syft's own, with their versions."""
    found = json.loads(document.read_text())["artifacts"]
    return {package["name"]: package["version"] for package in found if package["type"] == "deb"}


def python(here: Path, program: str) -> str:
    return output(here, sys.executable, "-c", program)


@pytest.mark.full
def test_pandas_reads_a_table_of_a_guest(here: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed: it is in requirements-full.txt")
    (program,) = recipes("Analyse data", "python")
    assert python(here, program) == "{'/': 4, '/a': 2}\n"


@pytest.mark.full
def test_yara_reads_the_files_of_a_guest(here: Path) -> None:
    pytest.importorskip("yara", reason="yara-python is not installed: it is in requirements-full.txt")
    (program,) = recipes("Look for malware", "python")
    assert python(here, program).splitlines() == [
        "key '/srv/\\x1b[2J'",
        "key '/srv/[a]*'",
        "key '/srv/key'",
    ]


@pytest.mark.full
def test_a_portal_lets_others_restore(here: Path) -> None:
    (portal,) = recipes("Let others restore", "python")
    use = """
from fastapi.testclient import TestClient

with TestClient(app) as client:
    for path in ("/srv", "/home"):
        print([entry["name"] for entry in client.get("/list", params={"path": path}).json()])
    for path in ("/srv/in", "/srv/out", "/srv/fifo", "/srv/nothing", "/srv"):
        answer = client.get("/restore", params={"path": path})
        print(path, answer.status_code, answer.headers.get("content-disposition"), answer.content[:9])
"""
    assert python(here, portal + use).splitlines() == [
        str(sorted(f"/srv/{name}" for name in FILES | {"fifo", "in", "out"})),
        str(["/home/caf\\xe9"]),
        "/srv/in 200 attachment; filename*=UTF-8''in b'-----BEGI'",
        *(f"/srv/{name} 404 None b'{{\"detail\"'" for name in ("out", "fifo", "nothing")),
        "/srv 404 None b'{\"detail\"'",
    ]
