// The kernel's Landlock, by its system calls: a process gives up access to files, for itself and for all that
// it becomes or starts. See landlock(7); the headers of older systems lack some of this.
#pragma once

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail::landlock {

// The rights: bits of the kernel's interface.
inline constexpr std::uint64_t execute = 1U << 0U;
inline constexpr std::uint64_t write_file = 1U << 1U;
inline constexpr std::uint64_t read_file = 1U << 2U;
inline constexpr std::uint64_t read_directory = 1U << 3U;
inline constexpr std::uint64_t remove_file = 1U << 5U;
inline constexpr std::uint64_t make_file = 1U << 8U;
inline constexpr std::uint64_t truncate = 1U << 14U;
inline constexpr std::uint64_t device = 1U << 15U;  ///< ioctl(2) on a device

/// Those that a rule for something other than a directory may have.
inline constexpr std::uint64_t of_files = execute | write_file | read_file | truncate | device;

/// The version of the kernel's interface; 0 if the kernel has no Landlock or has it switched off.
inline int version() noexcept {
  constexpr unsigned ask_version = 1;
  const long found = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, ask_version);
  return found < 0 ? 0 : static_cast<int>(found);
}

/// All rights over files that this version knows: what is not allowed of them is refused.
inline std::uint64_t handled(int version) noexcept {
  const unsigned count = version >= 5 ? 16 : version >= 3 ? 15 : version >= 2 ? 14 : 13;
  return (std::uint64_t{1} << count) - 1;
}

/// An empty set of rules. If it cannot be made, returns no descriptor and sets errno.
/// @param network  false: TCP is refused, where the version knows how
inline unique_fd create(int version, bool network) noexcept {
  struct {
    std::uint64_t files, network, scopes;
  } const handles{.files = handled(version),
                  .network = network ? 0U : 3U,  // to bind and to connect
                  .scopes = 3};                  // abstract Unix sockets, and signals, to other processes
  const std::size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
  return unique_fd(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &handles, size, 0)));
}

/// Allows that on the file, or beneath the directory, of a descriptor.
inline bool add(int rules, int file, std::uint64_t rights) noexcept {
  struct __attribute__((packed)) {
    std::uint64_t rights;
    std::int32_t file;
  } const rule{.rights = rights, .file = file};
  constexpr int beneath_path = 1;
  return ::syscall(SYS_landlock_add_rule, rules, beneath_path, &rule, 0) == 0;
}

/// Enforces the rules on the calling thread, which must have no_new_privs.
inline bool restrict_self(int rules) noexcept {
  return ::syscall(SYS_landlock_restrict_self, rules, 0) == 0;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail::landlock
