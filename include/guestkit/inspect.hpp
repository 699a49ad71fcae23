// One call: everything known about the operating systems on a guest's disks, as values.
//
// What a disk says is hostile: it is read by a throw-away appliance, every text of it is data. Needs
// libguestfs 1.44 where it is used.
#pragma once

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/fast.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/own.hpp"
#include "guestkit/detail/inspect/packages.hpp"
#include "guestkit/detail/inspect/parts.hpp"
#include "guestkit/detail/inspect/share.hpp"
#include "guestkit/detail/inspect/system.hpp"
#include "guestkit/files.hpp"
#include "guestkit/generated/inspection.hpp"
#include "guestkit/guestfs.hpp"
#include "guestkit/inspect_options.hpp"
#include "guestkit/open_disk.hpp"
#include "guestkit/version.hpp"

namespace guestkit::inline GUESTKIT_FORM {

namespace detail {

/// An inspection on its way. What is known is kept, whatever comes later. Guest: the actions as values.
template <class Guest>
class inspection {
 public:
  inspection(Guest& g, const InspectOptions& options)
      : g_(g), options_(options), layout_(g), own_(g, layout_), run_(g.state()) {}

  /// @param disks  what is known of them before, in the order in which they were added
  Inspection run(std::vector<InspectedDisk> disks) {
    step("looking at the disks");
    g_.umount_all();
    found_.disks = std::move(disks);
    const auto keys = readable_keys(g_, options_.keys);
    told("disks", [&] { name_disks(); });
    if (!keys.empty()) {
      step("opening encrypted disks");
      told("keys", [&] { layout_.unlock(keys); });
    }
    found_.provenance.guestkit = GUESTKIT_VERSION;
    found_.provenance.libguestfs = version();
    step("looking for operating systems");
    if (wants(InspectPart::filesystems)) told("filesystems", [&] { layout_.describe(found_); });
    find_systems();
    if (wants(InspectPart::filesystems)) {
      step("looking at the filesystems");
      run_(found_.failures, "filesystems", [&] { layout_.measure(found_); });
    }
    return std::move(found_);
  }

 private:
  static constexpr const char* systems_part = "operating_systems";
  /// Without them there is little to tell, and inspect_os takes most of the time.
  static constexpr double share_of_systems = 0.8;

  void step(const char* what) const {
    if (options_.step) options_.step(what);
  }
  bool wants(InspectPart part) const noexcept { return options_.parts & part; }

  /// What comes before there is a report to lose: an appliance that ends in it is the disk's error.
  template <class Body>
  void told(const char* part, Body&& body) {
    if (const auto error = attempt(body)) found_.failures.push_back(failure(part, *error));
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
    std::optional<InspectedSystem> fast;
    if (options_.mode == InspectMode::libguestfs)
      provenance.reason = "demanded";
    else
      fast = ask_ourselves();
    if (fast && (!options_.verify || !run_.is_alive())) {
      provenance.way = "fast";
      provenance.corrections = std::move(corrections_);
      found_.operating_systems.push_back(std::move(*fast));
      return;
    }
    provenance.way = "libguestfs";
    if (!run_.is_alive()) return;
    const bool asked = ask_libguestfs();
    if (!asked && fast) return settle_alone(std::move(*fast));
    if (!asked) tell_of_rescue();
    add_own(asked);
    if (fast) compare(*fast);
  }

  /// Both ways were tried. Where guestkit knew beforehand that libguestfs would err, that is no difference.
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
  void settle_alone(InspectedSystem fast) {
    auto& provenance = found_.provenance;
    provenance.way = "fast";
    provenance.verified = true;
    const auto said = "operating_systems: libguestfs finds none: " + found_.failures.back().message;
    found_.failures.pop_back();
    (corrections_.empty() ? provenance.differences : provenance.corrections).push_back(said);
    provenance.corrections.insert(provenance.corrections.end(), corrections_.begin(), corrections_.end());
    found_.operating_systems.push_back(std::move(fast));
  }

  /// By our own rules; nothing where these may not decide.
  std::optional<InspectedSystem> ask_ourselves() {
    std::optional<InspectedSystem> system;
    std::vector<InspectFailure> failures;
    try {
      if (!has_known_rules(found_.provenance.libguestfs)) throw doubt{"rules of another libguestfs"};
      if (wants(InspectPart::icon)) throw doubt{"an icon is wanted"};
      fast_inspection<Guest> fast(g_, layout_);
      if (run_(failures, systems_part, [&] { system = fast.run(); })) {
        step("reading the guest's files");
        gather(*system, std::nullopt);
        corrections_ = fast.corrections();
      } else if (run_.is_alive()) {
        found_.provenance.reason = failures.front().message;
      } else {
        std::ranges::move(failures, std::back_inserter(found_.failures));
      }
    } catch (const doubt& reason) {
      found_.provenance.reason = reason.reason;
      system.reset();
    }
    unmount();
    return system;
  }

