// A guest's files as an inspection reads them: what an action would open is known to be a file before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/guest_actions.hpp"
#include "guestkit/detail/inspect/reading.hpp"
#include "guestkit/generated/guest_files.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What a path leads to, looked at before it is opened.
struct found_file {
  bool there = false;
  FileKind kind = FileKind::unknown;  ///< of what a link leads to
  std::string obstacle = {};          ///< why it is not to be opened; empty: it can be

  bool is_usable() const noexcept { return there && obstacle.empty(); }
};

const char* told_kind(FileKind kind) noexcept;

/// Why a path cannot be handed to a program that follows symlinks out of the guest.
struct path_fault {
  std::string why;
  bool is_missing = false;  ///< whether it only does not exist
};

/// Looks at each name on the way of a path that libguestfs will follow from outside of the guest's root: all
/// must be directories but the last one, and none a symlink, which could lead out of the guest.
/// @param path  an absolute one without ".."
std::optional<path_fault> fault_of_path(guest_actions& g, const std::string& path, FileKind wanted);

/// The files of a guest: all that is mounted, or a directory of it that is an ostree deployment.
struct guest_tree {
  guest_actions& g;
  std::string top = {};  ///< empty, or a path without a slash at its end

  std::string path(const std::string& below) const { return top + below; }

  /// The text of a regular file of that size at most; nothing if it is none.
  std::optional<std::string> text(const std::string& below, std::size_t limit = small_file) const;

  string_list names(const std::string& below) const { return names_in(g, path(below)); }

  /// Looks at a file; links are followed, in the guest.
  found_file look(const std::string& below, std::uint64_t limit, FileKind wanted = FileKind::regular) const;

  bool has_file(const std::string& below) const;
  bool has_directory(const std::string& below) const;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/tree.ipp"
#endif
