// How long work on a handle may take.
#pragma once

#include <chrono>
#include <limits>
#include <optional>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Durations in seconds, as numbers with a fraction.
using Seconds = std::chrono::duration<double>;

inline constexpr Seconds no_limit{std::numeric_limits<double>::infinity()};

/// How long work on a handle may take. Each limit has its own clock; CallTimeout::clock() names the one that
/// ran out. A handle with a negative one or NaN cannot be made: Error with EINVAL.
struct Limits {
  /// For launch(), from its start. Default: one minute with KVM; five minutes when the processor is emulated,
  /// and with a backend other than direct, which may emulate it.
  std::optional<Seconds> launch = {};
  /// For every other call, from the moment it starts to run.
  Seconds call = no_limit;
  /// For close(); after that the hypervisor is killed. To be sure of the last writes, call shutdown() first.
  Seconds close = Seconds(60);
  /// How long launch() may wait for memory held by this process' other appliances.
  Seconds admission = Seconds(600);
  /// Grace period for a call that was cancelled or timed out, before the hypervisor is killed. A launch has
  /// none.
  Seconds cancel_grace = Seconds(2);
  /// How long a call may wait for its turn while other calls of the handle run. When it expires, the call
  /// never runs.
  Seconds queue = no_limit;
};

}  // namespace guestkit::inline GUESTKIT_FORM
