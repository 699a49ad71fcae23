#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/call/call.hpp"
#include "guestkit/detail/call/listeners.hpp"
#include "guestkit/detail/launch/copy_settings.hpp"
#include "guestkit/detail/launch/hypervisor_name.hpp"
#include "guestkit/detail/launch/kvm.hpp"
#include "guestkit/detail/launch/landlock.hpp"
#include "guestkit/detail/launch/launcher.hpp"
#include "guestkit/detail/launch/sandbox.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

template <class R, class F, class... A>
R launcher::invoke(F fn, const A&... arguments) const {
  return call<R>(state_, "launch", fn, arguments...).lift();
}

/// Whether QEMU was not allowed to open a file.
inline bool is_refused(const LaunchError& failure) {
  const auto tells = [](const std::string& line) { return contains(line, "Permission denied"); };
  const auto& console = failure.console();
  return tells(failure.message()) || std::any_of(console.begin(), console.end(), tells);
}

/// The same failure of a QEMU that is shut in.
inline LaunchError because_shut_in(const LaunchError& failure) {
  return {failure.op(),
          failure.message() + "; QEMU is shut in (sandbox=strict)",
          failure.error_number(),
          {Cause::disk_unreadable,
           "of the files that an image names, a QEMU that is shut in opens those that open_disk was "
           "permitted: open_disk(DISK, backing=under(DIRECTORY)); for anything else, launch without "
           "sandbox=strict"},
          failure.console()};
}

/// Has all calls of a launch share its limit.
class launch_clock {
 public:
  explicit launch_clock(turns& of) noexcept : turns_(of) { turns_.launch_begins(); }
  launch_clock(const launch_clock&) = delete;
  launch_clock& operator=(const launch_clock&) = delete;
  ~launch_clock() { turns_.launch_ends(); }

 private:
  turns& turns_;
};

GUESTKIT_INLINE void launcher::launch() {
  const turn mine(state_, "launch");
  // libguestfs says so, and the appliance that runs keeps its place.
  if (state_->turns->launched && invoke<bool>(guestfs_is_ready)) return invoke<void>(guestfs_launch);
  state_->turns->launched = false;  // what has died before is over
  state_->forget_gone_disks();  // from here on it is about those of this launch
  const launch_clock shared(*state_->turns);
  state_->turns->usual_launch_limit.reset();
  state_->console.clear();
  try {
    put_settings_back();
    refuse_damaged_appliance();
    choose_accelerator();
    choose_sandbox();
    auto choice = choose_appliance();
    choose_cage(choice);
    advise(choice);
    wait_for_memory(choice.mode);
    cover_settings(choice);
    limit_time();
    name_hypervisor();
    confine_hypervisor();
    start(choice);
    info_.mode = choice.mode;
    info_.reason = choice.reason;
  } catch (const LaunchError& e) {
    put_settings_back();
    state_->memory.give_back();
    say(std::string("failed (") + to_string(e.cause()) + ")");
    if (is_strict() && is_refused(e)) throw because_shut_in(e);
    throw;
  } catch (const Error& e) {  // ended early: it waited too long for memory, or was stopped
    state_->memory.give_back();
    say("stopped (" + e.message() + ")");
    throw;
  }
  note_sockets();
  note_success();
}

GUESTKIT_INLINE void launcher::say(const std::string& what) const {
  if (!state_->wants(LogLevel::info)) return;
  const Seconds seconds = std::chrono::steady_clock::now() - begin_;
  log(*state_, LogLevel::info, "launch: " + what + " after " + std::to_string(seconds.count()) + " s");
}

// ---- choosing

GUESTKIT_INLINE void launcher::refuse_damaged_appliance() {
  if (const auto fault = damaged_appliance(invoke<std::string>(guestfs_get_path)); !fault.empty())
    throw LaunchError("launch", "the fixed appliance is damaged: " + fault, 0,
                      {Cause::appliance_damaged,
                       "make it again with libguestfs-make-fixed-appliance, or unset LIBGUESTFS_PATH"});
}

