"""What the environment does to a handle."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestkit import Error, Guestfs


def test_libguestfs_variables_are_taken_unless_told_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_MEMSIZE", "777")
    with Guestfs() as g:
        assert g.get_memsize() == 777
    with Guestfs(environment=False) as g:
        assert g.get_memsize() != 777


def test_a_variable_that_makes_no_sense_is_an_error_and_not_a_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIBGUESTFS_MEMSIZE", "much")
    with pytest.raises(Error, match="parse_environment: non-numeric value for LIBGUESTFS_MEMSIZE"):
        Guestfs()
    assert capfd.readouterr().err == ""


def test_a_temporary_directory_that_is_missing_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", "/does/not/exist")
    with pytest.raises(Error, match="TMPDIR: /does/not/exist"):
        Guestfs()


@pytest.mark.parametrize(
    ("variable", "value"), [("XDG_RUNTIME_DIR", ""), ("XDG_RUNTIME_DIR", "/run/user/gone"), ("TMPDIR", "")]
)
def test_an_empty_or_stale_directory_variable_stopped_every_handle(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")  # libguestfs reads it later than TMPDIR
    with Guestfs() as g:
        assert g.get_backend_settings() == ["force_tcg"]


def test_a_runtime_directory_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with Guestfs() as g:
        assert g.get_sockdir() in (str(tmp_path), "/tmp")  # root's is always /tmp


def test_the_direct_backend_is_the_default_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LIBGUESTFS_BACKEND", raising=False)
    with Guestfs() as g:
        assert g.get_backend() == "direct"
    monkeypatch.setenv("LIBGUESTFS_BACKEND", "libvirt")
    with Guestfs() as g:
        assert g.get_backend() == "libvirt"


def test_the_old_name_of_the_backend_variable_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIBGUESTFS_BACKEND", raising=False)
    monkeypatch.setenv("LIBGUESTFS_ATTACH_METHOD", "libvirt")
    with Guestfs() as g:
        assert g.get_backend() == "libvirt"
