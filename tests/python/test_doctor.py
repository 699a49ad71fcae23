"""`guestkit.doctor`: its checks, on a host that is made to look unfit."""

from __future__ import annotations

import grp
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast, get_args

import pytest

from guestkit import Error, Guestfs, _native, appliance, doctor
from guestkit._system import install_command
from guestkit.appliance import Appliance
from guestkit.cli import main
from guestkit.doctor import Finding, diagnose
from guestkit.generated.values import ApplianceMode

NEW_PLACE = "export GUESTKIT_CACHEDIR=$(mktemp -d /var/tmp/guestkit-XXXXXX); guestkit appliance build"


def finding(name: str) -> Finding:
    found = [one for one in diagnose() if one.name == name]
    return max(found, key=lambda one: ("ok", "warning", "error").index(one.level))


def test_this_host_can_launch() -> None:
    """The other tests launch appliances, so the doctor must find no error."""
    findings = diagnose()
    assert [one for one in findings if one.level == "error"] == []
    names = [one.name for one in findings]
    assert names[:4] == ["libguestfs", "qemu", "sandbox", "kvm"]
    assert {"kernel", "appliance", "memory", "temporary files", "libguestfs' cache"} <= set(names)
    assert all(one.message and "\n" not in one.message for one in findings)


def test_a_qemu_that_is_missing_or_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIBGUESTFS_HV", "/nonexistent/qemu")
    found = finding("qemu")
    assert (found.level, found.message) == ("error", "/nonexistent/qemu cannot be run")
    assert found.remedy == install_command("qemu") != ""
    broken = tmp_path / "qemu"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("LIBGUESTFS_HV", str(broken))
    assert finding("qemu").message == f"{broken} --version ends with 3"


def test_a_qemu_that_cannot_be_confined_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert finding("sandbox").level == "ok"
    qemu = tmp_path / "qemu"
    qemu.write_text("#!/bin/sh\necho no such option >&2; exit 1\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("LIBGUESTFS_HV", str(qemu))
    found = finding("sandbox")
    assert found.level == "warning"
    assert f"{qemu} cannot filter system calls (no such option)" in found.message


def test_a_qemu_that_libguestfs_tells_without_its_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As libguestfs 1.60 does."""
    qemu = tmp_path / "qemu-of-path"
    qemu.write_text("#!/bin/sh\necho QEMU 9\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(Guestfs, "get_hv", lambda _: qemu.name)
    assert finding("qemu").message == f"{qemu}: QEMU 9"
    qemu.unlink()
    assert finding("qemu").message == f"{qemu.name} cannot be run"


def test_qemu_img_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "qemu-img" else real(name))
    assert finding("qemu-img").remedy == install_command("qemu-img") != ""


def test_that_libguestfs_inspects_every_guest_was_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: the fast inspection was off on Debian 13, and nothing told it."""
    version = {"major": 1, "minor": 54, "release": 2, "extra": ""}
    monkeypatch.setattr(Guestfs, "version", lambda self: version)
    assert finding("inspection").level == "ok"
    version |= {"minor": 52, "extra": "ubuntu"}
    found = finding("inspection")
    assert found.level == "warning"
    proven, other = found.message.split(", not of ")
    assert proven.endswith("libguestfs 1.48.6 to 1.48.x, 1.54.1 to 1.54.x, 1.60.1 to 1.60.x")
    assert other == "1.52.2ubuntu, which its distribution has changed"


def test_without_an_appliance_it_says_how_to_build_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(tmp_path / "none"))
    found = finding("appliance")
    assert (found.level, found.remedy) == ("warning", "guestkit appliance build")
    assert str(tmp_path / "none") in found.message


def test_a_user_without_a_home_was_told_to_build_below_nonexistent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GUESTKIT_CACHEDIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    found = finding("appliance")
    assert "/nonexistent" not in found.message + found.remedy
    if found.level == "warning":  # root may have built one for all users
        assert str(appliance.SYSTEM_CACHE) in found.message
        assert found.remedy == NEW_PLACE
    assert [one for one in diagnose() if one.level == "error"] == []