/// Decides between KVM and emulation, unless the user's backend settings already do.
GUESTKIT_INLINE void launcher::choose_accelerator() {
  const auto accel = state_->wishes.accel;
  bool chosen = false;
  for (const auto& setting : invoke<string_list>(guestfs_get_backend_settings))
    chosen = chosen || setting.starts_with("force_tcg") || setting.starts_with("force_kvm");
  if (accel == Accel::automatic) {
    if (!chosen && invoke<std::string>(guestfs_get_backend) == "direct") emulate_without_kvm();
  } else {
    if (chosen) {
      invoke<int>(guestfs_clear_backend_setting, cstr("force_tcg"));
      invoke<int>(guestfs_clear_backend_setting, cstr("force_kvm"));
    }
    invoke<void>(guestfs_set_backend_setting, cstr(accel == Accel::kvm ? "force_kvm" : "force_tcg"),
                 cstr("1"));
  }
  info_.accelerator = accelerator();
}

/// Whether the user has chosen the hypervisor. Only while no setting is covered.
GUESTKIT_INLINE bool launcher::own_hypervisor() const {
  const auto& wishes = state_->wishes;
  return wishes.hypervisor_given || invoke<std::string>(guestfs_get_hv) != wishes.hypervisor;
}

/// Decides whether QEMU filters its system calls.
GUESTKIT_INLINE void launcher::choose_sandbox() {
  const auto qemu = invoke<std::string>(guestfs_get_hv);
  auto& reason = info_.sandbox_reason;
  if (state_->is_sandboxed)  // libguestfs forgets no parameter of QEMU's
    info_.sandbox = "seccomp";
  else if (state_->wishes.sandbox == Sandbox::none)
    reason = asked_for;
  else if (info_.accelerator.empty())
    reason = "libguestfs' backend is not direct";
  else if (own_hypervisor() && is_script(program_file(qemu)))
    reason = "the hypervisor is a script of the user's";
  else
    ask_for_sandbox(qemu);
}

GUESTKIT_INLINE void launcher::ask_for_sandbox(const std::string& qemu) {
  auto status = sandbox_status(qemu, [this] { end_if_over(); });
  if (status.usable) {
    info_.sandbox = "seccomp";
  } else {
    static std::atomic_flag said = ATOMIC_FLAG_INIT;
    warn_once(*state_, said, "QEMU's system calls are not filtered: guestkit doctor tells why");
    log(*state_, LogLevel::info, "launch: QEMU's system calls are not filtered: " + status.reason);
  }
  info_.sandbox_reason = std::move(status.reason);
}

/// The lean appliance, booted by the program that shuts QEMU in.
inline ApplianceChoice caged(ApplianceChoice lean) {
  lean.hypervisor = lean.directory + "/cage";
  if (const auto probes = lean.directory + "/probes"; ::access(probes.c_str(), W_OK) == 0)
    lean.cache = probes;
  return lean;
}

/// The lean appliance in the place of a warm one.
inline ApplianceChoice booted(ApplianceChoice choice, std::string reason) {
  if (choice.mode != ApplianceMode::warm) return choice;
  return {.mode = ApplianceMode::lean,
          .directory = std::move(choice.directory),
          .append = std::move(choice.append),
          .reason = std::move(reason)};
}

