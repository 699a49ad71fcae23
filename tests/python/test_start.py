"""Modules that `import guestkit` and `guestkit --help` must not load, since every program would wait."""

from __future__ import annotations

import subprocess
import sys

import pytest

import guestkit
from guestkit.cli.parser import COMMANDS


def printed(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_guestkit_makes_no_asynchronous_action_before_it_is_used() -> None:
    made = "sum(inspect.isfunction(each) for name, each in vars(AsyncActions).items() if name[0] != '_')"
    program = (
        "import inspect, guestkit\n"
        "from guestkit.aio.actions import AsyncActions\n"
        f"print({made})\n"
        "guestkit.AsyncGuestfs.mount, guestkit.AsyncGuestfs.mount\n"
        f"print({made}, guestkit.AsyncGuestfs.mount is guestkit.AsyncGuestfs.mount)\n"
    )
    assert printed(program).split() == ["0", "1", "True"]


def test_an_action_in_a_subclass_is_found_and_can_be_replaced() -> None:
    program = (
        "import guestkit\n"
        "class Mine(guestkit.AsyncGuestfs):\n"
        "    def umount(self): return super().umount\n"
        "print(Mine.mount is guestkit.AsyncGuestfs.mount, Mine.umount is guestkit.AsyncGuestfs.umount)\n"
    )
    assert printed(program) == "True False"


def loaded(program: str) -> set[str]:
    """Run the program in a new interpreter; return the modules that are loaded at its end."""
    show = "import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{show}"], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


#: Modules that take longer to load than what a blocking program or --help needs.
HEAVY = {"asyncio", "bz2", "lzma", "rich", "ssl", "subprocess", "tempfile", "xml.etree.ElementTree"}


def test_importing_guestkit_loads_what_few_programs_need_when_it_is_used() -> None:
    modules = loaded("import guestkit")
    assert modules >= {"guestkit.handle", "guestkit.fleet", "guestkit.images"}
    later = {"guestkit.aio", "guestkit.convert", "guestkit.generated.structs", "guestkit._unpacking"}
    assert modules & {*HEAVY, "argparse", *later} == set()


def test_a_public_module_was_no_attribute_before_somebody_imported_it() -> None:
    program = """
import pkgutil, sys
import guestkit
before = set(sys.modules)
public = [found.name for found in pkgutil.iter_modules(guestkit.__path__) if found.name[0] != "_"]
assert {"fuse", "doctor", "fs", "guest"} <= set(public) <= set(dir(guestkit)), public
for name in public:
    assert getattr(guestkit, name) is sys.modules["guestkit." + name], name
print(*sorted(name for name in public if "guestkit." + name not in before))
"""
    assert printed(program).split() == sorted({*guestkit._MODULES_LATER} - {"structs"})


def test_a_type_checker_knows_the_public_modules() -> None:
    """`mypy --strict` is the other half of this test."""
    modules = (
        guestkit.aio, guestkit.appliance, guestkit.archives, guestkit.cache, guestkit.cli,
        guestkit.comparison, guestkit.compat, guestkit.convert, guestkit.copying, guestkit.demo,
        guestkit.disks, guestkit.doctor, guestkit.errors, guestkit.events, guestkit.file_comparison,
        guestkit.files, guestkit.fleet, guestkit.fs, guestkit.fuse, guestkit.guest, guestkit.handle,
        guestkit.handle_options, guestkit.images, guestkit.inspection, guestkit.languages, guestkit.opening,
        guestkit.reading, guestkit.reports, guestkit.sboms, guestkit.serving, guestkit.unpack,
    )  # fmt: skip
    assert {*guestkit._MODULES_LATER} - {"structs"} < {one.__name__.partition(".")[2] for one in modules}


def test_a_missing_library_kept_help_from_showing_the_package() -> None:
    program = (
        "import sys; sys.modules['fsspec'] = None\n"
        "import guestkit\n"
        "print(hasattr(guestkit, 'fs'))\n"
        "try: guestkit.fs\n"
        "except AttributeError as error: print(error)\n"
    )
    assert printed(program) == "False\nguestkit.fs needs fsspec: pip install 'fsspec>=2026.9'"


@pytest.mark.parametrize(
    ("use", "module"),
    [
        ("guestkit.AsyncGuestfs", "guestkit.aio"),
        ("guestkit.aio.inspect_many", "guestkit.aio"),
        ("from guestkit import aio", "guestkit.aio"),
        ("guestkit.AsyncDiskConverter", "guestkit.aio.convert"),
        ("guestkit.DiskConverter", "guestkit.convert"),
        ("guestkit.convert.DiskConverter", "guestkit.convert"),
        ("guestkit.structs.PV", "guestkit.generated.structs"),
        ("from guestkit import structs", "guestkit.generated.structs"),
    ],
)
def test_what_is_loaded_later_is_there_by_its_documented_name(use: str, module: str) -> None:
    modules = loaded(f"import guestkit\n{use}")
    assert module in modules
    if module == "guestkit.convert":  # the blocking converter needs no event loop
        assert "asyncio" not in modules


def test_every_public_name_is_there_and_listed() -> None:
    program = (
        "import guestkit\n"
        "listed = dir(guestkit)\n"
        "print([name for name in [*guestkit.__all__, *guestkit._MODULES_LATER] if name not in listed])\n"
        "from guestkit import *\n"
        "print([name for name in guestkit.__all__ if name not in globals()])\n"
        "print(hasattr(guestkit, 'no_such_name'))\n"
    )
    assert printed(program).splitlines() == ["[]", "[]", "False"]


COMMAND = "from guestkit.cli import main\ntry: main({})\nexcept SystemExit: pass"


def test_the_help_of_all_commands_loads_none_of_them() -> None:
    modules = loaded(COMMAND.format(["--help"]))
    cli = {name for name in modules if name.startswith("guestkit.cli")}
    needed = ("guests", "options", "parser", "streams", "text", "usage", "words")
    assert cli == {"guestkit.cli", *(f"guestkit.cli.{name}" for name in needed)}
    assert modules & HEAVY <= {"bz2", "lzma"}  # argparse loads these


@pytest.mark.parametrize(
    ("command", "heavy"), [("cat", {"asyncio", "guestkit.copying"}), ("shell", set()), ("diff", set())]
)
def test_a_command_loads_no_other(command: str, heavy: set[str]) -> None:
    """The shell took parts of `cat`, `ls` and `cp`, which are for all."""
    modules = loaded(COMMAND.format([command, "--help"]))
    assert modules & {f"guestkit.cli.{name}" for name in COMMANDS} == {f"guestkit.cli.{command}"}
    assert modules & heavy == set()
