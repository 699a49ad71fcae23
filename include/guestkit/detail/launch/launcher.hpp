// A launch: docs/fast-launch.md, step by step.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/handle_state.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/launch/settings.hpp"
#include "guestkit/error.hpp"
#include "guestkit/launch_error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Launches a handle's appliance, once. Its clock starts when it is constructed.
class launcher {
 public:
  explicit launcher(std::shared_ptr<handle_state> state) : state_(std::move(state)) {}

  /// Takes the handle's turn, chooses the fastest appliance that fits, and starts it. Throws LaunchError, or
  /// the reason if the launch is ended early.
  void launch();

 private:
  // The steps, in order.
  void refuse_damaged_appliance();
  void choose_accelerator();
  void choose_sandbox();
  ApplianceChoice choose_appliance();
  void choose_cage(ApplianceChoice& choice);
  void advise(const ApplianceChoice& choice) const;
  void wait_for_memory(ApplianceMode mode);
  void cover_settings(const ApplianceChoice& choice);
  void limit_time();
  void name_hypervisor();
  void confine_hypervisor();
  void start(ApplianceChoice& choice);
  void note_sockets();
  void note_success();

  // Choosing.
  bool own_hypervisor() const;
  void ask_for_sandbox(const std::string& qemu);
  bool is_strict() const { return state_->wishes.sandbox == Sandbox::strict; }
  std::string cage() const;
  void emulate_without_kvm();
  std::string accelerator() const;
  ApplianceChoice best_appliance() const;
  ApplianceChoice restorable(const ApplianceChoice& lean) const;
  bool acpi_is_spare() const;
  void end_if_over() const;

  // Starting.
  bool restore_has_failed(const ApplianceChoice& choice) const;
  bool boot_instead(ApplianceChoice& choice, const LaunchError& failure);
  bool renew();
  std::string verdict() const;
  void set_verdict(const std::string& text);

  // Settings.
  void put_settings_back() noexcept;
  std::optional<std::string> current(launch_setting which) const;
  void change(launch_setting which, const std::optional<std::string>& value);
  void cover(launch_setting which, covered_setting values);

  /// Makes a call to libguestfs as part of the launch.
  template <class R, class F, class... A>
  R invoke(F fn, const A&... arguments) const;
  void say(const std::string& what) const;

  std::shared_ptr<handle_state> state_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  LaunchInfo info_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/launcher.ipp"
#endif
