// guestkit::Guestfs: a libguestfs handle with every action as a method.
#pragma once

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/value_core.hpp"
#include "guestkit/detail/launch/covering.hpp"
#include "guestkit/detail/launch/launcher.hpp"
#include "guestkit/detail/mount/local_mount.hpp"
#include "guestkit/generated/actions.hpp"
#include "guestkit/generated/image_info.hpp"
#include "guestkit/mounted_options.hpp"
#include "guestkit/open_disk_options.hpp"

namespace guestkit::inline GUESTKIT_FORM {

class Mounted;  // mounted.hpp

/// A handle on the disks of one guest. Core decides the form of a result: Guestfs returns a C++ value, the
/// Python module keeps what C returned.
///
/// Ownership: move-only; closed by close() or the destructor. Errors: every method throws Error or a class
/// derived from it, and std::invalid_argument for a text with a NUL. Threads: any thread may call at any
/// time; calls on one handle run one after the other. Only cancel(), terminate(), user_cancel(),
/// set_event_callback() and launch_info() wait for no call. After fork() the handle belongs to the parent
/// alone.
///
/// Methods have libguestfs' own names, so guestfs(3) is their manual.
//
// A method that does more than its action makes the call by detail::call(), which throws an error: a Core's
// own call() may return it. From the first call on it uses no member of this object: a callback may destroy
// it, and the state survives that.
template <class Core>
class basic_guestfs : public detail::actions<Core> {
  using actions = detail::actions<Core>;

 public:
  template <class R>
  using result = typename Core::template result<R>;

  using detail::actions<Core>::actions;

  /// Adds a disk that somebody else has written; call it before launch(). guestkit reads the headers itself,
  /// and QEMU opens only what the options permit. Returns what the disk is.
  ///
  /// A read-only disk is held by its descriptor, so QEMU opens the very file that was checked, whatever
  /// happens to its name; the guest's writes to it are discarded. SECURITY.md describes the remaining risk.
  /// Throws an Error that says what was refused and what would permit it. Include <guestkit/open_disk.hpp>;
  /// the compiler warns of an inline function that is not defined where that is forgotten.
  /// @param path  a file's name, or nbd://HOST/EXPORT where the options permit it
  inline ImageInfo open_disk(const std::filesystem::path& path, const OpenDiskOptions& options = {});

  /// Add a disk image, device or network disk of the host as a drive of the appliance. QEMU also opens any
  /// file that the image names; see open_disk(). C: guestfs_add_drive_opts(3), since 0.0.3.
  result<void> add_drive(cstr filename, const AddDriveOptions& options = {}) {
    warn_of_add_drive("add_drive", options.format);
    return actions::add_drive(filename, options);
  }

  /// Add a disk image on the host read-only; writes go to a throw-away overlay. QEMU also opens any file that
  /// the image names; see open_disk(). C: guestfs_add_drive_ro(3), since 1.0.38.
  result<void> add_drive_ro(cstr filename) {
    warn_of_add_drive("add_drive_ro", std::nullopt);
    return actions::add_drive_ro(filename);
  }

  /// Shows what is mounted in the handle in an empty directory of this host, by FUSE, until the returned
  /// object is destroyed; read-only unless the options say otherwise. Needs /dev/fuse and fusermount, not
  /// root. Meanwhile the handle takes no other calls. Throws Error if it cannot be mounted, or nothing is
  /// mounted in the handle. Include <guestkit/mounted.hpp>, which describes it.
  inline Mounted mounted(const std::filesystem::path& directory, const MountedOptions& options = {});

  /// Export the guest's filesystem to a directory of the host, by FUSE; mounted() also serves and unmounts
  /// it. C: guestfs_mount_local(3), since 1.17.22.
  result<void> mount_local(cstr localmountpoint, const MountLocalOptions& options = {}) {
    const auto state = this->state();
    const detail::turn mine(state, "mount_local");
    detail::mount_locally(*state, localmountpoint.c_str(), {}, [&] {
      detail::call<void>(state, "mount_local", guestfs_mount_local_argv, localmountpoint, options);
    });
    return result<void>(0);
  }

