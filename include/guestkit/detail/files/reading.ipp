#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE FileKind kind_of(std::int64_t mode) noexcept {
  switch (static_cast<unsigned>(mode) & S_IFMT) {
    case S_IFREG:
      return FileKind::regular;
    case S_IFDIR:
      return FileKind::directory;
    case S_IFLNK:
      return FileKind::symlink;
    case S_IFBLK:
      return FileKind::block_device;
    case S_IFCHR:
      return FileKind::character_device;
    case S_IFIFO:
      return FileKind::fifo;
    case S_IFSOCK:
      return FileKind::socket;
    default:
      return FileKind::unknown;
  }
}

GUESTKIT_INLINE std::string joined(const std::string& directory, const std::string& name) {
  return directory.ends_with('/') ? directory + name : directory + '/' + name;
}

GUESTKIT_INLINE buffer read_part(guest_actions& g, const std::string& path, std::uint64_t at,
                                 std::uint64_t wanted) {
  const auto count = std::min<std::uint64_t>(wanted, pread_most);
  buffer part = g.pread(path, static_cast<int>(count), static_cast<std::int64_t>(at));
  if (part.size() > count)
    throw Error("pread", shown(path) + ": the appliance answers with more than was asked for", EPROTO);
  return part;
}

GUESTKIT_INLINE std::string link_target(guest_actions& g, const std::string& directory,
                                        const std::string& name) {
  auto targets = g.readlinklist(directory, string_list{name});
  if (targets.empty())
    throw Error("readlinklist", shown(joined(directory, name)) + ": the appliance answers without a target",
                EPROTO);
  return std::move(targets.front());
}

GUESTKIT_INLINE std::string read_small(guest_actions& g, const std::string& path, std::size_t limit) {
  return read_small(g, path, g.statns(path), limit);
}

GUESTKIT_INLINE std::string read_small(guest_actions& g, const std::string& path, const StatNS& status,
                                       std::size_t limit) {
  if (kind_of(status.st_mode) != FileKind::regular)
    throw Error("read_small", shown(path) + ": not a regular file", EINVAL);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > limit)
    throw Error("read_small",
                shown(path) + ": has " + std::to_string(size) + " bytes, more than " + std::to_string(limit),
                EFBIG);
  std::string bytes = {};
  bytes.reserve(std::min(static_cast<std::size_t>(size), pread_most));  // the rest may be a mere claim
  while (bytes.size() < size) {
    const auto part = read_part(g, path, bytes.size(), size - bytes.size());
    if (part.empty()) break;
    bytes += part.view();
  }
  return bytes;
}

GUESTKIT_INLINE std::optional<std::string> find_small(guest_actions& g, const std::string& path,
                                                      std::size_t limit) {
  std::optional<std::string> bytes = {};
  error_of([&] { bytes = read_small(g, path, limit); });
  return bytes;
}

GUESTKIT_INLINE void check_names(const std::string& directory, std::uint64_t size, std::size_t most) {
  constexpr std::uint64_t name = 128;        // in bytes; few are longer
  constexpr std::uint64_t few = 16U << 10U;  // no harm in reading them, and directories do not shrink
  const auto names = std::max<std::uint64_t>(most, few);
  if (size / name > names)
    throw Error("readdir",
                shown(directory) + ": its names take " + std::to_string(size) + " bytes, more than the " +
                    std::to_string(name * names) + " that are read",
                EFBIG);
}

GUESTKIT_INLINE void check_names_of(guest_actions& g, const std::string& directory) {
  check_names(directory, static_cast<std::uint64_t>(g.statns(directory).st_size), 128U << 10U);
}

GUESTKIT_INLINE string_list unsorted_names_in(guest_actions& g, const std::string& directory) {
  auto entries = g.readdir(directory);
  // libguestfs takes a directory that cannot be read for one without entries.
  if (entries.empty())
    throw Error("readdir", shown(directory) + ": not even \".\" can be read: the directory is damaged", EIO);
  string_list names;
  for (auto& entry : entries)
    if (entry.name != "." && entry.name != "..") names.push_back(std::move(entry.name));
  return names;
}

GUESTKIT_INLINE string_list names_in(guest_actions& g, const std::string& directory) {
  string_list names;
  if (const auto error = error_of([&] { check_names_of(g, directory); })) {
    if (error->error_number() == EFBIG) throw Error(*error);
    return names;
  }
  error_of([&] { names = unsorted_names_in(g, directory); });
  std::sort(names.begin(), names.end());
  return names;
}

GUESTKIT_INLINE string_list few_names_in(guest_actions& g, const std::string& directory) {
  string_list names;
  error_of([&] { names = names_in(g, directory); });
  return names;
}

GUESTKIT_INLINE listing_limits::listing_limits(std::string op, std::string top, std::size_t entries,
                                               std::size_t path_bytes)
    : op_(std::move(op)), top_(std::move(top)), entries_(entries), path_bytes_(path_bytes) {}

GUESTKIT_INLINE void listing_limits::count_entries(std::size_t more) {
  if (more > entries_ - listed_)
    throw Error(op_, shown(top_) + ": more than " + std::to_string(entries_) + " entries", EFBIG);
  listed_ += more;
}

GUESTKIT_INLINE void listing_limits::count_path_bytes(std::size_t more) {
  if (more > path_bytes_ - listed_path_bytes_)
    throw Error(op_, shown(top_) + ": the paths take more than " + std::to_string(path_bytes_) + " bytes",
                EFBIG);
  listed_path_bytes_ += more;
}

/// Adds those of these names that are still there.
inline void add_files(guest_actions& g, const std::string& directory, const string_list& names,
                      listing_limits& limits, std::vector<GuestFile>& files) {
  const auto found = g.lstatnslist(directory, names);
  const auto first = files.size();
  string_list links = {};
  for (std::size_t i = 0; i < names.size() && i < found.size(); ++i) {
    const auto& status = found[i];
    if (status.st_ino == -1) continue;  // lstat failed
    GuestFile file{.path = joined(directory, names[i]), .kind = kind_of(status.st_mode)};
    limits.count_path_bytes(file.path.size());
    file.size = static_cast<std::uint64_t>(status.st_size);
    file.mode = static_cast<std::uint32_t>(status.st_mode) & 07777U;
    file.uid = status.st_uid;
    file.gid = status.st_gid;
    file.mtime = status.st_mtime_sec;
    if (file.kind == FileKind::symlink) links.push_back(names[i]);
    files.push_back(std::move(file));
  }
  if (links.empty()) return;
  const auto targets = g.readlinklist(directory, links);
  auto target = targets.begin();
  for (auto i = first; i < files.size() && target != targets.end(); ++i) {
    if (files[i].kind != FileKind::symlink) continue;
    limits.count_path_bytes(target->size());
    files[i].target = *target++;
  }
}

GUESTKIT_INLINE std::vector<GuestFile> list_directory(guest_actions& g, const std::string& directory,
                                                      listing_limits& limits) {
  constexpr std::size_t batch = 1000;  // what one message asks for
  auto names = unsorted_names_in(g, directory);
  limits.count_entries(names.size());
  std::sort(names.begin(), names.end());
  std::vector<GuestFile> files = {};
  for (std::size_t at = 0; at < names.size(); at += batch) {
    const auto begin = names.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = begin + static_cast<std::ptrdiff_t>(std::min(batch, names.size() - at));
    add_files(g, directory, string_list(begin, end), limits, files);
  }
  return files;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
