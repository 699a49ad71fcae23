// A file descriptor that its owner closes.
#pragma once

#include <fcntl.h>
#include <sys/select.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Owns a file descriptor.
class unique_fd {
 public:
  explicit unique_fd(int fd = -1) noexcept : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~unique_fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }
  /// Hands the descriptor over to the caller.
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

/// The same file, under a number above those of the standard streams. Where these are closed, a new file gets
/// one of their numbers, and a program that inherits it there puts a stream of its own in its place. If it
/// cannot be moved, returns no descriptor and sets errno.
inline unique_fd above_streams(unique_fd file) noexcept {
  if (file.get() < 0 || file.get() > STDERR_FILENO) return file;
  unique_fd moved(::fcntl(file.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  const int why = errno;
  file = unique_fd();
  errno = why;
  return moved;
}

/// The same file, under a number that select() cannot hold, if this process may have such numbers: those
/// below are scarce, and libguestfs needs some for each program that it runs.
inline unique_fd above_select(unique_fd file) noexcept {
  if (file.get() < 0 || file.get() >= FD_SETSIZE) return file;
  unique_fd moved(::fcntl(file.get(), F_DUPFD_CLOEXEC, FD_SETSIZE));
  return moved.get() < 0 ? std::move(file) : std::move(moved);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
