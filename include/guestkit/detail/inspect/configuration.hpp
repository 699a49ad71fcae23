// Reads a guest's configuration files. Each reader takes what it understands and skips the rest: the files
// are hostile.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// passwd(5).
std::vector<InspectedUser> users_of(std::string_view text);

/// The kernels, from the names in /lib/modules and /boot.
std::vector<InspectedKernel> kernels_of(const std::vector<std::string>& modules,
                                        std::vector<std::string> boot);

/// interfaces(5) of Debian's ifupdown.
std::vector<InspectedInterface> ifupdown(std::string_view text, const std::string& source);

/// An ifcfg-* file from Red Hat or SUSE.
InspectedInterface ifcfg(std::string_view text, const std::string& source);

/// systemd.network(5).
InspectedInterface networkd(std::string_view text, const std::string& source);

/// A keyfile of NetworkManager: nm-settings-keyfile(5).
InspectedInterface network_manager(std::string_view text, const std::string& source);

/// The zone, from where a zoneinfo link points: ../usr/share/zoneinfo/Europe/Berlin.
std::string zone_of_link(std::string_view target);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/configuration.ipp"
#endif
