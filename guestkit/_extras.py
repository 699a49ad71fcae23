"""The libraries that only parts of guestkit need, and the error where one of them is missing."""

from __future__ import annotations

import errno
import shlex

from guestkit.errors import Error

#: What each extra of pyproject.toml brings. It is here once more because a checkout has no metadata to ask.
LIBRARIES = {
    "diff": ("univers>=30.12",),
    "fs": ("fsspec>=2026.9",),
    "report": ("jinja2>=3.1", "cattrs>=24.1"),
    "sbom": ("cyclonedx-python-lib>=11,<12", "packageurl-python>=0.16", "spdx-tools>=0.8.3,<0.9"),
    "serve": ("aiohttp>=3.14.5", "asyncssh>=2.18,<2.25"),
    "shell": ("prompt_toolkit>=3.0.36",),
    "zstd": ("zstandard>=0.22",),
}


def install(extra: str) -> str:
    """Return the command, for a shell, that installs the libraries of an extra."""
    return shlex.join(["pip", "install", *LIBRARIES[extra]])


def missing(op: str, library: str | None, purpose: str, extra: str) -> Error:
    """Return the error for a library that cannot be imported.

    purpose: what needs it, as "serving" in "aiohttp, which serving needs, is not installed"
    """
    return Error(op, f"{library}, which {purpose} needs, is not installed", errno.ENOSYS, hint=install(extra))
