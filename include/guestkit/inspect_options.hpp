// What to find out, and with which keys.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/error.hpp"
#include "guestkit/open_disk_options.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// What an inspection gathers beyond the operating systems themselves. Each costs time.
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
constexpr bool operator&(InspectPart a, InspectPart b) noexcept {
  return (static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b)) != 0;
}

/// A key for encrypted disks. It is in no log line, trace or error.
struct InspectKey {
  /// The key itself, or the file on the host that begins with it, up to the first line break.
  enum class Kind { passphrase, file };

  std::string device =
      {};  ///< the appliance's name of a device, such as /dev/sda2, or a UUID; empty: tried on all
  std::string secret = {};  ///< the passphrase, or the file's name
  Kind kind = Kind::passphrase;
};

enum class InspectMode {
  automatic,   ///< guestkit's own rules where they are sure to agree with libguestfs', else libguestfs
  libguestfs,  ///< inspect_os always
};

struct InspectOptions {
  InspectPart parts = InspectPart::filesystems | InspectPart::applications;
  InspectMode mode = InspectMode::automatic;
  /// Ask both, guestkit's own rules and libguestfs; report libguestfs' answer and where the other one
  /// differs.
  bool verify = false;
  std::vector<InspectKey> keys = {};
  /// How the disks are opened, where the inspection does that; always for reading.
  OpenDiskOptions disk = {};
  /// Told what is being done now, on the calling thread; it must not throw.
  std::function<void(const char* step)> step = {};
};

namespace detail {

/// The passphrase that the key stands for.
inline std::string passphrase_of(const InspectKey& key) {
  if (key.kind == InspectKey::Kind::passphrase) return key.secret;
  constexpr std::size_t longest = 8192;  // of cryptsetup's own
  const auto refuse = [&](const std::string& why, int code) -> void {
    throw Error("inspect", "the key file " + key.secret + " cannot be used: " + why, code);
  };
  const unique_fd file(::open(key.secret.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) refuse(std::strerror(errno), errno);
  if (!S_ISREG(status.st_mode)) refuse("it is no regular file", EINVAL);
  std::string text(longest, '\0');
  const auto size = ::read(file.get(), text.data(), text.size());
  if (size < 0) refuse(std::strerror(errno), errno);
  text.resize(static_cast<std::size_t>(size));
  return text.substr(0, text.find('\n'));
}

}  // namespace detail
}  // namespace guestkit::inline GUESTKIT_FORM