  /// What inspect_os finds, if nothing in the guest keeps it from an answer; then the failures say what.
  bool ask_libguestfs() {
    auto& systems = found_.operating_systems;
    auto& corrections = found_.provenance.corrections;
    const bool asked = run_(
        found_.failures, systems_part,
        [&] {
          own_.look_around();
          if (!own_.fault().empty()) throw Error("inspect_os", "was not asked: " + own_.fault(), EINVAL);
          for (const auto& root : g_.inspect_os()) systems.push_back(system_at(g_, root));
        },
        share_of_systems);
    for (auto& system : systems) {
      step("reading the guest's files");
      const bool mounted = run_(system.failures, "mountpoints", [&] {
        g_.umount_all();
        mount_system(g_, system, layout_, corrections);
      });
      if (!mounted) continue;
      if (system.type == "linux")
        run_(system.failures, "os_release",
             [&] { fast_inspection<Guest>(g_, layout_).correct(system, corrections); });
      gather(system, system.package_format);
      if (wants(InspectPart::icon)) run_(system.failures, "icon", [&] { add_icon(g_, system); });
    }
    unmount();
    return asked;
  }

  /// inspect_os fails as a whole when one guest's text is too much for it: then our own rules go as far as
  /// they can.
  void tell_of_rescue() {
    auto& provenance = found_.provenance;
    auto& failed = found_.failures.back();
    provenance.way = "rescue";
    const auto why = failed.op + ": " + failed.message;
    provenance.reason = provenance.reason.empty() ? why : provenance.reason + "; " + why;
    if (run_.is_alive())
      failed.message += "; what is told was found by guestkit's own rules, which know Linux alone";
  }

  /// The systems that libguestfs does not find.
  void add_own(bool asked) {
    for (const auto& place : own_.places(found_.operating_systems)) {
      if (!run_.is_alive()) return;
      std::optional<InspectedSystem> system;
      run_(found_.failures, systems_part, [&] { system = own_.read(place); });
      if (!system) continue;
      step("reading the guest's files");
      gather(*system, "unknown");
      if (asked)
        found_.provenance.corrections.push_back("operating_systems: libguestfs does not find the one on " +
                                                printable(system->root));
      found_.operating_systems.push_back(std::move(*system));
    }
    unmount();
  }

  void unmount() {
    std::vector<InspectFailure> ignored;
    if (run_.is_alive()) run_(ignored, "mountpoints", [&] { g_.umount_all(); });
  }

  /// What was asked for of a system that is mounted; what may take long comes last.
  /// @param of_libguestfs  see add_applications
  void gather(InspectedSystem& system, const std::optional<std::string>& of_libguestfs) {
    const guest_tree<Guest> files{g_, system.root_directory};
    if (system.type != "windows" && system.type != "dos")
      run_(system.failures, "os_release", [&] {
        if (system.os_release.empty()) add_os_release(files, system);
        for (auto& change : fill_in(files, system))
          found_.provenance.corrections.push_back(std::move(change));
      });
    add_parts(files, options_.parts, system, run_);
    if (wants(InspectPart::applications))
      run_(system.failures, "applications", [&] { add_applications(files, system, of_libguestfs); });
  }

  std::string version() {
    const auto version = g_.version();
    return std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' +
           std::to_string(version.release) + version.extra;
  }

  Guest& g_;
  const InspectOptions& options_;
  layout<Guest> layout_;
  own_inspection<Guest> own_;
  part_runner run_;
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
/// One call for the limits: Limits::call is the time for all of it, of which each part may take half of what
/// is left; without that limit, no part has one. What fails or takes too long is told in the result; when the
/// appliance had to be ended for it, what came afterwards is missing, and the handle is of no more use.
/// Throws Error when nothing is known.
template <class Core, class Guest = detail::borrowed<>>
Inspection inspect(basic_guestfs<Core>& g, const InspectOptions& options = {}) {
  Guest guest(state_of(g));
  const detail::call_scope scope(guest.state(), "inspect");
  return detail::inspection<Guest>(guest, options).run({});
}

/// Tell what is on the disks of one guest, on a handle without disks that was not launched: adds them for
/// reading, launches, inspects. Limits::call is the time for all of it, the launch included. A compressed
/// disk or an archive (OVA) is an Error: it is to be unpacked before.
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
/// once when these are over, since nothing can be lost.
inline HandleOptions inspection_handle() {
  return {.appliance = "inspection", .limits = {.call = Seconds(600), .cancel_grace = Seconds(0)}};
}

/// Tell what is on the disks of one guest, in an appliance of its own.
///
///     for (const auto& system : guestkit::inspect({"web.qcow2"}).operating_systems)
///       std::cout << system.product_name << '\n';
///
/// @param disks  images or block devices, in the guest's order; none that is packed, as inspect_disks()
///
template <class Handle = Guestfs>
Inspection inspect(const string_list& disks, const InspectOptions& options = {},
                   const HandleOptions& handle = inspection_handle()) {
  Handle g(handle);
  return inspect_disks(g, disks, options);
}

}  // namespace guestkit::inline GUESTKIT_FORM
