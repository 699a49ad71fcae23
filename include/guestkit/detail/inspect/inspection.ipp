#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/files/tree.hpp"
#include "guestkit/detail/inspect/fast.hpp"
#include "guestkit/detail/inspect/inspection.hpp"
#include "guestkit/detail/inspect/keys.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/layout_description.hpp"
#include "guestkit/detail/inspect/linux_rules.hpp"
#include "guestkit/detail/inspect/own.hpp"
#include "guestkit/detail/inspect/packages.hpp"
#include "guestkit/detail/inspect/part_runner.hpp"
#include "guestkit/detail/inspect/parts.hpp"
#include "guestkit/detail/inspect/release.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/detail/inspect/system.hpp"
#include "guestkit/error.hpp"
#include "guestkit/version.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// An inspection in progress. Whatever it has found stays in the report, even if a later step fails.
class inspection {
 public:
  /// @param is_new  see layout
  inspection(guest_actions& g, const InspectOptions& options, bool is_new)
      : g_(g), options_(options), is_new_(is_new), layout_(g, is_new), own_(g, layout_), run_(g.state()) {}

  /// @param disks  what is already known about them, in the order in which they were added
  Inspection run(std::vector<InspectedDisk> disks) {
    step("looking at the disks");
    if (is_new_)
      g_.note_nothing_is_mounted();
    else
      g_.umount_all();
    found_.disks = std::move(disks);
    std::vector<InspectKey> keys;  // a bad one costs only what it would open
    for (const auto& key : options_.keys) told("keys", [&] { keys.push_back(readable_key(g_, key)); });
    told("disks", [&] { name_disks(); });
    if (!keys.empty()) {
      step("opening encrypted disks");
      told("keys", [&] { layout_.unlock(keys); });
    }
    found_.provenance.guestkit = GUESTKIT_VERSION;
    found_.provenance.libguestfs = version();
    step("looking for operating systems");
    if (wants(InspectPart::filesystems)) told("filesystems", [&] { describe_layout(g_, layout_, found_); });
    find_systems();
    const bool several = found_.operating_systems.size() > 1;
    found_.provenance.corrections = corrections_.told(several);
    found_.provenance.differences = differences_.told(several);
    if (wants(InspectPart::filesystems)) {
      step("looking at the filesystems");
      run_(found_.failures, "filesystems", [&] { measure_filesystems(g_, layout_, found_); });
    }
    if (!is_new_) unmount();  // whoever opened it for this will close it
    return std::move(found_);
  }

 private:
  static constexpr const char* systems_part = "operating_systems";
  /// A report without operating systems says little, and inspect_os takes most of the time.
  static constexpr double share_of_systems = 0.8;

  void step(const char* what) const {
    if (options_.step) options_.step(what);
  }
  bool wants(InspectPart part) const noexcept { return has(options_.parts, part); }

  /// Runs one of the first steps. If the appliance dies in it, the whole inspection fails: there is no report
  /// yet that could be lost.
  void told(const char* part, const std::function<void()>& body) {
    if (const auto error = error_of(body)) found_.failures.push_back(failure(part, *error));
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
    std::optional<std::vector<InspectedSystem>> fast;
    if (options_.mode == InspectMode::libguestfs)
      provenance.reason = "asked for";
    else
      fast = ask_ourselves();
    if (fast && (!options_.verify || !run_.is_alive())) {
      provenance.way = "fast";
      corrections_ = std::move(ours_);
      found_.operating_systems = *std::move(fast);
      return;
    }
    provenance.way = "libguestfs";
    if (!run_.is_alive()) return;
    const bool asked = ask_libguestfs();
    if (!asked && fast) return settle_alone(*std::move(fast));
    if (!asked) tell_of_rescue();
    add_own(asked);
    if (fast) compare(*fast);
  }

