"""Programs outside the tree: guestkit as a Meson subproject, by pkg-config, by CMake and as a wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = Path(__file__).parent / "foreign"
EXPECTED = "direct 777\n"


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run a command; return what it printed, or fail with all its output."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


#: Unsets the paths that `./run` sets, as on a user's machine.
NOTHING_OF_OURS = {"PKG_CONFIG_PATH": "", "CPLUS_INCLUDE_PATH": ""}


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install guestkit; return the prefix."""
    folder = tmp_path_factory.mktemp("installed")
    build = folder / "build"
    options = ("-Dpython=disabled", "-Dtests=disabled")
    run("meson", "setup", build, ROOT, f"--prefix={folder / 'prefix'}", *options)
    run("meson", "install", "-C", build)
    return folder / "prefix"


def repository(folder: Path) -> Path:
    """Make a git repository of this checkout's files, with the tag that docs/guestkit.wrap names."""
    names = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git = ("git", "-C", folder, "-c", "user.name=test", "-c", "user.email=test@localhost")
    run(*git, "init", "--quiet")
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "--message=all")
    run(*git, "tag", "v0.4.0")
    return folder


def test_a_foreign_meson_project_takes_guestkit_as_a_subproject(tmp_path: Path) -> None:
    project = tmp_path / "foreign"
    shutil.copytree(FOREIGN, project)
    (project / "subprojects").mkdir()
    wrap = (ROOT / "docs" / "guestkit.wrap").read_text(encoding="utf-8")
    url = repository(tmp_path / "repository").as_uri()
    wrap, replaced = re.subn("^url = .*$", f"url = {url}", wrap, flags=re.MULTILINE)
    assert replaced == 1
    (project / "subprojects" / "guestkit.wrap").write_text(wrap, encoding="utf-8")
    build = tmp_path / "build"
    plain = "--buildtype=plain"  # which compiles sooner
    told = run("meson", "setup", plain, build, project, environment=NOTHING_OF_OURS)
    assert "python" not in told.lower()
    run("meson", "compile", "-C", build, "program", "futures")  # long forms build and run the compiled form
    assert run(build / "program") == EXPECTED
    assert run(build / "futures") == "778\n"
    # guestkit adds no tests to the other project, installs nothing with it, and sets no compiler arguments.
    targets = json.loads(run("meson", "introspect", "--targets", build))
    parameters = {target["name"]: target["target_sources"][0]["parameters"] for target in targets}
    assert list(parameters) == ["guestkit", "program", "compiled", "futures"]
    assert json.loads(run("meson", "introspect", "--installed", build)) == {}
    assert not [word for word in parameters["program"] if "BOOST" in word or "GUESTKIT" in word]
    assert "-DGUESTKIT_COMPILED" in parameters["compiled"]
    assert "-DBOOST_THREAD_VERSION=5" in parameters["futures"]


def test_an_option_of_the_foreign_project_decides_that_boost_is_not_asked_for(tmp_path: Path) -> None:
    project = tmp_path / "foreign"
    project.mkdir()
    text = (FOREIGN / "meson.build").read_text(encoding="utf-8")
    (project / "meson.build").write_text(text[: text.index("guestkit_async")], encoding="utf-8")
    (project / "meson_options.txt").write_text("option('async', type: 'feature', value: 'disabled')\n")
    for source in ("program.cpp", "second.cpp"):
        shutil.copyfile(FOREIGN / source, project / source)
    repository(project / "subprojects" / "guestkit")
    told = run("meson", "setup", tmp_path / "build", project, environment=NOTHING_OF_OURS)
    assert "boost (modules: thread) skipped" in told


