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

/// Launches a handle's appliance, once. It counts the time from when it is made.
class launcher {
 public:
  explicit launcher(std::shared_ptr<handle_state> state) : state_(std::move(state)) {}

  /// Takes the handle's turn, chooses what is fastest and fits, and starts it. Throws LaunchError, and what
  /// ends a launch before its time.
  void launch();

 private:
  // The steps, in their order.
  void refuse_damaged_appliance();
  void choose_accelerator();
  ApplianceChoice choose_appliance();
  void advise(const ApplianceChoice& choice) const;
  void wait_for_memory(ApplianceMode mode);
  void cover_settings(const ApplianceChoice& choice);
  void limit_time();
  void name_hypervisor();
  void start(ApplianceChoice& choice);
  void note_sockets();
  void note_success();

  // Of choosing.
  void emulate_without_kvm();
  std::string accelerator() const;
  ApplianceChoice best_appliance() const;
  ApplianceChoice restorable(const ApplianceChoice& lean) const;
  bool acpi_is_spare() const;
  void end_if_over() const;

  // Of starting.
  bool restore_has_failed(const ApplianceChoice& choice) const;
  bool boot_instead(ApplianceChoice& choice, const LaunchError& failure);
  bool renew();
  std::string verdict() const;
  void set_verdict(const std::string& text);

  // Of settings.
  void put_settings_back() noexcept;
  std::optional<std::string> current(launch_setting which) const;
  void change(launch_setting which, const std::optional<std::string>& value);
  void cover(launch_setting which, covered_setting values);

  /// A call of libguestfs that is part of the launch.
  template <class R, class F, class... A>
  R invoke(F fn, const A&... arguments) const;
  void say(const std::string& what) const;

  std::shared_ptr<handle_state> state_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  LaunchInfo info_;
};

/// Where libguestfs has the guest connect to, from QEMU's command line, in which a comma is doubled; empty if
/// that does not tell.
std::string socket_directory(const std::string& command);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/launcher.ipp"
#endif