/// Has the launch shut QEMU in, if that was asked for. Throws LaunchError if it cannot.
GUESTKIT_INLINE void launcher::choose_cage(ApplianceChoice& choice) {
  if (!is_strict()) return;
  const auto refuse = [](const std::string& reason) {
    throw LaunchError("launch", "sandbox=strict: " + reason, ENOTSUP, Diagnosis{});
  };
  if (info_.sandbox.empty()) refuse(info_.sandbox_reason);
  if (own_hypervisor())
    refuse(
        "the hypervisor is the user's, and what shuts QEMU in runs the one of the appliance that guestkit "
        "has built; "
        "leave set_hv and LIBGUESTFS_HV alone");
  if (landlock::version() == 0)
    refuse(errno == EPERM ? "something forbids the kernel's Landlock, such as a container's seccomp profile"
                          : "this kernel has no Landlock, or has it switched off (see its argument lsm=)");
  if (!state_->temporary) refuse("there is no private directory for temporary files in " + state_->tmpdir);
  // Restored machines map one file with the memory, and QEMU opens it to write: one that was taken over could
  // change the memory of every other.
  choice = booted(std::move(choice), "sandbox=strict shares no memory with other appliances");
  if (choice.mode == ApplianceMode::lean) choice = caged(std::move(choice));
  if (choice.hypervisor.empty() || ::access(choice.hypervisor.c_str(), X_OK) != 0)
    refuse("it needs an appliance that guestkit has built (guestkit appliance build)" +
           (choice.reason.empty() || choice.reason == asked_for ? "" : ": " + choice.reason));
  info_.sandbox += ", landlock";
}

GUESTKIT_INLINE void launcher::emulate_without_kvm() {
  const auto kvm = kvm_status(invoke<std::string>(guestfs_get_hv), [this] { end_if_over(); });
  if (kvm.usable) return;
  static std::atomic_flag said = ATOMIC_FLAG_INIT;
  warn_once(*state_, said,
            "KVM cannot be used, so the appliance is emulated, which is slower: guestkit doctor tells why");
  log(*state_, LogLevel::info, "KVM: " + kvm.reason);
  invoke<void>(guestfs_set_backend_setting, cstr("force_tcg"), cstr("1"));
}

/// Throws if the launch was stopped or ran out of time before libguestfs' own part of it.
GUESTKIT_INLINE void launcher::end_if_over() const {
  state_->turns->throw_if_stopped("launch", "", EINTR, {});
  const auto limit = state_->turns->launch_limit();
  if (limit && std::chrono::steady_clock::now() - begin_ >= *limit)
    throw CallTimeout(
        "launch",
        "took longer than " + shown(*limit) + " (launch_timeout) and was stopped; the handle can be used",
        ETIMEDOUT, limit->count(), "launch_timeout");
}

/// The accelerator; empty if libguestfs' backend decides.
GUESTKIT_INLINE std::string launcher::accelerator() const {
  if (invoke<std::string>(guestfs_get_backend) != "direct") return "";
  for (const auto& setting : invoke<string_list>(guestfs_get_backend_settings))
    if (setting.starts_with("force_tcg")) return "tcg";
  return "kvm";
}

/// Chooses the appliance and the kernel arguments from the user's wishes and what is available.
GUESTKIT_INLINE ApplianceChoice launcher::choose_appliance() {
  const auto& wishes = state_->wishes;
  const bool own_path = wishes.path_given || invoke<std::string>(guestfs_get_path) != wishes.path;
  const bool inspection = wishes.appliance == "inspection";
  const bool automatic = wishes.appliance == "auto" || inspection;
  const bool directory = !automatic && wishes.appliance != "system";
  ApplianceChoice choice;
  if (info_.accelerator.empty())
    choice.reason = "libguestfs' backend is not direct";
  else if (directory && own_hypervisor())  // a restore runs the one that the appliance was made with
    choice = booted(given_appliance(wishes.appliance), "the hypervisor is the user's");
  else if (directory)
    choice = given_appliance(wishes.appliance);
  else if (own_path)
    choice = {.mode = ApplianceMode::fixed, .reason = "the search path is the user's"};
  else if (own_hypervisor())
    choice.reason = "the hypervisor is the user's";
  else if (wishes.appliance == "system")
    choice.reason = asked_for;
  else
    choice = best_appliance();
  if (!info_.accelerator.empty() && !own_hypervisor() && wishes.tuning == Tuning::automatic) {
    const bool emulated = info_.accelerator == "tcg";
    choice.append =
        tuning_arguments(host_architecture(), emulated, acpi_is_spare(), emulated ? counter_khz() : 0);
  }
  if (inspection && choice.mode == ApplianceMode::warm) choice.append += " guestkit_udev=asleep";
  return choice;
}

