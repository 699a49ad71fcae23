// Guestfs::open_disk(): for disks that somebody else has written.
#pragma once

#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/scratch.hpp"
#include "guestkit/detail/image/checked_disk.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/generated/image_info.hpp"
#include "guestkit/guestfs.hpp"
#include "guestkit/open_disk_options.hpp"

namespace guestkit::inline GUESTKIT_FORM {

template <class Core>
ImageInfo basic_guestfs<Core>::open_disk(const std::filesystem::path& path, const OpenDiskOptions& options) {
  constexpr auto op = "open_disk";
  const auto state = this->state();
  const detail::call_scope scope(state, op);
  try {
    const bool direct = detail::call<std::string>(state, op, guestfs_get_backend).lift() == "direct";
    const auto directory =
        state->machine.temporary ? state->machine.temporary : detail::scratch::beneath(state->machine.tmpdir);
    const auto cage = state->wishes.is_strict() ? std::optional(detail::cage_program(state->wishes.appliance))
                                                : std::nullopt;
    auto disk = detail::check_disk(op, path.native(), options, direct, directory, cage);
    try {
      detail::add_to_machine<void>(state, "add_drive", guestfs_add_drive_opts_argv, cstr(disk.filename),
                                   disk.options);
    } catch (const Error& e) {
      if (disk.options.protocol != "nbd" || disk.options.readonly == false) throw;
      const auto hint = e.hint().empty() ? "if nothing answers there, start the NBD server first: one that "
                                           "presents this export and that this user may connect to"
                                         : e.hint();
      throw Error(op, detail::shown(path.native()) + ": " + e.message(), e.error_number(), {e.cause(), hint});
    }
    if (!disk.in_use.empty())
      detail::log(*state, LogLevel::warning,
                  std::string(op) + ": " + disk.in_use + ": what is read may be inconsistent");
    for (const auto& file : disk.kept.files) state->machine.disk_files.push_back(file.get());
    state->machine.disks.push_back(std::make_shared<detail::opened_disk>(std::move(disk.kept)));
    return std::move(disk.info);
  } catch (const Error& e) {  // perhaps only because the stop of this call killed qemu-img
    state->turns->throw_if_stopped(op, e.message(), e.error_number(), {});
    throw;
  } catch (const std::system_error& e) {
    const int number = e.code().value();
    throw Error(op, std::string("no private file: ") + e.what(), number,
                detail::scarcity(number).value_or(
                    Diagnosis{Cause::no_space, std::string(detail::no_temporary_files)}));
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM
