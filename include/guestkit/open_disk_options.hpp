// How a disk is opened, and which other files its image may lead to: Guestfs::open_disk() and
// inspect_disks().
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// What becomes of an image that names another file: a backing file, a data file, an extent.
struct Backing {
  enum class Rule { refuse, under, allow } rule = Rule::refuse;
  std::filesystem::path directory = {};  ///< of under
};

namespace backing {

/// The disk is not opened.
inline const Backing refuse{};
/// The file is opened if it really lies beneath that directory, whatever links lead there.
inline Backing under(std::filesystem::path directory) {
  return {Backing::Rule::under, std::move(directory)};
}
/// The file is opened, whichever it is: for images that nobody else could have made.
inline const Backing allow{Backing::Rule::allow};

}  // namespace backing

/// What becomes of a disk to which another program writes, as QEMU's locks tell: one of a guest that runs.
enum class InUse {
  /// It is read without a lock, as it is at that moment, and the log says so. Writing to it is always
  /// refused.
  allow,
  /// It is not opened; and while it is open here, no other QEMU can write to it.
  refuse,
};

/// How a disk is opened: Guestfs::open_disk().
struct OpenDiskOptions {
  bool readonly = true;
  /// QEMU's name: "raw", "qcow2", …; none: by what the file begins with, which a guest can choose. State it
  /// for a disk that is written to, and for an image that names other files.
  std::optional<std::string> format = {};
  Backing backing = {};
  /// How the disk may be reached: "file", and "nbd" for nbd://HOST/EXPORT and nbd+unix:///EXPORT?socket=PATH.
  std::set<std::string> protocols = {"file"};
  /// A snapshot inside a qcow2 image, by name or id: copied into a private file, read-only.
  std::optional<std::string> snapshot = {};
  InUse in_use = InUse::allow;
  /// Of the disk's sectors, in bytes: 512 or 4096; none: by its partition table, else 512.
  std::optional<int> blocksize = {};
};

}  // namespace guestkit::inline GUESTKIT_FORM
