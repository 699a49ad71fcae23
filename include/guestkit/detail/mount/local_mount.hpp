// A directory of this host that shows what is mounted in a handle, by FUSE: from mount_local() until it is
// unmounted.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/state/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Threads: any.
class local_mount {
 public:
  /// @param mount_local  mounts it
  local_mount(std::string directory, std::shared_future<void> served,
              const std::function<void()>& mount_local);

  /// Unmounts it, although programs may still use it: their next access fails. mount_local_run() returns when
  /// it has answered the request that it works on. What cannot be done, for want of a program or of
  /// descriptors, is left out: the connection is ended all the same.
  void unmount();
  /// Whether it is mounted: it, and not what somebody else has mounted there since.
  bool is_mounted() const noexcept;

  /// mount_local_run() has returned.
  void is_over() noexcept;
  bool ends_within(std::chrono::milliseconds time);
  /// Waits for the thread that serves a Mounted, and throws what it threw, once for all who wait.
  void tell();
  /// Whether unmount() had to end the connection, so that mount_local_run() failed.
  bool was_cut_off() const noexcept;

  const std::string directory;  // absolute and without symlinks
  /// Ready when the thread that serves a Mounted has ended. Not valid for others.
  const std::shared_future<void> served;

 private:
  bool run_fusermount(const std::vector<std::string>& options);
  /// It is unmounted.
  void forget() noexcept;
  void cut_off();

  std::mutex unmounting_;  // held while one thread unmounts it
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  const std::string fusermount_;         // empty: there is none
  unique_fd nobody_;                     // a socket at whose other end nobody is
  unique_fd connection_;                 // to the kernel: a second descriptor of libfuse's file
  std::optional<std::uint64_t> device_;  // the mount's; nothing once it is unmounted
  bool over_ = false;
  bool cut_off_ = false;
  std::atomic<bool> told_{false};
};

/// Runs mount_local(), and lets the handle know where it is mounted.
std::shared_ptr<local_mount> mount_locally(handle_state& state, const std::string& directory,
                                           std::shared_future<void> served,
                                           const std::function<void()>& mount_local);

/// The time in which the calling thread, which has the turn, serves what is mounted locally.
class serving {
 public:
  explicit serving(const std::shared_ptr<handle_state>& state);
  serving(const serving&) = delete;
  serving& operator=(const serving&) = delete;
  ~serving();

  bool was_cut_off() const noexcept { return mount_ && mount_->was_cut_off(); }

 private:
  std::shared_ptr<local_mount> mount_;
};

/// Unmounts it and waits until nobody serves it any more. A guest that does not answer is killed. Throws
/// Error if its server goes on all the same.
void end_mount(handle_state& state, local_mount& mount);
/// Unmounts what the handle shows at this moment, if anything; does not throw.
void end_mount(handle_state& state) noexcept;

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/mount/local_mount.ipp"
#endif
