#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/run_program.hpp"
#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/mount/fusermount.hpp"
#include "guestkit/detail/mount/local_mount.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How long a request in the guest may still take when its mount ends.
inline constexpr std::chrono::seconds mount_grace{10};
/// How long fusermount may wait while the guest gets what programs have written to mapped files; then the
/// connection is cut off, and it has a moment more. Until then it cannot even be killed.
inline constexpr std::chrono::seconds fusermount_grace{60};
inline constexpr program_limit fusermount_limit{.given = fusermount_grace + mount_grace,
                                                .in_all = 2 * fusermount_grace};

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

/// A connection's mark stays with the open file, whereas libfuse closes descriptors at any time and the
/// kernel gives the same number to the next one. It is the signal that would tell of input if anybody had
/// asked to be told (O_ASYNC); kcmp(2), which compares open files, is forbidden in many containers.
enum class mark : int { known = SIGIO, cut_off = SIGURG };

/// Held while marks are looked at and set, but not while anything is mounted: a directory that a mount serves
/// may answer only once that mount has been cut off.
inline std::mutex& marking() {
  static constinit of_process<std::mutex> all;
  return all.get();
}

inline void set_mark(int file, mark what) noexcept {
  ::fcntl(file, F_SETSIG, static_cast<int>(what));
}

inline bool has_mark(int file, mark what) noexcept {
  return ::fcntl(file, F_GETSIG) == static_cast<int>(what);
}

/// Returns a socket at whose other end nobody is.
inline unique_fd socket_to_nobody() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw Error("mount_local", "", errno);
  const unique_fd other(ends[1]);
  return unique_fd(ends[0]);
}

GUESTKIT_INLINE local_mount::local_mount(std::string path, std::shared_future<void> end,
                                         const std::function<void()>& mount_local)
    : directory(std::move(path)),
      served(std::move(end)),
      fusermount_(find_fusermount()),
      nobody_(socket_to_nobody()),
      connection_(socket_to_nobody()) {                   // so that there is room for it
  static constinit of_process<std::mutex> one_at_a_time;  // or its connection could be another handle's
  const std::lock_guard mine(one_at_a_time.get());
  {
    const std::lock_guard lock(marking());
    for (const int file : fuse_connections())
      if (!has_mark(file, mark::cut_off)) set_mark(file, mark::known);
  }
  mount_local();
  device_ = mounted_device(directory);
  connection_ = unique_fd();
  const std::lock_guard lock(marking());
  for (const int file : fuse_connections()) {
    if (has_mark(file, mark::known) || has_mark(file, mark::cut_off)) continue;
    set_mark(file, mark::known);
    connection_ = unique_fd(::fcntl(file, F_DUPFD_CLOEXEC, 0));
  }
}

GUESTKIT_INLINE void local_mount::unmount() {
  const std::lock_guard mine(unmounting_);
  if (ends_within({})) return;
  if (run_fusermount({"-u"})) return;
  if (!is_mounted()) {  // somebody else has unmounted it, and may have mounted something else there
    forget();
    if (ends_within(std::chrono::seconds(1))) return;
  }
  cut_off();
  run_fusermount({"-u", "-z"});
}

GUESTKIT_INLINE bool local_mount::is_mounted() const noexcept {
  const std::lock_guard lock(mutex_);
  // The kernel may give the device's number to another mount, but not while the connection lives.
  pollfd connection{.fd = connection_.get(), .events = 0, .revents = 0};
  const bool is_dead = ::poll(&connection, 1, 0) > 0;
  return device_ && !is_dead && mounted_device(directory) == device_;
}

/// Returns whether it is unmounted now.
GUESTKIT_INLINE bool local_mount::run_fusermount(const std::vector<std::string>& options) {
  if (fusermount_.empty() || !is_mounted()) return false;
  std::vector<std::string> command{fusermount_};
  command.insert(command.end(), options.begin(), options.end());
  command.push_back(directory);
  const auto too_late = std::chrono::steady_clock::now() + fusermount_grace;
  const auto look = [&] {
    if (std::chrono::steady_clock::now() > too_late) cut_off();
  };
  if (!run_program(command, {.limit = fusermount_limit, .look = look}).succeeded()) return false;
  forget();
  return true;
}

GUESTKIT_INLINE void local_mount::forget() noexcept {
  const std::lock_guard lock(mutex_);
  device_.reset();
}

/// Only root can have the kernel end a connection that is in use. So the server gets one at whose other end
/// nobody is, in place of its own; the kernel notices that nobody has the old one.
GUESTKIT_INLINE void local_mount::cut_off() {
  {
    const std::lock_guard marked(marking());
    {
      const std::lock_guard lock(mutex_);
      if (over_ || cut_off_ || connection_.get() < 0) return;
      cut_off_ = true;
      set_mark(connection_.get(), mark::cut_off);
      connection_ = unique_fd();  // makes room for the listing, too, if no more files may be opened
    }
    for (const int file : fuse_connections())
      if (has_mark(file, mark::cut_off)) ::dup3(nobody_.get(), file, O_CLOEXEC);
  }
  nobody_ = unique_fd();
  // The server waits in a read of the old one. Any signal makes it look again, and this, which changes
  // nothing, has the C library send one of its own to all threads. It waits until they have all received it,
  // but a thread that reads in another mount that hangs does so only once that mount is cut off, too: hence
  // no lock is held here.
  constexpr auto same = static_cast<uid_t>(-1);
  static_cast<void>(::setresuid(same, same, same));
}

GUESTKIT_INLINE void local_mount::is_over() noexcept {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    connection_ = unique_fd();
    changed_.notify_all();
  }
  // A thread that has cut the connection off goes on to unmount the directory. mount_local_run() waits for
  // that, so that nothing is mounted any more when it returns.
  const std::lock_guard unmounted(unmounting_);
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
  const std::lock_guard lock(state.mounting.mutex);
  state.mounting.last = mount;
  return mount;
}

inline std::shared_ptr<local_mount> mount_of(handle_state& state) {
  const std::lock_guard lock(state.mounting.mutex);
  return state.mounting.last;
}

GUESTKIT_INLINE serving::serving(const std::shared_ptr<handle_state>& state) : mount_(mount_of(*state)) {}

GUESTKIT_INLINE serving::~serving() {
  if (mount_) mount_->is_over();
}

GUESTKIT_INLINE void end_mount(handle_state& state, local_mount& mount) {
  if (!state.is_ours()) return;
  const auto give_up = [&] {
    throw Error("unmount", shown(mount.directory) + ": the thread that serves it did not stop", ETIMEDOUT,
                {Cause::unknown, "end the programs that use it"});
  };
  mount.unmount();
  if (state.turns->is_serving() && !mount.ends_within(mount_grace)) {
    state.turns->terminate();
    if (!mount.ends_within(mount_grace)) give_up();
  }
  if (!mount.served.valid()) return;
  const auto patience = state.turns->limits.close;  // the guest writes what it has
  if (patience == no_limit) return mount.served.wait();
  const auto is_served = [&](Seconds time) {
    return mount.served.wait_for(to_clock(time)) == std::future_status::ready;
  };
  if (is_served(patience)) return;
  state.turns->terminate();
  if (!is_served(mount_grace)) give_up();
}

GUESTKIT_INLINE void end_mount(handle_state& state) noexcept {
  try {
    if (const auto mount = mount_of(state)) end_mount(state, *mount);
  } catch (const std::exception& e) {
    log(state, LogLevel::error, e.what());
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
