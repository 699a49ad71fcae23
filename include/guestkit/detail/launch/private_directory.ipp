#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "guestkit/detail/launch/private_directory.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Why other users can replace a directory with something else; empty if they cannot.
inline std::string parents_fault(const std::string& path) {
  std::error_code error;
  auto parent = std::filesystem::canonical(path, error);
  if (error) return path + ": " + error.message();
  while (parent.has_relative_path()) {  // until it is /
    parent = parent.parent_path();
    struct stat s {};
    if (::stat(parent.c_str(), &s) != 0) return parent.native() + ": " + std::strerror(errno);
    if (s.st_uid != 0 && s.st_uid != ::geteuid()) return parent.native() + " belongs to another user";
    if ((s.st_mode & 022) != 0 && (s.st_mode & S_ISVTX) == 0)
      return parent.native() + " can be written by other users (chmod go-w repairs its mode)";
  }
  return "";
}

GUESTKIT_INLINE std::string private_directory_fault(const std::string& path) {
  struct stat s {};
  if (::lstat(path.c_str(), &s) != 0) return path + ": " + std::strerror(errno);
  if (S_ISLNK(s.st_mode)) return path + " is a link: name the directory that it leads to";
  const bool own = s.st_uid == ::geteuid();
  const mode_t forbidden = s.st_uid == 0 ? 022 : 077;
  if (!S_ISDIR(s.st_mode) || (!own && s.st_uid != 0) || (s.st_mode & forbidden) != 0)
    return path + (s.st_uid == 0 && !own
                       ? " is not a directory of root that only root can write"
                       : " is not a directory of this user alone (chmod 700 repairs its mode)");
  return parents_fault(path);
}

/// Makes a directory and its missing parents, and adds to `made` those that it made, the outermost first.
/// Returns why it cannot.
inline std::string make_missing(const std::string& path, mode_t mode, std::vector<std::string>& made) {
  const auto fails = [&](int why) { return path + " cannot be made: " + std::strerror(why); };
  std::error_code error;
  auto there = std::filesystem::absolute(path, error).lexically_normal();
  std::vector<std::string> missing;
  for (; !std::filesystem::is_directory(there, error); there = there.parent_path()) {
    if (!there.has_relative_path()) return fails(ENOENT);
    if (there.has_filename()) missing.push_back(there);
  }
  struct stat s {};
  if (!missing.empty() && ::stat(there.c_str(), &s) == 0 && s.st_uid != 0 && s.st_uid != ::geteuid())
    return there.native() + " belongs to another user";
  for (; !missing.empty(); missing.pop_back()) {
    const auto& directory = missing.back();
    if (::mkdir(directory.c_str(), mode) == 0) {
      made.push_back(directory);
      ::chmod(directory.c_str(), mode);  // regardless of the umask
    } else if (const int why = errno; why != EEXIST || !std::filesystem::is_directory(directory, error)) {
      return fails(why);  // else another process was faster
    }
  }
  return "";
}

GUESTKIT_INLINE std::string make_directory(const std::string& path, mode_t mode) {
  std::vector<std::string> made;
  return make_missing(path, mode, made);
}

GUESTKIT_INLINE std::string make_private_directory(const std::string& path, mode_t mode) {
  std::vector<std::string> made;
  auto fault = make_missing(path, mode, made);
  if (fault.empty()) fault = private_directory_fault(path);
  if (fault.empty() && ::access(path.c_str(), W_OK) != 0) fault = path + " cannot be written by this user";
  if (!fault.empty())
    for (; !made.empty(); made.pop_back()) ::rmdir(made.back().c_str());
  return fault;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
