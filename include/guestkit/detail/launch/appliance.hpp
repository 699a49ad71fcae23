// The fast appliances: where they are kept, and which one a launch uses.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/appliance_fault.hpp"
#include "guestkit/detail/state/verdict.hpp"
#include "guestkit/generated/launch_info.hpp"
#include "guestkit/values.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The settings that make libguestfs launch fast.
struct ApplianceChoice {
  ApplianceMode mode = ApplianceMode::system;
  std::string directory = {};   ///< for set_path; empty: leave it
  std::string hypervisor = {};  ///< for set_hv; empty: leave it
  std::string cache = {};       ///< for set_cachedir; empty: leave it
  std::string append = {};      ///< kernel arguments for set_append
  std::string reason = {};      ///< why it is not a faster one
  bool buildable = false;       ///< whether `guestkit appliance build` would make a faster one
  /// For set_backend_settings; nothing: leave them.
  std::optional<string_list> backend_settings = {};
};

/// Where root may keep appliances for all users of the host.
inline constexpr std::string_view system_appliance_cache = "/var/cache/guestkit/appliance";

/// Where the user's appliances are kept: $GUESTKIT_CACHEDIR, otherwise guestkit/appliance in $XDG_CACHE_HOME
/// or in the home directory's .cache. Empty if the user has no home directory and the environment names no
/// other place.
std::string cache_directory();

/// Where a launch looks for appliances, in this order: only $GUESTKIT_CACHEDIR if it is set, otherwise the
/// user's cache and then the system's.
std::vector<std::string> appliance_caches();

/// The best appliance in a cache directory. If none is usable: libguestfs' own, and the reason.
ApplianceChoice find_appliance(const std::string& cache);

/// The reason for what the user has chosen.
inline constexpr const char* asked_for = "asked for";

/// The appliance in a directory that the user chose: one that guestkit has built, or one of
/// libguestfs-make-fixed-appliance. Throws LaunchError if there is none that works.
ApplianceChoice given_appliance(const std::string& directory);

/// The program of an appliance that shuts QEMU and its tools in; empty if there is no such appliance.
/// @param appliance  as in HandleOptions
std::string cage_program(const std::string& appliance);

/// A file in a lean appliance's directory: why the last attempt to make a template failed, in one line.
inline constexpr std::string_view template_failure = "no-warm-appliance";

/// The newest usable template of a lean appliance. If there is none: the lean appliance itself, and the
/// reason.
ApplianceChoice find_template(const std::string& lean);

/// A template. It lies in the directory of its lean appliance, which is booted instead when a launch does not
/// fit the template.
/// @param directory  absolute
ApplianceChoice template_in(const std::string& directory);

/// How fast this processor's time-stamp counter counts, in kHz; 0 if it has none. It takes 2 ms.
long counter_khz();

/// Kernel arguments that make an emulated appliance faster and its clock right; empty if there are none.
/// @param counter  counter_khz() of the host
std::string tuning_arguments(std::string_view architecture, bool emulated, bool machine_pc, long counter);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/appliance.ipp"
#endif
