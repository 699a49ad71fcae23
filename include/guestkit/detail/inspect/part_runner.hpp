// The parts of an inspection: each gets a share of the time, and its failure affects no other part.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/call.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Runs the parts of a call one after the other. A part that fails, takes longer than its share or loses the
/// appliance becomes a failure in the report, which keeps what is known by then. A cancel, or the end of the
/// handle, ends the whole call.
class part_runner {
 public:
  explicit part_runner(std::shared_ptr<handle_state> state) : state_(std::move(state)) {}

  /// Whether the appliance is still there for another part.
  bool is_alive() const noexcept { return alive_; }

  /// Of the remaining time; later parts get the rest.
  static constexpr double usual_share = 0.5;

  /// Runs a part. Returns whether it succeeded; if not, adds the reason to the failures.
  /// @param share  of the remaining time
  bool operator()(std::vector<InspectFailure>& failures, const char* name, const std::function<void()>& body,
                  double share = usual_share);

 private:
  std::shared_ptr<handle_state> state_;
  bool alive_ = true;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/part_runner.ipp"
#endif
