"""The catalogue of causes, which the site shows: each is raised, and its example is what a user sees."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guestkit import Error, Guestfs
from guestkit.cli.errors import REMEDIES
from tests.docs.snippets import ROOT
from tests.images.archives import Drive, ovf, tar
from tests.images.writer import written_to

GROUPS = json.loads((ROOT / "api" / "guestkit.json").read_text(encoding="utf-8"))["groups"]
CAUSES: dict[str, Any] = {one["name"]: one for one in GROUPS[0]["enums"][0]["values"]}


def test_each_cause_says_how_it_reads_and_what_to_do() -> None:
    for name, one in CAUSES.items():
        assert re.match(r"\w+: \S", one["message"]), name
        assert one["remedy"].endswith("."), name
        assert one["remedy"].count("`") % 2 == 0, name
    assert set(REMEDIES) < set(CAUSES)


# ---- where they are raised


def told_by_python() -> Iterator[str]:
    """Yield the words that are given to an exception in the Python package."""
    for path in (ROOT / "guestkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Error", "CallTimeout")):
                yield from (str(each.value) for each in node.args if isinstance(each, ast.Constant))


def told_by_cpp() -> Iterator[str]:
    """Yield the causes that are given to an exception in C++, or that the end of a call's limit has."""
    for path in (ROOT / "include").rglob("*.ipp"):
        text = path.read_text(encoding="utf-8")
        if path.name != "error.ipp":  # it lists the limits
            yield from re.findall(r"\bCause::(\w+)", text)
        yield from re.findall(r'CallTimeout\([^;]*?"(\w+_timeout)"', text)
        yield from re.findall(r'\{(?:launch_limit\(\)|limits\.call)[^;]*?"(\w+_timeout)"', text)


def test_each_cause_is_raised_somewhere() -> None:
    raised = {*told_by_python(), *told_by_cpp()}
    assert CAUSES.keys() - raised == set()


def test_what_a_failed_launch_writes_has_the_words_that_are_looked_for() -> None:
    """So the example has the cause that it stands for."""
    source = (ROOT / "include/guestkit/detail/launch/launch_error.ipp").read_text(encoding="utf-8")
    symptoms = re.findall(r'symptom\{\s*"((?:\\.|[^"])*)",\s*Cause::(\w+)', source)
    assert len(symptoms) > 15
    for name in ("kvm", "memory", "appliance_damaged"):
        looked_for = [text.replace('\\"', '"') for text, cause in symptoms if cause == name]
        assert any(text in CAUSES[name]["message"] for text in looked_for), name


# ---- the examples


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def g(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guestfs]:
    monkeypatch.chdir(tmp_path)
    with Guestfs(environment=False) as handle:
        yield handle


def overlay() -> None:
    qemu_img("create", "-q", "-f", "qcow2", "base.qcow2", "1M")
    qemu_img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "web.qcow2")


def in_use(g: Guestfs, **options: Any) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "web.qcow2", "1M")
    with written_to(Path("web.qcow2"), "qcow2"):
        g.open_disk("web.qcow2", **options)


def backing(g: Guestfs) -> None:
    overlay()
    g.open_disk("web.qcow2")


def unstated(g: Guestfs) -> None:
    overlay()
    g.open_disk("web.qcow2", backing="allow")


def page(g: Guestfs) -> None:
    Path("web.img").write_text("<!DOCTYPE html><title>404</title>" + " " * 1000)
    g.open_disk("web.img")


def appended(g: Guestfs) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "web.qcow2", "1M")
    g.open_disk("web.qcow2:/etc/fstab")


def several(g: Guestfs) -> None:
    qemu_img("create", "-q", "-f", "vmdk", "disk.vmdk", "1M")
    disks = {f"disk{number}.vmdk": Path("disk.vmdk").read_bytes() for number in (1, 2)}
    drives = [Drive(name, address=number) for number, name in enumerate(disks)]
    Path("web.ova").write_bytes(tar({"web.ovf": ovf(drives), **disks}))
    g.open_disk("web.ova")


#: What ends with that cause, where no appliance is needed.
FAILING: dict[str, Callable[[Guestfs], object]] = {
    "unknown": lambda g: g.add_drive("web.qcow2"),
    "disk_missing": lambda g: g.open_disk("web.qcow2"),
    "disk_locked": lambda g: in_use(g, readonly=False, format="qcow2"),
    "disk_in_use": lambda g: in_use(g, in_use="refuse"),
    "backing_refused": backing,
    "format_unstated": unstated,
    "network_format": lambda g: g.open_disk("nbd://example.com/web", format="qcow2", protocols=("nbd",)),
    "not_a_disk": page,
    "path_appended": appended,
    "url": lambda g: g.open_disk("https://example.com/web.img"),
    "disks_several": several,
}


@pytest.mark.parametrize("cause", FAILING)
def test_the_example_is_what_a_user_sees(cause: str, g: Guestfs) -> None:
    with pytest.raises(Error) as raised:
        FAILING[cause](g)
    assert raised.value.cause == cause
    seen = re.sub(r"process \d+", "process 4711", f"{raised.value.op}: {raised.value.message}")
    assert seen == CAUSES[cause]["message"]
