// guestkit's own inspection: predicts the answer of inspect_os from a few cheap calls, for guests that it
// recognizes with certainty. Everything else, and every doubt, is left to libguestfs.
//
// Why it is certain: each of libguestfs' ways to recognize a root needs certain names in the top directory,
// and a filesystem without any of them cannot be a root. Each that has them must be a Linux whose
// distribution and files are covered by linux_rules.hpp, which says what libguestfs does with them, or a
// Windows covered by windows_rules.hpp.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/rule_versions.hpp"
#include "guestkit/detail/inspect/windows_rules.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Reads a guest's operating systems by guestkit's own rules.
class fast_inspection {
 public:
  fast_inspection(guest_actions& g, layout& layout)
      : g_(g), layout_(layout), libguestfs_(numbers_of(g.version())) {}

  /// The filesystems with an operating system, in libguestfs' order; none if neither libguestfs nor
  /// own_inspection would find one. Throws doubt.
  string_list find_roots();

  /// The operating system on one of them, which stays mounted; nothing if libguestfs takes it for a snapshot
  /// of one that was read before. Throws doubt.
  std::optional<InspectedSystem> read(const std::string& root);

  /// The facts known to differ from libguestfs' answer, and why: those found since the last call.
  std::vector<std::string> take_corrections() { return std::exchange(corrections_, {}); }

 private:
  void check_type(const std::string& device);

  /// Checks what blkid does not recognize, such as a BIOS boot partition: libguestfs tries to mount it too,
  /// and skips it if that fails.
  void check_unknown(const std::string& device);

  /// Mounts a filesystem and looks for what may be a root on it.
  void look_at(const std::string& device);

  /// Looks at every subvolume of a btrfs filesystem, as libguestfs does, but mounts it only once.
  void look_at_volumes(const std::string& device);

  /// Looks at what a mount of that device or subvolume would show, which is in a directory now.
  void look_at_directory(const std::string& device, const std::string& directory);

  /// The names in a directory; none if it is not there. Throws doubt if it cannot be read.
  string_list all_names_in(const std::string& directory);

  /// Whether it is one of the names of which every kind of root or /usr but a Windows needs at least one.
  static bool is_signature(const std::string& name);

  /// Mounts a filesystem alone, at /.
  void mount_alone(const std::string& device);

  /// Whether libguestfs leaves the system out for another one on the same device, of which it is a snapshot.
  bool is_snapshot(const InspectedSystem& system) const;

  guest_actions& g_;
  layout& layout_;
  libguestfs_version libguestfs_;
  std::vector<std::string> filesystems_, roots_, usr_like_, corrections_;
  std::map<std::string, windows_place> windows_;  // by filesystem
  std::string mounted_;                           // what is mounted at /, if nothing else is mounted
  bool has_signs_ = false;  // of a system on some filesystem, be it one that only own_inspection finds
  std::vector<InspectedSystem> seen_;  // the Linuxes that were read
};

/// The differences between two answers, each as a sentence.
std::vector<std::string> differences(const InspectedSystem& fast, const InspectedSystem& theirs);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/fast.ipp"
#endif
