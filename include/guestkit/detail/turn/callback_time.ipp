#pragma once

#include <algorithm>
#include <exception>

#include "guestkit/detail/turn/callback_time.hpp"
#include "guestkit/detail/turn/programs.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE callback_time::callback_time(turns& of) {
  if (!of.is_launching_here()) return;
  before_ = children_of_this_thread();
  launching_ = &of;
  of.callback_begins();
}

GUESTKIT_INLINE callback_time::~callback_time() {
  if (launching_ == nullptr) return;
  try {
    auto started = children_of_this_thread();
    std::erase_if(started, [this](pid_t child) {
      return std::find(before_.begin(), before_.end(), child) != before_.end();
    });
    launching_->callback_ends(started);
  } catch (const std::exception&) {  // no memory to tell which are the user's: for this launch it has no end
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
