// How a disk is opened, and which other files its image may refer to: Guestfs::open_disk() and
// inspect_disks().
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// What to do with an image that names another file: a backing file, a data file, an extent.
struct Backing {
  enum class Rule { refuse, under, allow } rule = Rule::refuse;
  std::filesystem::path directory = {};  ///< for Rule::under
};

namespace backing {

/// The disk is not opened.
inline const Backing refuse{};
/// The file is opened if it really lies beneath that directory, wherever links point.
inline Backing under(std::filesystem::path directory) {
  return {Backing::Rule::under, std::move(directory)};
}
/// The file is opened, whichever it is: for images that nobody else can have made.
inline const Backing allow{Backing::Rule::allow};

}  // namespace backing

/// What to do with a disk that another program is writing to, according to QEMU's locks, or a device that
/// this host has mounted or uses in another way.
enum class InUse {
  /// Read it without a lock, in its current state, and log a warning. Writing to it is always refused.
  allow,
  /// Do not open it. While it is open here, no other QEMU can write to it.
  refuse,
};

/// How a disk is opened: Guestfs::open_disk().
struct OpenDiskOptions {
  bool readonly = true;
  /// QEMU's name: "raw", "qcow2", …; none: detected from how the file begins, which a guest can choose. State
  /// it for a disk that will be written to, and for an image that names other files.
  std::optional<std::string> format = {};
  Backing backing = {};
  /// How the disk may be reached: "file", and "nbd" for nbd://HOST/EXPORT and nbd+unix:///EXPORT?socket=PATH.
  std::set<std::string> protocols = {"file"};
  /// A snapshot inside a qcow2 image, by name or id. It is copied into a private file, read-only.
  std::optional<std::string> snapshot = {};
  InUse in_use = InUse::allow;
  /// Size of the disk's sectors in bytes, 512 or 4096; none: according to its partition table, otherwise 512.
  std::optional<int> blocksize = {};
};

}  // namespace guestkit::inline GUESTKIT_FORM
