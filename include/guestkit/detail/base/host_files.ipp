#pragma once

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <system_error>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Not with std::ifstream, which opens without O_CLOEXEC: a program started by another thread meanwhile would
/// inherit the file.
GUESTKIT_INLINE std::string read_text(const std::string& path) {
  std::string text;
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return text;
  for (;;) {
    char chunk[4096];
    const ssize_t size = ::read(file.get(), chunk, sizeof chunk);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return text;
    text.append(chunk, static_cast<std::size_t>(size));
  }
}

GUESTKIT_INLINE std::set<std::string> names_in(const std::string& directory) {
  std::set<std::string> names;
  std::error_code error;  // a directory that cannot be read any further ends here
  for (std::filesystem::directory_iterator entry(directory, error), end; entry != end; entry.increment(error))
    names.insert(entry->path().filename().native());
  return names;
}

GUESTKIT_INLINE std::string host_architecture() {
  utsname host{};
  ::uname(&host);
  return host.machine;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