@pytest.mark.full
def test_pkg_config_finds_an_installed_guestkit(prefix: Path, tmp_path: Path) -> None:
    (pc,) = prefix.rglob("guestkit.pc")
    for package, sources, expected in (
        ("guestkit", ("program.cpp", "second.cpp"), EXPECTED),
        ("guestkit-compiled", ("program.cpp", "second.cpp"), EXPECTED),
        ("guestkit-async", ("futures.cpp",), "778\n"),
    ):
        flags = run(
            "pkg-config", "--cflags", "--libs", package,
            environment={**NOTHING_OF_OURS, "PKG_CONFIG_PATH": str(pc.parent)},
        ).split()  # fmt: skip
        program = tmp_path / package
        files = [FOREIGN / source for source in sources]
        warnings = ("-Wall", "-Wextra", "-Werror")
        run("g++", "-std=c++20", *warnings, *files, *flags, "-o", program, environment=NOTHING_OF_OURS)
        assert run(program) == expected


@pytest.mark.full
def test_cmake_finds_an_installed_guestkit(prefix: Path, tmp_path: Path) -> None:
    run("cmake", "-S", FOREIGN, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}", environment=NOTHING_OF_OURS)
    run("cmake", "--build", tmp_path, environment=NOTHING_OF_OURS)
    assert run(tmp_path / "program") == run(tmp_path / "compiled") == EXPECTED
    assert run(tmp_path / "futures") == "778\n"


@pytest.mark.full
def test_a_program_that_mixes_the_two_forms_does_not_link(prefix: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.cpp"
    part.write_text(
        "#include <guestkit/guestkit.hpp>\nvoid show(const guestkit::Error& error) { error.op(); }\n"
    )
    whole = tmp_path / "whole.cpp"
    whole.write_text(
        "#include <guestkit/guestkit.hpp>\nvoid show(const guestkit::Error& error);\n"
        'int main() { show(guestkit::Error("mount", "no")); }\n'
    )
    (pc,) = prefix.rglob("guestkit-compiled.pc")
    flags = run(
        "pkg-config", "--cflags", "--libs", "guestkit-compiled",
        environment={**NOTHING_OF_OURS, "PKG_CONFIG_PATH": str(pc.parent)},
    ).split()  # fmt: skip
    command = ["g++", "-std=c++20", f"-I{prefix / 'include'}"]
    run(*command, "-c", part, "-o", tmp_path / "part.o", environment=NOTHING_OF_OURS)
    mixed = [*command, str(whole), str(tmp_path / "part.o"), *flags, "-o", str(tmp_path / "mixed")]
    done = subprocess.run(mixed, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(r"undefined reference to `show\(guestkit::compiled_\w+::Error const&\)'", done.stderr)


def test_two_versions_in_one_process_shared_what_each_has_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "part.cpp").write_text(
        "#include <guestkit/guestkit.hpp>\n"
        'extern "C" const void* places() { return &guestkit::detail::open_handles; }\n'
    )
    headers = shutil.copytree(ROOT / "include", tmp_path / "later")
    version = headers / "guestkit" / "version.hpp"
    version.write_text(re.sub(r"(VERSION_MINOR) \d+", r"\1 99", version.read_text()))
    for name, include in (("one", ROOT / "include"), ("two", ROOT / "include"), ("later", headers)):
        run(
            "g++", "-std=c++20", "-shared", "-fPIC", f"-I{include}", tmp_path / "part.cpp", "-lguestfs",
            "-o", tmp_path / f"{name}.so", environment=NOTHING_OF_OURS,
        )  # fmt: skip
    code = (
        "import ctypes, sys\n"
        "one, two, later = (ctypes.CDLL(path).places for path in sys.argv[1:])\n"
        "for function in (one, two, later):\n    function.restype = ctypes.c_void_p\n"
        "print(one() == two(), one() == later())\n"
    )
    libraries = [tmp_path / f"{name}.so" for name in ("one", "two", "later")]
    assert run(sys.executable, "-c", code, *libraries) == "True False\n"


@pytest.mark.parametrize("given", [f"GUESTKIT_INCLUDE={ROOT / 'include'}", f"GUESTKIT_SOURCE={ROOT}"])
def test_cmake_takes_a_copy_of_the_headers(tmp_path: Path, given: str) -> None:
    run("cmake", "-S", FOREIGN, "-B", tmp_path, f"-D{given}", environment=NOTHING_OF_OURS)
    run("cmake", "--build", tmp_path, environment=NOTHING_OF_OURS)
    assert run(tmp_path / "program") == EXPECTED


def told_of_component(project: Path, component: str, before: str = "") -> str:
    """Return what CMake says to a project that looks for guestkit with that component, after these lines."""
    text = (ROOT / "cmake" / "guestkit-config.cmake.in").read_text(encoding="utf-8")
    (project / "guestkit-config.cmake").write_text(text, encoding="utf-8")
    (project / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.16)\nproject(other CXX)\n{before}"
        f"find_package(guestkit COMPONENTS {component})\nmessage(STATUS found=${{guestkit_FOUND}})\n",
        encoding="utf-8",
    )
    return run(
        "cmake", "-S", project, "-B", project / "build", f"-Dguestkit_DIR={project}",
        environment=NOTHING_OF_OURS,
    )  # fmt: skip


