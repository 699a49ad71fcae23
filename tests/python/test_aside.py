"""Files that get their name when they are complete."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from guestkit import _aside


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_that_is_replaced_leaves_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "document"
    target.write_text("old")
    target.chmod(0o640)
    with _aside.new_file(target) as file:
        assert mode(next(tmp_path.glob(".guestkit-*"))) & 0o077 == 0  # until it has what the old one had
        file.write(b"new")
    assert (target.read_text(), mode(target)) == ("new", 0o640)


def test_what_went_wrong_was_told_of_a_hidden_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, _aside.new_file(Path("/proc/document")):
        pass  # where nobody makes files
    assert str(caught.value) == "[Errno 2] No such file or directory: '/proc/document'"
    with pytest.raises(IsADirectoryError) as refused, _aside.new_file(tmp_path):
        pass
    assert (refused.value.filename, refused.value.filename2) == (str(tmp_path), None)
    with pytest.raises(FileNotFoundError, match="another"), _aside.new_file(tmp_path / "document"):
        raise FileNotFoundError(2, "No such file", "another")
    assert os.listdir(tmp_path) == []


def test_ctrl_c_while_the_rest_is_removed_left_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: the copy was complete, with a directory .guestkit-… beside it."""
    remove = os.rmdir
    interrupted: list[bool] = []

    def interrupt(*given: Any, **options: Any) -> None:
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        remove(*given, **options)

    monkeypatch.setattr(os, "rmdir", interrupt)
    with pytest.raises(KeyboardInterrupt), _aside.unfinished(tmp_path) as folder:
        (folder / "rest").mkdir()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a file another user's")
def test_another_user_s_file_said_who_may_write_to_ours(tmp_path: Path) -> None:
    target = tmp_path / "document"
    target.write_text("old")
    target.chmod(0o777)
    os.chown(target, 23456, 23456)
    before = os.umask(0o022)
    try:
        with _aside.new_file(target) as file:
            file.write(b"new")
    finally:
        os.umask(before)
    assert (target.read_text(), mode(target), target.stat().st_uid) == ("new", 0o644, 0)


def test_permissions_are_not_given_to_what_a_link_in_its_place_leads_to(tmp_path: Path) -> None:
    secret, target = tmp_path / "secret", tmp_path / "document"
    for path in (secret, target):
        path.write_text("old")
    secret.chmod(0o600)
    target.chmod(0o666)
    link = tmp_path / "new"
    link.symlink_to(secret)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        _aside.put(link, target, replace=True)
    assert mode(secret) == 0o600
