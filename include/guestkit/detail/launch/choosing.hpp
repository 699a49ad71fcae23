// What a launch runs: with which accelerator, in which sandbox, and which appliance.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/state/handle_state.hpp"
#include "guestkit/generated/launch_info.hpp"
#include "guestkit/values.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Chooses from the user's wishes, the handle's settings and what is available.
class choosing {
 public:
  /// Reads the settings; none may be covered.
  /// @param info  gets the accelerator and the sandbox
  /// @param look  called several times a second while a program is tried out; if it throws, the launch ends
  choosing(std::shared_ptr<handle_state> state, LaunchInfo& info, std::function<void()> look);

  /// Throws LaunchError if the user's wishes cannot be fulfilled.
  ApplianceChoice choose();

 private:
  // The steps, in order.
  void refuse_damaged_appliance() const;
  std::string accelerator();
  void choose_sandbox();
  ApplianceChoice appliance() const;
  void choose_cage(ApplianceChoice& choice);

  bool is_direct() const { return backend_ == "direct"; }
  bool emulates_without_kvm() const;
  void force(const std::string& accelerator);
  void ask_for_sandbox();
  ApplianceChoice wished_appliance() const;
  ApplianceChoice best_appliance() const;
  ApplianceChoice restorable(const ApplianceChoice& lean) const;
  bool acpi_is_spare() const;

  std::shared_ptr<handle_state> state_;
  LaunchInfo& info_;
  std::function<void()> look_;

  // What the handle says, the user's or libguestfs' own
  const std::string path_, hypervisor_, backend_;
  const string_list backend_settings_;
  const int processors_;
  const bool own_path_, own_hypervisor_;  // whether the user has chosen them

  std::optional<string_list> forced_;  // the backend settings with an accelerator; nothing: the user's decide
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/choosing.ipp"
#endif
