// guestkit's own inspection: what inspect_os would say, from a few cheap calls, for guests that it recognises
// with certainty. Anything else, and any doubt, is libguestfs' to decide.
//
// What makes it certain: of all the ways in which libguestfs recognises a root, a filesystem whose top
// directory has none of the names that these ways need can be none; exactly one filesystem has them, and it
// is a Linux of a distribution, and with files, for which rules.hpp says what libguestfs does.
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/generated/guest_files.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether this libguestfs' rules are those that the differential test has compared with ours.
bool has_known_rules(const std::string& libguestfs);

/// Reads the only operating system of a guest by guestkit's own rules.
class fast_inspection {
 public:
  fast_inspection(guest_actions& g, layout& layout) : g_(g), layout_(layout) {}

  /// The only operating system; throws doubt. It is left mounted.
  InspectedSystem run();

  /// What is known to differ from libguestfs' answer: the fact, and why.
  const std::vector<std::string>& corrections() const noexcept { return corrections_; }

  /// What is mounted beside the root.
  const mountpoint_list& mounted() const noexcept { return behind_root_; }

  /// The Linux on the filesystem that is mounted at /, as far as these rules go, and mounts what belongs to
  /// it; nothing if there is none. What is beyond the rules is among the failures.
  std::optional<InspectedSystem> read_alone(const std::string& root, bool readonly = true);

  /// Puts right what libguestfs says of a Linux whose files it does not see as the guest does: with /usr on a
  /// filesystem of its own, or os-release with CRLF. The guest is mounted.
  void correct(InspectedSystem& theirs, std::vector<std::string>& corrections);

 private:
  void check_type(const std::string& device);

  /// What blkid does not know, such as a BIOS boot partition: libguestfs tries to mount it, too, and leaves
  /// out what cannot be mounted.
  void check_unknown(const std::string& device);

  /// Mounts each filesystem and looks for the one that can be a root.
  void find_root();

  /// The names of which every way to be a root or a /usr needs one, or more.
  static bool is_signature(const std::string& name);

  void mount_root();

  /// Unknown where there is no such file, or none that can be looked at.
  FileKind kind(const std::string& directory, const std::string& name);

  bool is_link_to(const std::string& name, const std::string& target);

  /// The text of a regular file, links followed; nothing if it is none; a doubt if it is too large.
  std::optional<std::string> text_of(const std::string& path, std::size_t limit = 64000);

  bool is_file(const std::string& path);

  /// Why the filesystem at / is no root of a Linux; nothing: it is one.
  std::optional<std::string> no_linux_root();

  void read_root();

  /// Mounts what fstab names, and takes note of what libguestfs reads otherwise.
  void mount_others(bool readonly);

  /// Whether what is mounted explains the filesystems that look like a /usr.
  void check_others();

  void read_release();

  /// The files that libguestfs would take before this one.
  void refuse_earlier(const std::string& file);

  std::string first_line_of(const std::string& file);
  void read_debian_version(version_number& version);
  void read_release_file(const std::string& file, const char* product, version_number& version);
  void read_architecture();
  void read_hostname();

  guest_actions& g_;
  layout& layout_;
  std::vector<std::string> filesystems_, usr_like_, corrections_;
  std::set<std::string> etc_;
  mountpoint_list behind_root_;
  std::string root_, mounted_;
  InspectedSystem system_;
};

/// Where two answers differ, each difference as a sentence.
std::vector<std::string> differences(const InspectedSystem& fast, const InspectedSystem& theirs);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/fast.ipp"
#endif
