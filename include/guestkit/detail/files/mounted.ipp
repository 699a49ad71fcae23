#pragma once

#include <cerrno>
#include <exception>
#include <future>
#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/threads.hpp"
#include "guestkit/detail/call/borrowed_core.hpp"
#include "guestkit/detail/call/event_relay.hpp"
#include "guestkit/detail/mount/fusermount.hpp"
#include "guestkit/error.hpp"
#include "guestkit/generated/actions.hpp"
#include "guestkit/mounted.hpp"

namespace guestkit::inline GUESTKIT_FORM {

namespace detail {

/// The thread that mounts and serves a directory.
struct mount_server {
  std::shared_ptr<handle_state> state;
  std::string directory;
  MountLocalOptions options;
  pid_t caller;  // the thread that waits until it is mounted
  std::unique_ptr<mount_watcher> watcher;
  std::promise<std::shared_ptr<local_mount>> mounted = {};
  std::promise<void> served = {};

  void run() noexcept {
    std::shared_ptr<local_mount> mount;
    try {
      const turn mine(state, "mounted", caller);
      const event_relay events(state);
      actions<borrowed_core> guest(state);
      require_something_to_show(guest);
      mount = mount_locally(*state, directory, served.get_future().share(),
                            [&] { guest.mount_local(directory, options); });
      mounted.set_value(mount);
      serve(*mount, guest);
      if (options.readonly == false) write_all(guest);
      end_watch(mount.get());
      served.set_value();
    } catch (...) {
      end_watch(mount.get());
      mount ? served.set_exception(std::current_exception())
            : mounted.set_exception(std::current_exception());
    }
  }

 private:
  /// libguestfs' own errors would speak of guestfish, and of another action.
  void require_something_to_show(actions<borrowed_core>& guest) const {
    if (!state->turns->launched)
      throw Error("mounted", "the handle is not launched", EINVAL,
                  {Cause::unknown, "launch it, then mount its filesystems, by mount_guest() or mount()"});
    if (guest.mountpoints().empty())
      throw Error("mounted", "no filesystem is mounted in the handle", EINVAL,
                  {Cause::unknown, "mount one first, by mount_guest() or mount()"});
  }

  /// Leaves what this process could not unmount to the watching one, which has all that it needs for it.
  void end_watch(const local_mount* mount) noexcept {
    if (mount == nullptr || !mount->is_mounted()) watcher->release();
    watcher.reset();
  }

  void serve(local_mount& mount, actions<borrowed_core>& guest) {
    const serving shown(state);
    try {
      guest.mount_local_run();
    } catch (const Error&) {
      if (mount.was_cut_off()) return;
      mount.unmount();
      throw;
    }
  }

  void write_all(actions<borrowed_core>& guest) {
    try {
      guest.sync();
    } catch (const Error&) {
      throw Error("mounted",
                  detail::shown(directory) + ": the hypervisor has ended: what was written last may be lost",
                  EIO);
    }
  }
};

inline std::shared_ptr<local_mount> serve_at(const std::shared_ptr<handle_state>& state,
                                             const std::filesystem::path& directory,
                                             const MountedOptions& options) {
  constexpr auto op = "mounted";
  { const call_scope open(state, op, false); }  // refuses a closed handle
  if (state->turns->is_mine())
    throw Error(op,
                "called from inside a call on this handle, whose thread cannot serve the directory; call it "
                "afterwards",
                EDEADLK);
  const auto path = mountpoint(op, directory.native());
  if (options.allow_other) refuse_allow_other(op);
  const auto source = (options.dedicated ? "guestkit-" : "guestkit-in-") + std::to_string(::getpid());
  const std::shared_ptr<mount_server> server(new mount_server{
      .state = state,
      .directory = path,
      .options = {.readonly = options.readonly,
                  .options = (options.readonly ? "ro" : "rw") + (",subtype=guestkit,fsname=" + source) +
                             (options.allow_other ? ",allow_other" : "")},
      .caller = thread_id(),
      .watcher = std::make_unique<mount_watcher>(op, path, source)});
  auto mounted = server->mounted.get_future();
  start_thread(op, [server] { server->run(); });
  return mounted.get();
}

}  // namespace detail

GUESTKIT_INLINE Mounted::Mounted(std::shared_ptr<detail::handle_state> state,
                                 const std::filesystem::path& directory, const MountedOptions& options)
    : state_(std::move(state)),
      mount_(detail::serve_at(state_, directory, options)),
      path_(mount_->directory) {}

GUESTKIT_INLINE Mounted& Mounted::operator=(Mounted&& other) noexcept {
  if (this != &other) {
    finish();
    state_ = std::move(other.state_);
    mount_ = std::move(other.mount_);
    path_ = std::move(other.path_);
  }
  return *this;
}

GUESTKIT_INLINE Mounted::~Mounted() {
  finish();
}

GUESTKIT_INLINE void Mounted::wait() const {
  if (!mount_) return;
  state_->refuse_fork("wait");
  mount_->tell();
}

GUESTKIT_INLINE void Mounted::unmount() {
  if (!mount_ || !state_->is_ours()) return;
  detail::end_mount(*state_, *mount_);
  mount_->tell();
}

GUESTKIT_INLINE void Mounted::finish() noexcept {
  try {
    unmount();
  } catch (const std::exception& e) {
    detail::log(*state_, LogLevel::error, e.what());
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM
