#pragma once

#include <optional>
#include <string>
#include <system_error>

#include "guestkit/detail/base/scratch.hpp"
#include "guestkit/detail/call/machine_calls.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE void use_private_tmpdir(const std::shared_ptr<handle_state>& state) {
  state->machine.tmpdir = call<std::string>(state, "get_tmpdir", guestfs_get_tmpdir).lift();
  state->machine.cage.clear();  // it lies in the directory for temporary files
  try {
    state->machine.temporary = scratch::beneath(state->machine.tmpdir);
  } catch (const std::system_error& e) {  // libguestfs reports it if a call needs the directory
    log(*state, LogLevel::debug, std::string("no private temporary directory: ") + e.what());
    return;
  }
  call<void>(state, "set_tmpdir", guestfs_set_tmpdir, std::optional(cstr(state->machine.temporary->path())));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
