#pragma once

#include <guestfs.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "guestkit/detail/state/console.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::vector<std::string> console_ring::add(std::string_view text) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> completed;
  for (const char c : text) {
    if (c == '\n')
      end_line(completed);
    else if (c != '\r' && partial_.size() < longest_line + longest_secret_)
      partial_ += c;
  }
  return completed;
}

GUESTKIT_INLINE std::vector<std::string> console_ring::add_line(std::string_view text) {
  auto completed = add(text);
  const std::lock_guard lock(mutex_);
  end_line(completed);
  return completed;
}

inline std::string percent_encoded(const std::string& text) {
  std::string all;
  for (const char c : text) {
    constexpr std::string_view plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    constexpr const char* digits = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    if (plain.find(c) != std::string_view::npos)
      all += c;
    else
      all += {'%', digits[byte >> 4], digits[byte & 15]};
  }
  return all;
}

GUESTKIT_INLINE void console_ring::hide(const std::string& secret) {
  if (secret.empty()) return;
  const std::lock_guard lock(mutex_);
  add_secret(secret);
  add_secret(percent_encoded(secret));
}

GUESTKIT_INLINE std::string console_ring::redacted(std::string line) const {
  const std::lock_guard lock(mutex_);
  return without_secrets(std::move(line));
}

GUESTKIT_INLINE std::vector<std::string> console_ring::lines() const {
  const std::lock_guard lock(mutex_);
  auto all = lines_;
  if (partial_.empty()) return all;
  if (all.size() == most_lines) all.erase(all.begin());
  all.push_back(shown(partial_));
  return all;
}

GUESTKIT_INLINE void console_ring::clear() {
  const std::lock_guard lock(mutex_);
  lines_.clear();
  partial_.clear();
}

GUESTKIT_INLINE void console_ring::add_secret(std::string form) {
  for (const auto& known : secrets_)
    if (known == form) return;
  longest_secret_ = std::max(longest_secret_, form.size());
  secrets_.push_back(std::move(form));
}

GUESTKIT_INLINE void console_ring::end_line(std::vector<std::string>& completed) {
  if (partial_.empty()) return;
  if (lines_.size() == most_lines) lines_.erase(lines_.begin());
  completed.push_back(shown(std::move(partial_)));
  lines_.push_back(completed.back());
  partial_.clear();
}

GUESTKIT_INLINE std::string console_ring::without_secrets(std::string line) const {
  for (const auto& secret : secrets_)
    for (std::size_t at = 0; (at = line.find(secret, at)) != std::string::npos; at += 3)
      line.replace(at, secret.size(), "***");
  return line;
}

/// A secret is replaced as a whole before the line is cut: else its beginning would stay.
GUESTKIT_INLINE std::string console_ring::shown(std::string line) const {
  auto all = without_secrets(std::move(line));
  if (all.size() > longest_line) all.resize(longest_line);
  return all;
}

GUESTKIT_INLINE const char* event_prefix(std::uint64_t event) noexcept {
  return event == GUESTFS_EVENT_WARNING ? "warning: " : event == GUESTFS_EVENT_TRACE ? "trace: " : "";
}

GUESTKIT_INLINE void print_event(std::uint64_t event, std::string_view text) {
  if (event == GUESTFS_EVENT_APPLIANCE)
    std::fputs(printable(text, true).c_str(), stderr);
  else
    std::fprintf(stderr, "libguestfs: %s%s\n", event_prefix(event), printable(text).c_str());
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
