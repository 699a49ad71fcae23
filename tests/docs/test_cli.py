"""The examples in every command's --help, which are those in docs/cli.md, run unchanged."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from guestkit.cli import main
from guestkit.cli.parser import COMMANDS, load
from tests import domains
from tests.docs.snippets import ROOT, qcow2, run_shell

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

    qcow2(demo_guest, path / "web.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-b", "web.qcow2", "-F", "qcow2", "overlay.qcow2")
    shutil.copyfile(demo_guest, path / "db.img")
    (path / "motd").write_text("hello\n")
    domains.write(path / "libvirt.xml", domains.domain("web", domains.disk(path / "web.qcow2")))
    (path / "report.json").write_text("[]")
    return path


@pytest.mark.parametrize(
    "example",
    [pytest.param(one, marks=[pytest.mark.full] * one.startswith("guestkit serve --")) for one in EXAMPLES],
)
def test_an_example_runs(
    example: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if example.split()[1] == "serve":
        run_shell(ENDED.format(example=example), folder)
        return
    before, after = AROUND.get(example.split()[1], ("", ""))
    if before or set("|>") & set(example):
        run_shell("\n".join([before, example, after]), folder)
        return
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", f"test://{folder}/libvirt.xml")
    monkeypatch.chdir(folder)  # in this process: starting a new one takes as long as its launch
    assert main(shlex.split(example)[1:]) == 0, capfd.readouterr()


def test_the_document_shows_every_example() -> None:
    document = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert len(EXAMPLES) >= 20
    for example in EXAMPLES:
        assert f"\n  {example}\n" in document
