"""guestkit's own values, from api/guestkit.json: C++ structs, Python dataclasses and the JSON schema.

A field's type is that of an item ("string", "int32", …, or the name of a struct or an enumeration), followed
by "[]" for a list, and by "?" if it may be missing (a list: in Python alone); or it is "map" (text to text,
sorted) or "pairs" (text to text, in a significant order).
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .facts import FORM, NAMESPACE, NOTICE

WIDTH = 105

#: An item's type in C++, its initial value there, and its types in Python and JSON.
ITEMS = {
    "string": ("std::string", "{}", "str", "string"),
    "bytes": ("std::vector<std::byte>", "{}", "bytes", "string"),
    "bool": ("bool", "false", "bool", "boolean"),
    "int32": ("int", "0", "int", "integer"),
    "uint32": ("std::uint32_t", "0", "int", "integer"),
    "int64": ("std::int64_t", "0", "int", "integer"),
    "uint64": ("std::uint64_t", "0", "int", "integer"),
    "double": ("double", "0", "float", "number"),
    "map": ("std::map<std::string, std::string>", "{}", "Mapping[str, str]", "object"),
    "pairs": ("std::vector<std::pair<std::string, std::string>>", "{}", "Mapping[str, str]", "object"),
}
#: The headers that declare the C++ types.
INCLUDES = {
    "std::byte": "cstddef",
    "std::int": "cstdint",
    "std::uint": "cstdint",
    "std::map": "map",
    "std::optional": "optional",
    "std::string": "string",
    "std::pair": "utility",
    "std::vector": "vector",
}


@dataclass(frozen=True)
class Field:
    name: str  # in Python and JSON
    type: str
    about: str = ""
    cpp: str = ""  # the name in C++, where it has to differ
    later: bool = False  # added after a release: has a default, for programs that do not set it
    python_only: bool = False  # C++ does not have it, so it needs a default

    @property
    def item(self) -> str:
        return self.type.rstrip("?[]")

    @property
    def member(self) -> str:
        return self.cpp or self.name


@dataclass(frozen=True)
class Struct:
    name: str
    python: str
    about: str
    fields: tuple[Field, ...]
    to_dict: bool = False
    schema: str = ""  # the name and version of its JSON form


@dataclass(frozen=True)
class Value:
    """A value of an enumeration."""

    name: str
    value: str  # in Python, and in C++ if it is a single character
    about: str = ""
    message: str = ""  # of a cause: how an error with it reads; for the documentation alone
    remedy: str = ""  # of a cause: what to do; for the documentation alone


@dataclass(frozen=True)
class Enumeration:
    name: str
    about: str
    initial: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Group:
    """The values of one header."""

    name: str
    about: str
    structs: tuple[Struct, ...]
    enums: tuple[Enumeration, ...] = ()


@dataclass(frozen=True)
class Values:
    groups: tuple[Group, ...]
    structs: dict[str, Struct] = field(default_factory=dict)
    enums: dict[str, Enumeration] = field(default_factory=dict)


def load(folder: Path) -> Values:
    facts = json.loads((folder / "guestkit.json").read_text(encoding="utf-8"))
    groups = tuple(_group(group) for group in facts["groups"])
    return Values(
        groups,
        {struct.name: struct for group in groups for struct in group.structs},
        {enum.name: enum for group in groups for enum in group.enums},
    )


def _group(facts: dict[str, Any]) -> Group:
    structs = tuple(
        Struct(**{**struct, "fields": tuple(Field(**each) for each in struct["fields"])})
        for struct in facts.get("structs", ())
    )
    enums = tuple(
        Enumeration(**{**enum, "values": tuple(Value(**each) for each in enum["values"])})
        for enum in facts.get("enums", ())
    )
    return Group(facts["name"], facts["about"], structs, enums)


def files(values: Values) -> dict[str, str]:
    written = {
        f"include/guestkit/generated/{group.name}.hpp": _header(values, group) for group in values.groups
    }
    written["guestkit/generated/values.py"] = _module(values)
    for struct in values.structs.values():
        if struct.schema:
            name = struct.schema.split("/")[0].removeprefix("guestkit.")
            written[f"guestkit/generated/{name}.schema.json"] = _schema(values, struct)
    return written


# ---- C++


def _header(values: Values, group: Group) -> str:
    body: list[str] = []
    for enum in group.enums:
        body += ["", *_cpp_enum(enum)]
    for struct in group.structs:
        body += ["", *_cpp_struct(values, struct)]
    text = "\n".join(body)
    needed = sorted({header for word, header in INCLUDES.items() if word in text})
    lines = [f"// {NOTICE}", f"// {group.about}", "#pragma once", ""]
    lines += [*(f"#include <{header}>" for header in needed), ""] if needed else []
    return "\n".join(
        [*lines, FORM, "", f"namespace {NAMESPACE} {{", text, "", f"}}  // namespace {NAMESPACE}", ""]
    )


def _cpp_enum(enum: Enumeration) -> list[str]:
    characters = all(len(each.value) == 1 for each in enum.values)
    lines = [f"/// {enum.about}", f"enum class {enum.name}{' : char' if characters else ''} {{"]
    for each in enum.values:
        value = f" = '{each.value}'" if characters else ""
        lines.append(f"  {each.name}{value}," + (f"  ///< {each.about}" if each.about else ""))
    lines += ["};", "", "/// The name that Python, JSON and the log have for it."]
    lines += [f"constexpr const char* to_string({enum.name} value) noexcept {{", "  switch (value) {"]
    for each in enum.values:
        lines += [f"    case {enum.name}::{each.name}:", f'      return "{each.value}";']
    return [*lines, "  }", '  return "";', "}"]


def _cpp_struct(values: Values, struct: Struct) -> list[str]:
    fields = [each for each in struct.fields if not each.python_only]
    lines = [*_comment(struct.about, ""), f"struct {struct.name} {{"]
    for each in fields:
        member = f"  {_cpp_type(each)} {each.member} = {_cpp_initial(values, each)};"
        if each.about and len(member) + len(each.about) < WIDTH:
            lines.append(f"{member}  ///< {each.about}")
        else:
            lines += [*_comment(each.about, "  "), member]
    lines += ["", "  /// Calls f(name, pointer to member) for each field, in this order."]
    lines += ["  static constexpr void each(auto&& f) {"]
    lines += [f'    f("{each.name}", &{struct.name}::{each.member});' for each in fields]
    return [*lines, "  }", f"  bool operator==(const {struct.name}&) const = default;", "};"]


def _comment(about: str, indent: str) -> list[str]:
    return textwrap.wrap(
        about,
        WIDTH,
        initial_indent=f"{indent}/// ",
        subsequent_indent=f"{indent}/// ",
        break_on_hyphens=False,
    )


def _cpp_type(each: Field) -> str:
    item = ITEMS[each.item][0] if each.item in ITEMS else each.item
    if each.type.endswith("[]"):
        return f"std::vector<{item}>"
    return f"std::optional<{item}>" if each.type.endswith("?") else item


def _cpp_initial(values: Values, each: Field) -> str:
    if each.type in ITEMS:
        return ITEMS[each.type][1]
    return f"{each.type}::{values.enums[each.type].initial}" if each.type in values.enums else "{}"


# ---- Python


def _module(values: Values) -> str:
    lines = [
        f'"""{NOTICE}',
        "",
        "guestkit's own values. Every text in them is the guest's, or the image's: hostile.",
    ]
    lines += ['"""', "", "from __future__ import annotations", ""]
    lines += ["from collections.abc import Mapping, Sequence", "from dataclasses import dataclass, field"]
    lines += ["from typing import Any, Literal, Self", "", "from guestkit._plain import plain"]
    for enum in values.enums.values():
        lines += ["", f"#: {enum.about}"]
        lines += [f'#:     "{each.value}": {each.about}' for each in enum.values if each.about]
        lines += [f"{enum.name} = Literal["]
        lines += [*(f'    "{each.value}",' for each in enum.values), "]"]
    for struct in values.structs.values():
        lines += ["", "", *_python_class(values, struct)]
    return "\n".join([*lines, ""])


