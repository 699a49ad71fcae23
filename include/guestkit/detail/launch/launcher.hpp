// A launch: docs/fast-launch.md, step by step.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/state/handle_state.hpp"
#include "guestkit/error.hpp"
#include "guestkit/launch_error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Launches a handle's appliance, once.
class launcher {
 public:
  explicit launcher(std::shared_ptr<handle_state> state) : state_(std::move(state)) {}

  /// Takes the handle's turn, chooses the fastest appliance that fits, and starts it. Throws LaunchError, or
  /// the reason if the launch is ended early.
  void launch();

 private:
  // The steps that are not in choosing.hpp, covering.hpp and starting.hpp, in order.
  ApplianceChoice choose();
  void advise(const ApplianceChoice& choice) const;
  void wait_for_memory(ApplianceMode mode);
  void limit_time();
  void name_hypervisor();
  void confine_hypervisor();
  void note_sockets();
  void note_success();
  void undo() noexcept;

  std::string cage() const;
  void end_if_over() const;
  void say(const std::string& what) const;

  std::shared_ptr<handle_state> state_;
  std::chrono::steady_clock::time_point begin_;  // later by the time that it has waited for memory
  LaunchInfo info_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/launcher.ipp"
#endif
