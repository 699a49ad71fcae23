// guestkit::Guestfs: a libguestfs handle with every action as a method.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/actions.hpp"
#include "guestkit/handle.hpp"

namespace guestkit::inline GUESTKIT_FORM {

struct ImageInfo;        // open_disk.hpp, which who opens such disks includes
struct OpenDiskOptions;  // open_disk.hpp

namespace detail {

/// Results as C++ values.
template <class T = void>
class basic_value_core : public basic_handle<T> {
 public:
  using basic_handle<T>::basic_handle;
  template <class R>
  using result = R;

 protected:
  template <class R, class F, class... A>
  R call(const action& op, F fn, const A&... arguments) {
    return this->template invoke<R>(op, fn, arguments...).lift();
  }
  template <class R, class F, class... A>
  R give(const action& op, F fn, const A&... arguments) {
    return this->template add<R>(op, fn, arguments...).lift();
  }
};

using value_core = basic_value_core<>;

}  // namespace detail

/// A handle on the disks of one guest. A class template, so that a program compiles only what it calls.
///
/// Ownership: move-only; closed by close() or at its end. Errors: every method throws Error or one of its
/// children. Threads: any thread may call at any time, calls on one handle run one after the other; only
/// user_cancel() does not wait. After fork() the handle is the parent's alone.
///
/// Methods have libguestfs' own names, so guestfs(3) is their manual.
template <class Core>
class basic_guestfs : public detail::actions<Core> {
  using actions = detail::actions<Core>;
  using Setting = detail::launch_setting;
  using call_scope = typename Core::call_scope;

  /// What the user set, where a launch has put something else; else what libguestfs says.
  template <class R>
  typename Core::template result<R> own(Setting setting, const detail::action& op, auto&& ask) {
    const call_scope open(this->state(), op);
    const auto user = this->covered(setting);
    if (!user.is_covered) return ask();
    if constexpr (std::is_same_v<typename Core::template result<R>, std::optional<std::string>>)
      return user.own;
    else
      return typename Core::template result<R>(user.own ? user.own->c_str() : nullptr);
  }

  void warn_of_add_drive(const char* op, const std::optional<std::string>& format) {
    static std::atomic_flag said = ATOMIC_FLAG_INIT;
    const auto state = this->state();
    if (format == "raw" || !state || said.test_and_set()) return;
    detail::log(
        *state, LogLevel::warning,
        std::string(op) +
            ": QEMU opens every file of this host that the disk image names, and guesses its format if "
            "that is not stated; for disks that others can write to there is open_disk");
  }

 public:
  using detail::actions<Core>::actions;

  /// Add a disk that somebody else has written, before launch(): guestkit reads the headers itself, and QEMU
  /// opens nothing but what the options permit. Tells what the disk is.
  ///
  /// A disk that is read only is held by descriptor, so it is the checked one that is opened, whatever
  /// becomes of its name; what the guest does to it is forgotten. The rest of the risk is told in
  /// SECURITY.md. Throws Error that says what was refused and what would permit it.
  /// Include <guestkit/open_disk.hpp>.
  /// @param path  a text or std::filesystem::path; or nbd://HOST/EXPORT where the options permit it
  template <class Path>
  ImageInfo open_disk(const Path& path, const OpenDiskOptions& options);
  /// The same with the default options.
  template <class Path>
  ImageInfo open_disk(const Path& path);

  /// Add a disk image, device or network disk of the host as a drive of the appliance. What the image names
  /// is opened too, see open_disk(). C: guestfs_add_drive_opts(3), since 0.0.3.
  typename Core::template result<void> add_drive(cstr filename, const AddDriveOptions& options = {}) {
    warn_of_add_drive("add_drive", options.format);
    return actions::add_drive(filename, options);
  }

  /// Add a disk image on the host read-only; writes go to a throw-away overlay. What the image names is
  /// opened too, see open_disk(). C: guestfs_add_drive_ro(3), since 1.0.38.
  typename Core::template result<void> add_drive_ro(cstr filename) {
    warn_of_add_drive("add_drive_ro", std::nullopt);
    return actions::add_drive_ro(filename);
  }

