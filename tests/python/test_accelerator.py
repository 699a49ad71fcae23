"""How the appliance's processor runs: what the library chooses, and what overrides it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from guestkit import Event, Guestfs, LaunchError
from guestkit.handle_options import Accel


@pytest.fixture
def no_qemu(tmp_path: Path) -> Path:
    """A hypervisor that fails at once: with it, KVM is not proved to work, and no launch succeeds."""
    path = tmp_path / "qemu"
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    return path


def settings_of_launch(g: Guestfs, hypervisor: Path, appliance: Path) -> list[str]:
    """Return the backend settings of a launch that fails; afterwards they are the user's again."""
    own = g.get_backend_settings()
    traced: list[str] = []
    g.set_event_callback(lambda _event, _number, text, _numbers: traced.append(text), Event.TRACE)
    g.set_trace(True)
    g.set_hv(hypervisor)
    g.set_path(appliance)
    g.set_cachedir(appliance)
    g.add_drive_scratch(1 << 20)
    with pytest.raises(LaunchError):
        g.launch()
    assert g.get_backend_settings() == own
    set_then = [text.split('"')[1].split() for text in traced if text.startswith('set_backend_settings "')]
    return set_then[0] if set_then else own


@pytest.mark.parametrize(
    ("accel", "expected"),
    [("auto", ["force_tcg=1"]), ("tcg", ["force_tcg=1"]), ("kvm", ["force_kvm=1"])],
)
def test_what_is_chosen_where_kvm_cannot_be_proved(
    accel: Accel, expected: list[str], no_qemu: Path, appliance: Path
) -> None:
    with Guestfs(environment=False, accel=accel) as g:
        assert settings_of_launch(g, no_qemu, appliance) == expected


@pytest.mark.parametrize("setting", ["force_tcg", "force_kvm"])
def test_the_user_s_backend_settings_win_over_auto(
    setting: str, no_qemu: Path, appliance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", setting)
    with Guestfs() as g:
        assert settings_of_launch(g, no_qemu, appliance) == [setting]


@pytest.mark.parametrize(
    ("accel", "setting", "expected"),
    [("tcg", "force_kvm", "force_tcg=1"), ("kvm", "force_tcg:other=2", "force_kvm=1")],
)
def test_an_explicit_accel_wins_over_the_environment(
    accel: Accel,
    setting: str,
    expected: str,
    no_qemu: Path,
    appliance: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", setting)
    with Guestfs(accel=accel) as g:
        settings = settings_of_launch(g, no_qemu, appliance)
    assert expected in settings
    assert setting.split(":")[0] not in settings
    assert ("other=2" in settings) == ("other=2" in setting)


def test_a_host_without_kvm_is_told_in_the_log_once(
    python: Callable[..., subprocess.CompletedProcess[str]], no_qemu: Path, appliance: Path
) -> None:
    program = """
import logging, sys, guestkit
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
for _ in range(2):
    with guestkit.Guestfs() as g:
        g.set_hv(sys.argv[1])
        g.set_path(sys.argv[2])
        g.add_drive_scratch(1 << 20)
        try:
            g.launch()
        except guestkit.LaunchError:
            pass
"""
    environment = {"LIBGUESTFS_BACKEND_SETTINGS": "", "LIBGUESTFS_CACHEDIR": str(appliance)}
    done = python(program, no_qemu, appliance, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    (warning,) = [line for line in lines if "WARNING" in line]
    assert warning.endswith("so the appliance is emulated, which is slower: guestkit doctor tells why")
    assert any(line.startswith("guestkit INFO KVM: ") and "/dev/kvm" in line for line in lines)


@pytest.mark.full
def test_a_hypervisor_with_a_long_name_does_not_make_libguestfs_write_beyond_its_memory(
    appliance: Path,
) -> None:
    """Under valgrind, which reports the write; without it, the process may or may not crash later."""
    program = (
        "import os, shutil, sys; from guestkit import Guestfs, LaunchError\n"
        "folder, *hypervisors = sys.argv[1:]\n"
        "for hypervisor in hypervisors:\n"
        "    g = Guestfs(environment=False, accel='tcg')\n"
        "    os.symlink(shutil.which(g.get_hv()), hypervisor)\n"
        "    g.set_hv(hypervisor); g.set_path(folder); g.set_cachedir(folder)\n"
        "    g.add_drive('/dev/null', format='raw')\n"
        "    try: g.launch()\n"
        "    except LaunchError: print(g.get_hv() == hypervisor)\n"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        names = []
        for length in (85, 110, 125, 340):
            name = Path(folder, *["x" * 20] * ((length - len(folder)) // 21 - 1))
            name /= "q" * (length - len(str(name)) - 1)
            assert len(str(name)) == length
            name.parent.mkdir(parents=True, exist_ok=True)
            names.append(name)
        done = subprocess.run(
            ["valgrind", "--quiet", "--error-exitcode=9", "--child-silent-after-fork=yes",
             sys.executable, "-c", program, appliance, *names],
            env=os.environ | {"PYTHONMALLOC": "malloc"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "True\n" * len(names)), done.stderr


SLOW = """
import logging, sys, tempfile, guestkit
logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
options, path = eval(sys.argv[1]), sys.argv[2]
for level in (logging.ERROR, logging.WARNING, logging.WARNING):  # the first must not use up the warning
    logging.getLogger("guestkit").setLevel(level)
    with guestkit.Guestfs(**options) as g:
        if path:
            g.set_path(path)
        g.add_drive_scratch(1 << 20)
        with tempfile.TemporaryDirectory() as gone:  # makes libguestfs' part of the launch fail at once
            g.set_cachedir(gone)
        try:
            g.launch()
        except guestkit.LaunchError:
            pass
"""


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"accel": "tcg"}, False, True),
        ({"accel": "tcg", "appliance": "inspection"}, False, True),
        ({"accel": "tcg", "appliance": "system"}, False, False),  # asked for
        ({"accel": "tcg"}, True, False),  # the user's
        ({"accel": "kvm"}, False, False),  # not slow
    ],
)
def test_a_launch_that_could_be_ten_times_as_fast_said_nothing(
    options: dict[str, str],
    path: bool,
    said: bool,
    python: Callable[..., subprocess.CompletedProcess[str]],
    appliance: Path,
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    environment = {"GUESTKIT_CACHEDIR": str(cache), "LIBGUESTFS_BACKEND_SETTINGS": ""}
    done = python(SLOW, options, appliance if path else "", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    line = (
        f"guestkit WARNING launch: no appliance has been built in {cache}, so launches take up to ten times"
        " as long; to build one: guestkit appliance build\n"
    )
    assert done.stdout == (line if said else "")  # once per process
