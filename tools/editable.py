#!/usr/bin/env python3
"""Print the finder by which a Python finds the package of a checkout.

tools/editable.py SOURCE BUILT    SOURCE has the package's Python files, BUILT its extension module
"""

from __future__ import annotations

import sys

_FINDER = """\
import sys
from importlib.util import spec_from_file_location


class Finder:
    folders = [{source}, {built}]

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "guestkit":
            return None
        first = cls.folders[0] + "/__init__.py"
        return spec_from_file_location(name, first, submodule_search_locations=[*cls.folders])


# Before the current directory, which may be the checkout: its guestkit/ has no extension module.
sys.meta_path.insert(0, Finder)
"""


def finder(source: str, built: str) -> str:
    """Return the text of a module that finds guestkit in these folders from its import on."""
    return _FINDER.format(source=ascii(source), built=ascii(built))


if __name__ == "__main__":
    print(finder(*sys.argv[1:]), end="")