def test_a_home_that_cannot_be_written_is_no_place_for_an_appliance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(appliance, "search_path", lambda: [tmp_path / "home" / "cache", tmp_path / "system"])
    monkeypatch.setattr(appliance, "appliances", list)
    monkeypatch.setattr(appliance, "cache_directory", lambda: tmp_path / "home" / "cache")
    assert finding("appliance").remedy == "guestkit appliance build"
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and real(path, mode))
    found = finding("appliance")
    assert found.remedy == NEW_PLACE
    assert f"none has been built in {tmp_path}/home/cache or {tmp_path}/system" in found.message


def test_a_home_that_the_user_cannot_enter_is_as_none() -> None:
    """HOME may still be root's: after `su -p`, or in containers that run as another user."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory() as home:
        Path(home, ".cache").mkdir()
        child = os.fork()
        if child == 0:
            said = "nothing"
            try:
                os.environ["HOME"] = home
                os.environ.pop("GUESTKIT_CACHEDIR", None)
                os.environ.pop("XDG_CACHE_HOME", None)
                os.setuid(12345)
                places = appliance.search_path()
                appliance.appliances()
                os.environ["GUESTKIT_CACHEDIR"] = f"{home}/cache"
                appliance.appliances()
                found = finding("appliance")
                said = f"{places == [appliance.SYSTEM_CACHE]} {found.level} {found.remedy in ('', NEW_PLACE)}"
            except BaseException as error:
                said = repr(error)
            finally:
                os.write(writer, said.encode())
                os._exit(0)
        os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert answer.read() == "True warning True"


@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_the_caches_directories_are_not_open_to_others(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        for name, mode in (("everybody", 0o755), ("own", 0o700)):
            appliance._writable(tmp_path / name / "cache", mode)
    finally:
        os.umask(before)
    for name, mode in (("everybody", 0o755), ("own", 0o700)):
        for folder in (tmp_path / name, tmp_path / name / "cache"):
            assert folder.stat().st_mode & 0o777 == mode


def test_a_cache_that_others_may_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(tmp_path))
    found = finding("guestkit's cache")
    assert (found.level, found.remedy) == ("warning", f"chmod 700 {tmp_path}")


def test_the_mode_of_a_link_was_to_be_repaired(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(cache)
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(tmp_path / "link"))
    told = f"{tmp_path}/link is a link: name the directory that it leads to"
    found = finding("guestkit's cache")
    assert (found.level, found.message, found.remedy) == ("warning", told, "")
    assert main(["appliance", "build"]) == 1
    assert told in capsys.readouterr().err


def test_memory_that_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "available_memory", lambda: 100 << 20)
    assert finding("memory").level == "error"
    assert "an appliance takes" in finding("memory").message


@pytest.mark.parametrize(
    ("built", "variables", "mode"),
    [
        (("lean-1", "lean-1/warm-1"), {}, "warm"),
        (("lean-1",), {}, "lean"),
        ((), {}, "system"),
        (("lean-1",), {"LIBGUESTFS_PATH": "/usr/lib"}, "fixed"),
        (("lean-1",), {"LIBGUESTFS_HV": "/usr/bin/qemu-system-x86_64"}, "system"),
        (("lean-1",), {"LIBGUESTFS_BACKEND": "libvirt"}, "system"),
    ],
)
def test_a_fast_appliance_was_counted_with_the_memory_of_libguestfs_own(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    built: tuple[str, ...],
    variables: dict[str, str],
    mode: ApplianceMode,
) -> None:
    monkeypatch.setattr(
        appliance, "appliances", lambda: [Appliance(tmp_path / directory, "") for directory in built]
    )
    for name in ("LIBGUESTFS_PATH", "LIBGUESTFS_HV", "LIBGUESTFS_QEMU", "LIBGUESTFS_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def told(available: int) -> str:
        monkeypatch.setattr(_native, "available_memory", lambda: available)
        return finding("memory").message

    for count in (1, 2, 9):
        enough = count * _native.appliance_memory(mode)
        assert told(enough).endswith(f" {count} appliances at once")
        assert not told(enough - 1).endswith(f" {count} appliances at once")


def test_guestkits_own_appliances_take_less_memory() -> None:
    sizes = {mode: _native.appliance_memory(mode) >> 20 for mode in get_args(ApplianceMode)}
    assert sizes == {"system": 768, "fixed": 768, "lean": 448, "warm": 448}
    with pytest.raises(ValueError, match="no such appliance mode: tepid"):
        _native.appliance_memory(cast(ApplianceMode, "tepid"))


@pytest.mark.parametrize(
    ("status", "level"), [((True, ""), "ok"), ((False, "/dev/kvm is missing: no virtualisation"), "warning")]
)
def test_kvm(monkeypatch: pytest.MonkeyPatch, status: tuple[bool, str], level: str) -> None:
    monkeypatch.setattr(_native, "kvm_status", lambda qemu: status)
    found = finding("kvm")
    assert found.level == level
    assert status[1] in found.message


def test_the_group_of_kvm_was_always_called_kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Regression: in containers it has no name, or another one, and root's device serves no group."""
    device = tmp_path / "kvm"
    device.touch()
    real, own = os.access, device.stat()
    monkeypatch.setattr(doctor, "KVM", device)
    monkeypatch.setattr(_native, "kvm_status", lambda qemu: (False, "cannot be opened"))
    monkeypatch.setattr(os, "access", lambda path, mode: path != device and real(path, mode))
    named = {7: "virtual machines"}
    monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name=named[number]))
    for mode, group, remedy in (
        (0o660, 7, "sudo usermod -aG 'virtual machines' $USER"),
        (0o660, 8, ""),
        (0o640, 7, ""),
        (0o660, 0, ""),
    ):
        seen = os.stat_result((stat.S_IFCHR | mode, *own[1:5], group, *own[6:]))
        monkeypatch.setattr(
            Path, "stat", lambda path, seen=seen, **_: seen if path == device else os.stat(path)
        )
        assert finding("kvm").remedy == remedy


