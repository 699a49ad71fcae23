"""The examples in every command's --help, which are those in docs/cli.md, run unchanged."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guestkit.cli import main
from guestkit.cli.parser import COMMANDS, load
from tests import domains

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = [example for command in COMMANDS for example in load(command).EXAMPLES]


#: What belongs before and after the examples of a command.
AROUND = {
    "mount": ("mkdir -p mnt", "guestkit unmount mnt"),
    "unmount": ("mkdir -p mnt; guestkit mount web.qcow2 mnt", "rmdir mnt"),
}

#: How a command is run that goes on until Ctrl-C: it is ended when it has said that it is ready.
ENDED = """\
rm -f told; mkfifo told
echo secret >password
{example} >told &
read ready <told
kill $!
wait $! || [ $? = 143 ]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, demo_guest: Path) -> Path:
    """A directory with the files that the examples expect."""
    path = tmp_path_factory.mktemp("examples")

    def qemu_img(*words: str) -> None:
        subprocess.run(["qemu-img", *words], check=True, cwd=path, stdout=subprocess.DEVNULL)

    qemu_img("convert", "-f", "raw", "-O", "qcow2", str(demo_guest), "web.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-b", "web.qcow2", "-F", "qcow2", "overlay.qcow2")
    shutil.copyfile(demo_guest, path / "db.img")
    (path / "motd").write_text("hello\n")
    domains.write(path / "libvirt.xml", domains.domain("web", domains.disk(path / "web.qcow2")))
    (path / "report.json").write_text("[]")
    return path


def run(example: str, folder: Path) -> subprocess.CompletedProcess[str]:
    places = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", f"set -e; {example}"],
        cwd=folder,
        env=os.environ | {"PATH": places},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "example",
    [pytest.param(one, marks=[pytest.mark.full] * one.startswith("guestkit serve --")) for one in EXAMPLES],
)
def test_an_example_runs(
    example: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if example.split()[1] == "serve":
        done = run(ENDED.format(example=example), folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return
    before, after = AROUND.get(example.split()[1], ("", ""))
    if before or set("|>") & set(example):
        done = run("\n".join([before, example, after]), folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", f"test://{folder}/libvirt.xml")
    monkeypatch.chdir(folder)  # in this process: starting a new one takes as long as its launch
    assert main(shlex.split(example)[1:]) == 0, capfd.readouterr()


def test_the_document_shows_every_example() -> None:
    document = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert len(EXAMPLES) >= 20
    for example in EXAMPLES:
        assert f"\n  {example}\n" in document
