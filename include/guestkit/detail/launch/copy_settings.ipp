#pragma once

#include <cstdlib>
#include <type_traits>

#include "guestkit/detail/call/convert.hpp"
#include "guestkit/detail/launch/copy_settings.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE bool copy_settings(guestfs_h* from, guestfs_h* to) {
  bool all = true;
  const auto text = [&](auto get, auto set) {
    const auto value = get(from);
    all = set(to, value) == 0 && all;
    if constexpr (std::is_same_v<decltype(value), char* const>) std::free(value);
  };
  const auto list = [&](auto get, auto set) {
    const auto value = get(from);
    all = value != nullptr && set(to, value) == 0 && all;
    if (value != nullptr) c_release<string_list>()(value);
  };
  const auto number = [&](auto get, auto set) { all = set(to, get(from)) == 0 && all; };
  text(guestfs_get_append, guestfs_set_append);
  text(guestfs_get_backend, guestfs_set_backend);
  text(guestfs_get_cachedir, guestfs_set_cachedir);
  text(guestfs_get_hv, guestfs_set_hv);
  text(guestfs_get_identifier, guestfs_set_identifier);
  text(guestfs_get_path, guestfs_set_path);
  text(guestfs_get_program, guestfs_set_program);
  text(guestfs_get_tmpdir, guestfs_set_tmpdir);
  number(guestfs_get_autosync, guestfs_set_autosync);
  number(guestfs_get_memsize, guestfs_set_memsize);
  number(guestfs_get_network, guestfs_set_network);
  number(guestfs_get_pgroup, guestfs_set_pgroup);
  number(guestfs_get_recovery_proc, guestfs_set_recovery_proc);
  number(guestfs_get_smp, guestfs_set_smp);
  number(guestfs_get_verbose, guestfs_set_verbose);
  number(guestfs_get_trace, guestfs_set_trace);
  list(guestfs_get_backend_settings, guestfs_set_backend_settings);
  return all;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