  /// Both guestkit and libguestfs have an answer. Where guestkit knew beforehand that libguestfs errs, it is
  /// a correction, not a difference; nor are packages that libguestfs did not find at all.
  void compare(const std::vector<InspectedSystem>& fast) {
    auto& provenance = found_.provenance;
    const auto& theirs = found_.operating_systems;
    provenance.reason = "verified";
    provenance.verified = true;
    if (theirs.size() != fast.size())
      differences_.add("", {"operating_systems: " + std::to_string(fast.size()) + " instead of " +
                            std::to_string(theirs.size())});
    const auto has = [](const auto& all, const auto& system) {
      return std::ranges::find(all, system.root, &InspectedSystem::root) != all.end();
    };
    if (theirs.size() == fast.size() &&
        std::ranges::all_of(fast, [&](const auto& system) { return has(theirs, system); }) &&
        !std::ranges::equal(fast, theirs, {}, &InspectedSystem::root, &InspectedSystem::root))
      differences_.add("", {"operating_systems: in another order"});
    for (const auto& system : fast) {
      const auto same = std::ranges::find(theirs, system.root, &InspectedSystem::root);
      if (same == theirs.end())
        differences_.add("", {"operating_systems: one on " + printable(system.root)});
      else
        differences_.add(system.root, differences(system, *same));
    }
    if (ours_.empty()) differences_.add(corrections_.without("applications"));
  }

  /// guestkit's own rules have an answer and libguestfs has none.
  void settle_alone(std::vector<InspectedSystem> fast) {
    auto& provenance = found_.provenance;
    provenance.way = "fast";
    provenance.verified = true;
    const auto said = "operating_systems: no answer from libguestfs: " + found_.failures.back().message;
    found_.failures.pop_back();
    (ours_.empty() ? differences_ : corrections_).add("", {said});
    corrections_.add(ours_);
    found_.operating_systems = std::move(fast);
  }

  /// The systems according to guestkit's own rules; nothing if they must not decide.
  std::optional<std::vector<InspectedSystem>> ask_ourselves() {
    std::vector<InspectedSystem> systems;
    std::vector<InspectFailure> failures;
    const auto hesitate = [&](const std::string& why) {
      found_.provenance.reason = why;
      ours_ = {};
      return std::nullopt;
    };
    try {
      if (const auto unknown = unknown_rules(g_.version()); !unknown.empty()) throw doubt{unknown};
      if (wants(InspectPart::icon)) throw doubt{"an icon is wanted"};
      fast_inspection fast(g_, layout_);
      string_list roots;
      run_(failures, systems_part, [&] { roots = fast.find_roots(); });
      ours_.add("", fast.take_corrections());
      for (const auto& root : roots) {
        std::optional<InspectedSystem> system;
        if (!run_(failures, systems_part, [&] { system = fast.read(root); })) break;
        if (!system) continue;
        step("reading the guest's files");
        auto corrections = fast.take_corrections();
        gather(systems.emplace_back(*std::move(system)), std::nullopt, corrections);
        ours_.add(root, corrections);
      }
    } catch (const doubt& reason) {
      return hesitate(reason.reason);
    }
    if (!failures.empty() && run_.is_alive()) return hesitate(failures.front().message);
    const bool answers = failures.empty() || !systems.empty();
    std::ranges::move(failures, std::back_inserter(found_.failures));
    if (!answers) return std::nullopt;
    return systems;
  }

