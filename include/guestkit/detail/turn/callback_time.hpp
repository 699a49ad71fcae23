// The time that a launch spends in the user's callbacks.
#pragma once

#include <sys/types.h>

#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/turn/turns.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The time of a callback. Programs that it starts during a launch survive the end of the launch.
class callback_time {
 public:
  explicit callback_time(turns& of);
  callback_time(const callback_time&) = delete;
  callback_time& operator=(const callback_time&) = delete;
  ~callback_time();

 private:
  turns* launching_ = nullptr;
  std::vector<pid_t> before_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/callback_time.ipp"
#endif
