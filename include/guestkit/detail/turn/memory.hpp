// How much memory is available for appliances, and how much one needs.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/launch_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline constexpr std::uint64_t memory_unknown = std::numeric_limits<std::uint64_t>::max();

/// The memory that this process may still use, in bytes: what the machine and the process' control groups, v1
/// and v2, leave it. memory_unknown if /proc does not say.
/// @param root  of the file system to read; tests have their own
std::uint64_t available_memory(const std::string& root = "");

/// How much memory an appliance ends up using, in bytes: measured during inspections and rounded up.
/// @param raised  by how many MB its memsize is above libguestfs' own: who raises it has a use for all of
/// that
std::uint64_t appliance_memory(ApplianceMode mode, int raised = 0) noexcept;

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/memory.ipp"
#endif
