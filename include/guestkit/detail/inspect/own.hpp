// guestkit's own examination of every filesystem: finds what would make inspect_os hang, and systems that
// libguestfs does not find or recognize, described by their os-release.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/tree.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"
#include "guestkit/detail/inspect/ostree.hpp"
#include "guestkit/detail/inspect/windows_rules.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Examines every filesystem, and reads the systems that libguestfs does not recognize.
class own_inspection {
 public:
  /// What a system on btrfs and its snapshots have in common.
  struct btrfs_system {
    std::string uuid;  ///< of the btrfs
    std::string id, version_id;

    auto operator<=>(const btrfs_system&) const = default;
  };

  /// A filesystem that may hold a system which libguestfs does not recognize.
  struct possible_system {
    std::string device;
    bool is_ostree = false;
    bool is_usr = false;
    std::optional<windows_place> windows = {};
    std::optional<btrfs_system> on_btrfs = {};
  };

  own_inspection(guest_actions& g, layout& layout) : g_(g), layout_(layout) {}

  /// Mounts every filesystem and records what may be on it.
  void look_around();

  /// What that has left out, though libguestfs looks at it.
  const std::vector<InspectFailure>& left_out() const noexcept { return left_out_; }

  /// Why inspect_os must not be called; empty if it may be.
  const std::string& fault() const noexcept { return fault_; }

  /// Those on filesystems that belong to no known system. Of a system and its snapshots, there is only the
  /// first; none if a known system has one of these filesystems.
  std::vector<possible_system> possible_systems(const std::vector<InspectedSystem>& known) const;

  /// The system on that filesystem, which stays mounted.
  std::optional<InspectedSystem> read(const possible_system& one);

  /// The system on the chosen filesystem, which is mounted at /, with the filesystems in its own fstab.
  std::optional<InspectedSystem> read_chosen(const std::string& device, bool readonly);

  /// What was mounted besides the root of the system read last.
  const mountpoint_list& mounted() const noexcept { return behind_root_; }

 private:
  guest_tree files() const { return {g_}; }

  /// The Linux on the filesystem mounted at /.
  std::optional<InspectedSystem> read_mounted(const std::string& device, bool readonly = true);

  bool mount(const std::string& device);
  void look_at(const std::string& device);
  /// The Windows on the filesystem at /, as far as guestkit's rules know where it is.
  std::optional<windows_place> windows_here();
  /// The system on the filesystem at /, if that is a btrfs or a subvolume of one.
  std::optional<btrfs_system> btrfs_system_on(const std::string& filesystem);

  static bool is_root_label(const std::string& label);
  void object(const std::string& device, const std::string& why);

  /// A Linux that libguestfs does not recognize because its fstab and hosts are links or missing.
  std::optional<InspectedSystem> linux_on(const std::string& device, bool readonly);

  std::optional<InspectedSystem> system_in(const std::string& device, const std::string& directory);
  void describe(const guest_tree& files, InspectedSystem& system);

  /// ostree keeps systems as directories of a filesystem; the boot loader chooses one of them.
  std::optional<InspectedSystem> deployed_on(const std::string& device);

  /// A system with all its files in /usr, and a root that may be empty until it boots; of several, the one
  /// with the highest version.
  std::optional<InspectedSystem> system_of_usr();

  guest_actions& g_;
  layout& layout_;
  std::vector<possible_system> possible_;
  std::vector<std::string> usrs_, bare_roots_;
  ostree_deployments deployments_{g_};
  std::string fault_;
  std::vector<InspectFailure> left_out_;
  mountpoint_list behind_root_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/own.ipp"
#endif
