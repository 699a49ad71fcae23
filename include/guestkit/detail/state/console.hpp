// The last lines that the appliance and libguestfs wrote: they show why a launch failed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Keeps the last lines and removes known secrets. A guest may write anything, so both the number of lines
/// and their length are bounded. Threads: any.
class console_ring {
 public:
  static constexpr std::size_t most_lines = 200;
  static constexpr std::size_t longest_line = 1000;

  /// Adds text as it arrives: part of a line, or several lines. Returns the lines that it completes.
  std::vector<std::string> add(std::string_view text);

  /// Adds text that is a complete line. Returns the lines that it completes.
  std::vector<std::string> add_line(std::string_view text);

  /// From now on replaces this text with *** in every line, even where it is percent-encoded as in a URI.
  void hide(const std::string& secret);

  /// The line with *** in place of every secret.
  std::string redacted(std::string line) const;

  std::vector<std::string> lines() const;

  void clear();

 private:
  void add_secret(std::string form);
  void end_line(std::vector<std::string>& completed);
  std::string shown(std::string line) const;
  std::string without_secrets(std::string line) const;

  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
  std::string partial_;
  std::vector<std::string> secrets_;
  std::size_t longest_secret_ = 0;
};

/// The prefix that libguestfs prints before an event's text on stderr.
/// @param event  one of guestfs.h's GUESTFS_EVENT_…
const char* event_prefix(std::uint64_t event) noexcept;

/// Prints an event to stderr as libguestfs does when nobody listens: it stops printing once guestkit listens.
void print_event(std::uint64_t event, std::string_view text);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/state/console.ipp"
#endif
