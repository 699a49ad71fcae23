// The databases of rpm, read without rpm: their tables of packages alone, and of each package the beginning.
// The packages come in the order in which they are quick to read, and are sorted in the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/partial_file.hpp"
#include "guestkit/detail/inspect/package_rules.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A header in a database.
struct rpm_blob {
  std::int64_t order = 0;  ///< rpm finds packages in the order of these
  std::uint64_t size = 0;
  std::function<std::string(std::size_t count)> start = {};  ///< returns its first bytes, at most its size
};

/// Takes the packages from a reader of a database. What is damaged costs one package or one page of them.
class rpm_packages {
 public:
  /// Adds the package with that header.
  void add(const rpm_blob& blob);

  /// Whether there is more than is read: a hostile database can name the same packages again and again.
  bool is_full() const noexcept { return found_.size() + list_.left_out > most_packages; }

  /// Runs what reads one piece of the database.
  /// @param name  of the piece, for the message
  void read(const std::string& name, const std::function<void()>& body);

  /// All of them as libguestfs sorts them: by name, those of one name in the reverse of rpm's order.
  package_list sorted();

 private:
  struct found {
    std::int64_t order;
    InspectedApplication package;
  };

  package_list list_;
  std::vector<found> found_;
  std::uint64_t text_ = 0;  // bytes in them
};

/// rpmdb.sqlite: pages of a tree, whose leaves have the beginnings of the rows, and chains of pages for the
/// rest. Nothing in the schema is executed, and no lock, index or log of its own is needed.
/// @param log  the write-ahead log; null if there is none. What is committed in it counts.
void read_rpm_sqlite(partial_file& file, partial_file* log, rpm_packages& all);

/// Packages.db of ndb, rpm's own format: slots, each of which points to a header.
void read_rpm_ndb(partial_file& file, rpm_packages& all);

/// Packages of Berkeley DB, a hash: pages, of which headers fill chains of their own. Either byte order.
void read_rpm_bdb(partial_file& file, rpm_packages& all);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/rpm_bdb.ipp"
#include "guestkit/detail/inspect/rpm_database.ipp"
#include "guestkit/detail/inspect/rpm_ndb.ipp"
#include "guestkit/detail/inspect/rpm_sqlite.ipp"
#endif
