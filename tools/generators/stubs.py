"""What type checkers read: the stubs of the extension and of the async class, and the TypedDicts."""

from __future__ import annotations

import textwrap
from pathlib import Path

from .bindings import docstring
from .facts import NOTICE, Action, Api, Argument

ARGUMENTS = {
    "string": "StrOrBytesPath",
    "opt_string": "StrOrBytesPath | None",
    "string_list": "Iterable[StrOrBytesPath]",
    "buffer_in": "ReadableBuffer",
    "bool": "bool",
    "int": "int",
    "int64": "int",
    "pointer": "object",
}
RESULTS = {
    "err": "None",
    "bool": "bool",
    "int": "int",
    "int64": "int",
    "string": "str",
    "const_string": "str",
    "const_opt_string": "str | None",
    "string_list": "list[str]",
    "hashtable": "dict[str, str]",
}
#: The additional parameter of every awaited call.
ON_CANCEL = 'on_cancel: Literal["end", "wait"] = "end"'
#: The type of a result of bytes, by the parameter that chooses it.
MEMORYVIEW = {
    "memoryview: Literal[False] = False": "bytes",
    "memoryview: Literal[True]": "memoryview",
    "memoryview: bool": "bytes | memoryview",
}
COLUMNS = {
    "string": "str",
    "device": "str",
    "uuid": "str",
    "char": "str",
    "buffer": "bytes",
    "optpercent": "float | None",
}


def files(api: Api, templates: Path) -> dict[str, str]:
    return {
        "guestkit/_native.pyi": _stub(api, templates / "_native.pyi", awaited=False),
        "guestkit/aio/actions.pyi": _stub(api, templates / "async_actions.pyi", awaited=True),
        "guestkit/generated/__init__.py": f'"""{NOTICE}"""\n',
        "guestkit/generated/structs.py": _structs(api),
        "guestkit/generated/former.py": _former(api),
        "guestkit/generated/progress.py": _progress(api),
        "guestkit/generated/since.py": _since(api),
        "guestkit/generated/arguments.py": _arguments(api),
    }


def _structs(api: Api) -> str:
    lines = [f'"""{NOTICE}', "", "What actions return as structs: dicts keyed by column.", '"""', ""]
    lines += ["from typing import TypedDict"]
    for struct in api.structs.values():
        lines += ["", "", f"class {struct.camel_name}(TypedDict):"]
        lines += [f'    """struct guestfs_{struct.name}."""', ""]
        lines += [f"    {c.name}: {COLUMNS.get(c.type, 'int')}" for c in struct.columns]
    return "\n".join([*lines, ""])


def _former(api: Api) -> str:
    """Return the facts about the actions that guestkit.compat needs."""

    def names(kind: str) -> str:
        return "".join(f'    "{action.name}",\n' for action in api.actions if action.returns == kind)

    aliases = "".join(
        f'    "{former}": "{action.name}",\n' for action in api.actions for former in action.former_names
    )
    buffers = "".join(
        f'    "{action.name}": ({position}, "{argument.name}"),\n'
        for action in api.actions
        for position, argument in enumerate(action.arguments)
        if argument.type == "buffer_in"
    )
    return f'''"""{NOTICE}

What upstream's Python binding does otherwise, by action.
"""

#: A bool there is an int.
BOOLS = (
{names("bool")})

#: A hashtable there is a list of pairs.
HASHTABLES = (
{names("hashtable")})

#: Bytes as an argument may be a str there: its position and name.
BUFFERS = {{
{buffers}}}

#: Names that actions had before they took optional arguments.
ALIASES = {{
{aliases}}}
'''


def _progress(api: Api) -> str:
    names = "".join(f'    "{action.name}",\n' for action in api.actions if action.progress)
    return f'''"""{NOTICE}"""

#: The actions that send progress events.
PROGRESS = frozenset(
    (
{textwrap.indent(names, "    ")}    )
)
'''


def _since(api: Api) -> str:
    lines = "".join(f'    "{a.name}": "{a.since}",\n' for a in api.actions if a.may_be_missing)
    return f'''"""{NOTICE}"""

#: The actions that the installed libguestfs may lack, and the release that each came with.
SINCE = {{
{lines}}}
'''


def _arguments(api: Api) -> str:
    """Return what a program has to know that takes the arguments of actions as text."""

    def kinds(arguments: tuple[Argument, ...]) -> str:
        pairs = "".join(f'"{one.name}": "{_kind(one)}", ' for one in arguments).removesuffix(", ")
        return f"{{{pairs}}}"

    lines = "".join(
        f'    "{action.name}": ({kinds(action.arguments)}, {kinds(action.options)}),\n'
        for action in api.actions
        if not action.name.startswith(("internal_", "debug"))
        and all(argument.type != "pointer" for argument in action.arguments)
    )
    return f'''"""{NOTICE}"""

#: Of each action the arguments it needs, and its options, by name: of texts what they mean ("plain": nothing
#: special), of others their type. Without what takes no text, and what is for libguestfs' own tests.
ARGUMENTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {{
{lines}}}
'''


def _kind(argument: Argument) -> str:
    if argument.type == "string":
        return argument.flavour
    if argument.type == "string_list":
        return "list" if argument.flavour == "plain" else f"list of {argument.flavour}"
    return argument.type


def _stub(api: Api, template: Path, *, awaited: bool) -> str:
    methods = "\n\n".join(_method(api, action, awaited) for action in api.actions)
    text = template.read_text(encoding="utf-8")
    return f"# {NOTICE}\n" + text.replace("    # @actions", methods)


def _method(api: Api, action: Action, awaited: bool) -> str:
    parameters = ["self", *(f"{a.name}: {ARGUMENTS[a.type]}" for a in action.arguments)]
    parameters += [f"{a.name}: {ARGUMENTS[a.type]} | None = None" for a in action.options]
    keywords: list[str] = []
    if awaited:
        keywords += [*(["progress: _ProgressCallback | None = None"] if action.progress else []), ON_CANCEL]
    decorators = [f'    @deprecated("{action.deprecation}")'] if action.deprecated else []
    first, *rest = docstring(action).split("\n")
    text = [f'        """{first}', *(f"        {line}" if line else "" for line in rest), '        """']

    def define(result: str, *more: str) -> str:
        named = [*more, *keywords]
        every = ", ".join([*parameters, *(["*", *named] if named else [])])
        returned = f"Coroutine[Any, Any, {result}]" if awaited else result
        return f"    def {action.name}({every}) -> {returned}:"

    if action.returns != "bufferout":
        return "\n".join([*decorators, define(_result(api, action)), *text])
    lines: list[str] = []
    for kind, returned in MEMORYVIEW.items():
        line = define(returned, kind)
        lines += ["    @overload", *decorators, *([line, *text] if not lines else [f"{line} ..."])]
    return "\n".join(lines)


def _result(api: Api, action: Action) -> str:
    if action.returns == "struct":
        return f"structs.{api.structs[action.struct].camel_name}"
    if action.returns == "struct_list":
        return f"list[structs.{api.structs[action.struct].camel_name}]"
    return RESULTS[action.returns]
