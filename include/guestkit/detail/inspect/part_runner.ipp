#pragma once

#include <cerrno>
#include <exception>
#include <optional>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/inspect/part_runner.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE bool part_runner::operator()(std::vector<InspectFailure>& failures, const char* name,
                                             const std::function<void()>& body, double share) {
  if (!alive_) {
    failures.push_back({.part = name, .message = "not looked at: the appliance had ended before"});
    return false;
  }
  std::optional<InspectFailure> failed;
  std::exception_ptr final;
  turns::part part(*state_->turns, share);
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
  }
  const auto end = part.end();
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

}  // namespace guestkit::inline GUESTKIT_FORM::detail
