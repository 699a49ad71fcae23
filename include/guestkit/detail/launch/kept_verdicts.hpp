// What this user's processes have found out about the host, kept in the cache for the next one.
#pragma once

#include <chrono>
#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A directory with a file for each verdict. A verdict holds for the key that it was kept with.
class kept_verdicts {
 public:
  /// @param folder  empty: nothing is kept
  explicit kept_verdicts(std::string folder);

  /// The text; empty if none is kept for that key, or the file is not this user's alone.
  /// @param lifetime  how long the file is believed
  std::string find(const char* name, const std::string& key,
                   std::chrono::seconds lifetime = std::chrono::seconds::max()) const;

  /// Writes the file atomically. Without a cache, the next process has to find out again.
  void keep(const char* name, const std::string& key, const std::string& text) const;

  const std::string& folder() const noexcept { return folder_; }

 private:
  std::string folder_;
};

/// A key that changes when the file does; "-" if there is none.
std::string file_key(const std::string& path);

/// A key that changes when the host is started again.
std::string boot_key();

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/kept_verdicts.ipp"
#endif
