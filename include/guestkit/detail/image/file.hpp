// The file of a disk image: opened so that nothing can hang, and read within bounds.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/endian.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Bytes of an image, and their offset in it. To read beyond their end is a bug of the caller:
/// std::out_of_range.
class image_block : public with_numbers<image_block> {
 public:
  image_block(std::string bytes, std::uint64_t offset) : bytes_(std::move(bytes)), offset_(offset) {}

  std::uint64_t offset() const noexcept { return offset_; }
  std::size_t size() const noexcept { return bytes_.size(); }
  std::string_view bytes() const noexcept { return bytes_; }
  /// These bytes, or as many of them as there are.
  std::string_view bytes(std::size_t at, std::size_t size) const;
  bool begins_with(std::string_view magic) const noexcept { return bytes().starts_with(magic); }

 private:
  friend class with_numbers<image_block>;
  std::string_view exactly(std::size_t at, std::size_t size) const;

  std::string bytes_;
  std::uint64_t offset_;
};

/// Tells whether two names are names of the same file or device.
using file_identity = std::pair<dev_t, ino_t>;

/// An open image. Every read is bounded by the caller and by the file's size. Every failure throws an Error
/// that names the file.
class image_file {
 public:
  /// Opens a regular file or a block device, and nothing else.
  /// @param op  the call that needs it; kept by reference, not copied
  image_file(const char* op, const std::string& path) : image_file(op, path, path) {}

  /// @param name  for messages, in place of the path by which the file is opened
  image_file(const char* op, const std::string& path, const std::string& name);

  /// Reads from a descriptor that is already open.
  /// @param name  for messages
  image_file(const char* op, unique_fd fd, const std::string& name);

  const std::string& path() const noexcept { return path_; }
  const char* op() const noexcept { return op_; }
  std::uint64_t size() const noexcept { return size_; }
  const struct stat& status() const noexcept { return status_; }
  /// A device may have several nodes, in different file systems.
  file_identity identity() const noexcept {
    return is_device() ? file_identity(status_.st_rdev, 0) : file_identity(status_.st_dev, status_.st_ino);
  }
  bool is_device() const noexcept { return S_ISBLK(status_.st_mode); }
  int descriptor() const noexcept { return fd_.get(); }
  unique_fd release() noexcept { return std::move(fd_); }

  /// These bytes, or as many of them as there are.
  image_block read_some(std::uint64_t offset, std::size_t size) const;

  /// Exactly these bytes; if the file ends earlier, the image is truncated.
  image_block read(std::uint64_t offset, std::size_t size, const char* format, const char* what) const;

  [[noreturn]] void truncated(const char* format, const std::string& what) const;
  [[noreturn]] void invalid(const char* format, const std::string& what, std::uint64_t offset) const;
  [[noreturn]] void refuse(const std::string& reason, int error_number, Diagnosis diagnosis = {}) const;

 private:
  [[noreturn]] void refuse_errno() const;
  void check_kind(const struct stat& s) const;
  void take_status();

  const char* op_;
  std::string path_;
  unique_fd fd_;
  struct stat status_ {};
  std::uint64_t size_ = 0;
};

/// Throws Error, as image_file::invalid() does, if the condition is false. Every header check is one such
/// call.
void require(bool holds, const image_file& file, const char* format, const std::string& what,
             std::uint64_t offset);

/// require() for a header with many fields.
class header_check {
 public:
  /// @param start  where the header is in the file
  header_check(const image_file& file, const char* format, std::uint64_t start = 0)
      : file_(file), format_(format), start_(start) {}

  /// @param at  the field's offset in the header
  void operator()(bool holds, const std::string& what, std::uint64_t at) const {
    require(holds, file_, format_, what, start_ + at);
  }

 private:
  const image_file& file_;
  const char* format_;
  std::uint64_t start_;
};

/// "NAME is VALUE, must be WANTED".
std::string must_be(const char* name, std::uint64_t value, const std::string& wanted);

constexpr bool is_power_of_two(std::uint64_t value) noexcept {
  return value != 0 && (value & (value - 1)) == 0;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/file.ipp"
#endif