  /// Start the appliance; add the disks first. Takes seconds.
  ///
  /// Notices a KVM that does not work and lets QEMU emulate instead (HandleOptions::accel).
  /// C: guestfs_launch(3), since 0.0.3. Throws LaunchError, which says why and what mends it, and CallTimeout
  /// after Limits::launch.
  typename Core::template result<void> launch() {
    const auto begin = std::chrono::steady_clock::now();
    const auto state = this->state();
    const typename Core::turn mine(state, "launch");
    state->console.clear();
    const auto say = [&](const std::string& what) {
      if (!state->wants(LogLevel::info)) return;
      const Seconds seconds = std::chrono::steady_clock::now() - begin;
      detail::log(*state, LogLevel::info,
                  "launch: " + what + " after " + std::to_string(seconds.count()) + " s");
    };
    LaunchInfo info;
    try {
      this->put_settings_back();
      this->check_appliance();
      this->choose_accelerator(begin);
      info.accelerator = this->accelerator();
      auto choice = this->choose_appliance(info.accelerator);
      this->advise(choice, info.accelerator);
      this->admit(choice.mode);
      this->apply(choice);
      this->limit_launch();
      this->name_hypervisor();
      choice = this->start(std::move(choice));
      info.mode = choice.mode;
      info.reason = choice.reason;
    } catch (const LaunchError& e) {
      this->put_settings_back();
      state->memory.give_back();
      say(std::string("failed (") + to_string(e.cause()) + ")");
      throw;
    } catch (const Error& e) {  // ended before its time: the handle is dead
      state->memory.give_back();
      say("stopped (" + e.message() + ")");
      throw;
    }
    this->note_sockets();
    info.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    state->memory.started();
    state->work->launched = true;
    state->disks.clear();  // QEMU has them open
    {
      const std::lock_guard lock(state->launch_mutex);
      state->launch = info;
    }
    say(std::string("the appliance is up (") + to_string(info.mode) +
        (info.reason.empty() ? "" : ": " + info.reason) + ")");
    return typename Core::template result<void>(0);
  }

  /// How the last launch that succeeded went: which appliance, how long, why not a faster one. Nothing before
  /// the first.
  std::optional<LaunchInfo> launch_info() {
    const auto state = this->state();
    if (!state) return std::nullopt;
    const std::lock_guard lock(state->launch_mutex);
    return state->launch;
  }

  /// Have libguestfs write debug messages, to stderr or to whom listens to Event::library and appliance.
  /// C: guestfs_set_verbose(3), since 0.0.3.
  typename Core::template result<void> set_verbose(bool verbose) {
    if (const auto state = this->state()) state->verbose = verbose;
    return detail::actions<Core>::set_verbose(verbose);
  }

  /// Choose whether each call is written down, to stderr or to whom listens to Event::trace.
  /// C: guestfs_set_trace(3), since 1.0.69.
  typename Core::template result<void> set_trace(bool trace) {
    const auto state = this->state();
    const typename Core::turn mine(state, "set_trace");
    if (trace) state->traces = true;
    detail::actions<Core>::set_trace(trace);
    state->traces = trace;  // the call that ends it is the last one that is traced
    return typename Core::template result<void>(0);
  }

  /// Set the directory of the host for temporary files, null for the default. They are made in a directory
  /// beneath it that this user alone can enter. C: guestfs_set_tmpdir(3), since 1.19.58.
  typename Core::template result<void> set_tmpdir(std::optional<cstr> tmpdir) {
    const typename Core::turn mine(this->state(), "set_tmpdir");
    detail::actions<Core>::set_tmpdir(tmpdir);
    this->use_private_tmpdir();
    return typename Core::template result<void>(0);
  }

  /// Return the directory of the host for temporary files, as it was set.
  /// C: guestfs_get_tmpdir(3), since 1.19.58.
  typename Core::template result<std::string> get_tmpdir() {
    const call_scope open(this->state(), "get_tmpdir");
    return typename Core::template result<std::string>(this->tmpdir().c_str());
  }

  /// Get the search path for the appliance, as it was set. C: guestfs_get_path(3), since 0.0.3.
  typename Core::template result<std::string> get_path() {
    return own<std::string>(Setting::path, "get_path", [&] { return actions::get_path(); });
  }

  /// Set the colon-separated search path for the appliance, null for the default; guestkit then uses no
  /// appliance of its own. C: guestfs_set_path(3), since 0.0.3.
  typename Core::template result<void> set_path(std::optional<cstr> searchpath) {
    const typename Core::turn mine(this->state(), "set_path");
    actions::set_path(searchpath);
    this->uncover(Setting::path);
    return typename Core::template result<void>(0);
  }

