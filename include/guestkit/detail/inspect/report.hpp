// The report's wording for failures and findings.
#pragma once

#include <string>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// libguestfs' message as one line, without its advice on how to debug libguestfs.
std::string one_line(std::string text);

/// A list as part of a sentence.
template <class List>
std::string listed(const List& list) {
  std::string text;
  for (const auto& item : list) {
    if (!text.empty()) text += ", ";
    if constexpr (requires { item.first; })
      text += printable(item.first) + ' ' + printable(item.second);
    else
      text += printable(item);
  }
  return text.empty() ? "nothing" : text;
}

/// The failure of a part of the report.
InspectFailure failure(const char* part, const Error& error);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/report.ipp"
#endif
