"""Says why the extension module cannot be loaded, and what to do about it. Imports nothing that needs it."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from guestkit._system import install_command


def explained(error: ImportError) -> ImportError:
    """Return the error to raise instead of the one that loading `guestkit._native` raised."""
    text = str(error)
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        reason = (
            "guestkit does not work with free-threaded Python, for which Boost.Python is not made: "
            "use the Python with a GIL"
        )
    elif "libguestfs.so" in text and "cannot open shared object file" in text:
        command = install_command("libguestfs")
        reason = f"guestkit needs libguestfs; install it{' with: ' + command if command else ''}"
    elif "undefined symbol: guestfs_" in text:
        reason = f"guestkit needs libguestfs 1.44 or newer, and the one that is installed is older ({text})"
    elif error.name == "guestkit":
        reason = _no_module()
    else:
        reason = text
    return ImportError(reason, name="guestkit._native", path=error.path)


def _no_module() -> str:
    folder = Path(__file__).parent
    made_for = sorted(path.suffixes[0].lstrip(".") for path in folder.glob("_native.*.so"))
    if made_for:
        return (
            f"guestkit in {folder} was built for {', '.join(made_for)}, "
            f"and this is {sysconfig.get_config_var('SOABI')}: install guestkit with {sys.executable} -m pip"
        )
    return (
        f"{folder} is guestkit's source, and its extension module is not there: "
        f"install it with {sys.executable} -m pip install {folder.parent}, or use ./run exec"
    )