/// The fastest appliance of all caches; among equally fast ones, that of the first cache.
GUESTKIT_INLINE ApplianceChoice launcher::best_appliance() const {
  ApplianceChoice best;
  bool first = true;
  for (const auto& cache : appliance_caches()) {
    auto found = find_appliance(cache);
    if (found.mode == ApplianceMode::lean) found = restorable(found);
    if (first || found.mode > best.mode) best = std::move(found);
    first = false;
  }
  return best;
}

/// The lean appliance, or the warm one if it may be restored.
GUESTKIT_INLINE ApplianceChoice launcher::restorable(const ApplianceChoice& lean) const {
  if (info_.accelerator != "tcg") return lean;  // restoring with KVM is untested
  if (!state_->native_given) return find_template(lean.directory);
  ApplianceChoice choice = lean;
  choice.reason = "the C handle is in use";
  return choice;
}

/// libguestfs' machine type is pc up to 1.50 and q35 afterwards. There acpi=off would also hide all
/// processors but one.
GUESTKIT_INLINE bool launcher::acpi_is_spare() const {
  if (invoke<int>(guestfs_get_smp) != 1) return false;
  const call_scope scope(state_, "launch");
  struct guestfs_version* version = guestfs_version(scope.h());
  const bool spare = version != nullptr && version->major == 1 && version->minor < 51;
  guestfs_free_version(version);
  return spare;
}

/// Logs what would make an emulated launch fast: libguestfs' own appliance takes some 15 seconds.
GUESTKIT_INLINE void launcher::advise(const ApplianceChoice& choice) const {
  static std::atomic_flag said = ATOMIC_FLAG_INIT;
  if (choice.buildable && info_.accelerator == "tcg")
    warn_once(*state_, said,
              "launch: " + choice.reason +
                  ", so launches take up to ten times as long; to build one: guestkit appliance build");
}

GUESTKIT_INLINE void launcher::wait_for_memory(ApplianceMode mode) {
  state_->memory.give_back();
  const int raised = invoke<int>(guestfs_get_memsize) - state_->wishes.memsize;
  const auto all = appliance_memory(mode, raised);
  state_->turns->off_the_clock([&] {
    state_->memory = admission::shared().take(
        all, state_->turns->limits.admission,
        [&] { state_->turns->throw_if_stopped("launch", "", EINTR, {}); }, all - appliance_memory(mode));
  });
}

// ---- settings

GUESTKIT_INLINE std::optional<std::string> launcher::current(launch_setting which) const {
  switch (which) {
    case launch_setting::path:
      return invoke<std::string>(guestfs_get_path);
    case launch_setting::hypervisor:
      return invoke<std::string>(guestfs_get_hv);
    case launch_setting::cachedir:
      return invoke<std::string>(guestfs_get_cachedir);
    case launch_setting::append:
      return invoke<std::optional<std::string>>(guestfs_get_append);
  }
  return std::nullopt;
}

GUESTKIT_INLINE void launcher::change(launch_setting which, const std::optional<std::string>& value) {
  const auto text = value ? std::optional(cstr(*value)) : std::nullopt;
  switch (which) {
    case launch_setting::path:
      return invoke<void>(guestfs_set_path, text);
    case launch_setting::hypervisor:
      return invoke<void>(guestfs_set_hv, text);
    case launch_setting::cachedir:
      return invoke<void>(guestfs_set_cachedir, text);
    case launch_setting::append:
      return invoke<void>(guestfs_set_append, text);
  }
}

GUESTKIT_INLINE void launcher::cover(launch_setting which, covered_setting values) {
  change(which, values.launch);
  state_->covered.cover(which, std::move(values));
}

GUESTKIT_INLINE void launcher::put_settings_back() noexcept try {
  for (const auto which : launch_settings)
    if (const auto covered = state_->covered.find(which)) {
      change(which, covered->user);
      state_->covered.uncover(which);
    }
} catch (const std::exception&) {  // not while the appliance runs; the next launch tries again
}

