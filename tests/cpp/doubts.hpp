// What a reader of a guest's structures doubts.
#pragma once

#include <functional>
#include <guestkit/detail/inspect/rules.hpp>
#include <string>

namespace support {

/// The reason of the doubt that body throws; empty if it throws none.
inline std::string doubt_in(const std::function<void()>& body) {
  try {
    body();
    return {};
  } catch (const guestkit::detail::doubt& reason) {
    return reason.reason;
  }
}

}  // namespace support
