#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/cage_value.hpp"
#include "guestkit/detail/base/diagnosis.hpp"
#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/launch/choosing.hpp"
#include "guestkit/detail/launch/covering.hpp"
#include "guestkit/detail/launch/launch_call.hpp"
#include "guestkit/detail/launch/launcher.hpp"
#include "guestkit/detail/launch/sandbox.hpp"
#include "guestkit/detail/launch/starting.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

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
  explicit launch_clock(turns& of) : turns_(of), outer_(of.launch_begins()) {}
  launch_clock(const launch_clock&) = delete;
  launch_clock& operator=(const launch_clock&) = delete;
  ~launch_clock() { turns_.launch_ends(std::move(outer_)); }

 private:
  turns& turns_;
  turns::whole_launch outer_;
};

/// Whether a part of what was chosen has been removed since.
inline bool is_gone(const ApplianceChoice& choice) {
  for (const auto* path : {&choice.directory, &choice.hypervisor, &choice.cache})
    if (!path->empty() && ::access(path->c_str(), F_OK) != 0) return true;
  return false;
}

GUESTKIT_INLINE void launcher::launch() {
  const turn mine(state_, "launch");
  begin_ = std::chrono::steady_clock::now();
  // libguestfs says so, and the appliance that runs keeps its place.
  if (state_->turns->launched && launch_call<bool>(state_, guestfs_is_ready))
    return launch_call<void>(state_, guestfs_launch);
  state_->turns->launched = false;      // what has died before is over
  state_->machine.forget_gone_disks();  // disks_gone tells of those of this launch then
  const launch_clock shared(*state_->turns);
  state_->turns->usual_launch_limit.reset();
  state_->output.console.clear();
  try {
    try_to_uncover_all(state_);
    auto choice = choose();
    wait_for_memory(choice.mode);
    while (is_gone(choice)) {  // it was renewed meanwhile: guestkit appliance build
      choice = choose();
      wait_for_memory(choice.mode);
    }
    limit_time();
    const auto started = start_appliance(state_, choice, [&](const ApplianceChoice& what) {
      cover_settings(state_, what);
      name_hypervisor();
      confine_hypervisor();
    });
    info_.mode = started.mode;
    info_.reason = started.reason;
  } catch (const LaunchError& e) {
    undo();
    say(std::string("failed (") + to_string(e.cause()) + ")");
    if (state_->wishes.is_strict() && is_refused(e)) throw because_shut_in(e);
    throw;
  } catch (const Error& e) {  // ended early: it waited too long for memory, or was stopped
    undo();
    say("stopped (" + e.message() + ")");
    throw;
  } catch (...) {  // no memory, or a text with a NUL
    undo();
    throw;
  }
  note_sockets();
  note_success();
}

GUESTKIT_INLINE ApplianceChoice launcher::choose() {
  auto choice = choosing(state_, info_, [this] { end_if_over(); }).choose();
  advise(choice);
  return choice;
}

GUESTKIT_INLINE void launcher::undo() noexcept {
  try_to_uncover_all(state_);
  state_->machine.memory.give_back();
}

GUESTKIT_INLINE void launcher::say(const std::string& what) const {
  if (!state_->output.wants(LogLevel::info)) return;
  const Seconds seconds = std::chrono::steady_clock::now() - begin_;
  log(*state_, LogLevel::info, "launch: " + what + " after " + std::to_string(seconds.count()) + " s");
}

/// Throws if the launch was stopped or ran out of time before libguestfs' own part of it.
GUESTKIT_INLINE void launcher::end_if_over() const {
  state_->turns->throw_if_stopped("launch", "", EINTR, {});
  const auto limit = state_->turns->launch_limit();
  if (limit && std::chrono::steady_clock::now() - begin_ >= *limit)
    throw CallTimeout(
        "launch",
        "took longer than " + shown(*limit) + " (launch_timeout) and was stopped; the handle can be used",
        ETIMEDOUT, Cause::launch_timeout, *limit, "launch_timeout");
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
  state_->machine.memory.give_back();
  const int raised = launch_call<int>(state_, guestfs_get_memsize) - state_->wishes.memsize;
  const auto all = appliance_memory(mode, raised);
  const auto waits_since = std::chrono::steady_clock::now();
  const auto end_if_unwanted = [&] {
    state_->turns->throw_if_stopped("launch", "", EINTR, {});
    if (!state_->turns->is_open()) throw HandleClosed("launch", "the handle is closed", EBADF);
  };
  state_->turns->off_the_clock([&] {
    state_->machine.memory = admission::shared().take(all, state_->turns->limits.admission, end_if_unwanted,
                                                      all - appliance_memory(mode));
  });
  begin_ += std::chrono::steady_clock::now() - waits_since;
}

