#pragma once

#include <string_view>
#include <utility>

#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/inspect/report.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string one_line(std::string text) {
  for (const std::string_view advice :
       {"This usually means", "To see full error messages", "Do:", "(in guestfish)", "dmesg(1)"})
    if (const auto at = text.find(advice);
        at != std::string::npos && at > 0 && text.rfind('\n', at) != std::string::npos)
      text.resize(text.rfind('\n', at));
  std::string line;
  for (const auto& word : words_of(text)) line += (line.empty() ? "" : " ") + word;
  while (line.ends_with('.')) line.pop_back();
  return line;
}

GUESTKIT_INLINE remarks remarks::without(std::string_view part) const {
  remarks others;
  for (const auto& [root, text] : all_)
    if (!text.starts_with(std::string(part) + ": ")) others.all_.emplace_back(root, text);
  return others;
}

GUESTKIT_INLINE std::vector<std::string> remarks::told(bool several) const {
  std::vector<std::string> sentences;
  sentences.reserve(all_.size());
  for (const auto& [root, text] : all_)
    sentences.push_back(several && !root.empty() ? text + "; in the system on " + printable(root) : text);
  return sentences;
}

GUESTKIT_INLINE InspectFailure failure(const char* part, const Error& error) {
  return {part, one_line(error.message()), error.op(), error.error_number()};
}

GUESTKIT_INLINE bool few_failures::add(InspectFailure one) {
  part_ = one.part;
  if (++count_ > most_failures_of_a_kind) return false;
  all_.push_back(std::move(one));
  return true;
}

GUESTKIT_INLINE bool few_failures::add_rest(const std::string& before, const std::string& after) {
  if (count_ <= most_failures_of_a_kind) return false;
  all_.push_back(
      {.part = part_, .message = before + std::to_string(count_ - most_failures_of_a_kind) + after});
  return true;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
