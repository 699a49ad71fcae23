// One call: everything known about the operating systems on a guest's disks, as values.
//
// What a disk says is hostile: it is read by a throw-away appliance, every text of it is data. Needs
// libguestfs 1.44 where it is used.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "files.hpp"
#include "guestfs.hpp"
#include "inspect/fast.hpp"
#include "inspect/info.hpp"
#include "inspect/layout.hpp"
#include "inspect/options.hpp"
#include "inspect/parts.hpp"
#include "inspect/system.hpp"
#include "open_disk.hpp"
#include "version.hpp"

namespace guestkit {

namespace detail {

/// An inspection on its way. Guest: the actions as values.
template <class Guest>
class inspection {
 public:
  inspection(Guest& g, const InspectOptions& options) : g_(g), options_(options), layout_(g) {}

  /// @param disks  what is known of them before, in the order in which they were added
  Inspection run(std::vector<InspectedDisk> disks) {
    step("looking at the disks");
    g_.umount_all();
    found_.disks = std::move(disks);
    name_disks();
    if (!options_.keys.empty()) {
      step("opening encrypted disks");
      layout_.unlock(options_.keys);
    }
    found_.provenance.guestkit = GUESTKIT_VERSION;
    found_.provenance.libguestfs = version();
    step("looking for operating systems");
    find_systems();
    if (options_.parts & InspectPart::filesystems) {
      step("looking at the filesystems");
      layout_.describe(found_);
    }
    return std::move(found_);
  }

 private:
  void step(const char* what) const {
    if (options_.step) options_.step(what);
  }

  void name_disks() {
    const auto& devices = layout_.disks();
    found_.disks.resize(devices.size());
    for (std::size_t i = 0; i < devices.size(); ++i) {
      auto& disk = found_.disks[i];
      disk.device = devices[i];
      if (disk.virtual_size == 0)
        disk.virtual_size = static_cast<std::uint64_t>(g_.blockdev_getsize64(disk.device));
    }
  }

  void find_systems() {
    auto& provenance = found_.provenance;
    auto fast = options_.mode == InspectMode::libguestfs ? std::nullopt : ask_ourselves();
    if (options_.mode == InspectMode::libguestfs) provenance.reason = "demanded";
    if (fast && !options_.verify) {
      provenance.way = "fast";
      found_.operating_systems.push_back(std::move(*fast));
      return;
    }
    provenance.way = "libguestfs";
    ask_libguestfs();
    if (!fast) return;
    provenance.reason = "verified";
    provenance.verified = true;
    if (found_.operating_systems.size() == 1)
      provenance.differences = differences(*fast, found_.operating_systems.front());
    else
      provenance.differences.push_back(std::to_string(found_.operating_systems.size()) +
                                       " operating systems");
  }

  /// By our own rules; nothing where these may not decide.
  std::optional<InspectedSystem> ask_ourselves() {
    std::optional<InspectedSystem> system;
    try {
      if (!has_known_rules(found_.provenance.libguestfs)) throw doubt{"rules of another libguestfs"};
      if (options_.parts & InspectPart::icon) throw doubt{"an icon is wanted"};
      fast_inspection<Guest> fast(g_, layout_);
      system = fast.run();
      step("reading the guest's files");
      if (system->mountpoints.size() != 1 ||
          system->mountpoints.front() != std::pair<std::string, std::string>("/", system->root)) {
        g_.umount_all();
        mount_system(g_, *system, layout_);
      }
      add_parts(g_, options_.parts, *system);
      if (options_.parts & InspectPart::applications) fast.add_applications(*system);
    } catch (const doubt& reason) {
      found_.provenance.reason = reason.reason;
      system.reset();
    } catch (const Error& error) {
      if (is_final(error)) throw;
      found_.provenance.reason = one_line(error.what());
      system.reset();
    }
    g_.umount_all();
    return system;
  }

  void ask_libguestfs() {
    for (const auto& root : g_.inspect_os()) {
      auto system = system_at(g_, root);
      step("reading the guest's files");
      mount_system(g_, system, layout_);
      add_parts(g_, options_.parts, system);
      if (options_.parts & InspectPart::applications) add_applications(g_, system);
      if (options_.parts & InspectPart::icon) add_icon(g_, system);
      g_.umount_all();
      found_.operating_systems.push_back(std::move(system));
    }
  }

  std::string version() {
    const auto version = g_.version();
    return std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' +
           std::to_string(version.release) + version.extra;
  }

  Guest& g_;
  const InspectOptions& options_;
  layout<Guest> layout_;
  Inspection found_;
};

/// Opens a disk for reading: the one place that opens what an inspection looks at.
template <class Handle>
InspectedDisk add_inspected_disk(Handle& g, const std::string& path, const InspectOptions& options) {
  auto opening = options.disk;
  opening.readonly = true;
  const auto image = g.open_disk(path, opening);
  // QEMU would read what is missing as zeros.
  if (image.truncated)
    throw Error("open_disk",
                path + ": is a truncated " + image.format + " image: part of the file is missing", EINVAL);
  return {.format = image.format, .virtual_size = image.virtual_size};
}

}  // namespace detail

/// Tell what is on the disks of a handle that was launched. Whatever is mounted is unmounted, before and
/// afterwards; nothing is written.
///
/// One call for the limits: Limits::call is the time for all of it. Throws Error when libguestfs can tell
/// nothing; what fails in part is told in the result. Since 0.3.
template <class Core, class Guest = detail::borrowed<>>
Inspection inspect(basic_guestfs<Core>& g, const InspectOptions& options = {}) {
  Guest guest(state_of(g));
  const detail::call_scope scope(guest.state(), "inspect");
  return detail::inspection<Guest>(guest, options).run({});
}

/// Tell what is on the disks of one guest, on a handle without disks that was not launched: adds them for
/// reading, launches, inspects. Limits::call is the time for all of it, the launch included. Since 0.3.
template <class Core, class Guest = detail::borrowed<>>
Inspection inspect_disks(basic_guestfs<Core>& g, const string_list& disks,
                         const InspectOptions& options = {}) {
  Guest guest(state_of(g));
  const detail::call_scope scope(guest.state(), "inspect");
  if (options.step) options.step("starting the appliance");
  std::vector<InspectedDisk> known;
  known.reserve(disks.size());
  for (const auto& disk : disks) known.push_back(detail::add_inspected_disk(g, disk, options));
  g.set_autosync(false);  // nothing is written: there is nothing to wait for at the end
  g.launch();
  return detail::inspection<Guest>(guest, options).run(std::move(known));
}

/// What a handle for inspections is made with: the appliance for them, ten minutes for a guest, and a kill at
/// once when these are over, since nothing can be lost. Since 0.3.
inline HandleOptions inspection_handle() {
  return {.appliance = "inspection", .limits = {.call = Seconds(600), .cancel_grace = Seconds(0)}};
}

/// Tell what is on the disks of one guest, in an appliance of its own.
///
///     for (const auto& system : guestkit::inspect({"web.qcow2"}).operating_systems)
///       std::cout << system.product_name << '\n';
///
/// @param disks  images or block devices, in the guest's order
/// Since 0.3.
template <class Handle = Guestfs>
Inspection inspect(const string_list& disks, const InspectOptions& options = {},
                   const HandleOptions& handle = inspection_handle()) {
  Handle g(handle);
  return inspect_disks(g, disks, options);
}

}  // namespace guestkit
