// Files of this host by POSIX alone: <fstream> and <filesystem> cost a compiler more than all of
// guestkit.hpp.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
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

/// Takes the text up to the separator away from it, and the separator too; all of it if there is none.
inline std::string_view take_until(std::string_view& text, char separator) {
  const auto end = text.find(separator);
  const auto part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

/// Takes the next word away from the text: what stands between spaces.
inline std::string_view take_word(std::string_view& text) {
  constexpr std::string_view space = " \t\r\n";
  const auto begin = text.find_first_not_of(space);
  text.remove_prefix(begin == std::string_view::npos ? text.size() : begin);
  const auto end = text.find_first_of(space);
  const auto word = text.substr(0, end);
  text.remove_prefix(word.size());
  return word;
}

/// Reads the number that the text is, in decimal digits. Returns whether it is one.
inline bool read_number(std::string_view text, std::uint64_t& number) {
  number = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9' || number > (UINT64_MAX - 9) / 10) return false;
    number = number * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  return !text.empty();
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
