#pragma once

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/launch/choosing.hpp"
#include "guestkit/detail/launch/kvm.hpp"
#include "guestkit/detail/launch/landlock.hpp"
#include "guestkit/detail/launch/launch_call.hpp"
#include "guestkit/detail/launch/sandbox.hpp"
#include "guestkit/launch_error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE choosing::choosing(std::shared_ptr<handle_state> state, LaunchInfo& info,
                                   std::function<void()> look)
    : state_(std::move(state)),
      info_(info),
      look_(std::move(look)),
      path_(launch_call<std::string>(state_, guestfs_get_path)),
      hypervisor_(launch_call<std::string>(state_, guestfs_get_hv)),
      backend_(launch_call<std::string>(state_, guestfs_get_backend)),
      backend_settings_(launch_call<string_list>(state_, guestfs_get_backend_settings)),
      processors_(launch_call<int>(state_, guestfs_get_smp)),
      own_path_(state_->wishes.path_given || path_ != state_->wishes.path),
      own_hypervisor_(state_->wishes.hypervisor_given || hypervisor_ != state_->wishes.hypervisor) {}

GUESTKIT_INLINE ApplianceChoice choosing::choose() {
  refuse_damaged_appliance();
  info_.accelerator = accelerator();
  choose_sandbox();
  auto choice = appliance();
  choose_cage(choice);
  choice.backend_settings = std::move(forced_);
  return choice;
}

GUESTKIT_INLINE void choosing::refuse_damaged_appliance() const {
  if (const auto fault = damaged_appliance(path_); !fault.empty())
    throw LaunchError("launch", "the fixed appliance is damaged: " + fault, 0,
                      {Cause::appliance_damaged,
                       "make it again with libguestfs-make-fixed-appliance, or unset LIBGUESTFS_PATH"});
}

/// KVM or emulation, unless the user's backend settings already decide; empty if libguestfs' backend does.
GUESTKIT_INLINE std::string choosing::accelerator() {
  const auto accel = state_->wishes.accel;
  bool emulated = is_on(backend_settings_, "force_tcg");
  const bool chosen = emulated || is_on(backend_settings_, "force_kvm");
  if (accel == Accel::automatic) {
    if (!chosen && is_direct()) emulated = emulates_without_kvm();
    if (!chosen && emulated) force("tcg");
  } else {
    emulated = accel == Accel::tcg;
    force(emulated ? "tcg" : "kvm");
  }
  if (!is_direct()) return "";
  return emulated ? "tcg" : "kvm";
}

GUESTKIT_INLINE bool choosing::emulates_without_kvm() const {
  const auto kvm = kvm_status(hypervisor_, look_);
  if (kvm.usable) return false;
  static std::atomic_flag said = ATOMIC_FLAG_INIT;
  warn_once(*state_, said,
            "KVM cannot be used, so the appliance is emulated, which is slower: guestkit doctor tells why");
  log(*state_, LogLevel::info, "KVM: " + kvm.reason);
  return true;
}

GUESTKIT_INLINE void choosing::force(const std::string& accelerator) {
  forced_ = backend_settings_;
  std::erase_if(*forced_, [](const std::string& each) {
    return backend_setting({each}, "force_tcg") || backend_setting({each}, "force_kvm");
  });
  forced_->push_back("force_" + accelerator + "=1");
}

/// Decides whether QEMU filters its system calls.
GUESTKIT_INLINE void choosing::choose_sandbox() {
  auto& reason = info_.sandbox_reason;
  if (state_->machine.is_sandboxed)  // libguestfs forgets no parameter of QEMU's
    info_.sandbox = "seccomp";
  else if (state_->wishes.sandbox == Sandbox::none)
    reason = asked_for;
  else if (info_.accelerator.empty())
    reason = "libguestfs' backend is not direct";
  else if (own_hypervisor_ && is_script(program_file(hypervisor_)))
    reason = "the hypervisor is a script of the user's";
  else
    ask_for_sandbox();
}

GUESTKIT_INLINE void choosing::ask_for_sandbox() {
  auto status = sandbox_status(hypervisor_, look_);
  if (status.usable) {
    info_.sandbox = "seccomp";
  } else {
    static std::atomic_flag said = ATOMIC_FLAG_INIT;
    warn_once(*state_, said, "QEMU's system calls are not filtered: guestkit doctor tells why");
    log(*state_, LogLevel::info, "launch: QEMU's system calls are not filtered: " + status.reason);
  }
  info_.sandbox_reason = std::move(status.reason);
}

