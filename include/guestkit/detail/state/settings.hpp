// The settings of a handle that a launch may override.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/values.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

enum class launch_setting { path, hypervisor, cachedir, append };

inline constexpr std::array launch_settings{launch_setting::path, launch_setting::hypervisor,
                                            launch_setting::cachedir, launch_setting::append};

/// The user's value of a setting, and the launch's override. Null: libguestfs' default.
struct covered_setting {
  std::optional<std::string> user = {};
  std::optional<std::string> launch = {};
};

/// The value of a backend setting, as libguestfs finds it; nothing if it is not among them.
inline std::optional<std::string> backend_setting(const string_list& settings, std::string_view name) {
  for (const std::string_view each : settings) {
    if (!each.starts_with(name)) continue;
    const auto rest = each.substr(name.size());
    if (rest.empty()) return "1";
    if (rest.front() == '=') return std::string(rest.substr(1));
  }
  return std::nullopt;
}

/// Whether a backend setting is on. libguestfs refuses a launch with other words than these and their
/// opposites.
inline bool is_on(const string_list& settings, std::string_view name) {
  const auto value = in_lower_case(backend_setting(settings, name).value_or("0"));
  constexpr std::array words{"1", "true", "t", "yes", "y", "on"};
  return std::find(words.begin(), words.end(), value) != words.end();
}

/// The settings that a launch has overridden. libguestfs accepts settings only while no appliance runs, so
/// the user's are restored before the next launch; until then the getters return the user's. Threads: any.
class covered_settings {
 public:
  bool are_none() const {
    const std::lock_guard lock(mutex_);
    const auto is_covered = [](const auto& setting) { return setting.has_value(); };
    return !backend_ && std::none_of(settings_.begin(), settings_.end(), is_covered);
  }

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

  /// The user's backend settings; nothing if they are set.
  std::optional<string_list> backend() const {
    const std::lock_guard lock(mutex_);
    return backend_;
  }
  void cover_backend(string_list user) {
    const std::lock_guard lock(mutex_);
    backend_ = std::move(user);
  }
  void uncover_backend() {
    const std::lock_guard lock(mutex_);
    backend_.reset();
  }

 private:
  mutable std::mutex mutex_;
  std::optional<string_list> backend_;
  std::array<std::optional<covered_setting>, launch_settings.size()> settings_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
