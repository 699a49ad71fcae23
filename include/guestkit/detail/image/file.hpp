// The file of a disk image: opened so that nothing can hang, read within bounds.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Bytes of an image and where they stand. Reading behind them is a mistake of ours, not of the image.
class image_block {
 public:
  image_block(std::string bytes, std::uint64_t offset) : bytes_(std::move(bytes)), offset_(offset) {}

  std::uint64_t offset() const noexcept { return offset_; }
  std::size_t size() const noexcept { return bytes_.size(); }
  std::string_view bytes() const noexcept { return bytes_; }
  /// As many of them as are there.
  std::string_view bytes(std::size_t at, std::size_t size) const {
    return bytes().substr(std::min(at, bytes_.size()), size);
  }
  bool begins_with(std::string_view magic) const noexcept { return bytes().starts_with(magic); }

  std::uint8_t u8(std::size_t at) const { return static_cast<std::uint8_t>(bytes_.at(at)); }
  std::uint16_t be16(std::size_t at) const { return static_cast<std::uint16_t>(big(at, 2)); }
  std::uint32_t be32(std::size_t at) const { return static_cast<std::uint32_t>(big(at, 4)); }
  std::uint64_t be64(std::size_t at) const { return big(at, 8); }
  std::uint16_t le16(std::size_t at) const { return static_cast<std::uint16_t>(little(at, 2)); }
  std::uint32_t le32(std::size_t at) const { return static_cast<std::uint32_t>(little(at, 4)); }
  std::uint64_t le64(std::size_t at) const { return little(at, 8); }

 private:
  std::uint64_t big(std::size_t at, std::size_t count) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value = value << 8U | u8(at + i);
    return value;
  }
  std::uint64_t little(std::size_t at, std::size_t count) const {
    std::uint64_t value = 0;
    for (std::size_t i = count; i > 0; --i) value = value << 8U | u8(at + i - 1);
    return value;
  }

  std::string bytes_;
  std::uint64_t offset_;
};

/// An open image. Every read is bounded by the caller and by the file's size.
class image_file {
 public:
  /// Opens a regular file or a block device; throws Error for anything else.
  image_file(const char* op, const std::string& path) : op_(op), path_(path) {
    if (path.find('\0') != std::string::npos)
      refuse("no file can have this name: it holds a NUL byte", EINVAL);
    struct stat s {};
    if (::stat(path.c_str(), &s) != 0) refuse_errno();
    check_kind(s);
    // Not blocking: it may have become a FIFO since.
    fd_ = unique_fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (fd_.get() < 0) refuse_errno();
    take_status();
  }

  /// Reads what is open already.
  image_file(const char* op, unique_fd fd, const std::string& name)
      : op_(op), path_(name), fd_(std::move(fd)) {
    take_status();
  }

  const std::string& path() const noexcept { return path_; }
  const char* op() const noexcept { return op_; }
  std::uint64_t size() const noexcept { return size_; }
  const struct stat& status() const noexcept { return status_; }
  bool is_device() const noexcept { return S_ISBLK(status_.st_mode); }
  int descriptor() const noexcept { return fd_.get(); }
  unique_fd release() noexcept { return std::move(fd_); }

  /// What is there of that many bytes.
  image_block read_some(std::uint64_t offset, std::size_t size) const {
    const std::uint64_t there = offset < size_ ? size_ - offset : 0;
    std::string bytes(static_cast<std::size_t>(std::min<std::uint64_t>(size, there)), '\0');
    std::size_t done = 0;
    while (done < bytes.size()) {
      const auto count =
          ::pread(fd_.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) refuse_errno();
      if (count == 0) break;  // shorter than a moment ago
      done += static_cast<std::size_t>(count);
    }
    bytes.resize(done);
    return {std::move(bytes), offset};
  }

  /// That many bytes; a file that ends before is a truncated image.
  image_block read(std::uint64_t offset, std::size_t size, const char* format, const char* what) const {
    auto block = read_some(offset, size);
    if (block.size() < size)
      truncated(format, std::string(what) + " takes " + std::to_string(size) + " bytes at offset " +
                            std::to_string(offset) + ", the file ends at offset " + std::to_string(size_));
    return block;
  }

  [[noreturn]] void truncated(const char* format, const std::string& what) const {
    refuse(std::string("is a truncated ") + format + " image: part of the file is missing: " + what, EINVAL);
  }
  [[noreturn]] void invalid(const char* format, const std::string& what, std::uint64_t offset) const {
    refuse(std::string("is no valid ") + format + " image: " + what + " (at offset " +
               std::to_string(offset) + ")",
           EINVAL);
  }
  [[noreturn]] void refuse(const std::string& reason, int error_number) const {
    throw Error(op_, shown(path_) + ": " + reason, error_number);
  }

 private:
  [[noreturn]] void refuse_errno() const {
    const int number = errno;
    refuse(number == ENOENT ? "no such file" : std::strerror(number), number);
  }

  void check_kind(const struct stat& s) const {
    if (S_ISDIR(s.st_mode)) refuse("is a directory, not a disk image", EISDIR);
    if (S_ISFIFO(s.st_mode)) refuse("is a FIFO, not a disk image", EINVAL);
    if (S_ISSOCK(s.st_mode)) refuse("is a socket, not a disk image", EINVAL);
    if (S_ISCHR(s.st_mode)) refuse("is a character device, not a disk image", EINVAL);
  }

  void take_status() {
    if (::fstat(fd_.get(), &status_) != 0) refuse_errno();
    check_kind(status_);
    const off_t end = is_device() ? ::lseek(fd_.get(), 0, SEEK_END) : status_.st_size;
    if (end < 0) refuse_errno();
    if (end == 0) refuse("is empty", EINVAL);
    size_ = static_cast<std::uint64_t>(end);
  }

  const char* op_;
  std::string path_;
  unique_fd fd_;
  struct stat status_ {};
  std::uint64_t size_ = 0;
};

/// The rule that every check of a header follows.
inline void require(bool holds, const image_file& file, const char* format, const std::string& what,
                    std::uint64_t offset) {
  if (!holds) file.invalid(format, what, offset);
}

/// "NAME is VALUE, must be WANTED".
inline std::string must_be(const char* name, std::uint64_t value, const std::string& wanted) {
  return std::string(name) + " is " + std::to_string(value) + ", must be " + wanted;
}

inline bool is_power_of_two(std::uint64_t value) noexcept {
  return value != 0 && (value & (value - 1)) == 0;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
