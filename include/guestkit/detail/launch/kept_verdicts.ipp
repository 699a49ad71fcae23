#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <utility>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/launch/kept_verdicts.hpp"
#include "guestkit/detail/launch/private_directory.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE kept_verdicts::kept_verdicts(std::string folder) : folder_(std::move(folder)) {}

GUESTKIT_INLINE std::string kept_verdicts::find(const char* name, const std::string& key,
                                                std::chrono::seconds lifetime) const {
  if (folder_.empty()) return "";
  const std::string path = folder_ + '/' + name;
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat s {};
  if (file.get() < 0 || ::fstat(file.get(), &s) != 0 || !S_ISREG(s.st_mode) || s.st_uid != ::geteuid() ||
      (s.st_mode & 022) != 0)
    return "";
  const std::chrono::seconds age(std::time(nullptr) - s.st_mtim.tv_sec);
  if (lifetime != std::chrono::seconds::max() && (age.count() < 0 || age >= lifetime)) return "";
  std::string text(4096, '\0');
  const ssize_t size = ::read(file.get(), text.data(), text.size());
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text.starts_with(key + '\n') ? text.substr(key.size() + 1) : "";
}

GUESTKIT_INLINE void kept_verdicts::keep(const char* name, const std::string& key,
                                         const std::string& text) const {
  if (folder_.empty()) return;
  if (!make_directory(folder_, 0700).empty()) return;
  const std::string path = folder_ + '/' + name;
  std::string written = path + ".XXXXXX";
  const unique_fd file(::mkostemp(written.data(), O_CLOEXEC));
  const std::string whole = key + '\n' + text;
  if (file.get() < 0) return;
  if (::write(file.get(), whole.data(), whole.size()) != static_cast<ssize_t>(whole.size()) ||
      ::rename(written.c_str(), path.c_str()) != 0)
    ::unlink(written.c_str());
}

GUESTKIT_INLINE std::string file_key(const std::string& path) {
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) return "-";
  std::string key;
  for (const auto part : {static_cast<std::int64_t>(s.st_dev), static_cast<std::int64_t>(s.st_ino),
                          static_cast<std::int64_t>(s.st_size), static_cast<std::int64_t>(s.st_mtim.tv_sec),
                          static_cast<std::int64_t>(s.st_mtim.tv_nsec), static_cast<std::int64_t>(s.st_mode)})
    key += std::to_string(part) + ' ';
  return key;
}

GUESTKIT_INLINE std::string boot_key() {
  const std::string boot = read_text("/proc/sys/kernel/random/boot_id");
  return boot.substr(0, boot.find('\n'));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
