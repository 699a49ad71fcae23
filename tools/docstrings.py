"""How the site's reference reads our docstrings, which tell of an argument in a line "name: what it is"."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Function, Module, Object


class Arguments(Extension):
    """Puts those lines under a heading that griffe knows, and shows what `taking` functions take."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        for function in _functions(pkg):
            for decorator in function.decorators:
                if taken := re.fullmatch(r"taking\((\w+)\)", str(decorator.value)):
                    function.parameters = function.module[taken[1]].parameters
            _head(function)


def _functions(within: Object) -> list[Function]:
    """Return the functions and methods in a module or class, those of its members among them."""
    found = []
    for member in within.members.values():
        if isinstance(member, Function):
            found.append(member)
        elif isinstance(member, Object):  # an alias is none: it is met where it is defined
            found += _functions(member)
    return found


def _head(function: Function) -> None:
    """Begin the paragraph that has the arguments with "Args:", from the first line that names one."""
    if function.docstring is None:
        return
    known = {parameter.name.lstrip("*") for parameter in function.parameters}
    lines = function.docstring.value.splitlines()

    def names(line: str) -> set[str]:
        told = re.match(r"\w+(, \w+)*(?=: )", line)
        return set(told[0].split(", ")) if told else set()

    first = next((n for n, line in enumerate(lines) if names(line) & known), None)
    if first is None:
        return
    end = next((n for n, line in enumerate(lines) if n > first and not line.strip()), len(lines))
    lines[first:end] = ["Args:", *(f"    {line}" for line in lines[first:end])]
    function.docstring.value = "\n".join(lines)
