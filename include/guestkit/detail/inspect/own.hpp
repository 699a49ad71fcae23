// guestkit's own look at every filesystem: what would keep inspect_os waiting, and systems that libguestfs
// does not find or cannot tell about, as their os-release says it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"
#include "guestkit/detail/inspect/tree.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What a boot loader's entries say of ostree.
struct ostree_entry {
  std::int64_t version = 0;  ///< the highest one is the default
  std::string link;          ///< to the deployment
};

std::optional<ostree_entry> ostree_entry_in(std::string_view text);

/// Looks at every filesystem, and reads the systems that libguestfs does not know.
class own_inspection {
 public:
  /// Where a system may be that libguestfs does not know.
  struct place {
    std::string device;
    bool is_ostree = false;
    bool is_usr = false;
  };

  own_inspection(guest_actions& g, layout& layout) : g_(g), layout_(layout) {}

  /// Mounts every filesystem and notes what may be on it.
  void look_around();

  /// Why inspect_os must not be asked; empty: it may be.
  const std::string& fault() const noexcept { return fault_; }

  /// The places on filesystems that belong to no known system.
  std::vector<place> places(const std::vector<InspectedSystem>& known) const;

  /// The system that is there; it is left mounted.
  std::optional<InspectedSystem> read(const place& where);

  /// The system on a filesystem that was chosen and is mounted at /, with what its own fstab names.
  std::optional<InspectedSystem> read_chosen(const std::string& device, bool readonly);

  /// What was mounted beside the root of the system that was read last.
  const mountpoint_list& mounted() const noexcept { return behind_root_; }

 private:
  guest_tree files() const { return {g_}; }

  /// The Linux on the filesystem that is mounted at /.
  std::optional<InspectedSystem> read_mounted(const std::string& device, bool readonly = true);

  bool mount(const std::string& device);
  void look_at(const std::string& device);
  static bool is_root_label(const std::string& label);
  bool has_release(const std::string& top);
  void object(const std::string& device, const std::string& why);

  void read_boot_entries();

  /// A Linux that libguestfs does not recognise, since its fstab and hosts are links or missing.
  std::optional<InspectedSystem> linux_on(const std::string& device, bool readonly);

  std::optional<InspectedSystem> system_in(const std::string& device, const std::string& directory);
  void describe(const guest_tree& files, InspectedSystem& system);

  /// ostree keeps systems as directories of a filesystem; the boot loader takes one of them.
  std::optional<InspectedSystem> deployed_on(const std::string& device);

  std::string default_deployment();
  std::string newest_deployment();

  /// A system whose files are all in /usr, and whose root may be empty until it boots: that of the highest
  /// version, if there are several.
  std::optional<InspectedSystem> system_of_usr();

  guest_actions& g_;
  layout& layout_;
  std::vector<place> places_;
  std::vector<std::string> usrs_, bare_roots_;
  std::vector<ostree_entry> entries_;
  std::string fault_;
  mountpoint_list behind_root_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/own.ipp"
#endif
