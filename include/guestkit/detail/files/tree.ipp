#pragma once

#include <cerrno>
#include <limits>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/files/tree.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE const char* told_kind(FileKind kind) noexcept {
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

GUESTKIT_INLINE std::optional<path_fault> fault_of_path(guest_actions& g, const std::string& path,
                                                        FileKind wanted) {
  for (std::size_t end = 0; path != "/" && end != std::string::npos;) {
    end = path.find('/', end + 1);
    const auto part = path.substr(0, end);
    const auto expected = end == std::string::npos ? wanted : FileKind::directory;
    auto kind = FileKind::unknown;
    if (const auto error = error_of([&] { kind = kind_of(g.lstatns(part).st_mode); })) {
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

GUESTKIT_INLINE std::optional<std::string> guest_tree::text(const std::string& below,
                                                            std::size_t limit) const {
  return find_small(g, path(below), limit);
}

GUESTKIT_INLINE found_file guest_tree::look(const std::string& below, std::uint64_t limit,
                                            FileKind wanted) const {
  const auto file = path(below), shown = printable(file);
  std::optional<StatNS> status;
  if (const auto error = error_of([&] { status = g.statns(file); })) {
    if (error->error_number() == ELOOP) return {.there = true, .obstacle = shown + " is a loop of symlinks"};
    if (error->error_number() != ENOENT && error->error_number() != ENOTDIR)
      return {.there = true, .obstacle = shown + ": " + error->message()};
    if (error_of([&] { g.lstatns(file); })) return {};
    return {.there = true, .obstacle = shown + " is a symlink to nothing in the guest"};
  }
  const auto size = static_cast<std::uint64_t>(status->st_size);
  found_file found{.there = true, .kind = kind_of(status->st_mode), .size = size};
  if (found.kind != wanted)
    found.obstacle = shown + " is " + told_kind(found.kind);
  else if (found.kind == FileKind::regular && size > limit)
    found.obstacle = shown + " has " + std::to_string(size) + " bytes, more than the " +
                     std::to_string(limit) + " that are read";
  return found;
}

GUESTKIT_INLINE bool guest_tree::has_file(const std::string& below) const {
  return look(below, std::numeric_limits<std::uint64_t>::max()).is_usable();
}

GUESTKIT_INLINE bool guest_tree::has_directory(const std::string& below) const {
  return look(below, 0, FileKind::directory).is_usable();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
