"""The C++ headers: structs.hpp, options.hpp, actions.hpp, async_actions.hpp."""

from __future__ import annotations

from .facts import FORM, NAMESPACE, NOTICE, Action, Api, Argument, Column, Struct

ARGUMENTS = {
    "string": "cstr",
    "opt_string": "std::optional<cstr>",
    "string_list": "const cstr_list&",
    "buffer_in": "buffer_view",
    "bool": "bool",
    "int": "int",
    "int64": "std::int64_t",
    "pointer": "void*",
}
OPTIONS = {
    "string": "std::string",
    "string_list": "string_list",
    "bool": "bool",
    "int": "int",
    "int64": "std::int64_t",
}
RESULTS = {
    "err": "void",
    "bool": "bool",
    "int": "int",
    "int64": "std::int64_t",
    "string": "std::string",
    "const_string": "std::string",
    "const_opt_string": "std::optional<std::string>",
    "string_list": "string_list",
    "hashtable": "hashtable",
    "bufferout": "buffer",
}
COLUMNS = {
    "string": ("std::string", ""),
    "device": ("std::string", ""),
    "uuid": ("std::string", ""),
    "buffer": ("std::string", ""),
    "bytes": ("std::uint64_t", " = 0"),
    "uint64": ("std::uint64_t", " = 0"),
    "uint32": ("std::uint32_t", " = 0"),
    "int64": ("std::int64_t", " = 0"),
    "int32": ("std::int32_t", " = 0"),
    "char": ("char", " = 0"),
    "optpercent": ("std::optional<float>", ""),
}


def files(api: Api) -> dict[str, str]:
    folder = "include/guestkit/generated/"
    return {
        folder + "structs.hpp": _structs(api),
        folder + "options.hpp": _options(api),
        folder + "actions.hpp": _actions(api),
        folder + "async_actions.hpp": _async_actions(api),
    }


def result(api: Api, action: Action) -> str:
    if action.returns == "struct":
        return api.structs[action.struct].camel_name
    if action.returns == "struct_list":
        return f"std::vector<{api.structs[action.struct].camel_name}>"
    return RESULTS[action.returns]


def _header(about: str, *includes: str) -> list[str]:
    return [f"// {NOTICE}", f"// {about}", "#pragma once", "", "#include <guestfs.h>", "", *includes, ""]


def _structs(api: Api) -> str:
    lines = _header(
        "What actions return as structs: plain values, their columns in libguestfs' order.",
        "#include <cstdint>",
        "#include <optional>",
        "#include <string>",
        "",
        FORM,
    )
    lines += [f"namespace {NAMESPACE} {{"]
    for struct in api.structs.values():
        lines += ["", f"#ifdef {struct.macro}", *_struct(struct), "#endif"]
    lines += ["", f"}}  // namespace {NAMESPACE}", ""]
    return "\n".join(lines)


def _struct(struct: Struct) -> list[str]:
    c = f"struct guestfs_{struct.name}"
    lines = [f"/// {c}: guestfs(3).", f"struct {struct.camel_name} {{"]
    for column in struct.columns:
        type_name, initial = COLUMNS[column.type]
        lines.append(f"  {type_name} {column.name}{initial};")
    lines += ["", f"  using c_struct = {c};"]
    if struct.is_list:
        lines.append(f"  using c_list = {c}_list;")
    renamed = [column for column in struct.columns if column.older_name]
    for column in renamed:
        lines += [
            "  template <class C>",
            f"  static constexpr auto c_{column.name}() {{  // {column.older_name} in older releases",
            f"    if constexpr (requires(C c) {{ c.{column.name}; }})",
            f"      return &C::{column.name};",
            "    else",
            f"      return &C::{column.older_name};",
            "  }",
        ]
    lines += ["  static constexpr void each(auto&& f) {"]
    for column in struct.columns:
        lines.append(f'    f("{column.name}", &{struct.camel_name}::{column.name}, {_c_members(column)});')
    lines += ["  }"]
    lines.append(f"  static void c_free(c_struct* c) noexcept {{ guestfs_free_{struct.name}(c); }}")
    if struct.is_list:
        lines.append(f"  static void c_free(c_list* c) noexcept {{ guestfs_free_{struct.name}_list(c); }}")
    lines.append("};")
    return lines


def _c_members(column: Column) -> str:
    if column.older_name:
        return f"c_{column.name}<c_struct>()"
    if column.type == "buffer":
        return f"&c_struct::{column.name}, &c_struct::{column.name}_len"
    return f"&c_struct::{column.name}"


def _options(api: Api) -> str:
    lines = _header(
        "Optional arguments, one aggregate an action: g.add_drive(disk, {.readonly = true}).",
        "#include <cstdint>",
        "#include <optional>",
        "#include <string>",
        "",
        FORM,
        '#include "guestkit/values.hpp"',
    )
    lines += [f"namespace {NAMESPACE} {{"]
    for action in api.actions:
        if action.options:
            lines += ["", f"#ifdef {action.macro}", *_option_struct(action), "#endif"]
    lines += ["", f"}}  // namespace {NAMESPACE}", ""]
    return "\n".join(lines)