/// The lean appliance in the place of a warm one.
inline ApplianceChoice booted(ApplianceChoice choice, std::string reason) {
  if (choice.mode != ApplianceMode::warm) return choice;
  return {.mode = ApplianceMode::lean,
          .directory = std::move(choice.directory),
          .append = std::move(choice.append),
          .reason = std::move(reason)};
}

/// The appliance and the kernel arguments.
GUESTKIT_INLINE ApplianceChoice choosing::appliance() const {
  auto choice = wished_appliance();
  if (!info_.accelerator.empty() && !own_hypervisor_ && state_->wishes.tuning == Tuning::automatic) {
    const bool emulated = info_.accelerator == "tcg";
    choice.append =
        tuning_arguments(host_architecture(), emulated, acpi_is_spare(), emulated ? counter_khz() : 0);
  }
  if (state_->wishes.appliance == "inspection" && choice.mode == ApplianceMode::warm)
    choice.append += " guestkit_udev=asleep";
  return choice;
}

GUESTKIT_INLINE ApplianceChoice choosing::wished_appliance() const {
  const auto& wish = state_->wishes.appliance;
  const bool directory = wish != "auto" && wish != "inspection" && wish != "system";
  if (info_.accelerator.empty()) return {.reason = "libguestfs' backend is not direct"};
  if (directory && own_hypervisor_)  // a restore runs the one that the appliance was made with
    return booted(given_appliance(wish), "the hypervisor is the user's");
  if (directory) return given_appliance(wish);
  if (own_path_) return {.mode = ApplianceMode::fixed, .reason = "the search path is the user's"};
  if (own_hypervisor_) return {.reason = "the hypervisor is the user's"};
  if (wish == "system") return {.reason = asked_for};
  return best_appliance();
}

/// The fastest appliance of all caches; among equally fast ones, that of the first cache.
GUESTKIT_INLINE ApplianceChoice choosing::best_appliance() const {
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
GUESTKIT_INLINE ApplianceChoice choosing::restorable(const ApplianceChoice& lean) const {
  if (info_.accelerator != "tcg") return lean;  // restoring with KVM is untested
  if (!state_->native_given) return find_template(lean.directory);
  ApplianceChoice choice = lean;
  choice.reason = "the C handle is in use";
  return choice;
}

/// libguestfs' machine type is pc up to 1.50 and q35 afterwards. There acpi=off would also hide all
/// processors but one.
GUESTKIT_INLINE bool choosing::acpi_is_spare() const {
  if (processors_ != 1) return false;
  call_scope scope(state_, "launch");
  struct guestfs_version* version = guestfs_version(scope.h());
  const bool spare = version != nullptr && version->major == 1 && version->minor < 51;
  guestfs_free_version(version);
  return spare;
}

/// The lean appliance, booted by the program that shuts QEMU in.
inline ApplianceChoice caged(ApplianceChoice lean) {
  lean.hypervisor = lean.directory + "/cage";
  if (const auto probes = lean.directory + "/probes"; ::access(probes.c_str(), W_OK) == 0)
    lean.cache = probes;
  return lean;
}

/// Has the launch shut QEMU in, if that was asked for. Throws LaunchError if it cannot.
GUESTKIT_INLINE void choosing::choose_cage(ApplianceChoice& choice) {
  if (!state_->wishes.is_strict()) return;
  const auto refuse = [](const std::string& reason) {
    throw LaunchError("launch", "sandbox=strict: " + reason, ENOTSUP, Diagnosis{});
  };
  if (info_.sandbox.empty()) refuse(info_.sandbox_reason);
  if (own_hypervisor_)
    refuse(
        "the hypervisor is the user's, and what shuts QEMU in runs the one of the appliance that guestkit "
        "has built; "
        "leave set_hv and LIBGUESTFS_HV alone");
  if (landlock::version() == 0)
    refuse(errno == EPERM ? "something forbids the kernel's Landlock, such as a container's seccomp profile"
                          : "this kernel has no Landlock, or has it switched off (see its argument lsm=)");
  if (!state_->machine.temporary)
    refuse("there is no private directory for temporary files in " + state_->machine.tmpdir);
  // Restored machines map one file with the memory, and QEMU opens it to write: one that was taken over could
  // change the memory of every other.
  choice = booted(std::move(choice), "sandbox=strict shares no memory with other appliances");
  if (choice.mode == ApplianceMode::lean) choice = caged(std::move(choice));
  if (choice.hypervisor.empty() || ::access(choice.hypervisor.c_str(), X_OK) != 0)
    refuse("it needs an appliance that guestkit has built (guestkit appliance build)" +
           (choice.reason.empty() || choice.reason == asked_for ? "" : ": " + choice.reason));
  info_.sandbox += ", landlock";
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
