"""The effect of the environment on a handle."""

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
    with pytest.raises(Error, match="parse_environment: LIBGUESTFS_MEMSIZE=much: non-numeric value"):
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
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")  # libguestfs reads it after TMPDIR
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


VARIABLES = [
    "LIBGUESTFS_APPEND", "LIBGUESTFS_ATTACH_METHOD", "LIBGUESTFS_BACKEND", "LIBGUESTFS_BACKEND_SETTINGS",
    "LIBGUESTFS_CACHEDIR", "LIBGUESTFS_DEBUG", "LIBGUESTFS_HV", "LIBGUESTFS_MEMSIZE", "LIBGUESTFS_PATH",
    "LIBGUESTFS_QEMU", "LIBGUESTFS_TMPDIR", "LIBGUESTFS_TRACE", "TMPDIR", "XDG_RUNTIME_DIR",
]  # fmt: skip


def settings() -> dict[str, object]:
    names = (
        "append", "backend", "backend_settings", "cachedir", "hv", "memsize", "path", "sockdir", "tmpdir",
        "trace", "verbose",
    )  # fmt: skip
    with Guestfs() as g:
        return {name: getattr(g, f"get_{name}")() for name in names}


@pytest.mark.parametrize("variable", VARIABLES)
def test_an_empty_variable_ended_everything(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Regression: LIBGUESTFS_DEBUG= was a "non-boolean value". Empty variables count as unset."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    unset = settings()
    monkeypatch.setenv(variable, "")
    assert settings() == unset
    if variable != "LIBGUESTFS_MEMSIZE":  # the others still count
        monkeypatch.setenv("LIBGUESTFS_MEMSIZE", "777")
        assert settings() == {**unset, "memsize": 777}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LIBGUESTFS_DEBUG", "maybe"),
        ("LIBGUESTFS_TRACE", "2"),
        ("LIBGUESTFS_TRACE", " "),
        ("LIBGUESTFS_MEMSIZE", "much"),
        ("LIBGUESTFS_MEMSIZE", "1"),
        ("LIBGUESTFS_BACKEND", "none"),
        ("LIBGUESTFS_ATTACH_METHOD", "none"),
        ("LIBGUESTFS_TMPDIR", "/does/not/exist"),
        ("LIBGUESTFS_CACHEDIR", "/does/not/exist"),
        ("TMPDIR", "/does/not/exist"),
    ],
)
def test_an_error_names_the_variable_and_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(Error) as caught:
        Guestfs()
    assert caught.value.op == "parse_environment"
    assert caught.value.message.startswith(f"{variable}={value}: ")
