// The last lines that the appliance and libguestfs wrote: what tells why a launch failed.
#pragma once

#include <guestfs.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Keeps the last lines, without the secrets that it was told. Bounded in lines and in their length, since a
/// guest may write what it likes. Threads: any.
template <class T = void>
class basic_console_ring {
 public:
  static constexpr std::size_t most_lines = 200;
  static constexpr std::size_t longest_line = 1000;

  /// Adds text as it comes: pieces of lines, or several. Returns the lines that it completes.
  std::vector<std::string> add(std::string_view text) {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> completed;
    for (const char c : text) {
      if (c == '\n')
        end_line(completed);
      else if (c != '\r' && partial_.size() < longest_line)
        partial_ += c;
    }
    return completed;
  }

  /// Adds text that is a line by itself.
  std::vector<std::string> add_line(std::string_view text) {
    auto completed = add(text);
    const std::lock_guard lock(mutex_);
    end_line(completed);
    return completed;
  }

  /// From now on *** stands for this text in every line, also where it is written as in a URI.
  void hide(const std::string& secret) {
    if (secret.empty()) return;
    const std::lock_guard lock(mutex_);
    add_secret(secret);
    add_secret(percent_encoded(secret));
  }

  std::string redacted(std::string line) const {
    const std::lock_guard lock(mutex_);
    return without_secrets(std::move(line));
  }

  std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    auto all = lines_;
    if (!partial_.empty()) all.push_back(without_secrets(partial_));
    return all;
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    lines_.clear();
    partial_.clear();
  }

 private:
  void add_secret(std::string form) {
    for (const auto& known : secrets_)
      if (known == form) return;
    secrets_.push_back(std::move(form));
  }

  void end_line(std::vector<std::string>& completed) {
    if (partial_.empty()) return;
    if (lines_.size() == most_lines) lines_.erase(lines_.begin());
    completed.push_back(without_secrets(std::move(partial_)));
    lines_.push_back(completed.back());
    partial_.clear();
  }

  std::string without_secrets(std::string line) const {
    for (const auto& secret : secrets_)
      for (std::size_t at = 0; (at = line.find(secret, at)) != std::string::npos; at += 3)
        line.replace(at, secret.size(), "***");
    return line;
  }

  static std::string percent_encoded(const std::string& text) {
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

  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
  std::string partial_;
  std::vector<std::string> secrets_;
};
using console_ring = basic_console_ring<>;

constexpr const char* event_prefix(std::uint64_t event) noexcept {
  return event == GUESTFS_EVENT_WARNING ? "warning: " : event == GUESTFS_EVENT_TRACE ? "trace: " : "";
}

/// Prints an event as libguestfs does where nobody listens to it: a listener of ours takes that away.
inline void print_event(std::uint64_t event, std::string_view text) {
  if (event == GUESTFS_EVENT_APPLIANCE)
    std::fputs(printable(text, true).c_str(), stderr);
  else
    std::fprintf(stderr, "libguestfs: %s%s\n", event_prefix(event), printable(text).c_str());
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
