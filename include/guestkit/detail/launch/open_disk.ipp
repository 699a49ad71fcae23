#pragma once

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "guestkit/detail/base/diagnosis.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/scratch.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/call/machine_calls.hpp"
#include "guestkit/detail/image/checked_disk.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/launch/open_disk.hpp"
#include "guestkit/open_disk_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Refuses a disk that the machine writes to already: QEMU would lock itself out.
inline void refuse_second_writer(machine& of, const char* op, const std::string& path,
                                 const opened_disk& disk) {
  of.forget_gone_disks();
  const bool is_there = disk.written && std::ranges::any_of(of.additions, [&](const auto& each) {
                          return each.written == disk.written;
                        });
  if (is_there)
    throw Error(op, shown(path) + ": is a disk of this handle already, and is written to", EBUSY,
                {Cause::unknown, "add it once"});
}

GUESTKIT_INLINE ImageInfo open_disk(std::shared_ptr<handle_state> state, const std::string& path,
                                    const OpenDiskOptions& options) {
  constexpr auto op = "open_disk";
  const call_scope scope(state, op);
  try {
    const bool direct = call<std::string>(state, op, guestfs_get_backend).lift() == "direct";
    const auto directory =
        state->machine.temporary ? state->machine.temporary : scratch::beneath(state->machine.tmpdir);
    const auto cage =
        state->wishes.is_strict() ? std::optional(cage_program(state->wishes.appliance)) : std::nullopt;
    auto disk = check_disk(op, path, options, direct, directory, cage);
    refuse_second_writer(state->machine, op, path, disk.kept);
    try {
      add_to_machine<void>(state, "add_drive", guestfs_add_drive_opts_argv, cstr(disk.filename),
                           disk.options);
    } catch (const Error& e) {
      if (disk.options.protocol != "nbd" || disk.options.readonly == false) throw;
      std::string_view message = e.message();
      std::string reason(trimmed(take_until(message, '\n')));  // what follows says how to debug libguestfs
      if (reason.ends_with('.')) reason.pop_back();
      const auto hint = e.hint().empty() ? "if nothing answers there, start the NBD server first: one that "
                                           "presents this export and that this user may connect to"
                                         : e.hint();
      throw Error(op, shown(path) + ": " + reason, e.error_number(), {e.cause(), hint});
    }
    if (!disk.in_use.empty())
      log(*state, LogLevel::warning,
          std::string(op) + ": " + disk.in_use + ": what is read may be inconsistent");
    state->machine.additions.back().written = disk.kept.written;
    for (const auto& file : disk.kept.files) state->machine.disk_files.push_back(file.get());
    state->machine.disks.push_back(std::make_shared<opened_disk>(std::move(disk.kept)));
    return std::move(disk.info);
  } catch (const Error& e) {  // perhaps only because the stop of this call killed qemu-img
    state->turns->throw_if_stopped(op, e.message(), e.error_number(), {});
    throw;
  } catch (const std::system_error& e) {
    const int number = e.code().value();
    throw Error(op, std::string("no private file: ") + e.what(), number,
                scarcity(number).value_or(Diagnosis{Cause::no_space, std::string(no_temporary_files)}));
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
