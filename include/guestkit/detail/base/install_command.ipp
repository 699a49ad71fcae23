#pragma once

#include <unistd.h>

#include <cstddef>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/install_command.hpp"
#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/generated/system_packages.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

using package_columns = decltype(package_row::columns);

/// The columns of a thing, preferably those for the machine; empty texts if there is no such row.
inline package_columns package_columns_of(std::string_view thing, std::string_view machine = "") {
  const std::string exact = std::string(thing) + ':' + std::string(machine);
  package_columns columns;
  for (const auto& row : system_packages) {
    if (row.thing == exact) return row.columns;
    if (row.thing == thing) columns = row.columns;
  }
  return columns;
}

/// Whether a list such as "rhel,centos,ol" contains that word.
inline bool has_word(std::string_view list, std::string_view word) {
  while (!list.empty())
    if (take_until(list, ',') == word) return true;
  return false;
}

/// The number of the column for a host with that os-release: by its ID, else by the first of ID_LIKE that is
/// known. How many columns there are if none is.
inline std::size_t package_column(std::string_view os_release) {
  const auto known = package_columns_of("ids");
  const auto values = assignments(os_release);
  const std::string ids = value_or_empty(values, "ID") + ' ' + value_or_empty(values, "ID_LIKE");
  std::string_view rest = ids;
  for (auto id = take_word(rest); !id.empty(); id = take_word(rest))
    for (std::size_t column = 0; column < known.size(); ++column)
      if (has_word(known[column], id)) return column;
  return known.size();
}

/// The words of a command, for which the table has "apt-get_install".
inline std::string spaced(std::string_view cell) {
  std::string text(cell);
  for (char& c : text)
    if (c == '_') c = ' ';
  return text;
}

GUESTKIT_INLINE std::string package_names(std::string_view cell) {
  std::string names;
  while (!cell.empty())
    if (const auto name = take_until(cell, ','); name != "." && name != "-") names += ' ' + std::string(name);
  return names;
}

GUESTKIT_INLINE std::string install_command(std::string_view thing, std::string_view os_release,
                                            std::string_view machine, bool is_root) {
  const auto columns = package_columns_of(thing, machine);
  const auto column = package_column(os_release);
  if (column == columns.size()) return "";
  const auto packages = package_names(columns[column]);
  if (packages.empty()) return "";
  return (is_root ? "" : "sudo ") + spaced(package_columns_of("installs")[column]) + packages;
}

GUESTKIT_INLINE std::string install_command(std::string_view thing) {
  std::string os_release = read_text("/etc/os-release");
  if (os_release.empty()) os_release = read_text("/usr/lib/os-release");
  return install_command(thing, os_release, host_architecture(), ::geteuid() == 0);
}

GUESTKIT_INLINE std::string install_hint(std::string_view thing) {
  const auto command = install_command(thing);
  return command.empty() ? "" : "install it with: " + command;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
