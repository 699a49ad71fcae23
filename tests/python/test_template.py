"""How a running machine is saved, with QEMUs that differ in what they know."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import guestkit
from guestkit import _template


def commands(qemu: socket.socket) -> Iterator[dict[str, Any]]:
    """Yield the commands that arrive, until the other end is closed."""
    decoder, text = json.JSONDecoder(), ""
    while chunk := qemu.recv(4096):
        text += chunk.decode()
        while text:
            try:
                command, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break
            yield command
            text = text[end:]


def pretend(qemu: socket.socket, known: str, tried: list[str]) -> None:
    """Answer as a QEMU that can migrate to nothing but this kind of address."""

    def say(**message: Any) -> None:
        qemu.sendall(json.dumps(message).encode() + b"\r\n")

    for command in commands(qemu):
        its_id = {"id": command["id"]} if "id" in command else {}
        if command["execute"] != "migrate":
            say(**{"return": {}}, **its_id)
            continue
        tried.append(command["arguments"]["uri"])
        if tried[-1].startswith(known):
            say(**{"return": {}}, **its_id)
            say(event="MIGRATION", data={"status": "completed"})
        else:  # QEMU 7.2 tells the failure before it answers
            say(event="MIGRATION", data={"status": "failed"})
            say(error={"desc": "it is not supported"}, **its_id)


def save(known: str, path: Path) -> list[str]:
    tried: list[str] = []
    ours, its = socket.socketpair()
    with ours, its, path.open("wb") as state:
        peer = threading.Thread(target=pretend, args=(its, known, tried))
        peer.start()
        try:
            _template._save(ours, state, True, time.monotonic() + 30)
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            peer.join()
    return tried


def test_a_qemu_that_knows_files_by_name_only_had_no_warm_appliance(tmp_path: Path) -> None:
    """Regression: QEMU 11.1 refuses a file as a descriptor."""
    (tried,) = save("file:", tmp_path / "state")
    assert tried.startswith("file:/proc/self/fd/")


def test_a_qemu_that_knows_no_files_by_name_gets_a_descriptor(tmp_path: Path) -> None:
    assert save("fd:", tmp_path / "state")[1:] == ["fd:state"]


def test_a_qemu_that_refuses_both_is_told_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(_template.TemplateError, match="^appliance: QEMU: it is not supported$"):
        save("exec:", tmp_path / "state")


class Disk:
    """What `shutil.disk_usage` tells of a file system. free: in bytes."""

    def __init__(self, free: int) -> None:
        self.free = free


@pytest.mark.parametrize(("free", "says"), [(0, "full"), (1 << 30, "QEMU dies")])
def test_a_full_disk_was_told_in_the_words_in_which_qemu_dies_of_it(
    free: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: "the appliance did not come to its pause"; the second try needed a full disk, too."""
    (tmp_path / "root").write_bytes(bytes(1 << 20))
    begun = tmp_path / "begun"
    hypervisor = tmp_path / "qemu"
    hypervisor.write_text(f"#!/bin/sh\necho >>'{begun}'\necho QEMU dies\n")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Disk(free))
    tmp_path.chmod(0o700)
    with pytest.raises(guestkit.Error) as caught:
        _template.build_template(tmp_path, hypervisor, [b"qemu", b"-m", b"256"])
    error = caught.value
    assert says in error.message
    if free:
        assert (error.cause, begun.read_text()) == ("unknown", "\n" * 2)
    else:
        assert (error.errno, error.cause, begun.read_text()) == (errno.ENOSPC, "no_space", "\n")
        assert f"{tmp_path} is full: a warm appliance takes up to 256 MiB there" in error.message
        assert "GUESTKIT_CACHEDIR" in error.hint
    assert sorted(os.listdir(tmp_path)) == ["begun", "qemu", "root"]
