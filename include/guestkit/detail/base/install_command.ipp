#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/install_command.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/generated/system_packages.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The row of a thing, preferably that for the machine.
inline const package_row& package_row_of(std::string_view thing, std::string_view machine = "") {
  const auto find = [](const std::string& name) {
    return std::find_if(system_packages.begin(), system_packages.end(),
                        [&](const package_row& row) { return row.thing == name; });
  };
  const auto exact = find(std::string(thing) + ':' + std::string(machine));
  return exact != system_packages.end() ? *exact : *find(std::string(thing));
}

/// The number of the column for that os-release: by its ID, else by the first of ID_LIKE that is known.
inline std::optional<std::size_t> package_column(std::string_view os_release) {
  const auto values = assignments(os_release);
  const auto& known = package_row_of("ids").columns;
  for (const auto& id : words_of(value_or_empty(values, "ID") + ' ' + value_or_empty(values, "ID_LIKE")))
    for (std::size_t column = 0; column < known.size(); ++column)
      if ((',' + std::string(known[column]) + ',').find(',' + id + ',') != std::string::npos) return column;
  return std::nullopt;
}

GUESTKIT_INLINE std::string install_command(std::string_view thing, std::string_view os_release,
                                            std::string_view machine, bool is_root) {
  const auto column = package_column(os_release);
  if (!column) return "";
  const auto packages = package_row_of(thing, machine).columns[*column];
  if (packages == "-") return "";
  std::string command = (is_root ? "" : "sudo ") + std::string(package_row_of("installs").columns[*column]);
  std::replace(command.begin(), command.end(), '_', ' ');
  command += ' ' + std::string(packages);
  std::replace(command.begin(), command.end(), ',', ' ');
  return command;
}

GUESTKIT_INLINE std::string install_command(std::string_view thing) {
  std::string os_release = read_text("/etc/os-release");
  if (os_release.empty()) os_release = read_text("/usr/lib/os-release");
  return install_command(thing, os_release, host_architecture(), ::geteuid() == 0);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
