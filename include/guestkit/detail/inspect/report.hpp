// The report's wording for failures and findings.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// libguestfs' message as one line, without the advice on how to debug it, or the appliance.
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

/// What is said about the systems on some disks.
class remarks {
 public:
  /// @param root  the system's; empty for what is said about no single one
  void add(const std::string& root, const std::vector<std::string>& texts) {
    for (const auto& text : texts) all_.emplace_back(root, text);
  }
  void add(const remarks& others) { all_.insert(all_.end(), others.all_.begin(), others.all_.end()); }

  bool empty() const noexcept { return all_.empty(); }

  /// Those that are not about this part.
  remarks without(std::string_view part) const;

  /// As sentences.
  /// @param several  whether there are several systems, so that each must say about which one it is
  std::vector<std::string> told(bool several) const;

 private:
  std::vector<std::pair<std::string, std::string>> all_;
};

/// The failure of a part of the report.
InspectFailure failure(const char* part, const Error& error);

/// How many failures of one kind are reported one by one.
inline constexpr std::size_t most_failures_of_a_kind = 20;

/// Adds failures of one kind to a report. A hostile guest can cause thousands of them, so that after the
/// first few they are only counted.
class few_failures {
 public:
  explicit few_failures(std::vector<InspectFailure>& all) : all_(all) {}
  few_failures(const few_failures&) = delete;
  few_failures& operator=(const few_failures&) = delete;

  /// Returns whether the failure is reported, not only counted.
  bool add(InspectFailure one);
  /// Reports, between these words, how many failures were only counted. Returns whether there were any.
  bool add_rest(const std::string& before, const std::string& after);

 private:
  std::vector<InspectFailure>& all_;
  std::string part_;
  std::size_t count_ = 0;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/report.ipp"
#endif