/// Sets the limit of a launch for which the user gave none. Whether a backend other than direct emulates is
/// not known.
GUESTKIT_INLINE void launcher::limit_time() {
  state_->turns->usual_launch_limit = info_.accelerator == "kvm" ? Seconds(60) : Seconds(300);
}

/// Gives the hypervisor a name, so that it can be found when it must be killed. The libvirt backend takes
/// none.
GUESTKIT_INLINE void launcher::name_hypervisor() {
  const auto file = launch_call<std::string>(state_, guestfs_get_hv);
  std::string name;
  if (launch_call<std::string>(state_, guestfs_get_backend) == "direct") {
    // A process may hold several copies of this library, each of which counts its handles.
    static const char copy = 0;
    name = "guestkit-" + std::to_string(::getpid()) + "-" +
           std::to_string(reinterpret_cast<std::uintptr_t>(&copy)) + "-" + std::to_string(state_->serial);
    if (std::exchange(state_->machine.is_named, true) == false)  // libguestfs forgets no parameter of QEMU's
      launch_call<int>(state_, guestfs_config, cstr("-name"), std::optional(cstr(name)));
  }
  state_->turns->expect_hypervisor(file, name);
}

/// Has QEMU give up the system calls that no appliance needs, and the files.
GUESTKIT_INLINE void launcher::confine_hypervisor() {
  if (state_->wishes.is_strict())
    launch_call<int>(state_, guestfs_config, cstr("-guestkit-cage"), std::optional(cstr(cage())));
  if (info_.sandbox.empty() || std::exchange(state_->machine.is_sandboxed, true)) return;
  launch_call<int>(state_, guestfs_config, cstr("-sandbox"), std::optional(cstr(sandbox_rules)));
}

/// What QEMU will be able to open.
GUESTKIT_INLINE std::string launcher::cage() const {
  auto& directory = state_->machine.cage;
  if (directory.empty())
    directory = state_->machine.temporary->path() + "/cage-" + std::to_string(state_->serial);
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    const int why = errno;
    throw LaunchError("launch", "sandbox=strict: " + directory + ": " + std::strerror(why), why,
                      {Cause::no_space, std::string(no_temporary_files)});
  }
  std::vector<caged_file> files;
  files.reserve(state_->machine.disk_files.size());
  for (const int file : state_->machine.disk_files)
    files.push_back({.number = file, .writes = (::fcntl(file, F_GETFL) & O_ACCMODE) == O_RDWR});
  return cage_value(files, directory);
}

/// Records the directory of the appliance's socket, so that a sweep finds it if this process is killed.
GUESTKIT_INLINE void launcher::note_sockets() {
  if (!state_->machine.temporary) return;
  try {
    state_->machine.temporary->note_sockets(state_->serial,
                                            socket_directory(launch_call<int>(state_, guestfs_get_pid)));
  } catch (const Error&) {  // not every backend has a process of its own
  }
}

GUESTKIT_INLINE void launcher::note_success() {
  info_.seconds = Seconds(std::chrono::steady_clock::now() - begin_).count();
  state_->machine.memory.started();
  state_->turns->launched = true;
  state_->machine.opened.clear();  // in an earlier appliance
  state_->machine.disks.clear();   // QEMU has opened them
  state_->machine.disk_files.clear();
  {
    const std::lock_guard lock(state_->launches.mutex);
    state_->launches.last = info_;
  }
  say(std::string("the appliance is up (") + to_string(info_.mode) +
      (info_.reason.empty() ? "" : ": " + info_.reason) + ")");
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
