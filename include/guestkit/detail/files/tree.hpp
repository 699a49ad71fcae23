// A guest's files as an inspection reads them: each is checked to be a file before an action opens it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/generated/guest_files.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Where a path leads, checked before it is opened.
struct found_file {
  bool there = false;
  FileKind kind = FileKind::unknown;  ///< of what a link leads to
  std::uint64_t size = 0;
  std::string obstacle = {};  ///< why it must not be opened; empty if it may be

  bool is_usable() const noexcept { return there && obstacle.empty(); }
};

const char* told_kind(FileKind kind) noexcept;

/// Why a path must not be passed to a program that follows symlinks out of the guest.
struct path_fault {
  std::string why;
  bool is_missing = false;  ///< whether it only does not exist
};

/// Checks each component of a path that libguestfs will follow from outside the guest's root: all but the
/// last must be directories, and none may be a symlink, which could lead out of the guest.
/// @param path  absolute, without ".."
std::optional<path_fault> fault_of_path(guest_actions& g, const std::string& path, FileKind wanted);

/// The files of a guest: everything mounted, or one of its directories that is an ostree deployment.
struct guest_tree {
  guest_actions& g;
  std::string top = {};  ///< empty, or a path without a slash at its end

  std::string path(const std::string& below) const { return top + below; }

  /// The text of a regular file of at most that size; nothing if there is none.
  std::optional<std::string> text(const std::string& below, std::size_t limit = small_file) const;

  string_list names(const std::string& below) const { return names_in(g, path(below)); }

  /// Checks a file; links are followed inside the guest.
  found_file look(const std::string& below, std::uint64_t limit, FileKind wanted = FileKind::regular) const;

  bool has_file(const std::string& below) const;
  bool has_directory(const std::string& below) const;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/files/tree.ipp"
#endif