  /// Serve the exported filesystem until it is unmounted. No limit ends it; meanwhile every other call of the
  /// handle throws an Error with Cause::mounted, and close() and cancel() unmount the directory. C:
  /// guestfs_mount_local_run(3), since 1.17.22.
  result<void> mount_local_run() {
    const auto state = this->state();
    const detail::turn mine(state, "mount_local_run");
    const detail::serving shown(state);
    try {
      detail::call<void>(state, "mount_local_run", guestfs_mount_local_run);
    } catch (const Error&) {
      if (!shown.was_cut_off()) throw;
    }
    return result<void>(0);
  }

  /// Start the appliance; add the disks first. Takes seconds.
  ///
  /// If KVM does not work, notices it and lets QEMU emulate the processor (HandleOptions::accel). C:
  /// guestfs_launch(3), since 0.0.3. Throws LaunchError, which gives the reason and the remedy, and
  /// CallTimeout after Limits::launch.
  result<void> launch() {
    detail::launcher(this->state()).launch();
    return result<void>(0);
  }

  /// How the last successful launch went: which appliance, how long it took, why it was not a faster one.
  /// Nothing before the first.
  std::optional<LaunchInfo> launch_info() {
    const auto state = this->state();
    if (!state) return std::nullopt;
    state->refuse_fork("launch_info");
    const std::lock_guard lock(state->launches.mutex);
    return state->launches.last;
  }

  /// Have libguestfs write debug messages, to stderr or to the listeners of Event::library and
  /// Event::appliance. C: guestfs_set_verbose(3), since 0.0.3.
  result<void> set_verbose(bool verbose) {
    if (const auto state = this->state()) state->output.verbose = verbose;
    return actions::set_verbose(verbose);
  }

  /// Choose whether each call is traced, to stderr or to the listeners of Event::trace. C:
  /// guestfs_set_trace(3), since 1.0.69.
  result<void> set_trace(bool trace) {
    const auto state = this->state();
    const detail::turn mine(state, "set_trace");
    if (trace) state->output.traces = true;
    detail::call<void>(state, "set_trace", guestfs_set_trace, trace);
    state->output.traces = trace;  // afterwards: the call that turns tracing off is itself still traced
    return result<void>(0);
  }

  /// Set the directory of the host for temporary files, std::nullopt for the default. They are made in a
  /// subdirectory that only this user can enter. C: guestfs_set_tmpdir(3), since 1.19.58.
  result<void> set_tmpdir(std::optional<cstr> tmpdir) {
    const auto state = this->state();
    const detail::turn mine(state, "set_tmpdir");
    detail::call<void>(state, "set_tmpdir", guestfs_set_tmpdir, tmpdir);
    detail::use_private_tmpdir(state);
    return result<void>(0);
  }

  /// Return the directory of the host for temporary files, as it was set.
  /// C: guestfs_get_tmpdir(3), since 1.19.58.
  result<std::string> get_tmpdir() {
    const auto state = this->state();
    const detail::call_scope open(state, "get_tmpdir");
    return result<std::string>(state->machine.tmpdir.c_str());
  }

  /// Get the search path for the appliance, as it was set. C: guestfs_get_path(3), since 0.0.3.
  result<std::string> get_path() {
    return users_own<std::string>(Setting::path, "get_path", guestfs_get_path);
  }

  /// Set the colon-separated search path for the appliance, std::nullopt for the default; guestkit then uses
  /// no appliance of its own. C: guestfs_set_path(3), since 0.0.3.
  result<void> set_path(std::optional<cstr> searchpath) {
    return set_users_own(Setting::path, "set_path", guestfs_set_path, searchpath);
  }

