// What guestkit must know about an action before calling it, derived from libguestfs' name for it.
#pragma once

#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Built from a string literal at compile time, so that no call compares names at run time.
struct action {
  consteval action(const char* op)
      : name(op),
        is_launch(view() == "launch"),
        waits_for_programs(is_launch || begins_with("add_") || begins_with("disk_") ||
                           begins_with("inspect_list_applications") || view() == "inspect_get_icon" ||
                           view() == "umount_local"),
        serves(view() == "mount_local_run"),
        may_run_programs(!(begins_with("get_") || begins_with("set_") || begins_with("is_") ||
                           begins_with("internal_test") || view() == "version")) {}

  const char* name;
  bool is_launch;
  bool waits_for_programs;  // libguestfs runs programs of the host and waits for their output with select()
  bool serves;              // it has the handle until somebody unmounts a directory of the host
  bool may_run_programs;    // libguestfs may run any program of the host

 private:
  constexpr std::string_view view() const { return name; }
  constexpr bool begins_with(std::string_view start) const { return view().starts_with(start); }
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
