#pragma once

#include <cstdint>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/inspect/augeas_fault.hpp"
#include "guestkit/detail/inspect/fstab.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::optional<std::string> fault_for_augeas(guest_actions& g) {
  const auto look = [&](const std::string& path) {
    auto kind = std::optional<FileKind>();
    std::int64_t size = 0;
    error_of([&] {
      const auto status = g.lstatns(path);
      kind = kind_of(status.st_mode);
      size = status.st_size;
    });
    return std::pair(kind, size);
  };
  const auto is = [&](const char* path, FileKind kind) { return look(path).first == kind; };
  if (!is("/etc", FileKind::directory)) return std::nullopt;
  if (!is("/etc/fstab", FileKind::regular) && !is("/etc/hosts", FileKind::regular)) return std::nullopt;
  for (const std::string directory : {"/etc/mdadm", "/etc/sysconfig"})
    if (is(directory.c_str(), FileKind::symlink)) return directory + " is a symlink";
  for (const std::string path : {"/etc/fstab", "/etc/crypttab", "/etc/mdadm.conf", "/etc/mdadm/mdadm.conf"}) {
    const auto [kind, size] = look(path);
    if (!kind) continue;
    if (*kind != FileKind::regular) return path + " is no regular file";
    if (size > static_cast<std::int64_t>(most_fstab_bytes))
      return path + " has " + std::to_string(size) + " bytes";
  }
  std::optional<std::string> fault;
  error_of([&] {
    if (const auto text = beginning_of(g, "/etc/fstab", most_fstab_bytes); text && fstab_of(*text).is_cut)
      fault = "/etc/fstab has more than " + std::to_string(most_fstab_entries) + " entries";
  });
  return fault;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