  /// Get the hypervisor, as it was set. C: guestfs_get_hv(3), since 1.23.17.
  result<std::string> get_hv() {
    return users_own<std::string>(Setting::hypervisor, "get_hv", guestfs_get_hv);
  }

  /// Set the hypervisor; guestkit then uses no appliance of its own. C: guestfs_set_hv(3), since 1.23.17.
  result<void> set_hv(cstr hv) { return set_users_own(Setting::hypervisor, "set_hv", guestfs_set_hv, hv); }

  /// Get the hypervisor, as it was set. C: guestfs_get_qemu(3), since 1.0.6. Deprecated: use get_hv.
  [[deprecated("use get_hv")]] result<std::string> get_qemu() {
    return users_own<std::string>(Setting::hypervisor, "get_qemu", guestfs_get_qemu);
  }

  /// Set the hypervisor. C: guestfs_set_qemu(3), since 1.0.6. Deprecated: use set_hv.
  [[deprecated("use set_hv")]] result<void> set_qemu(std::optional<cstr> hv) {
    return set_users_own(Setting::hypervisor, "set_qemu", guestfs_set_qemu, hv);
  }

  /// Get the directory of the host for files kept between launches, as it was set. C:
  /// guestfs_get_cachedir(3), since 1.19.58.
  result<std::string> get_cachedir() {
    return users_own<std::string>(Setting::cachedir, "get_cachedir", guestfs_get_cachedir);
  }

  /// Set the directory of the host for files kept between launches, std::nullopt for the default. C:
  /// guestfs_set_cachedir(3), since 1.19.58.
  result<void> set_cachedir(std::optional<cstr> cachedir) {
    return set_users_own(Setting::cachedir, "set_cachedir", guestfs_set_cachedir, cachedir);
  }

  /// Get the additional kernel arguments, as they were set. C: guestfs_get_append(3), since 1.0.26.
  result<std::optional<std::string>> get_append() {
    return users_own<std::optional<std::string>>(Setting::append, "get_append", guestfs_get_append);
  }

  /// Add these arguments to the kernel's command line; std::nullopt for none. C: guestfs_set_append(3), since
  /// 1.0.26.
  result<void> set_append(std::optional<cstr> append) {
    return set_users_own(Setting::append, "set_append", guestfs_set_append, append);
  }

  /// Get the backend settings, as they were set. C: guestfs_get_backend_settings(3), since 1.25.24.
  result<string_list> get_backend_settings() {
    const auto state = this->state();
    detail::call_scope open(state, "get_backend_settings");
    const auto own = state->covered.backend();
    return delivered<string_list>(
        own ? detail::c_result<string_list>(*own)
            : detail::attempt<string_list>(open, guestfs_get_backend_settings).get());
  }

  /// Get the value of one backend setting, as it was set; throws Error with ESRCH if it was not.
  /// C: guestfs_get_backend_setting(3), since 1.27.2.
  result<std::string> get_backend_setting(cstr name) {
    const auto state = this->state();
    detail::call_scope open(state, "get_backend_setting");
    const auto own = state->covered.backend();
    if (!own)
      return delivered<std::string>(
          detail::attempt<std::string>(open, guestfs_get_backend_setting, name).get());
    const auto value = detail::backend_setting(*own, name.c_str());
    if (!value) throw Error("get_backend_setting", "setting not found", ESRCH);
    return delivered<std::string>(detail::c_result<std::string>(value->c_str()));
  }

  /// Replace the backend settings. C: guestfs_set_backend_settings(3), since 1.25.24.
  result<void> set_backend_settings(const cstr_list& settings) {
    return change_backend<void>("set_backend_settings", guestfs_set_backend_settings, settings);
  }

  /// Give one backend setting a value. C: guestfs_set_backend_setting(3), since 1.27.2.
  result<void> set_backend_setting(cstr name, cstr val) {
    return change_backend<void>("set_backend_setting", guestfs_set_backend_setting, name, val);
  }

