#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/files/tree.hpp"
#include "guestkit/detail/inspect/registry_fault.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::optional<std::string> as_windows_has_it(guest_actions& g, const std::string& path) {
  std::optional<std::string> found;
  error_of([&] {
    auto real = g.case_sensitive_path(path);
    g.lstatns(real);
    found = std::move(real);
  });
  return found;
}

/// Why the registry of the Windows in that directory must not be opened; nothing if it may be.
inline std::optional<std::string> fault_of_hives(guest_actions& g, const std::string& root) {
  const auto directory = as_windows_has_it(g, root + "/system32/config");
  if (!directory) return std::nullopt;
  for (const std::string name : {"software", "system"}) {
    const auto hive = as_windows_has_it(g, *directory + "/" + name);
    if (!hive) continue;
    if (const auto fault = fault_of_path(g, *hive, FileKind::regular); fault && !fault->is_missing)
      return fault->why;
  }
  return std::nullopt;
}

GUESTKIT_INLINE std::vector<std::string> systemroots_in(std::string_view text) {
  constexpr std::size_t most = 100, longest = 4096;
  std::vector<std::string> roots;
  for (auto line : lines_of(text)) {
    line = line.substr(0, line.find('\0'));  // what libguestfs has of it
    const auto folded = in_lower_case(std::string(line));
    const auto partition = folded.find("partition(");
    const auto begin = partition == std::string::npos ? partition : folded.find(')', partition);
    if (begin == std::string::npos) continue;
    std::string root(line.substr(begin + 1));
    root = root.substr(0, root.find('='));
    std::ranges::replace(root, '\\', '/');
    if (root.starts_with('/') && root.size() <= longest && roots.size() < most) roots.push_back(root);
  }
  return roots;
}

GUESTKIT_INLINE std::optional<std::string> fault_for_registry(guest_actions& g) {
  for (const std::string root : systemroots)
    if (auto fault = fault_of_hives(g, "/" + root)) return fault;
  const auto file = as_windows_has_it(g, "/boot.ini");
  if (!file) return std::nullopt;
  const guest_tree files{g};
  const auto found = files.look(*file, small_file);
  if (found.kind == FileKind::directory || (!found.obstacle.empty() && found.kind == FileKind::unknown))
    return std::nullopt;  // it cannot be opened
  if (!found.obstacle.empty()) return found.obstacle;
  const auto text = files.text(*file);
  for (const auto& root : systemroots_in(text.value_or("")))
    if (auto fault = fault_of_hives(g, root)) return fault;
  return std::nullopt;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
