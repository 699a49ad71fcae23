// What guestkit has to know of an action before it calls it, from libguestfs' name of it.
#pragma once

#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Made of a string literal when a program is compiled, so that no call compares names.
struct action {
  consteval action(const char* op)
      : name(op),
        is_launch(view() == "launch"),
        waits_for_programs(is_launch || begins_with("add_") || begins_with("disk_") ||
                           begins_with("inspect_list_applications") || view() == "inspect_get_icon"),
        may_run_programs(!(begins_with("get_") || begins_with("set_") || begins_with("is_") ||
                           begins_with("internal_test") || view() == "version")) {}

  const char* name;
  bool is_launch;
  bool waits_for_programs;  // libguestfs runs programs of the host and waits, by select(), for what they say
  bool may_run_programs;    // libguestfs may run any program of the host

 private:
  constexpr std::string_view view() const { return name; }
  constexpr bool begins_with(std::string_view start) const { return view().starts_with(start); }
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
