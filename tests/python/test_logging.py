"""The logger "guestkit": launches, closes, and at DEBUG the messages of libguestfs and the appliance."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from guestkit import Error, Event, Guestfs, LaunchError


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.DEBUG, "guestkit")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "guestkit"]


Failing = Callable[[str], Guestfs]


@pytest.fixture
def failing(tmp_path: Path, appliance: Path) -> Failing:
    """A handle whose hypervisor answers libguestfs' questions; at the launch, it runs a command and fails."""

    def failing(command: str) -> Guestfs:
        with Guestfs(environment=False) as g:
            real = g.get_hv()
        hypervisor = tmp_path / "hypervisor"
        run = f'case "$*" in *-kernel*) {command}; exit 1;; esac'
        hypervisor.write_text(f'#!/bin/sh\n{run}\nexec {real} "$@"\n')
        hypervisor.chmod(0o755)
        handle = Guestfs(environment=False, accel="tcg")
        handle.set_hv(hypervisor)
        handle.set_path(appliance)
        handle.set_cachedir(tmp_path)
        handle.add_drive(appliance / "root", format="raw")
        return handle

    return failing


def test_calls_and_closes_are_told_at_debug(lines: Callable[[], list[str]]) -> None:
    with Guestfs(environment=False) as g:
        g.set_memsize(700)
    assert "libguestfs: trace: set_memsize 700" in lines()
    assert lines()[-1] == "close: the handle is closed"


def test_the_log_of_a_close_during_unwinding_lost_the_exception(lines: Callable[[], list[str]]) -> None:
    with pytest.raises(Error, match="not launched"):
        Guestfs(environment=False).mount("/dev/sda1", "/")  # which unwinding closes

    def opened(disk: str) -> Guestfs:
        g = Guestfs(environment=False)
        g.add_drive(disk, readonly=True, format="raw")
        return g

    with pytest.raises(Error, match="No such file"):
        _ = [opened(disk) for disk in (__file__, "/no/such/disk")]
    assert "close: the handle is closed" in lines()


def test_nothing_of_that_is_told_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "guestkit")
    with Guestfs(environment=False) as g:
        assert g.get_trace() is False
        g.set_memsize(700)
    assert caplog.records == []


def test_a_launch_is_told_at_info(caplog: pytest.LogCaptureFixture, failing: Failing) -> None:
    caplog.set_level(logging.INFO, "guestkit")
    with failing("true") as g, pytest.raises(LaunchError):
        g.launch()
    (record,) = [r for r in caplog.records if r.name == "guestkit"]
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith("launch: failed (unknown) after ")


def test_what_the_hypervisor_writes_is_told_with_its_escape_sequences_visible(
    lines: Callable[[], list[str]], failing: Failing
) -> None:
    with failing(r"printf 'a\033[31mb\nsecond\n'") as g, pytest.raises(LaunchError):
        g.launch()
    told = lines()
    assert r"appliance: a\x1b[31mb" in told
    assert "appliance: second" in told


def test_ctrl_c_while_a_line_is_logged_is_not_lost(
    caplog: pytest.LogCaptureFixture, failing: Failing
) -> None:
    class Interrupting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "libguestfs: trace: launch" in record.getMessage():
                signal.raise_signal(signal.SIGINT)

    caplog.set_level(logging.DEBUG, "guestkit")
    handler = Interrupting()
    with failing("sleep 20") as g:
        logging.getLogger("guestkit").addHandler(handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                g.launch()
        finally:
            logging.getLogger("guestkit").removeHandler(handler)


def test_secrets_are_in_no_line(
    lines: Callable[[], list[str]], failing: Failing, capfd: pytest.CaptureFixture[str]
) -> None:
    with failing('echo "$@"') as g:
        g.set_verbose(True)
        g.add_drive("/x", protocol="http", server=["h:1"], username="u", secret="Hush Hush", format="raw")
        with pytest.raises(Error):
            g.cryptsetup_open("/dev/sda1", "Quiet", "name")
        with pytest.raises(Error):
            g.set_libvirt_requested_credential(0, b"Psst")
        with pytest.raises(LaunchError) as raised:
            g.launch()
    told = [*lines(), str(raised.value), *raised.value.console, *capfd.readouterr()]
    assert 'libguestfs: trace: add_drive "/x"' in "\n".join(told)
    assert any("u:***@h:1" in line for line in raised.value.console)
    for secret in ("Hush", "Quiet", "Psst"):
        assert [line for line in told if secret in line] == []


def test_without_a_logger_at_debug_a_trace_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with Guestfs(environment=False) as g:
        g.set_trace(True)
        g.set_memsize(700)
        g.set_trace(False)
        g.set_memsize(800)
    assert capfd.readouterr().err.splitlines() == [
        "libguestfs: trace: set_memsize 700",
        "libguestfs: trace: set_memsize = 0",
        "libguestfs: trace: set_trace false",
        "libguestfs: trace: set_trace = 0",
    ]


def test_a_secret_was_in_the_trace_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with Guestfs(environment=False) as g:
        g.set_trace(True)
        g.add_drive("/x", protocol="http", server=["h:1"], username="u", secret="Hush Hush", format="raw")
        with pytest.raises(Error):
            g.set_libvirt_requested_credential(0, b"Psst")
    told = capfd.readouterr().err
    assert 'trace: add_drive "/x"' in told
    assert "Hush" not in told
    assert "Psst" not in told


def test_a_callback_of_trace_events_keeps_them_from_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    with Guestfs(environment=False) as g:
        g.set_event_callback(lambda event, number, text, numbers: seen.append(text), Event.TRACE)
        g.set_trace(True)
        g.set_memsize(700)
    assert "set_memsize 700" in seen
    assert capfd.readouterr().err == ""


def test_libguestfs_trace_variable_writes_to_stderr(
    python: Callable[..., CompletedProcess[str]],
) -> None:
    ended = python("import guestkit; guestkit.Guestfs().set_memsize(700)", LIBGUESTFS_TRACE="1")
    assert "libguestfs: trace: set_memsize 700" in ended.stderr.splitlines()
