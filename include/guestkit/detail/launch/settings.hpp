// The settings of a handle that a launch may override.
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

/// The user's value of a setting, and the launch's override. Null: libguestfs' default.
struct covered_setting {
  std::optional<std::string> user = {};
  std::optional<std::string> launch = {};
};

/// The settings that a launch has overridden. libguestfs accepts settings only while no appliance runs, so
/// the user's are restored before the next launch; until then the getters return the user's. Threads: any.
class covered_settings {
 public:
  /// Nothing if the user's own value is set.
  std::optional<covered_setting> find(launch_setting which) const {
    const std::lock_guard lock(mutex_);
    return settings_.at(static_cast<std::size_t>(which));
  }
  void cover(launch_setting which, covered_setting values) {
    const std::lock_guard lock(mutex_);
    settings_.at(static_cast<std::size_t>(which)) = std::move(values);
  }
  /// The user's own value, or a new one from the user, is set again.
  void uncover(launch_setting which) {
    const std::lock_guard lock(mutex_);
    settings_.at(static_cast<std::size_t>(which)).reset();
  }

 private:
  mutable std::mutex mutex_;
  std::array<std::optional<covered_setting>, launch_settings.size()> settings_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
