// The settings of a handle that a launch may need for itself.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

enum class launch_setting { path, hypervisor, cachedir, append };

inline constexpr std::array launch_settings{launch_setting::path, launch_setting::hypervisor,
                                            launch_setting::cachedir, launch_setting::append};

/// What the user set, and what a launch has put in its place. Null: libguestfs' default.
struct covered_setting {
  std::optional<std::string> user = {};
  std::optional<std::string> launch = {};
};

/// The settings that a launch has covered. libguestfs takes settings only while no appliance runs, so the
/// user's are put back before the next launch, and the getters tell the user's until then. Threads: any.
class covered_settings {
 public:
  /// Nothing where the user's own is set.
  std::optional<covered_setting> find(launch_setting which) const {
    const std::lock_guard lock(mutex_);
    return settings_.at(static_cast<std::size_t>(which));
  }
  void cover(launch_setting which, covered_setting values) {
    const std::lock_guard lock(mutex_);
    settings_.at(static_cast<std::size_t>(which)) = std::move(values);
  }
  /// The user's own is set again, or another one of the user's.
  void uncover(launch_setting which) {
    const std::lock_guard lock(mutex_);
    settings_.at(static_cast<std::size_t>(which)).reset();
  }

 private:
  mutable std::mutex mutex_;
  std::array<std::optional<covered_setting>, launch_settings.size()> settings_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