/// Applies the settings that the choice needs.
GUESTKIT_INLINE void launcher::cover_settings(const ApplianceChoice& choice) {
  using enum launch_setting;
  put_settings_back();
  if (!invoke<bool>(guestfs_is_config)) return;  // launch itself reports what is wrong
  if (!choice.directory.empty()) cover(path, {.user = current(path), .launch = choice.directory});
  const auto user = current(hypervisor);
  const auto name = harmless_name(choice.hypervisor.empty() ? *user : choice.hypervisor);
  if (name != user) cover(hypervisor, {.user = user, .launch = name});
  if (!choice.cache.empty()) cover(cachedir, {.user = current(cachedir), .launch = choice.cache});
  if (choice.append.empty()) return;
  const auto own = current(append);
  cover(append, {.user = own, .launch = choice.append + (own ? ' ' + *own : "")});
}

/// Sets the limit of a launch for which the user gave none.
GUESTKIT_INLINE void launcher::limit_time() {
  bool emulated = false;
  for (const auto& setting : invoke<string_list>(guestfs_get_backend_settings))
    emulated = emulated || setting.starts_with("force_tcg");
  state_->turns->usual_launch_limit = emulated ? Seconds(300) : Seconds(60);
}

/// Gives the hypervisor a name, so that it can be found when it must be killed. The libvirt backend takes
/// none.
GUESTKIT_INLINE void launcher::name_hypervisor() {
  const auto file = invoke<std::string>(guestfs_get_hv);
  std::string name;
  if (invoke<std::string>(guestfs_get_backend) == "direct") {
    // A process may hold several copies of this library, each of which counts its handles.
    static const char copy = 0;
    name = "guestkit-" + std::to_string(::getpid()) + "-" +
           std::to_string(reinterpret_cast<std::uintptr_t>(&copy)) + "-" + std::to_string(state_->serial);
    if (std::exchange(state_->is_named, true) == false)  // libguestfs forgets no parameter of QEMU's
      invoke<int>(guestfs_config, cstr("-name"), std::optional(cstr(name)));
  }
  state_->turns->expect_hypervisor(file, name);
}

/// Has QEMU give up the system calls that no appliance needs, and the files.
GUESTKIT_INLINE void launcher::confine_hypervisor() {
  if (is_strict()) invoke<int>(guestfs_config, cstr("-guestkit-cage"), std::optional(cstr(cage())));
  if (info_.sandbox.empty() || std::exchange(state_->is_sandboxed, true)) return;
  invoke<int>(guestfs_config, cstr("-sandbox"), std::optional(cstr(sandbox_rules)));
}

/// What QEMU will be able to open, as appliance/cage.hpp wants it.
GUESTKIT_INLINE std::string launcher::cage() const {
  auto& directory = state_->cage;
  if (directory.empty()) directory = state_->temporary->path() + "/cage-" + std::to_string(state_->serial);
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    const int why = errno;
    throw LaunchError("launch", "sandbox=strict: " + directory + ": " + std::strerror(why), why,
                      {Cause::no_space, std::string(no_temporary_files)});
  }
  std::string files;
  for (const int file : state_->disk_files) {
    const bool writes = (::fcntl(file, F_GETFL) & O_ACCMODE) == O_RDWR;
    if (!files.empty()) files += ',';
    files += std::to_string(file);
    if (writes) files += 'w';
  }
  return std::to_string(::getpid()) + ':' + files + ':' + directory;
}

// ---- starting

/// Starts the appliance. If a restore fails, boots instead, once. Updates the choice to the appliance that
/// was started in the end.
GUESTKIT_INLINE void launcher::start(ApplianceChoice& choice) {
  set_verdict("");
  try {
    invoke<void>(guestfs_launch);
  } catch (const LaunchError& e) {
    if (!restore_has_failed(choice) || !boot_instead(choice, e)) throw;
  }
  if (choice.mode != ApplianceMode::warm) return;
  const auto said = verdict();
  const bool is_boot = said.starts_with(warm::normal_boot);
  if (!said.empty() && !is_boot) return;  // restored
  choice.mode = ApplianceMode::lean;
  choice.reason = is_boot ? printable(said.substr(warm::normal_boot.size())) : "";
}

