// The parts of an inspection: each has its share of the time, and costs at most itself.
#pragma once

#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/call.hpp"
#include "guestkit/detail/inspect/borrowed.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Does parts of a call, one after the other. One that fails, takes longer than its share or loses the
/// appliance is told; what is known by then is kept. A cancel, and the end of the handle, end the whole call.
class part_runner {
 public:
  explicit part_runner(std::shared_ptr<handle_state> state) : state_(std::move(state)) {}

  /// Whether there is an appliance for another part.
  bool is_alive() const noexcept { return alive_; }

  /// Of the time that is left: what comes afterwards has the rest.
  static constexpr double usual_share = 0.5;

  /// Whether the part was done.
  template <class Body>
  bool operator()(std::vector<InspectFailure>& failures, const char* name, Body&& body,
                  double share = usual_share) {
    if (!alive_) {
      failures.push_back({.part = name, .message = "not looked at: the appliance had ended before"});
      return false;
    }
    std::optional<InspectFailure> failed;
    std::exception_ptr final;
    state_->turns->begin_part(share);
    try {
      body();
    } catch (const ApplianceKilled& error) {
      failed = failure(name, error);
      final = std::current_exception();
    } catch (const ApplianceCrashed& error) {
      failed = failure(name, error);
      failed->message = "the appliance ended in it: " + failed->message;
      alive_ = false;
    } catch (const Error& error) {
      failed = failure(name, error);
      if (is_final(error)) final = std::current_exception();
    } catch (...) {
      state_->turns->end_part();
      throw;
    }
    const auto end = state_->turns->end_part();
    alive_ = alive_ && end.goes_on;
    if (!failed) return true;
    if (end.limit) {
      failed->message = "took longer than " + shown(*end.limit) + ", its share of the time";
      failed->error_number = ETIMEDOUT;
    } else if (final) {
      std::rethrow_exception(final);
    }
    failures.push_back(std::move(*failed));
    return false;
  }

 private:
  std::shared_ptr<handle_state> state_;
  bool alive_ = true;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