def _option_struct(action: Action) -> list[str]:
    name = action.option_struct
    lines = [f"/// Options of {action.name}().", f"struct {name} {{"]
    for option in action.options:
        member = f"  std::optional<{OPTIONS[option.type]}> {option.name} = {{}};  ///< {option.about}"
        lines += [f"#ifdef {_bit(action, option)}", member, "#endif"]
    lines += ["", f"  using c_options = struct {action.c_function};"]
    lines += ["  static constexpr void each([[maybe_unused]] auto&& f) {"]
    for option in action.options:
        bit = _bit(action, option)
        visit = f'    f("{option.name}", &{name}::{option.name}, &c_options::{option.name}, {bit});'
        lines += [f"#ifdef {bit}", visit, "#endif"]
    return [*lines, "  }", "};"]


def _bit(action: Action, option: Argument) -> str:
    return f"{action.option_macro}_{option.name.upper()}_BITMASK"


def _actions(api: Api) -> str:
    lines = _header(
        "Every action of libguestfs as a method, each one line over call().",
        "#include <cstdint>",
        "#include <optional>",
        "#include <string>",
        "#include <vector>",
        "",
        FORM,
        '#include "guestkit/generated/options.hpp"',
        '#include "guestkit/generated/structs.hpp"',
        '#include "guestkit/values.hpp"',
    )
    lines += [
        f"namespace {NAMESPACE}::detail {{",
        "",
        "/// Core makes the calls and says what becomes of a result: a value, or what C returned, owned.",
        "template <class Core>",
        "class actions : public Core {",
        " public:",
        "  using Core::Core;",
        "  template <class R>",
        "  using result = typename Core::template result<R>;",
    ]
    for action in api.actions:
        lines += ["", action.condition, *_action(api, action), "#endif"]
    lines += ["};", "", f"}}  // namespace {NAMESPACE}::detail", ""]
    return "\n".join(lines)


def _action(api: Api, action: Action) -> list[str]:
    returned = result(api, action)
    lines = [f"  /// {action.summary_with('std::nullopt')}"]
    width = max((len(a.name) for a in action.arguments), default=0)
    lines += [f"  /// @param {a.name:<{width}}  {a.about}" for a in action.arguments]
    lines += ["  /// " + " ".join(action.notes)]
    if action.deprecated:
        lines.append(f'  [[deprecated("{action.deprecation}")]]')
    parameters = [f"{ARGUMENTS[a.type]} {a.name}" for a in action.arguments]
    passed = []
    for a in action.arguments:
        passed += [a.name, f"{a.name}.size()"] if a.type == "buffer_in" else [a.name]
    if action.options:
        parameters.append(f"const {action.option_struct}& options = {{}}")
        passed.append("options")
    call = ", ".join([f'"{action.name}"', action.c_function, *passed])
    # What a machine gets before its launch is kept, so that a fresh handle can get it, too.
    how = "give" if action.name.startswith("add_") or action.name == "config" else "call"
    lines += [
        f"  result<{returned}> {action.name}({', '.join(parameters)}) {{",
        f"    return this->template {how}<{returned}>({call});",
        "  }",
    ]
    return lines


def _async_actions(api: Api) -> str:
    lines = _header(
        "Every action as a method that gives a future, each one line over Guestfs' own method.",
        "#include <cstdint>",
        "#include <optional>",
        "#include <string>",
        "#include <vector>",
        "",
        FORM,
        '#include "guestkit/guestfs.hpp"',
    )
    lines += [
        f"namespace {NAMESPACE}::detail {{",
        "",
        "/// Core gives a call its place in the handle's queue.",
        "template <class Core>",
        "class async_actions : public Core {",
        "  using Handle = typename Core::Handle;",
        "",
        " public:",
        "  using Core::Core;",
        "  template <class R>",
        "  using future = typename Core::template future<R>;",
    ]
    for action in api.actions:
        lines += ["", action.condition, *_async_action(api, action), "#endif"]
    lines += ["};", "", f"}}  // namespace {NAMESPACE}::detail", ""]
    return "\n".join(lines)


def _async_action(api: Api, action: Action) -> list[str]:
    lines = [f"  /// {action.summary_with('std::nullopt')}"]
    lines += [
        f"  /// @param {a.name}  not copied: it must live until the future is ready"
        for a in action.arguments
        if a.type == "pointer"
    ]
    if action.deprecated:
        lines.append(f'  [[deprecated("{action.deprecation}")]]')
    parameters = [f"{ARGUMENTS[a.type]} {a.name}" for a in action.arguments]
    passed = [f'"{action.name}"', f"&Handle::{action.name}", *(a.name for a in action.arguments)]
    if action.options:
        parameters.append(f"const {action.option_struct}& options = {{}}")
        passed.append("options")
    return [
        *lines,
        f"  future<{result(api, action)}> {action.name}({', '.join(parameters)}) {{",
        f"    return this->call({', '.join(passed)});",
        "  }",
    ]