def test_a_qemu_that_hangs_ended_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **keywords: Any) -> NoReturn:
        raise subprocess.TimeoutExpired(command, 30)

    monkeypatch.setattr(subprocess, "run", run)
    found = finding("qemu")
    assert (found.level, "timed out after 30 seconds" in found.message) == ("error", True)


def test_kernels_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not str(path).startswith("/boot/") and real(path, mode)
    )
    monkeypatch.setattr(appliance, "appliances", list)
    found = finding("kernel")
    assert found.level == "error"
    assert found.remedy.startswith("sudo chmod 0644 /boot/vmlinu")


def test_a_kernel_that_no_launch_needs_was_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An appliance that root has built for all has a kernel of its own."""
    monkeypatch.setattr(appliance, "kernels", list)
    ready = Appliance(Path("/var/cache/guestkit/appliance/lean-1"), "")
    for found, level in (([ready], "warning"), ([replace(ready, fault="spoilt")], "error"), ([], "error")):
        monkeypatch.setattr(appliance, "appliances", lambda found=found: found)
        assert finding("kernel").level == level


@pytest.mark.parametrize("variable", ["TMPDIR", "LIBGUESTFS_CACHEDIR"])
def test_places_that_are_full_or_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    name = {"TMPDIR": "temporary files", "LIBGUESTFS_CACHEDIR": "libguestfs' cache"}[variable]
    monkeypatch.setenv(variable, str(tmp_path))
    assert finding(name).level == "ok"
    monkeypatch.setattr(doctor, "ROOM", 1 << 60)
    monkeypatch.setattr(doctor, "CACHE_ROOM", 1 << 60)
    found = finding(name)
    assert found.level == "warning"
    home = tmp_path / "a home"  # the remedy named a directory below it that need not be there
    script = f'{found.remedy} && cd "${variable}" && pwd'
    done = subprocess.run(
        ["sh", "-c", script],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{home}/tmp\n", "")
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    found = finding("environment")
    assert found.level == "error"
    assert str(tmp_path / "file") in found.message


@pytest.mark.parametrize("temporary", [None, "", "/tmp", "/tmp/"])
def test_all_was_well_where_qemu_had_no_place_for_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporary: str | None
) -> None:
    """Regression: it uses /var/tmp then, which a read-only root has; no launch worked."""
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", temporary or "")
    if temporary is None:
        monkeypatch.delenv("TMPDIR")
    name = "QEMU's temporary files"
    assert finding(name).level == "ok"
    monkeypatch.setattr(doctor, "QEMU_PLACE", tmp_path / "missing")
    assert (finding(name).level, finding(name).remedy) == ("error", "export TMPDIR=/tmp/.")
    monkeypatch.setenv("TMPDIR", "/tmp/.")
    assert name not in [one.name for one in diagnose()]


def test_a_backend_that_is_not_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_BACKEND", "libvirt")
    assert finding("backend").remedy == "unset LIBGUESTFS_BACKEND"


def test_one_look_that_fails_does_not_cost_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise PermissionError(13, "Permission denied", "/secret")

    monkeypatch.setattr(appliance, "appliances", fail)
    found = diagnose()
    (broken,) = [one for one in found if one.name == "appliance"]
    assert (broken.level, broken.message) == ("error", "[Errno 13] Permission denied: '/secret'")
    assert "memory" in {one.name for one in found}


def test_a_check_that_failed_named_its_call_and_hid_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: "appliance: it cannot be read; chmod a+r it", all of it as the message."""

    def fail() -> NoReturn:
        raise appliance.ApplianceError("appliance", "it cannot be read", hint="chmod a+r it")

    monkeypatch.setattr(appliance, "appliances", fail)
    found = finding("appliance")
    assert (found.level, found.message, found.remedy) == ("error", "it cannot be read", "chmod a+r it")


