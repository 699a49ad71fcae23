#pragma once

#include <fcntl.h>
#include <stdlib.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "guestkit/detail/base/private_file.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE private_file::private_file(std::shared_ptr<scratch> directory)
    : directory_(std::move(directory)), path_(directory_->path() + "/disk-XXXXXX") {
  fd_ = above_streams(unique_fd(::mkostemp(path_.data(), O_CLOEXEC)));
  if (fd_.get() < 0) throw std::system_error(errno, std::generic_category(), path_);
}

GUESTKIT_INLINE private_file::~private_file() {
  if (owner_ == ::getpid()) ::unlink(path_.c_str());  // a forked child: the file is its parent's
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
