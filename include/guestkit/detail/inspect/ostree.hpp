// ostree keeps systems, its deployments, as directories of a filesystem; the boot loader chooses one of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/tree.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What a boot loader's entry says about ostree.
struct ostree_entry {
  std::int64_t version = 0;  ///< the highest one is the default
  std::string link;          ///< to the deployment
};

std::optional<ostree_entry> ostree_entry_in(std::string_view text);

/// Chooses among the deployments on the filesystem mounted at /.
class ostree_deployments {
 public:
  explicit ostree_deployments(guest_actions& g) : g_(g) {}

  static bool are_in(const guest_tree& files) { return files.has_directory("/ostree/deploy"); }

  /// Reads the boot loader's entries on the filesystem at /, which may be another one than the deployments'.
  void read_boot_entries();

  /// The directory of the one that the boot loader starts; empty if no entry that was read names one.
  std::string default_one();

  /// The directory of the newest one; empty if there is none.
  /// @param failures  gets what was not looked at
  std::string newest(std::vector<InspectFailure>& failures) const;

 private:
  guest_actions& g_;
  std::vector<ostree_entry> entries_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/ostree.ipp"
#endif
