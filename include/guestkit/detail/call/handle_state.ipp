#pragma once

#include <cerrno>
#include <cstdio>
#include <utility>

#include "guestkit/detail/call/handle_state.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::uint64_t next_serial() noexcept {
  static std::atomic<std::uint64_t> serial{0};
  return ++serial;
}

GUESTKIT_INLINE guestfs_h* create_c_handle() {
  guestfs_h* h = guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT | GUESTFS_CREATE_NO_CLOSE_ON_EXIT);
  if (h == nullptr) throw Error("create", "", errno);
  return h;
}

inline constinit std::atomic<int> open_handles{0};

GUESTKIT_INLINE handle_place::handle_place() {
  if (open_handles.fetch_add(1) < max_handles) return;
  open_handles.fetch_sub(1);
  throw Error("create", "1000 handles are open in this process, the most that libguestfs bears; close some",
              EMFILE);
}

GUESTKIT_INLINE void handle_place::give_back() noexcept {
  if (std::exchange(held_, false)) open_handles.fetch_sub(1);
}

GUESTKIT_INLINE void handle_state::refuse_fork(const char* op) const {
  if (!is_ours())
    throw HandleClosed(op, "the handle belongs to the process before the fork; open one in this process",
                       EBADF);
}

GUESTKIT_INLINE void handle_state::forget_gone_disks() {
  if (disks_gone.exchange(false)) std::erase_if(additions, [](const addition& each) { return each.disk; });
}

GUESTKIT_INLINE void handle_state::remember(addition given) {
  forget_gone_disks();
  additions.push_back(std::move(given));
}

GUESTKIT_INLINE void handle_state::end() noexcept {
  if (h == nullptr || !is_ours()) return;
  guestfs_set_error_handler(h, nullptr, nullptr);
  guestfs_close(std::exchange(h, nullptr));
  memory.give_back();
  {
    decltype(listeners) ended;
    const std::lock_guard lock(listeners_mutex);
    ended.swap(listeners);
  }
  disks.clear();
  if (!cage.empty()) remove_tree(cage);
  if (temporary) temporary->note_sockets(serial, "");
  temporary.reset();
  place.give_back();
}

GUESTKIT_INLINE void log(const handle_state& state, LogLevel level, const std::string& line) noexcept {
  try {
    if (state.wants(level))
      state.log(level, line);
    else if (!state.log && level >= LogLevel::warning)
      std::fprintf(stderr, "guestkit: %s\n", line.c_str());
  } catch (...) {  // a log line is not worth an exception
  }
}

GUESTKIT_INLINE void warn_once(const handle_state& state, std::atomic_flag& said,
                               const std::string& line) noexcept {
  if (state.log_level <= LogLevel::warning && !said.test_and_set()) log(state, LogLevel::warning, line);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