def test_a_kernel_that_no_appliance_can_be_made_of_was_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Regression: supermin takes the newest one, and a build refuses all where one cannot be read."""
    old, new = tmp_path / "vmlinuz-1", tmp_path / "vmlinuz-2"
    real = os.access
    monkeypatch.setattr(appliance, "kernels", lambda: [old, new])
    monkeypatch.setattr(os, "access", lambda path, mode: path == old or (path != new and real(path, mode)))
    monkeypatch.setattr(appliance, "appliances", list)
    with pytest.raises(appliance.ApplianceError, match=f"{new} is not readable"):
        appliance._inputs()
    found = finding("kernel")
    assert (found.level, found.remedy) == ("error", f"sudo chmod 0644 {new}")


def test_a_link_in_the_place_of_libguestfs_cache_was_called_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Regression: in /var/tmp another user can make it first, and libguestfs ends each launch."""
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path))
    link = tmp_path / f".guestfs-{os.geteuid()}"
    link.symlink_to(tmp_path)
    found = finding("libguestfs' cache")
    assert (found.level, found.remedy) == ("error", f"sudo rm -r {link}")
    with Guestfs(appliance="system", environment=True) as g, pytest.raises(Error, match="not a directory"):
        g.add_drive("/dev/null", format="raw", readonly=True)
        g.launch()


def test_a_remedy_removed_another_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Regression: `sudo rm -r /srv/my cache/.guestfs-0` removes /srv/my."""
    place = tmp_path / "my cache"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    (place / f".guestfs-{os.geteuid()}").symlink_to("elsewhere")
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(place))
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(place))
    for name in ("libguestfs' cache", "guestkit's cache"):
        words = shlex.split(finding(name).remedy)
        assert Path(words[-1]).parent in (place, tmp_path)
