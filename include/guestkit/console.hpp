// The last lines that the appliance and libguestfs wrote: what tells why a launch failed.
#pragma once

#include <guestfs.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace guestkit::detail {

/// Keeps the last lines. Bounded in lines and in their length, since a guest may write what it likes.
/// Threads: any.
class console_ring {
 public:
  static constexpr std::size_t most_lines = 200;
  static constexpr std::size_t longest_line = 1000;

  /// Adds text as it comes: pieces of lines, or several.
  void add(std::string_view text) {
    const std::lock_guard lock(mutex_);
    for (const char c : text) {
      if (c == '\n')
        end_line();
      else if (c != '\r' && partial_.size() < longest_line)
        partial_ += c;
    }
  }

  /// Adds text that is a line by itself.
  void add_line(std::string_view text) {
    add(text);
    const std::lock_guard lock(mutex_);
    end_line();
  }

  std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> all(lines_.begin(), lines_.end());
    if (!partial_.empty()) all.push_back(partial_);
    return all;
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    lines_.clear();
    partial_.clear();
  }

 private:
  void end_line() {
    if (partial_.empty()) return;
    if (lines_.size() == most_lines) lines_.pop_front();
    lines_.push_back(std::move(partial_));
    partial_.clear();
  }

  mutable std::mutex mutex_;
  std::deque<std::string> lines_;
  std::string partial_;
};

/// Prints an event as libguestfs does where nobody listens to it: a listener of ours takes that away.
inline void print_event(std::uint64_t event, std::string_view text) {
  std::string line;
  for (const char c : text) {
    const bool visible =
        (c >= ' ' && c <= '~') || (event == GUESTFS_EVENT_APPLIANCE && (c == '\n' || c == '\r'));
    constexpr const char* digits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    if (visible)
      line += c;
    else
      line += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
  }
  if (event == GUESTFS_EVENT_APPLIANCE)
    std::fputs(line.c_str(), stderr);
  else
    std::fprintf(stderr, "libguestfs: %s%s\n", event == GUESTFS_EVENT_WARNING ? "warning: " : "",
                 line.c_str());
}

}  // namespace guestkit::detail
