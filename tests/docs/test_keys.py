"""The programs and commands in docs/keys.md open an encrypted disk."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from guestkit.demo import DEMO_SYSTEM
from tests.docs.snippets import ROOT, block, qcow2, run_python, run_shell
from tests.images.encrypted import luks_options, patiently

PASSPHRASE = "open sesame"
#: The demo guest's root, in the disk: its first partition, in bytes.
BEGIN, SIZE = 1 << 20, 63 << 20


@pytest.fixture(scope="module")
def encrypted(demo_guest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk that is LUKS as a whole, with the demo guest's root in it; its key is derived in no time."""
    folder = tmp_path_factory.mktemp("keys")
    plain, shut = folder / "plain.img", folder / "shut.img"
    with demo_guest.open("rb") as disk:
        plain.write_bytes(os.pread(disk.fileno(), SIZE, BEGIN))
    words = ["--object", f"secret,id=s,data={PASSPHRASE}", "-f", "raw", "-O", "luks"]
    words += ["-o", luks_options(), str(plain), str(shut)]
    patiently(lambda: subprocess.run(["qemu-img", "convert", *words], check=True))
    return qcow2(shut, folder / "disk.qcow2")


@pytest.fixture
def here(encrypted: Path, tmp_path: Path) -> Path:
    (tmp_path / "disk.qcow2").symlink_to(encrypted)
    (tmp_path / "web.key").write_text(f"{PASSPHRASE}\nwhat follows is no part of the key\n")
    return tmp_path


@pytest.mark.full
def test_keys_open_a_disk(here: Path) -> None:
    printed = run_python(block("keys.md", "python", "a third one"), here)
    assert printed == f"{DEMO_SYSTEM.product_name} {DEMO_SYSTEM.hostname}\n"


def test_what_stays_shut_says_which_key_it_wants(here: Path) -> None:
    first, second = run_python(block("keys.md", "python", "unopened"), here).splitlines()
    assert re.fullmatch(r"encrypted crypto_LUKS needs a key for /dev/sda or [0-9a-f-]{36}", first)
    assert second == "key_needed"


@pytest.mark.full
def test_the_commands(here: Path) -> None:
    printed = run_shell(block("keys.md", "sh", "guestkit cat"), here)
    assert DEMO_SYSTEM.product_name in printed
    assert printed.endswith(f"\n{DEMO_SYSTEM.hostname}\n")


@pytest.mark.full
def test_the_commands_with_a_key_manager(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager's client is a script that prints the key."""
    (here / "vault").write_text(f"#!/bin/sh\necho '{PASSPHRASE}'\n")
    (here / "vault").chmod(0o755)
    (here / "web.qcow2").symlink_to(here / "disk.qcow2")
    monkeypatch.setenv("PATH", f"{here}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(here))
    assert DEMO_SYSTEM.product_name in run_shell(block("keys.md", "sh", "vault"), here)
    assert list((here / "keys").iterdir()) == []


@pytest.mark.full
def test_the_asyncio_program(here: Path) -> None:
    printed = run_python(block("keys.md", "python", "asyncio"), here)
    assert printed.split() == [DEMO_SYSTEM.hostname] * 2


@pytest.mark.full
def test_the_cpp_program(here: Path) -> None:
    (here / "program.cpp").write_text(block("keys.md", "cpp"))
    commands = f"g++ -std=c++20 -I'{ROOT}/include' program.cpp -lguestfs\n./a.out 2>&1"
    assert run_shell(commands, here) == f"{DEMO_SYSTEM.hostname}\n"


def test_the_commands_for_what_qemu_has_encrypted_were_missing(demo_guest: Path, tmp_path: Path) -> None:
    """An error says that libguestfs cannot open it, and the page said no more than that qemu-img can."""
    (tmp_path / "image.key").write_text(PASSPHRASE)
    words = ["--object", f"secret,id=s,file={tmp_path}/image.key", "-f", "raw", "-O", "qcow2"]
    words += ["-o", luks_options("encrypt.", format="luks")]
    disk = tmp_path / "encrypted.qcow2"
    patiently(lambda: subprocess.run(["qemu-img", "convert", *words, demo_guest, disk], check=True))
    printed = run_shell(block("keys.md", "sh", "qemu-img"), tmp_path)
    assert re.search(r"^ +encryption +luks$", printed, re.MULTILINE)
    assert DEMO_SYSTEM.product_name in printed
    assert (tmp_path / "decrypted.qcow2").stat().st_mode & 0o077 == 0
