"""The table of methods of the Python extension, in a few files so that they compile side by side."""

from __future__ import annotations

from .facts import NOTICE, Action, Api

SHARDS = 4


def files(api: Api) -> dict[str, str]:
    size = -(-len(api.actions) // SHARDS)
    folder = "bindings/generated/"
    return {
        f"{folder}methods_{n + 1}.cpp": _shard(n + 1, api.actions[n * size : (n + 1) * size])
        for n in range(SHARDS)
    }


def docstring(action: Action) -> str:
    """The documentation of an action for Python: help() and the stubs show it."""
    lines = [action.summary]
    described = [*action.arguments, *action.options]
    if described:
        lines += ["", *(f"{a.name}: {a.about}" for a in described)]
    if action.returns == "bufferout":
        lines += ["memoryview: true or false: the bytes as a writable memoryview, without a copy"]
    return "\n".join([*lines, "", *action.notes])


def _shard(number: int, actions: tuple[Action, ...]) -> str:
    lines = [
        f"// {NOTICE}",
        '#include "../method.hpp"',
        "",
        "namespace guestkit::python {",
        "",
        f"void add_methods_{number}(PyTypeObject* type) {{",
    ]
    for action in actions:
        names = "{" + ", ".join(f'"{a.name}"' for a in action.arguments) + "}"
        text = docstring(action).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        replaced = f'"{action.deprecation}"' if action.deprecated else "nullptr"
        lines += [
            action.condition,
            f'  def<&Handle::{action.name}>(type, {{"{action.name}", {names}, {replaced},',
            f'      "{text}"}});',
            "#endif",
        ]
    return "\n".join([*lines, "}", "", "}  // namespace guestkit::python", ""])