  /// Get the hypervisor, as it was set. C: guestfs_get_hv(3), since 1.23.17.
  typename Core::template result<std::string> get_hv() {
    return own<std::string>(Setting::hypervisor, "get_hv", [&] { return actions::get_hv(); });
  }

  /// Set the hypervisor; guestkit then uses no appliance of its own. C: guestfs_set_hv(3), since 1.23.17.
  typename Core::template result<void> set_hv(cstr hv) {
    const typename Core::turn mine(this->state(), "set_hv");
    actions::set_hv(hv);
    this->uncover(Setting::hypervisor);
    return typename Core::template result<void>(0);
  }

  /// Get the hypervisor, as it was set. C: guestfs_get_qemu(3), since 1.0.6. Deprecated: use get_hv.
  [[deprecated("use get_hv")]] typename Core::template result<std::string> get_qemu() {
    return own<std::string>(Setting::hypervisor, "get_qemu", [&] { return actions::get_qemu(); });
  }

  /// Set the hypervisor. C: guestfs_set_qemu(3), since 1.0.6. Deprecated: use set_hv.
  [[deprecated("use set_hv")]] typename Core::template result<void> set_qemu(std::optional<cstr> hv) {
    const typename Core::turn mine(this->state(), "set_qemu");
    actions::set_qemu(hv);
    this->uncover(Setting::hypervisor);
    return typename Core::template result<void>(0);
  }

  /// Get the directory of the host for what is kept between launches, as it was set.
  /// C: guestfs_get_cachedir(3), since 1.19.58.
  typename Core::template result<std::string> get_cachedir() {
    return own<std::string>(Setting::cachedir, "get_cachedir", [&] { return actions::get_cachedir(); });
  }

  /// Set the directory of the host for what is kept between launches, null for the default.
  /// C: guestfs_set_cachedir(3), since 1.19.58.
  typename Core::template result<void> set_cachedir(std::optional<cstr> cachedir) {
    const typename Core::turn mine(this->state(), "set_cachedir");
    actions::set_cachedir(cachedir);
    this->uncover(Setting::cachedir);
    return typename Core::template result<void>(0);
  }

  /// Get the additional kernel arguments, as they were set. C: guestfs_get_append(3), since 1.0.26.
  typename Core::template result<std::optional<std::string>> get_append() {
    return own<std::optional<std::string>>(Setting::append, "get_append",
                                           [&] { return actions::get_append(); });
  }

  /// Add these arguments to the kernel's command line; null for none. C: guestfs_set_append(3), since 1.0.26.
  typename Core::template result<void> set_append(std::optional<cstr> append) {
    const typename Core::turn mine(this->state(), "set_append");
    actions::set_append(append);
    this->uncover(Setting::append);
    return typename Core::template result<void>(0);
  }

  /// Shut the appliance down and tell whether the guest's last writes failed; close() does not tell.
  /// The handle has no disks afterwards. C: guestfs_shutdown(3), since 1.19.16.
  typename Core::template result<void> shutdown() {
    const auto state = this->state();
    const typename Core::turn mine(state, "shutdown");  // another thread may be launching
    this->forget_appliance();                           // also if it fails
    detail::actions<Core>::shutdown();
    state->memory.give_back();
    return typename Core::template result<void>(0);
  }

  /// Shut the appliance down. C: guestfs_kill_subprocess(3), since 0.0.3. Deprecated: use shutdown.
  [[deprecated("use shutdown")]] typename Core::template result<void> kill_subprocess() {
    const auto state = this->state();
    const typename Core::turn mine(state, "kill_subprocess");
    this->forget_appliance();
    detail::actions<Core>::kill_subprocess();
    state->memory.give_back();
    return typename Core::template result<void>(0);
  }

  /// Stop the upload or download that another thread has running on this handle; never waits.
  ///
  /// It is lost when it comes before the transfer begins: send it again until the call has returned. The call
  /// throws Error with EINTR and the handle stays usable. C: guestfs_user_cancel(3), since 1.11.18.
  typename Core::template result<void> user_cancel() {
    this->cancel_transfer();
    return typename Core::template result<void>(0);
  }

  /// Have callback run at each of these events. guestfs_set_event_callback(3).
  Subscription set_event_callback(Event events, EventCallback callback) {
    return this->subscribe(events, std::move(callback));
  }
};

using Guestfs = basic_guestfs<detail::value_core>;

}  // namespace guestkit::inline GUESTKIT_FORM
