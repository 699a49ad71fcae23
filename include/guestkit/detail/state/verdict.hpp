// What the hypervisor of a warm appliance reports about itself: a line on stderr, where the handle reads it.
#pragma once

#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail::warm {

/// The line's prefix; one of those below follows, or why QEMU cannot be run at all.
inline constexpr std::string_view verdict_prefix = "guestkit: ";
inline constexpr std::string_view restoring = "restoring";
inline constexpr std::string_view restore_failed = "restore failed: ";  ///< after "restoring"; then why
inline constexpr std::string_view normal_boot = "normal boot: ";        ///< then why

/// What it said of a launch.
struct verdict {
  enum class kind { none, boots, restores, failed };

  kind what = kind::none;
  std::string reason = {};  ///< why it boots, or what has failed

  bool is_of_restore() const noexcept { return what == kind::restores || what == kind::failed; }
};

/// @param said  the last line, without its prefix; empty: it said nothing
inline verdict verdict_in(std::string_view said) {
  using enum verdict::kind;
  if (said.empty()) return {};
  if (said == restoring) return {.what = restores};
  if (said.starts_with(normal_boot))
    return {.what = boots, .reason = std::string(said.substr(normal_boot.size()))};
  return {.what = failed, .reason = std::string(said)};
}

/// Whether a line is the hypervisor's, which speaks first and then tells at most that its restore has failed,
/// rather than one of the appliance's that looks like it.
/// @param before  the last that it said; empty: nothing
inline bool is_verdict(std::string_view line, std::string_view before) noexcept {
  if (!line.starts_with(verdict_prefix)) return false;
  line.remove_prefix(verdict_prefix.size());
  return before.empty() || (before == restoring && line.starts_with(restore_failed));
}

/// Whether a line is what the hypervisor writes before it becomes QEMU, and nothing has failed.
inline bool announces_qemu(std::string_view line) noexcept {
  if (!line.starts_with(verdict_prefix)) return false;
  line.remove_prefix(verdict_prefix.size());
  return line == restoring || line.starts_with(normal_boot);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail::warm
