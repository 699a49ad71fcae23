#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <utility>

#include "guestkit/detail/base/low_descriptors.hpp"
#include "guestkit/detail/state/handle_state.hpp"
#include "guestkit/detail/turn/callback_time.hpp"
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

/// Whether libguestfs can close a C handle that has files, for which that loan begins in time.
inline bool is_prepared(guestfs_h* h, spare_descriptors::loan& spare) noexcept try {
  if (!spare_descriptors::shared().suffice()) return false;
  // This event comes when the appliance has ended, just before libguestfs runs rm, and last to this callback.
  constexpr auto lend = [](guestfs_h*, void* to, std::uint64_t, int, int, const char*, std::size_t,
                           const std::uint64_t*,
                           std::size_t) { static_cast<spare_descriptors::loan*>(to)->begin(); };
  const bool lends = guestfs_set_event_callback(h, lend, GUESTFS_EVENT_CLOSE, 0, &spare) >= 0;
  return lends || spare_descriptors::shared().fill() == nullptr;
} catch (const std::exception&) {  // no memory
  return false;
}

GUESTKIT_INLINE bool close_c_handle(guestfs_h* h, bool has_files, const handle_state& of) noexcept {
  spare_descriptors::loan spare;
  if (!has_files || is_prepared(h, spare)) {
    guestfs_close(h);
    return true;
  }
  guestfs_shutdown(h);  // writes what is pending, and runs no program
  log(of, LogLevel::error,
      "close: so many files are open in this process that libguestfs would abort it; the appliance is shut "
      "down, but the memory of the handle is lost");
  return false;
}

inline constinit std::atomic<int> open_handles{0};

GUESTKIT_INLINE handle_place::handle_place() {
  if (open_handles.fetch_add(1) < max_handles) return;
  open_handles.fetch_sub(1);
  throw Error(
      "create",
      "1000 handles are open in this process, the most that libguestfs supports; close some; those that "
      "were open before a fork count too",
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

GUESTKIT_INLINE void handle_state::end() noexcept {
  if (h == nullptr) return;
  if (!is_ours()) return place.keep();  // the C handle stays
  guestfs_h* mine = nullptr;
  {
    const std::lock_guard lock(launches.mutex);  // native() reads it
    mine = std::exchange(h, nullptr);
  }
  guestfs_set_error_handler(mine, nullptr, nullptr);
  const bool closed = close_c_handle(mine, has_run_programs || native_given, *this);
  machine.memory.give_back();
  {
    decltype(listeners.all) ended;
    const std::lock_guard lock(listeners.mutex);
    ended.swap(listeners.all);
  }
  machine.disks.clear();
  if (!machine.cage.empty()) remove_tree(machine.cage);
  if (auto& temporary = machine.temporary) {
    if (!closed) temporary->remove_sockets(serial);
    temporary->note_sockets(serial, "");
    // A leaked C handle's directories are removed with their parent directory when its last handle closes.
    temporary.reset();
  }
  if (closed)
    place.give_back();
  else
    place.keep();
}

GUESTKIT_INLINE void log(const handle_state& state, LogLevel level, std::string_view line) noexcept {
  try {
    if (state.output.wants(level)) {
      const callback_time time(*state.turns);
      state.output.log(level, std::string(line));
    } else if (!state.output.log && level >= LogLevel::warning) {
      std::fprintf(stderr, "guestkit: %.*s\n", static_cast<int>(line.size()), line.data());
    }
  } catch (...) {  // a log line is not worth an exception
  }
}

GUESTKIT_INLINE void warn_once(const handle_state& state, std::atomic_flag& said,
                               std::string_view line) noexcept {
  if (state.output.log_level <= LogLevel::warning && !said.test_and_set())
    log(state, LogLevel::warning, line);
}

GUESTKIT_INLINE void forget_appliance(handle_state& state) noexcept {
  state.turns->launched = false;
  if (guestfs_is_config(state.h) == 0) state.machine.disks_gone = true;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