@pytest.mark.parametrize(("component", "found"), [("compiled", True), ("complied", False)])
def test_cmake_had_a_target_but_no_component_of_the_compiled_form(
    tmp_path: Path, component: str, found: bool
) -> None:
    told = told_of_component(tmp_path, component)
    assert ("found=TRUE" in told or "found=1" in told) == found
    assert (f"no component {component}" in told) != found


def test_cmake_found_the_compiled_form_beside_the_sources_which_have_none(tmp_path: Path) -> None:
    sources = "add_library(guestkit INTERFACE)\nadd_library(guestkit::guestkit ALIAS guestkit)\n"
    told = told_of_component(tmp_path, "compiled", sources)
    assert "no component compiled" in told


@pytest.mark.full
def test_cmake_refuses_a_later_version(prefix: Path, tmp_path: Path) -> None:
    project = tmp_path / "CMakeLists.txt"
    project.write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(later CXX)\nfind_package(guestkit 0.5 QUIET)\n"
        'if(guestkit_FOUND)\n  message(FATAL_ERROR "found")\nendif()\n',
        encoding="utf-8",
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")


@pytest.mark.full
def test_a_wheel_holds_all_that_the_package_needs(tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("libguestkit-*.whl")
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    program = (
        "import guestkit, guestkit.appliance as a; print(guestkit.Guestfs().get_memsize(), a._programs())"
    )
    # The base interpreter lacks the path hook of the tests' environment, which would find the checkout.
    base = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    told = run(base, "-P", "-c", program, environment={"PYTHONPATH": str(tmp_path / "site")})
    assert told == f"1280 {tmp_path / 'site' / 'guestkit'}\n"
    (shared,) = (tmp_path / "site").glob("libguestkit-*.data/data/share")
    for name in (
        "man/man1/guestkit.1",
        "bash-completion/completions/guestkit",
        "zsh/site-functions/_guestkit",
    ):
        assert (shared / name).is_file()
    # For other machines, Boost goes into the wheel, and libguestfs stays out.
    tools = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    repair = (sys.executable, "-m", "auditwheel", "repair", "--exclude", "libguestfs.so.0")
    run(*repair, "--wheel-dir", tmp_path / "repaired", wheel, environment=tools)
    (repaired,) = (tmp_path / "repaired").glob("libguestkit-*manylinux*.whl")
    shutil.unpack_archive(repaired, tmp_path / "moved", "zip")
    inside = [path.name for path in (tmp_path / "moved").rglob("lib*.so*")]
    assert any(name.startswith("libboost_python3") for name in inside)
    assert not any(name.startswith("libguestfs") for name in inside)
    module = next((tmp_path / "moved" / "guestkit").glob("_native.*.so"))
    boost = re.findall(r"libboost_python\S+ => (\S+)", run("ldd", module))
    assert len(boost) == 1
    assert Path(boost[0]).is_relative_to(tmp_path / "moved")
    told = run(base, "-P", "-c", program, environment={"PYTHONPATH": str(tmp_path / "moved")})
    assert told == f"1280 {tmp_path / 'moved' / 'guestkit'}\n"
