"""How the site's reference reads our docstrings, which tell of an argument in a line "name: what it is"."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Function


class Arguments(Extension):
    """Puts those lines under a heading that griffe knows."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        if func.docstring is None:
            return
        known = "|".join(re.escape(parameter.name.lstrip("*")) for parameter in func.parameters)
        lines = func.docstring.value.splitlines()
        first = next((n for n, line in enumerate(lines) if re.match(rf"({known}): ", line)), None)
        if not known or first is None or "Args:" in lines:
            return
        end = next((n for n, line in enumerate(lines) if n > first and not line.strip()), len(lines))
        lines[first:end] = ["Args:", *(f"    {line}" for line in lines[first:end])]
        func.docstring.value = "\n".join(lines)
