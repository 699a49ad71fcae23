#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>

#include "guestkit/detail/base/run_program.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/launch/processes.hpp"
#include "guestkit/detail/mount/fusermount.hpp"
#include "guestkit/detail/mount/local_mount.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How long a request in the guest may still take when its mount ends.
inline constexpr std::chrono::seconds mount_grace{10};

inline bool is_connection(int file) {
  std::error_code failed;
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(file), failed) == "/dev/fuse";
}

/// This process's connections to the kernel's FUSE.
inline std::vector<int> fuse_connections() {
  std::vector<int> found;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", failed))
    if (const int file = std::atoi(entry.path().filename().c_str()); is_connection(file))
      found.push_back(file);
  return found;
}

GUESTKIT_INLINE local_mount::local_mount(std::string path, std::shared_future<void> end,
                                         const std::function<void()>& mount_local)
    : directory(std::move(path)), served(std::move(end)) {
  static constinit of_process<std::mutex> one_at_a_time;  // or its connection could be another handle's
  const std::lock_guard mine(one_at_a_time.get());
  const auto before = fuse_connections();
  mount_local();
  for (const int file : fuse_connections())
    if (std::find(before.begin(), before.end(), file) == before.end()) connections_.push_back(file);
}

GUESTKIT_INLINE void local_mount::unmount() {
  const std::lock_guard mine(unmounting_);
  if (ends_within({})) return;
  const auto run = [&](std::vector<std::string> command) {
    command.insert(command.begin(), fusermount("unmount"));
    command.push_back(directory);
    return run_program(command, {}).succeeded();
  };
  if (run({"-u"})) return;
  // Somebody else may have unmounted it.
  if (!is_mountpoint(directory) && ends_within(std::chrono::seconds(1))) return;
  cut_off();
  run({"-u", "-z"});
}

/// Only root can have the kernel end a connection that is in use. So the server gets one at whose other end
/// nobody is, in place of its own; the kernel notices that nobody has the old one.
GUESTKIT_INLINE void local_mount::cut_off() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw Error("unmount", "", errno);
  const unique_fd one(ends[0]), other(ends[1]);
  {
    const std::lock_guard lock(mutex_);
    if (over_) return;
    cut_off_ = true;
  }
  for (const int file : connections_)
    if (is_connection(file)) ::dup3(one.get(), file, O_CLOEXEC);
  // The server waits in a read of the old one. Any signal makes it look again, and this, which changes
  // nothing, has the C library send one of its own to all threads.
  constexpr auto same = static_cast<uid_t>(-1);
  static_cast<void>(::setresuid(same, same, same));
}

GUESTKIT_INLINE void local_mount::is_over() noexcept {
  const std::lock_guard lock(mutex_);
  over_ = true;
  changed_.notify_all();
}

GUESTKIT_INLINE bool local_mount::ends_within(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [&] { return over_; });
}

GUESTKIT_INLINE void local_mount::tell() {
  served.wait();
  if (!told_.exchange(true)) served.get();
}

GUESTKIT_INLINE bool local_mount::was_cut_off() const noexcept {
  const std::lock_guard lock(mutex_);
  return cut_off_;
}

GUESTKIT_INLINE std::shared_ptr<local_mount> mount_locally(handle_state& state, const std::string& directory,
                                                           std::shared_future<void> served,
                                                           const std::function<void()>& mount_local) {
  std::error_code unknown;  // then libguestfs says what is wrong with it
  const auto path = std::filesystem::canonical(directory, unknown);
  const auto mount = std::make_shared<local_mount>(path, std::move(served), mount_local);
  state.turns->serves_at(path);
  const std::lock_guard lock(state.mount_mutex);
  state.mount = mount;
  return mount;
}

inline std::shared_ptr<local_mount> mount_of(handle_state& state) {
  const std::lock_guard lock(state.mount_mutex);
  return state.mount;
}

GUESTKIT_INLINE serving::serving(const std::shared_ptr<handle_state>& state) : mount_(mount_of(*state)) {}

GUESTKIT_INLINE serving::~serving() {
  if (mount_) mount_->is_over();
}

GUESTKIT_INLINE void end_mount(handle_state& state, local_mount& mount) {
  if (!state.is_ours()) return;
  mount.unmount();
  if (state.turns->is_serving() && !mount.ends_within(mount_grace)) state.turns->terminate();
  if (!mount.served.valid()) return;
  const auto patience = state.turns->limits.close;  // the guest writes what it has
  if (patience != no_limit && mount.served.wait_for(patience) != std::future_status::ready)
    state.turns->terminate();
  mount.served.wait();
}

GUESTKIT_INLINE void end_mount(handle_state& state) noexcept {
  try {
    if (const auto mount = mount_of(state)) end_mount(state, *mount);
  } catch (const std::exception& e) {
    log(state, LogLevel::error, e.what());
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
