// What an inspection looks for, and which keys it may use.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/open_disk_options.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// What an inspection gathers beyond the operating systems themselves. Each part costs time.
enum class InspectPart : std::uint32_t {
  none = 0,
  filesystems = 1U << 0U,  ///< partitions, layers, labels, sizes, and what cannot be opened
  applications = 1U << 1U,
  users = 1U << 2U,
  kernels = 1U << 3U,
  services = 1U << 4U,
  network = 1U << 5U,
  locale = 1U << 6U,  ///< with the time zone
  machine_id = 1U << 7U,
  icon = 1U << 8U,
};
constexpr InspectPart operator|(InspectPart a, InspectPart b) noexcept {
  return static_cast<InspectPart>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
constexpr InspectPart operator&(InspectPart a, InspectPart b) noexcept {
  return static_cast<InspectPart>(static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b));
}
/// Whether that part is among the others.
constexpr bool has(InspectPart all, InspectPart part) noexcept {
  return (all & part) == part;
}

/// A key for encrypted disks. It never appears in a log line, trace or error.
struct InspectKey {
  /// The key itself, or a file on the host whose first line is the key.
  enum class Kind { passphrase, file };

  /// The appliance's name for a device, such as /dev/sda2, or a UUID. Empty: the key is tried on every
  /// device.
  std::string device = {};
  std::string secret = {};  ///< the passphrase, or the file's name
  Kind kind = Kind::passphrase;
};

enum class InspectMode {
  automatic,   ///< guestkit's own rules where they are sure to agree with libguestfs, otherwise libguestfs
  libguestfs,  ///< always inspect_os
};

struct InspectOptions {
  InspectPart parts = InspectPart::filesystems | InspectPart::applications;
  InspectMode mode = InspectMode::automatic;
  /// Ask both guestkit's own rules and libguestfs; report libguestfs' answer and where guestkit's differs.
  bool verify = false;
  std::vector<InspectKey> keys = {};
  /// How the disks are opened when the inspection opens them. They are always opened read-only.
  OpenDiskOptions disk = {};
  /// Called on the calling thread with the current step; it must not throw.
  std::function<void(const char* step)> step = {};
};

}  // namespace guestkit::inline GUESTKIT_FORM
