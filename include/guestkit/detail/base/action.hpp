// What guestkit must know about an action before calling it, derived from libguestfs' name for it.
#pragma once

#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The calls that guestkit treats in a way of their own.
enum class call_kind {
  ordinary,
  launch,
  config,     ///< adds something to the machine that is no disk
  serve,      ///< has the handle until somebody unmounts a directory of the host
  shut_down,  ///< ends the appliance
  close,
  function,  ///< the user's, with any calls inside
};

/// Built from a string literal at compile time, so that no call compares names at run time.
struct action {
  consteval action(const char* op)
      : name(op),
        kind(kind_of(op)),
        waits_for_programs(is(call_kind::launch) || begins_with("add_") || begins_with("disk_") ||
                           begins_with("inspect_list_applications") || view() == "inspect_get_icon" ||
                           view() == "umount_local"),
        may_run_programs(!(begins_with("get_") || begins_with("set_") || begins_with("is_") ||
                           begins_with("internal_test") || view() == "version")) {}

  constexpr bool is(call_kind which) const { return kind == which; }

  const char* name;
  call_kind kind;
  bool waits_for_programs;  // libguestfs runs programs of the host and waits for their output with select()
  bool may_run_programs;    // libguestfs may run any program of the host

 private:
  static constexpr call_kind kind_of(std::string_view name) {
    if (name == "launch") return call_kind::launch;
    if (name == "config") return call_kind::config;
    if (name == "mount_local_run") return call_kind::serve;
    if (name == "shutdown" || name == "kill_subprocess") return call_kind::shut_down;
    if (name == "close") return call_kind::close;
    if (name == "run") return call_kind::function;
    return call_kind::ordinary;
  }
  constexpr std::string_view view() const { return name; }
  constexpr bool begins_with(std::string_view start) const { return view().starts_with(start); }
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
