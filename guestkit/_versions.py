"""Names and versions of packages, as people and package managers write them."""

from __future__ import annotations

from guestkit.generated.values import Application

#: What librpm prints for a value that a package lacks.
_NONE = "(none)"


def shown_name(app: Application) -> str:
    """Return a package's name; a program of Windows is known by another than the registry's key."""
    return app.display_name or app.name


def known(text: str) -> str:
    """Return a package's value; "" if the package lacks it."""
    return "" if text == _NONE else text


def epoch_and_version(app: Application, package_format: str) -> tuple[int, str]:
    """Return a package's epoch, and its version with the release."""
    joint = "-r" if package_format == "apk" else "-"
    epoch = app.epoch % (1 << 32)  # rpm's have no sign
    return epoch, joint.join(filter(None, (known(app.version), known(app.release))))


def full_version(app: Application, package_format: str) -> str:
    """Return a package's version as in "2:9.0-1": the epoch only where there is one."""
    epoch, version = epoch_and_version(app, package_format)
    return f"{epoch}:{version}" if epoch else version