  /// Remove a backend setting; returns how many there were of that name.
  /// C: guestfs_clear_backend_setting(3), since 1.27.2.
  result<int> clear_backend_setting(cstr name) {
    return change_backend<int>("clear_backend_setting", guestfs_clear_backend_setting, name);
  }

  /// Shut the appliance down and report whether the guest's last writes failed, which close() does not
  /// report. The handle has no disks afterwards. C: guestfs_shutdown(3), since 1.19.16.
  result<void> shutdown() { return end_appliance("shutdown", guestfs_shutdown); }

  /// Shut the appliance down. C: guestfs_kill_subprocess(3), since 0.0.3. Deprecated: use shutdown.
  [[deprecated("use shutdown")]] result<void> kill_subprocess() {
    return end_appliance("kill_subprocess", guestfs_kill_subprocess);
  }

  /// Stop the upload or download that another thread is running on this handle; never waits.
  ///
  /// It is lost if it arrives before the transfer begins: send it again until the call has returned. The call
  /// throws Error with EINTR and the handle stays usable. C: guestfs_user_cancel(3), since 1.11.18.
  result<void> user_cancel() {
    this->cancel_transfer();
    return result<void>(0);
  }

  /// Run callback at each of these events. guestfs_set_event_callback(3).
  Subscription set_event_callback(Event events, EventCallback callback) {
    return Subscription(this->state(), events, std::move(callback));
  }

 private:
  using Setting = detail::launch_setting;

  /// Has the appliance end. The handle is not launched from then on, even if that fails.
  result<void> end_appliance(const detail::action& op, auto end) {
    const auto state = this->state();
    const detail::turn mine(state, op.name);              // another thread may be launching
    const auto place = std::move(state->machine.memory);  // given back once the appliance has ended
    detail::forget_appliance(*state);
    detail::call<void>(state, op, end);
    return result<void>(0);
  }

  /// The user's own setting if a launch has replaced it, otherwise libguestfs' answer.
  template <class R>
  result<R> users_own(Setting which, const detail::action& op, auto get) {
    const auto state = this->state();
    detail::call_scope open(state, op);
    const auto covered = state->covered.find(which);
    return delivered<R>(covered ? detail::c_result<R>(covered->user ? covered->user->c_str() : nullptr)
                                : detail::attempt<R>(open, get).get());
  }

  template <class R>
  static result<R> delivered(detail::c_result<R> value) {
    if constexpr (std::is_same_v<result<R>, R>)
      return std::move(value).lift();
    else
      return result<R>(std::move(value));
  }

  /// Changes the user's own backend settings.
  template <class R>
  result<R> change_backend(const detail::action& op, auto set, const auto&... arguments) {
    const auto state = this->state();
    const detail::turn mine(state, op.name);
    detail::uncover_all(state, op);
    return delivered<R>(detail::call<R>(state, op, set, arguments...));
  }

  /// Has the setting be the user's own again.
  result<void> set_users_own(Setting which, const detail::action& op, auto set, const auto& value) {
    const auto state = this->state();
    detail::call_scope open(state, op);
    detail::attempt<void>(open, set, value).get();
    state->covered.uncover(which);
    return result<void>(0);
  }

  void warn_of_add_drive(const char* op, const std::optional<std::string>& format) {
    static std::atomic_flag said = ATOMIC_FLAG_INIT;
    const auto state = this->state();
    if (format == "raw" || !state) return;
    detail::warn_once(*state, said,
                      std::string(op) +
                          (format ? ": QEMU opens" : ": QEMU guesses the image's format, and opens") +
                          " every file of this host that the image names; use open_disk for a disk that "
                          "others can write to");
  }
};

using Guestfs = basic_guestfs<detail::value_core>;

}  // namespace guestkit::inline GUESTKIT_FORM