def _python_class(values: Values, struct: Struct) -> list[str]:
    lines = ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {struct.python}:"]
    lines += [
        f'    """{line}' if not i else f"    {line}"
        for i, line in enumerate(textwrap.wrap(struct.about, 100))
    ]
    about = [each for each in struct.fields if each.about]
    if about:
        lines += ["", "    Attributes:"]
        for each in about:
            lines += textwrap.wrap(
                f"{each.name}: {each.about}",
                WIDTH,
                initial_indent=" " * 8,
                subsequent_indent=" " * 12,
                break_on_hyphens=False,
            )
        lines += ['    """', ""]
    else:
        lines[-1] += '"""'
        lines.append("")
    if struct.schema:
        lines.append(f'    schema: str = field(default="{struct.schema}", init=False)')
    for each in struct.fields:
        default = _python_default(each) if each.later or each.python_only else ""
        lines.append(f"    {each.name}: {_python_type(values, each)}{default}")
    nested = [each for each in struct.fields if each.item in values.structs]
    if nested:
        lines += ["", "    @classmethod", "    def from_native(cls, found: Mapping[str, Any]) -> Self:"]
        lines += ['        """Make the value of the dictionary that the extension returns."""']
        lines += ["        return cls(", "            **{", "                **found,"]
        lines += [f'                "{each.name}": {_python_value(values, each)},' for each in nested]
        lines += ["            }", "        )"]
    if struct.to_dict:
        lines += ["", "    def to_dict(self) -> dict[str, Any]:"]
        lines += [
            '        """Return it as dictionaries and tuples, for `json.dumps`. Keys are only ever added.'
        ]
        if any(each.item == "bytes" for each in _reached(values, struct)):
            lines += ["", "        Bytes are in base64."]
        lines += ['        """', "        return plain(self)"]
    return lines


def _python_default(each: Field) -> str:
    if each.type.endswith("?"):
        return " = None"
    if each.type.endswith("[]"):
        return " = ()"
    return " = False" if each.type == "bool" else ' = ""'


def _python_value(values: Values, each: Field) -> str:
    """Return the expression that makes a field from what the extension returns."""
    inner = values.structs[each.item]
    deeper = any(one.item in values.structs for one in inner.fields)
    made = f"{inner.python}.from_native({{}})" if deeper else f"{inner.python}(**{{}})"
    if each.type.endswith("[]"):
        return f'tuple({made.format("each")} for each in found["{each.name}"])'
    whole = f'found["{each.name}"]'
    return (
        f"None if {whole} is None else {made.format(whole)}"
        if each.type.endswith("?")
        else made.format(whole)
    )


def _reached(values: Values, struct: Struct) -> list[Field]:
    """Return the fields of the struct and of all structs inside it."""
    inner = (values.structs[each.item] for each in struct.fields if each.item in values.structs)
    return [*struct.fields, *(each for one in inner for each in _reached(values, one))]


def _python_type(values: Values, each: Field) -> str:
    item = ITEMS[each.item][2] if each.item in ITEMS else each.item
    if each.item in values.structs:
        item = values.structs[each.item].python
    if "[]" in each.type:
        item = f"Sequence[{item}]"
    return f"{item} | None" if each.type.endswith("?") else item


# ---- JSON


def _schema(values: Values, top: Struct) -> str:
    names = {each.item for each in _reached(values, top) if each.item in values.structs}
    inner = sorted((values.structs[name] for name in names), key=lambda struct: struct.python)
    version = {"schema": {"const": top.schema}}
    described = _json_object(values, top)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{top.schema.replace('.', ':').replace('/', ':')}",
        "title": top.schema,
        "$comment": NOTICE,
        **described,
        "properties": {**version, **described["properties"]},
        "required": ["schema", *described["required"]],
        "$defs": {struct.python: _json_object(values, struct) for struct in inner},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _json_object(values: Values, struct: Struct) -> dict[str, Any]:
    return {
        "type": "object",
        "description": struct.about,
        "properties": {each.name: _json_field(values, each) for each in struct.fields},
        "required": [each.name for each in struct.fields],
    }


def _json_field(values: Values, each: Field) -> dict[str, Any]:
    described: dict[str, Any] = {"description": each.about} if each.about else {}
    item = _json_item(values, each.item)
    if "[]" in each.type:
        item = {"type": "array", "items": item}
    if each.type.endswith("?"):
        return {**described, "anyOf": [item, {"type": "null"}]}
    return {**described, **item}


def _json_item(values: Values, item: str) -> dict[str, Any]:
    if item in values.structs:
        return {"$ref": f"#/$defs/{values.structs[item].python}"}
    if item in values.enums:
        return {"enum": [each.value for each in values.enums[item].values]}
    kind = {"type": ITEMS[item][3]}
    if item == "bytes":
        return {**kind, "contentEncoding": "base64"}
    return {**kind, "additionalProperties": {"type": "string"}} if kind["type"] == "object" else kind
