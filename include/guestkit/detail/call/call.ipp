#pragma once

#include <cerrno>
#include <cstdint>
#include <utility>

#include "guestkit/detail/base/diagnosis.hpp"
#include "guestkit/detail/base/low_descriptors.hpp"
#include "guestkit/detail/call/call.hpp"
#include "guestkit/error.hpp"
#include "guestkit/launch_error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline void refuse_other_handles(const std::shared_ptr<handle_state>& state, const char* op) {
  if (!state) throw HandleClosed(op, "the handle was moved from", EBADF);
  state->refuse_fork(op);
}

GUESTKIT_INLINE turn::turn(std::shared_ptr<handle_state> state, const char* op, pid_t caller)
    : state_(std::move(state)) {
  refuse_other_handles(state_, op);
  state_->turns->take_turn(op, caller);
}

struct call_scope::of_thread {
  call_scope* innermost = nullptr;
  std::uint64_t silenced = 0;  // of the handle for which take() was last installed
};

GUESTKIT_INLINE call_scope::of_thread& call_scope::here() noexcept {
  static thread_local constinit of_thread mine{};
  return mine;
}

GUESTKIT_INLINE call_scope::call_scope(std::shared_ptr<handle_state> state, const action& op, bool takes_turn)
    : state_(std::move(state)), op_(op), takes_turn_(takes_turn) {
  refuse_other_handles(state_, op.name);
  if (takes_turn)
    state_->turns->enter(op);
  else
    state_->turns->pass(op.name);
  auto& mine = here();
  outer_ = std::exchange(mine.innermost, this);
  if (takes_turn && mine.silenced != state_->serial) {
    guestfs_set_error_handler(state_->h, &take, nullptr);
    mine.silenced = state_->serial;
  }
}

GUESTKIT_INLINE call_scope::~call_scope() {
  here().innermost = outer_;
  if (takes_turn_)
    state_->turns->leave();
  else
    state_->turns->leave_passing();
}

/// What the user has called: the action, or the operation of guestkit's own that it is part of.
GUESTKIT_INLINE const char* call_scope::users_op() const noexcept {
  const call_scope* found = this;
  while (found->outer_ != nullptr && found->outer_->state_ == state_ && !found->outer_->calls_libguestfs_)
    found = found->outer_;
  return found->op_.name;
}

GUESTKIT_INLINE void call_scope::refuse_high_descriptors() {
  if (!op_.waits_for_programs) return;
  const char* const fault = spare_descriptors::shared().fill();
  if (fault == nullptr) {
    state_->has_run_programs = true;
    return;
  }
  message_ = fault;
  number_ = EMFILE;
  throw error();
}

/// What libguestfs says, to users of guestfish, of a call that needs an appliance where none runs. The whole
/// text after the action's name: other messages hold text from the guest.
inline bool needs_launch(const std::string& message) {
  const auto colon = message.find(": ");
  return colon != std::string::npos &&
         message.compare(colon + 2, std::string::npos,
                         "call launch before using this function\n(in guestfish, "
                         "don't forget to use the 'run' command)") == 0;
}

GUESTKIT_INLINE Error call_scope::error() const {
  // The appliance was up and nobody shut it down, yet it is no longer ready: it has died, whatever the
  // message and errno say.
  const bool has_died = state_->turns->launched && guestfs_is_ready(state_->h) == 0;
  if (has_died) state_->machine.memory.give_back();
  if (state_->turns->was_stopped())
    state_->turns->throw_if_stopped(op_.name, message_, number_, state_->output.console.lines());
  if (op_.is(call_kind::launch))
    throw LaunchError(op_.name, message_, number_, state_->output.console.lines());
  if (has_died) {
    const bool told_before = needs_launch(message_);
    const std::string died_earlier = "the appliance died during an earlier call; open a new handle";
    throw ApplianceCrashed(op_.name, told_before ? died_earlier : message_, number_,
                           state_->output.console.lines());
  }
  if (!state_->turns->launched && needs_launch(message_))
    return Error(users_op(), "the handle is not launched", number_, {Cause::unknown, "call launch() first"});
  return Error(op_.name, message_, number_, complaint_of_own_files(message_));
}

/// libguestfs keeps one error handler per thread and prints to stderr in a thread that has set none. Ours
/// stays installed. It runs inside the failing call, with the lock held, so nothing can come in between.
GUESTKIT_INLINE void call_scope::take(guestfs_h* h, void*, const char* message) noexcept {
  call_scope* const call = here().innermost;
  if (call == nullptr || call->state_->h != h) return;
  try {
    call->message_ = message;
    call->number_ = guestfs_last_errno(h);
  } catch (...) {  // no memory for the message: error() reports that there is none
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
