#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Not with std::ifstream, which opens without O_CLOEXEC: a program started by another thread meanwhile would
/// inherit the file.
GUESTKIT_INLINE std::string read_text(const std::string& path) {
  std::string text;
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat s {};
  if (file.get() < 0 || ::fstat(file.get(), &s) != 0 || !S_ISREG(s.st_mode)) return text;
  for (;;) {
    char chunk[4096];
    const ssize_t size = ::read(file.get(), chunk, sizeof chunk);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return text;
    text.append(chunk, static_cast<std::size_t>(size));
  }
}

GUESTKIT_INLINE std::set<std::string> host_names_in(const std::string& directory) {
  std::set<std::string> names;
  std::error_code error;  // a directory that cannot be read any further ends here
  for (std::filesystem::directory_iterator entry(directory, error), end; entry != end; entry.increment(error))
    names.insert(entry->path().filename().native());
  return names;
}

GUESTKIT_INLINE std::vector<std::string> program_folders() {
  const char* given = std::getenv("PATH");
  const std::string_view path = given == nullptr ? "/bin:/usr/bin" : given;
  std::vector<std::string> folders;
  for (std::size_t begin = 0; begin <= path.size();) {
    const auto end = std::min(path.find(':', begin), path.size());
    folders.emplace_back(end == begin ? "." : path.substr(begin, end - begin));
    begin = end + 1;
  }
  return folders;
}

GUESTKIT_INLINE bool is_program(const std::string& file) {
  std::error_code error;
  return std::filesystem::is_regular_file(file, error) && ::access(file.c_str(), X_OK) == 0;
}

GUESTKIT_INLINE std::string program_file(const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos) return name;
  for (const auto& folder : program_folders())
    if (const auto file = folder + '/' + name; is_program(file)) return file;
  return name;
}

GUESTKIT_INLINE std::string host_architecture() {
  utsname host{};
  ::uname(&host);
  return host.machine;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
