// A guest's files as an inspection reads them: what an action would open is known to be a file before.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/borrowed.hpp"
#include "guestkit/files.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What is there before somebody opens it.
struct found_file {
  bool there = false;
  FileKind kind = FileKind::unknown;  ///< of what a link leads to
  std::string obstacle = {};          ///< why it is not to be opened; empty: it can be

  bool is_usable() const noexcept { return there && obstacle.empty(); }
};

inline const char* told_kind(FileKind kind) noexcept {
  switch (kind) {
    case FileKind::directory:
      return "a directory";
    case FileKind::block_device:
    case FileKind::character_device:
      return "a device";
    case FileKind::fifo:
      return "a FIFO";
    case FileKind::socket:
      return "a socket";
    default:
      return "no regular file";
  }
}

/// Why a path cannot be used by what does not stay in the guest.
struct path_fault {
  std::string why;
  bool is_missing = false;  ///< it only is not there
};

/// Looks at each name on the way of a path that libguestfs will follow from outside of the guest's root: all
/// must be directories but the last one, and none a symlink, which could lead out of the guest.
/// @param path  an absolute one without ".."
template <class Guest>
std::optional<path_fault> fault_of_path(Guest& g, const std::string& path, FileKind wanted) {
  for (std::size_t end = 0; path != "/" && end != std::string::npos;) {
    end = path.find('/', end + 1);
    const auto part = path.substr(0, end);
    const auto expected = end == std::string::npos ? wanted : FileKind::directory;
    auto kind = FileKind::unknown;
    if (const auto error = attempt([&] { kind = kind_of(g.lstatns(part).st_mode); })) {
      if (error->error_number() == ENOENT)
        return path_fault{.why = excerpt(part) + " is not there", .is_missing = true};
      return path_fault{.why = excerpt(part) + " cannot be looked at: " + printable(error->message())};
    }
    if (kind == FileKind::symlink) return path_fault{.why = excerpt(part) + " is a symlink"};
    if (kind == expected) continue;
    if (expected == FileKind::directory) return path_fault{.why = excerpt(part) + " is no directory"};
    return path_fault{.why = excerpt(part) + " is " + told_kind(kind)};
  }
  return std::nullopt;
}

/// A guest's files below a directory of what is mounted: the whole of it, or an ostree deployment.
template <class Guest>
struct guest_tree {
  Guest& g;
  std::string top = {};  ///< empty, or a path without a slash at its end

  std::string path(const std::string& below) const { return top + below; }

  /// The text of a regular file of that size at most; nothing if it is none.
  std::optional<std::string> text(const std::string& below, std::size_t limit = small_file) const {
    return find_small(g, path(below), limit);
  }
  string_list names(const std::string& below) const { return names_in(g, path(below)); }

  /// Looks at a file; links are followed, in the guest.
  found_file look(const std::string& below, std::uint64_t limit, FileKind wanted = FileKind::regular) const {
    const auto file = path(below), shown = printable(file);
    std::optional<StatNS> status;
    if (const auto error = attempt([&] { status = g.statns(file); })) {
      if (error->error_number() == ELOOP)
        return {.there = true, .obstacle = shown + " is a loop of symlinks"};
      if (error->error_number() != ENOENT && error->error_number() != ENOTDIR)
        return {.there = true, .obstacle = shown + ": " + error->message()};
      if (attempt([&] { g.lstatns(file); })) return {};
      return {.there = true, .obstacle = shown + " is a symlink to nothing in the guest"};
    }
    found_file found{.there = true, .kind = kind_of(status->st_mode)};
    const auto size = static_cast<std::uint64_t>(status->st_size);
    if (found.kind != wanted)
      found.obstacle = shown + " is " + told_kind(found.kind);
    else if (found.kind == FileKind::regular && size > limit)
      found.obstacle = shown + " has " + std::to_string(size) + " bytes, more than the " +
                       std::to_string(limit) + " that are read";
    return found;
  }

  bool has_file(const std::string& below) const {
    return look(below, std::numeric_limits<std::uint64_t>::max()).is_usable();
  }
  bool has_directory(const std::string& below) const {
    return look(below, 0, FileKind::directory).is_usable();
  }
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
