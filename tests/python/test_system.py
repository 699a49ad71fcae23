"""`guestkit._system`: the command that hints name, for each distribution's own os-release."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from guestkit import _system, appliance, convert, doctor
from guestkit._system import install_command
from guestkit.errors import Error
from guestkit.handle import Guestfs

RELEASES = Path(__file__).parent / "os_release"


def be(monkeypatch: pytest.MonkeyPatch, release: str, machine: str = "x86_64") -> None:
    monkeypatch.setattr(platform, "_os_release_candidates", (str(RELEASES / release),))
    monkeypatch.setattr(platform, "_os_release_cache", None)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("debian-12", "sudo apt-get install qemu-system-x86 qemu-utils linux-image-cloud-amd64"),
        ("ubuntu-24.04", "sudo apt-get install qemu-system-x86 qemu-utils linux-image-generic"),
        ("linuxmint-22", "sudo apt-get install qemu-system-x86 qemu-utils linux-image-generic"),
        ("fedora-41", "sudo dnf install qemu-kvm qemu-img kernel"),
        ("rhel-10", "sudo dnf install qemu-kvm qemu-img kernel"),
        ("rocky-9", "sudo dnf install qemu-kvm qemu-img kernel"),
        ("ol-9", "sudo dnf install qemu-kvm qemu-img kernel"),
        ("opensuse-tumbleweed", "sudo zypper install qemu-x86 qemu-tools kernel-default"),
        ("sles-15", "sudo zypper install qemu-x86 qemu-tools kernel-default"),
        ("arch", "sudo pacman -S qemu-system-x86 qemu-img linux"),
        ("manjaro", "sudo pacman -S qemu-system-x86 qemu-img linux"),
        ("alpine-3.20", ""),  # has no appliance, so it needs no kernel
        ("nixos-24.11", ""),
    ],
)
def test_every_hint_named_debians_command(
    monkeypatch: pytest.MonkeyPatch, release: str, command: str
) -> None:
    be(monkeypatch, release)
    assert install_command("qemu", "qemu-img", "kernel") == command


def test_rhel_was_told_what_fedora_has(monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, "fedora-41")
    assert install_command("boost-python") == "sudo dnf install boost-python3-devel"
    for release in ("rhel-10", "rocky-9", "ol-9"):
        be(monkeypatch, release)
        assert install_command("boost-python") == ""


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("debian-12", "apt-get install qemu-system-arm linux-image-cloud-arm64"),
        ("fedora-41", "dnf install qemu-kvm kernel"),
        ("opensuse-tumbleweed", "zypper install qemu-arm kernel-default"),
        ("arch", "pacman -S qemu-system-aarch64 linux"),
    ],
)
def test_an_arm_host_was_told_to_install_packages_of_x86(
    monkeypatch: pytest.MonkeyPatch, release: str, command: str
) -> None:
    be(monkeypatch, release, "aarch64")
    assert install_command("qemu", "kernel", sudo=False) == command


def test_root_needs_no_sudo_and_no_package_is_named_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, "fedora-41")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert install_command("boost-thread", "boost-test", "python-venv") == "dnf install boost-devel"


def test_what_comes_with_another_package_has_no_command_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, "arch")
    assert install_command("supermin") == ""
    assert install_command("supermin", "qemu-img") == "sudo pacman -S qemu-img"
    assert _system.hint("supermin") == ""
    assert _system.hint("qemu-img") == "install it with: sudo pacman -S qemu-img"


def test_a_system_without_os_release_has_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, "none")
    assert install_command("qemu") == ""


def test_every_row_of_the_table_has_every_column() -> None:
    rows = _system._rows()
    columns = len(rows["ids"])
    assert columns == 7
    assert {thing: len(row) for thing, row in rows.items()} == dict.fromkeys(rows, columns)


def test_it_loads_without_the_extension() -> None:
    """The message about a missing libguestfs needs it."""
    program = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('system', {str(_system.__file__)!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(module.install_command('libguestfs', sudo=True))\n"
        "print([name for name in sys.modules if name.startswith('guestkit')])"
    )
    done = subprocess.run([sys.executable, "-IS", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [install_command("libguestfs", sudo=True), "[]"]


def test_doctor_told_fedora_to_use_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, "fedora-41")
    monkeypatch.setattr(appliance, "kernels", list)
    monkeypatch.setattr(appliance, "appliances", list)
    with Guestfs() as g:
        (found,) = doctor._kernel(g)
    assert (found.level, found.remedy) == ("error", "sudo dnf install kernel")
    with pytest.raises(
        appliance.ApplianceError,
        match="no kernel in /boot or /lib/modules; install it with: sudo dnf install",
    ):
        appliance._inputs()


def test_a_hypervisor_without_its_directory_was_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: with libguestfs 1.60, whose get_hv tells a name to look for in PATH, none was built."""
    path = Path(sys.executable)
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
    monkeypatch.setattr(Guestfs, "get_hv", lambda _: path.name)
    assert path in appliance._inputs()
    monkeypatch.setattr(Guestfs, "get_hv", lambda _: "qemu-that-nobody-has")
    be(monkeypatch, "fedora-41")
    expected = "^appliance: qemu-that-nobody-has was not found; install it with: sudo dnf"
    with pytest.raises(appliance.ApplianceError, match=expected):
        appliance._inputs()


def test_who_lacks_qemu_img_was_told_debians_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By Python, and by C++, which copies a snapshot."""
    image = tmp_path / "disk.qcow2"
    for words in (["create", "-q", "-f", "qcow2", str(image), "1M"], ["snapshot", "-c", "one", str(image)]):
        subprocess.run(["qemu-img", *words], check=True)
    monkeypatch.setenv("PATH", "/nonexistent")
    what, remedy = "qemu-img cannot be run", f"install it with: {install_command('qemu-img')}"
    converted = convert.DiskConverter().convert(image, tmp_path / "copy")
    assert (converted["error"], converted["hint"]) == (f"convert: {what}", remedy)
    with Guestfs() as g, pytest.raises(Error) as caught:
        g.open_disk(image, snapshot="one")
    assert (caught.value.message, caught.value.hint) == (what, remedy)


def test_a_kernel_beside_its_modules_was_not_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fedora's containers have none in /boot."""
    kernel = tmp_path / "lib" / "modules" / "6.11.4-301.fc41.x86_64" / "vmlinuz"
    kernel.parent.mkdir(parents=True)
    kernel.touch()
    monkeypatch.setattr(appliance, "Path", lambda name: tmp_path / str(name).lstrip("/"))
    assert appliance.kernels() == [kernel]


def test_a_link_to_a_kernel_that_was_removed_kept_appliances_from_being_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Regression: it "cannot be read by this user", and chmod, which cannot repair that, was the remedy."""
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "vmlinuz-6.1").touch()
    (boot / "vmlinuz").symlink_to("vmlinuz-6.1")
    (boot / "vmlinuz.old").symlink_to("vmlinuz-5.10")
    monkeypatch.setattr(appliance, "Path", lambda name: tmp_path / str(name).lstrip("/"))
    assert appliance.kernels() == [boot / "vmlinuz-6.1"]
    with Guestfs() as g:
        (found,) = doctor._kernel(g)
    assert (found.level, found.remedy) == ("ok", "")
