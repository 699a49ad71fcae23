"""The packages for Debian are built, installed and used; the one for RPM is read by its tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from guestkit.appliance import HYPERVISOR, PROGRAMS
from tests.chroot import ROOT, Chroot

pytestmark = pytest.mark.timeout(3600)

PROGRAM = """\
#include <guestkit/guestkit.hpp>
#include <iostream>
int main() { std::cout << guestkit::Guestfs().version().major << '\\n'; }
"""


@pytest.fixture(scope="module")
def installed(builder: Chroot) -> Chroot:
    packages = sorted(path.name for path in (builder.root / "src").glob("*.deb") if "dbgsym" not in path.name)
    assert [name.split("_")[0] for name in packages] == ["libguestkit-dev", "python3-guestkit"]
    builder.must("apt-get", "update")
    builder.must(
        "apt-get", "install", "-y", "--no-install-recommends", *[f"/src/{name}" for name in packages]
    )
    return builder


@pytest.mark.full
def test_the_python_package_brings_all_that_it_needs(installed: Chroot) -> None:
    program = "import guestkit; print(guestkit.__file__); print(guestkit.Guestfs().version()['major'])"
    done = installed.run("python3", "-c", program, user=10001)
    assert (done.returncode, done.stdout) == (
        0,
        "/usr/lib/python3/dist-packages/guestkit/__init__.py\n1\n",
    ), done.stderr
    done = installed.run("guestkit", "--version", user=10001)
    assert done.returncode == 0, done.stderr
    assert "0.4.0" in done.stdout
    for name in (*PROGRAMS, HYPERVISOR):  # debhelper gave one of them another name
        installed.must("test", "-e", f"/usr/lib/python3/dist-packages/guestkit/{name}")
    installed.must("test", "-e", "/usr/share/man/man1/guestkit.1.gz")
    installed.must("test", "-e", "/usr/share/bash-completion/completions/guestkit")


@pytest.mark.full
@pytest.mark.parametrize("package", ["guestkit", "guestkit-compiled", "guestkit-async"])
def test_the_headers_bring_all_that_a_program_needs(installed: Chroot, package: str) -> None:
    (installed.root / "src" / "program.cpp").write_text(PROGRAM, encoding="utf-8")
    build = f"g++ -std=c++20 -o program program.cpp $(pkg-config --cflags --libs {package})"
    installed.must("sh", "-euc", build, directory="/src")
    assert installed.must("/src/program") == "1\n"


@pytest.mark.full
def test_the_tools_of_rpm_accept_the_spec(builder: Chroot, tmp_path: Path) -> None:
    builder.must("apt-get", "install", "-y", "--no-install-recommends", "rpm", "rpmlint")
    builder.must(
        "sh", "-euc", "mkdir -p ~/rpmbuild/SOURCES; tar czf ~/rpmbuild/SOURCES/guestkit-0.4.0.tar.gz "
        "--transform s,^guestkit,guestkit-0.4.0, guestkit", directory="/src", environment={"HOME": "/root"},
    )  # fmt: skip
    spec = "/src/guestkit/packaging/guestkit.spec"
    builder.must("rpmbuild", "--nobuild", "--nodeps", "-bc", spec, environment={"HOME": "/root"})
    said = builder.must("rpmlint", spec)
    assert "1 specfiles checked; 0 errors" in said, said
    # Nobody has published an archive, and no rpm of today wants a BuildRoot.
    warned = [line.split(" W: ")[1] for line in said.splitlines() if " W: " in line]
    assert warned == ["no-buildroot-tag", "invalid-url Source0: guestkit-0.4.0.tar.gz"]


def test_an_installed_manual_page_had_no_command() -> None:
    """Regression: only Debian's package and RPM's had one, a file of Debian's."""
    build = ROOT / "build" / "meson"
    listed = subprocess.run(
        ["meson", "introspect", "--installed", build], capture_output=True, text=True, check=True
    )
    installed = {target: Path(source) for source, target in json.loads(listed.stdout).items()}
    assert any(target.endswith("/man1/guestkit.1") for target in installed)
    (command,) = [source for target, source in installed.items() if target.endswith("/bin/guestkit")]
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "guestkit"), done.stderr
