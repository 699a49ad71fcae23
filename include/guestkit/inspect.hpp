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
#include "generated/inspection.hpp"
#include "guestfs.hpp"
#include "inspect/fast.hpp"
#include "inspect/layout.hpp"
#include "inspect/mounts.hpp"
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
      provenance.corrections = std::move(corrections_);
      found_.operating_systems.push_back(std::move(*fast));
      return;
    }
    provenance.way = "libguestfs";
    string_list roots;
    if (const auto error = attempt([&] { roots = roots_of_libguestfs(); })) {
      if (fast)
        settle_alone(std::move(*fast), *error);
      else
        rescue(*error);
      return;
    }
    ask_libguestfs(roots);
    if (fast) compare(*fast);
  }

  /// Both ways were gone. Where guestkit knew beforehand that libguestfs would err, that is no difference.
  void compare(const InspectedSystem& fast) {
    auto& provenance = found_.provenance;
    provenance.reason = "verified";
    provenance.verified = true;
    if (found_.operating_systems.size() != 1) {
      provenance.differences.push_back(std::to_string(found_.operating_systems.size()) +
                                       " operating systems");
      return;
    }
    provenance.differences = differences(fast, found_.operating_systems.front());
    if (corrections_.empty())
      provenance.differences.insert(provenance.differences.end(), provenance.corrections.begin(),
                                    provenance.corrections.end());
  }

  /// Our own answer is sure, and libguestfs has none.
  void settle_alone(InspectedSystem fast, const Error& error) {
    auto& provenance = found_.provenance;
    provenance.way = "fast";
    provenance.verified = true;
    const auto said = "operating_systems: libguestfs finds none: " + one_line(error.message());
    (corrections_.empty() ? provenance.differences : provenance.corrections).push_back(said);
    provenance.corrections.insert(provenance.corrections.end(), corrections_.begin(), corrections_.end());
    found_.operating_systems.push_back(std::move(fast));
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
      add_parts(g_, options_.parts, *system);
      if (options_.parts & InspectPart::applications) fast.add_applications(*system);
      corrections_ = fast.corrections();
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

  /// What inspect_os says, if no guest's text keeps it from saying anything.
  string_list roots_of_libguestfs() {
    for (const auto& device : mountable_filesystems(g_, layout_)) {
      g_.umount_all();
      if (attempt([&] { g_.mount_ro(device, "/"); })) continue;
      if (const auto fault = fault_for_augeas(g_))
        throw Error("inspect_os", "was not asked: on " + printable(device) + ", " + *fault, EFBIG);
    }
    g_.umount_all();
    return g_.inspect_os();
  }

  void ask_libguestfs(const string_list& roots) {
    auto& corrections = found_.provenance.corrections;
    for (const auto& root : roots) {
      auto system = system_at(g_, root);
      step("reading the guest's files");
      mount_system(g_, system, layout_, corrections);
      if (system.type == "linux") fast_inspection<Guest>(g_, layout_).correct(system, corrections);
      add_parts(g_, options_.parts, system);
      if (options_.parts & InspectPart::applications) add_applications(g_, system);
      if (options_.parts & InspectPart::icon) add_icon(g_, system);
      g_.umount_all();
      found_.operating_systems.push_back(std::move(system));
    }
  }

  /// inspect_os fails as a whole when one guest's text is too much for it: then our own rules go as far as
  /// they can.
  void rescue(const Error& error) {
    auto& provenance = found_.provenance;
    provenance.way = "rescue";
    const auto why = one_line(error.what());
    provenance.reason = provenance.reason.empty() ? why : provenance.reason + "; " + why;
    found_.failures.push_back(failure("operating_systems", error));
    found_.failures.back().message +=
        "; what is told was found by guestkit's own rules, which know Linux alone";
    for (const auto& device : mountable_filesystems(g_, layout_)) {
      g_.umount_all();
      if (attempt([&] { g_.mount_ro(device, "/"); })) continue;
      fast_inspection<Guest> own(g_, layout_);
      auto system = own.read_alone(device);
      if (!system) continue;
      step("reading the guest's files");
      add_parts(g_, options_.parts, *system);
      if (options_.parts & InspectPart::applications) try {
          own.add_applications(*system);
        } catch (const doubt& reason) {
          system->failures.push_back({.part = "applications", .message = reason.reason});
        }
      found_.operating_systems.push_back(std::move(*system));
    }
    g_.umount_all();
  }

  std::string version() {
    const auto version = g_.version();
    return std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' +
           std::to_string(version.release) + version.extra;
  }

  Guest& g_;
  const InspectOptions& options_;
  layout<Guest> layout_;
  std::vector<std::string> corrections_;  // that our own answer makes to libguestfs'
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
