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

/// How long work on a handle may take. Each limit is a clock of its own, whose name CallTimeout::clock()
/// gives.
struct Limits {
  /// For launch(), from its start. By default one minute with KVM, five where the processor is emulated.
  std::optional<Seconds> launch = {};
  /// For every other call, from when it starts to run.
  Seconds call = no_limit;
  /// For close(); then the hypervisor is killed. To be sure of the last writes, call shutdown() before.
  Seconds close = Seconds(60);
  /// How long launch() may wait for memory that this process' other appliances use.
  Seconds admission = Seconds(600);
  /// How long a call that is to end may go on before the hypervisor is killed. A launch has none.
  Seconds cancel_grace = Seconds(2);
  /// How long a call may wait for its turn, while others of the handle run; then it never runs.
  Seconds queue = no_limit;
};

}  // namespace guestkit::inline GUESTKIT_FORM
