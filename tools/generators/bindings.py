"""The method table of the Python extension: one file, since methods with the same signature share code."""

from __future__ import annotations

from .facts import NOTICE, Action, Api


def files(api: Api) -> dict[str, str]:
    return {"bindings/generated/methods.cpp": _table(api.actions)}


def docstring(action: Action) -> str:
    """Return the documentation of an action for Python, which help() and the stubs show."""
    lines = [action.summary_with("None"), *(["", action.remark] if action.remark else [])]
    described = [*action.arguments, *action.options]
    if described:
        lines += ["", *(f"{a.name}: {a.about}" for a in described)]
    if action.returns == "bufferout":
        lines += ["memoryview: true or false: the bytes as a writable memoryview, without a copy"]
    return "\n".join([*lines, "", *action.notes])


def _table(actions: tuple[Action, ...]) -> str:
    lines = [
        f"// {NOTICE}",
        '#include "../method.hpp"',
        "",
        *_weak(actions),
        "namespace guestkit::python {",
        "",
        "void add_methods(PyTypeObject* type) {",
    ]
    for action in actions:
        names = "{" + ", ".join(f'"{a.name}"' for a in action.arguments) + "}"
        text = docstring(action).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        replaced = f'"{action.deprecation}"' if action.deprecated else "nullptr"
        lines += [
            action.condition,
            *([f"  if ({action.c_function} != nullptr)"] if action.may_be_missing else []),
            f'  define(type, row<&Handle::{action.name}>, {{"{action.name}", {names}, {replaced},',
            f'      "{text}"}});',
            "#endif",
        ]
    return "\n".join([*lines, "}", "", "}  // namespace guestkit::python", ""])


def _weak(actions: tuple[Action, ...]) -> list[str]:
    lines = [
        "// A libguestfs older than that of the build lacks them, and the module can be loaded all the same."
    ]
    for action in actions:
        if action.may_be_missing:
            lines += [action.condition, f"#pragma weak {action.c_function}", "#endif"]
    return [*lines, ""]
