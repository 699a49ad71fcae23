// Files of this host by POSIX alone: <fstream> and <filesystem> cost a compiler more than all of
// guestkit.hpp.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What is in a file; empty, or as much as could be read, where there is none or reading fails, as it does
/// below /proc when the process ends meanwhile.
inline std::string read_text(const std::string& path) {
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

/// Runs visit(name) for everything in a directory; nothing if it cannot be listed.
template <class F>
void each_name(const std::string& directory, F&& visit) {
  struct closing {
    DIR* entries;
    ~closing() {
      if (entries != nullptr) ::closedir(entries);
    }
  } const folder{::opendir(directory.c_str())};
  if (folder.entries == nullptr) return;
  while (const dirent* entry = ::readdir(folder.entries)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") visit(name);
  }
}

/// Makes a directory and those above it. Returns whether it was not there before and now is.
inline bool make_directories(const std::string& path, mode_t mode = 0777) {
  if (path.empty()) return false;
  if (::mkdir(path.c_str(), mode) == 0) return true;
  if (errno != ENOENT) return false;
  const auto slash = path.find_last_of('/', path.find_last_not_of('/'));
  if (slash == std::string::npos || slash == 0) return false;
  make_directories(path.substr(0, slash), mode);
  return ::mkdir(path.c_str(), mode) == 0;
}

/// Removes what has that name in an open directory, with all that is below it; follows no link. What cannot
/// be removed stays.
inline void remove_tree(int directory, const char* name) {
  if (::unlinkat(directory, name, 0) == 0 || (errno != EISDIR && errno != EPERM)) return;
  const int opened = ::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR* const entries = opened < 0 ? nullptr : ::fdopendir(opened);
  if (entries == nullptr) {
    if (opened >= 0) ::close(opened);
  } else {
    while (const dirent* entry = ::readdir(entries)) {
      const std::string_view each = entry->d_name;
      if (each != "." && each != "..") remove_tree(opened, entry->d_name);
    }
    ::closedir(entries);
  }
  ::unlinkat(directory, name, AT_REMOVEDIR);
}

inline void remove_tree(const std::string& path) {
  remove_tree(AT_FDCWD, path.c_str());
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
