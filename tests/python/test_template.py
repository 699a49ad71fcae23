"""How a running machine is saved, with QEMUs that differ in what they know."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
    with pytest.raises(_template.TemplateError, match="QEMU: it is not supported"):
        save("exec:", tmp_path / "state")