  /// Adds the systems that inspect_os finds. Returns whether it answered; if not, the last failure says why.
  bool ask_libguestfs() {
    packages_ = package_total();  // what guestkit found is only compared: it does not count
    auto& systems = found_.operating_systems;
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
      string_list corrections;
      const bool mounted = run_(system.failures, "mountpoints", [&] {
        g_.umount_all();
        mount_system(g_, system, layout_, corrections);
      });
      if (!mounted) continue;
      if (system.type == "linux")
        run_(system.failures, "os_release", [&] { correct_linux(g_, layout_, system, corrections); });
      gather(system, system.type == "windows" ? "registry" : system.package_format, corrections);
      corrections_.add(system.root, corrections);
      if (wants(InspectPart::icon)) run_(system.failures, "icon", [&] { add_icon(g_, system); });
    }
    return asked;
  }

  /// Reports that inspect_os has failed (a single unreadable file in a guest makes it fail as a whole), and
  /// that guestkit's own rules answer as far as they can.
  void tell_of_rescue() {
    auto& provenance = found_.provenance;
    auto& failed = found_.failures.back();
    provenance.way = "rescue";
    const auto why = failed.op + ": " + failed.message;
    provenance.reason = provenance.reason.empty() ? why : provenance.reason + "; " + why;
    if (run_.is_alive())
      failed.message += "; what is told was found by guestkit's own rules, which know Linux and Windows";
  }

  /// Adds the systems that libguestfs does not find.
  void add_own(bool asked) {
    if (!asked) std::ranges::copy(own_.left_out(), std::back_inserter(found_.failures));
    std::vector<own_inspection::possible_system> more;
    if (run_.is_alive())
      run_(found_.failures, systems_part, [&] { more = own_.possible_systems(found_.operating_systems); });
    for (const auto& one : more) {
      if (!run_.is_alive()) return;
      std::optional<InspectedSystem> system;
      run_(found_.failures, systems_part, [&] { system = own_.read(one); });
      if (!system) continue;
      step("reading the guest's files");
      string_list corrections;
      gather(*system, "unknown", corrections);
      corrections_.add(system->root, corrections);
      if (asked)
        corrections_.add(
            "", {"operating_systems: libguestfs does not find the one on " + printable(system->root)});
      found_.operating_systems.push_back(std::move(*system));
    }
  }

  void unmount() {
    std::vector<InspectFailure> ignored;
    if (run_.is_alive()) run_(ignored, "mountpoints", [&] { g_.umount_all(); });
  }

  /// Adds the requested parts of a mounted system. The slow ones come last.
  /// @param of_libguestfs  see add_applications, and so for the corrections
  void gather(InspectedSystem& system, const std::optional<std::string>& of_libguestfs,
              string_list& corrections) {
    const guest_tree files{g_, system.root_directory};
    if (system.type != "windows" && system.type != "dos")
      run_(system.failures, "os_release", [&] {
        if (system.os_release.empty()) add_os_release(files, system);
        std::ranges::move(fill_in(files, system), std::back_inserter(corrections));
      });
    add_parts(files, options_.parts, system, run_);
    if (!wants(InspectPart::applications) || !packages_.has_room_for(system)) return;
    run_(system.failures, "applications",
         [&] { add_applications(files, system, of_libguestfs, corrections); });
    packages_.add(system);
  }

  std::string version() {
    const auto version = g_.version();
    return std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' +
           std::to_string(version.release) + version.extra;
  }

  guest_actions& g_;
  const InspectOptions& options_;
  bool is_new_;
  layout layout_;
  own_inspection own_;
  part_runner run_;
  package_total packages_;
  remarks ours_;         // the corrections that guestkit's own answer makes to libguestfs'
  remarks corrections_;  // those of the answer that is reported
  remarks differences_;
  Inspection found_;
};

GUESTKIT_INLINE Inspection inspect(guest_actions& g, const InspectOptions& options,
                                   std::vector<InspectedDisk> known) {
  const bool is_new = !known.empty();
  return inspection(g, options, is_new).run(std::move(known));
}

GUESTKIT_INLINE Inspection inspect_disks(guest_actions& g, const string_list& disks,
                                         const InspectOptions& options, const disk_opener& opener) {
  if (options.step) options.step("starting the appliance");
  auto opening = options.disk;
  opening.readonly = true;
  std::vector<InspectedDisk> known;
  known.reserve(disks.size());
  for (const auto& disk : disks) {
    const auto image = opener.open_disk(disk, opening);
    if (image.truncated)
      throw Error("open_disk",
                  shown(disk) + ": is a truncated " + image.format + " image: part of the file" +
                      (image.references.empty() ? "" : ", or of one that it refers to,") + " is missing",
                  EINVAL, {Cause::disk_unreadable});
    known.push_back({.format = image.format, .virtual_size = image.virtual_size});
  }
  opener.launch();
  return inspect(g, options, std::move(known));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
