// The parts of an inspection: each has its share of the time, and costs at most itself.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/call.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Does parts of a call, one after the other. One that fails, takes longer than its share or loses the
/// appliance is a failure in the report; what is known by then is kept. A cancel, and the end of the handle,
/// end the whole call.
class part_runner {
 public:
  explicit part_runner(std::shared_ptr<handle_state> state) : state_(std::move(state)) {}

  /// Whether there is an appliance for another part.
  bool is_alive() const noexcept { return alive_; }

  /// Of the time that is left: what comes afterwards has the rest.
  static constexpr double usual_share = 0.5;

  /// Does a part. Returns whether it succeeded; if not, adds why to the failures.
  /// @param share  of the time that is left
  bool operator()(std::vector<InspectFailure>& failures, const char* name, const std::function<void()>& body,
                  double share = usual_share);

 private:
  std::shared_ptr<handle_state> state_;
  bool alive_ = true;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/share.ipp"
#endif
