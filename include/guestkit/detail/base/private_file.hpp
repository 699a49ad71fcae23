// A file in the private directory of this process' handles.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/scratch.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Makes a file and removes it at its end. Throws std::system_error.
class private_file {
 public:
  explicit private_file(std::shared_ptr<scratch> directory);
  private_file(const private_file&) = delete;
  private_file& operator=(const private_file&) = delete;
  ~private_file();

  int descriptor() const noexcept { return fd_.get(); }
  const std::string& path() const noexcept { return path_; }

 private:
  const pid_t owner_ = ::getpid();
  std::shared_ptr<scratch> directory_;
  std::string path_;
  unique_fd fd_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/private_file.ipp"
#endif
