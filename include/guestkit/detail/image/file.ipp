#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "guestkit/detail/base/diagnosis.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string_view image_block::bytes(std::size_t at, std::size_t size) const {
  return bytes().substr(std::min(at, bytes_.size()), size);
}

GUESTKIT_INLINE std::string_view image_block::exactly(std::size_t at, std::size_t size) const {
  if (at > bytes_.size() || size > bytes_.size() - at) throw std::out_of_range("image_block");
  return bytes().substr(at, size);
}

GUESTKIT_INLINE image_file::image_file(const char* op, const std::string& path, const std::string& name)
    : op_(op), path_(name) {
  if (path.find('\0') != std::string::npos) refuse("no file can have this name: it holds a NUL byte", EINVAL);
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) refuse_errno();
  check_kind(s);
  // Non-blocking, because the file may have been replaced with a FIFO in the meantime.
  fd_ = above_streams(unique_fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)));
  if (fd_.get() < 0) refuse_errno();
  take_status();
}

GUESTKIT_INLINE image_file::image_file(const char* op, unique_fd fd, const std::string& name)
    : op_(op), path_(name), fd_(std::move(fd)) {
  take_status();
}

GUESTKIT_INLINE image_block image_file::read_some(std::uint64_t offset, std::size_t size) const {
  const std::uint64_t there = offset < size_ ? size_ - offset : 0;
  std::string bytes(static_cast<std::size_t>(std::min<std::uint64_t>(size, there)), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const auto count =
        ::pread(fd_.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse_errno();
    if (count == 0) break;  // the file has just become shorter
    done += static_cast<std::size_t>(count);
  }
  bytes.resize(done);
  return {std::move(bytes), offset};
}

GUESTKIT_INLINE image_block image_file::read(std::uint64_t offset, std::size_t size, const char* format,
                                             const char* what) const {
  auto block = read_some(offset, size);
  if (block.size() < size)
    truncated(format, std::string(what) + " takes " + std::to_string(size) + " bytes at offset " +
                          std::to_string(offset) + ", the file ends at offset " + std::to_string(size_));
  return block;
}

GUESTKIT_INLINE void image_file::truncated(const char* format, const std::string& what) const {
  refuse(std::string("is a truncated ") + format + " image: part of the file is missing: " + what, EINVAL,
         {Cause::disk_unreadable});
}

GUESTKIT_INLINE void image_file::invalid(const char* format, const std::string& what,
                                         std::uint64_t offset) const {
  refuse(std::string("is no valid ") + format + " image: " + what + " (at offset " + std::to_string(offset) +
             ")",
         EINVAL, {Cause::disk_unreadable});
}

GUESTKIT_INLINE void image_file::refuse(const std::string& reason, int error_number,
                                        Diagnosis diagnosis) const {
  throw Error(op_, shown(path_) + ": " + reason, error_number, std::move(diagnosis));
}

GUESTKIT_INLINE void image_file::refuse_errno() const {
  const int number = errno;
  const bool missing = number == ENOENT || number == ENOTDIR;
  refuse(number == ENOENT ? "no such file" : std::strerror(number), number,
         scarcity(number).value_or(Diagnosis{missing ? Cause::disk_missing : Cause::disk_unreadable}));
}

GUESTKIT_INLINE void image_file::check_kind(const struct stat& s) const {
  if (S_ISDIR(s.st_mode)) refuse("is a directory, not a disk image", EISDIR);
  if (S_ISFIFO(s.st_mode)) refuse("is a FIFO, not a disk image", EINVAL);
  if (S_ISSOCK(s.st_mode)) refuse("is a socket, not a disk image", EINVAL);
  if (S_ISCHR(s.st_mode)) refuse("is a character device, not a disk image", EINVAL);
}

GUESTKIT_INLINE void image_file::take_status() {
  if (::fstat(fd_.get(), &status_) != 0) refuse_errno();
  check_kind(status_);
  const off_t end = is_device() ? ::lseek(fd_.get(), 0, SEEK_END) : status_.st_size;
  if (end < 0) refuse_errno();
  if (end == 0) refuse("is empty", EINVAL);
  size_ = static_cast<std::uint64_t>(end);
}

GUESTKIT_INLINE void require(bool holds, const image_file& file, const char* format, const std::string& what,
                             std::uint64_t offset) {
  if (!holds) file.invalid(format, what, offset);
}

GUESTKIT_INLINE std::string must_be(const char* name, std::uint64_t value, const std::string& wanted) {
  return std::string(name) + " is " + std::to_string(value) + ", must be " + wanted;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