GUESTKIT_INLINE bool launcher::restore_has_failed(const ApplianceChoice& choice) const {
  const auto said = verdict();
  return choice.mode == ApplianceMode::warm && !said.empty() && !said.starts_with(warm::normal_boot);
}

/// Boots the lean appliance after a failed restore. Returns false if it cannot be tried.
GUESTKIT_INLINE bool launcher::boot_instead(ApplianceChoice& choice, const LaunchError& failure) {
  choice.reason =
      "the warm appliance failed: " + printable(verdict() == warm::restoring ? failure.message() : verdict());
  log(*state_, LogLevel::warning, choice.reason + "; launching again without it");
  choice.mode = ApplianceMode::lean;
  choice.hypervisor.clear();
  choice.cache.clear();
  if (!renew()) return false;
  state_->console.clear();
  cover_settings(choice);
  name_hypervisor();
  confine_hypervisor();
  invoke<void>(guestfs_launch);
  return true;
}

/// A fresh C handle with the configuration of the handle's own. Null if it cannot be made: the caller has
/// more to tell, why the launch failed.
inline c_handle fresh_copy(const handle_state& state) noexcept try {
  c_handle fresh(create_c_handle());
  guestfs_set_error_handler(fresh.get(), nullptr, nullptr);
  bool same = copy_settings(state.h, fresh.get());
  for (const auto& addition : state.additions) same = same && addition.repeat(fresh.get());
  return same ? std::move(fresh) : nullptr;
} catch (const std::exception&) {  // no memory
  return nullptr;
}

/// Replaces the C handle whose launch has failed with a fresh one of the same configuration, since libguestfs
/// may or may not have forgotten the old one's disks. Returns false if that cannot be done.
GUESTKIT_INLINE bool launcher::renew() {
  put_settings_back();
  c_handle fresh = fresh_copy(*state_), old;
  if (!fresh) return false;
  {
    const std::lock_guard lock(state_->launch_mutex);
    if (state_->native_given) return false;  // by an event's callback, since the appliance was chosen
    old.reset(std::exchange(state_->h, fresh.release()));
  }
  guestfs_delete_event_callback(old.get(), 0);  // nobody is to be notified of its close
  guestfs_set_verbose(old.get(), 0);
  guestfs_set_trace(old.get(), 0);
  guestfs_set_event_callback(state_->h, &deliver, GUESTFS_EVENT_ALL, 0, state_.get());
  state_->serial = next_serial();
  state_->disks_gone = false;
  state_->is_sandboxed = false;
  state_->is_named = false;
  state_->turns->replace(state_->h);
  return true;
}

GUESTKIT_INLINE std::string launcher::verdict() const {
  const std::lock_guard lock(state_->launch_mutex);
  return state_->verdict;
}

GUESTKIT_INLINE void launcher::set_verdict(const std::string& text) {
  const std::lock_guard lock(state_->launch_mutex);
  state_->verdict = text;
}

// ---- afterwards

/// Records the directory of the appliance's socket, so that a sweep finds it if this process is killed.
GUESTKIT_INLINE void launcher::note_sockets() {
  if (!state_->temporary) return;
  try {
    state_->temporary->note_sockets(state_->serial, socket_directory(invoke<int>(guestfs_get_pid)));
  } catch (const Error&) {  // not every backend has a process of its own
  }
}

GUESTKIT_INLINE void launcher::note_success() {
  info_.seconds = Seconds(std::chrono::steady_clock::now() - begin_).count();
  state_->memory.started();
  state_->turns->launched = true;
  state_->opened.clear();  // in an earlier appliance
  state_->disks.clear();   // QEMU has opened them
  state_->disk_files.clear();
  {
    const std::lock_guard lock(state_->launch_mutex);
    state_->launch = info_;
  }
  say(std::string("the appliance is up (") + to_string(info_.mode) +
      (info_.reason.empty() ? "" : ": " + info_.reason) + ")");
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
