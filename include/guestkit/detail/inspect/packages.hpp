// The installed packages: finds the database, and has guestkit or libguestfs read it.
//
// libguestfs opens a database without checking what it is, and would wait for ever on a FIFO: guestkit checks
// first.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/tree.hpp"
#include "guestkit/detail/inspect/package_rules.hpp"
#include "guestkit/generated/guest_files.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A place where packages may be listed.
struct package_database {
  std::string_view format;  ///< libguestfs' name
  std::string_view path;
  FileKind kind = FileKind::regular;
};

/// The most that libguestfs reads of a database.
std::uint64_t most_bytes_of(std::string_view format) noexcept;

/// A database that exists, though it may be unreadable.
struct found_database {
  package_database database;
  std::string path;
  std::uint64_t size = 0;
  std::string obstacle = {};
};

/// The guest's database: of that format if there is one, otherwise any other.
std::optional<found_database> find_database(const guest_tree& files, std::string_view format);

/// The packages of a database with a directory or file for each. Unreadable ones are left out.
package_list packages_below(const guest_tree& files, const std::string& end,
                            const std::function<package_list(const std::string&)>& read);

/// What could make librpm hang; empty if nothing. libguestfs runs it in the guest's tree, where it reads any
/// macros, settings and user names that it finds.
std::string rpm_obstacle(const guest_tree& files);

/// Lists the packages and reports whether the list is complete.
/// @param of_libguestfs  the format in which libguestfs lists this root's packages: "registry" for those of
///     a Windows, "unknown" for none; no value: libguestfs must not be asked, and what guestkit does not read
///     itself is a doubt
/// @param corrections  gets what guestkit reads although libguestfs, when it was asked, did not
void add_applications(const guest_tree& files, InspectedSystem& system,
                      const std::optional<std::string>& of_libguestfs, string_list& corrections);

/// What the packages of one report take. Many systems, such as subvolumes, may share a large database, which
/// costs hardly more on the disk than one.
class package_total {
 public:
  /// @param most  in bytes of memory; the system that exceeds it is still read; the next is not. A large
  ///     system, of 10,000 packages with descriptions, takes about 20 MB
  explicit package_total(std::uint64_t most = std::uint64_t{64} << 20U) noexcept : most_(most) {}

  /// Whether the packages of one more system may be read; if not, that is a failure of the system.
  bool has_room_for(InspectedSystem& system) const;

  /// Counts the packages of a system.
  void add(const InspectedSystem& system) noexcept;

 private:
  std::uint64_t most_, bytes_ = 0;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/packages.ipp"
#endif
