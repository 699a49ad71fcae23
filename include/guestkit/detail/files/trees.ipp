#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/files/trees.hpp"
#include "guestkit/error.hpp"
#include "guestkit/files.hpp"
#include "guestkit/values.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What is known of files after one message for each directory. Missing are those of which it tells too
/// little: symlinks, files that are not there, and all that are alone in their directory.
inline std::map<std::string, StatNS> statuses_of(guest_actions& g, const string_list& paths) {
  std::map<std::string, string_list> names_by_directory = {};
  for (const auto& path : paths) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) continue;
    const auto name = path.substr(slash + 1);
    if (!name.empty() && name != "." && name != "..")
      names_by_directory[path.substr(0, slash + 1)].push_back(name);
  }
  std::map<std::string, StatNS> known = {};
  for (const auto& entry : names_by_directory) {
    const auto& directory = entry.first;
    const auto& names = entry.second;
    if (names.size() == 1) continue;
    std::vector<StatNS> found;
    error_of([&] { found = g.lstatnslist(directory, names); });
    for (std::size_t i = 0; i < found.size() && i < names.size(); ++i)
      if (found[i].st_ino != -1 && kind_of(found[i].st_mode) != FileKind::symlink)
        known.emplace(directory + names[i], found[i]);
  }
  return known;
}

GUESTKIT_INLINE std::map<std::string, FileContent> read_files(guest_actions& g, const string_list& paths,
                                                              std::size_t limit) {
  const auto known = statuses_of(g, paths);
  std::map<std::string, FileContent> all = {};
  for (const auto& path : paths) {
    auto& file = all[path];
    const auto read = [&] {
      const auto status = known.find(path);
      file.bytes =
          status == known.end() ? read_small(g, path, limit) : read_small(g, path, status->second, limit);
    };
    if (const auto error = error_of(read)) {
      file.message = error->message();
      file.error_number = error->error_number();
    }
  }
  return all;
}

GUESTKIT_INLINE std::vector<GuestFile> walk(guest_actions& g, const std::string& top,
                                            const WalkOptions& options,
                                            std::optional<std::uint64_t> size_of_top) {
  std::vector<GuestFile> all = {};
  struct waiting_directory {
    std::string path;
    std::uint64_t size;
    int depth;
  };
  if (!size_of_top) size_of_top = static_cast<std::uint64_t>(g.statns(top).st_size);
  std::vector<waiting_directory> waiting{{top, *size_of_top, 0}};
  listing_limits limits("walk", top, options.max_entries, options.max_path_bytes);
  while (!waiting.empty()) {
    const auto [directory, size, depth] = std::move(waiting.back());
    waiting.pop_back();
    check_names(directory, size, options.max_entries);
    auto files = list_directory(g, directory, limits);
    for (auto file = files.rbegin(); file != files.rend(); ++file) {
      if (file->kind != FileKind::directory) continue;
      file->not_entered = depth >= options.max_depth;
      if (!file->not_entered) waiting.push_back({file->path, file->size, depth + 1});
    }
    std::move(files.begin(), files.end(), std::back_inserter(all));
  }
  return all;
}

GUESTKIT_INLINE bool stays_inside(std::string_view target, std::size_t depth) {
  if (target.empty() || target.front() == '/') return false;
  bool named = false;
  while (!target.empty()) {
    const auto end = target.find('/');
    const auto part = target.substr(0, end);
    target = end == std::string_view::npos ? std::string_view() : target.substr(end + 1);
    if (part == "..") {
      if (named || depth == 0) return false;
      --depth;
    } else if (!part.empty() && part != ".") {
      named = true;
    }
  }
  return true;
}

/// Copies a tree from the guest into a directory on the host. Each name is used singly, relative to an open
/// directory that we made or that is the caller's: no text from the guest becomes a path.
class extraction {
 public:
  extraction(guest_actions& g, const std::string& path, const ExtractOptions& options)
      : g_(g), options_(options), limits_("extract", path, options.max_entries, options.max_path_bytes) {}

  Extracted run(const std::string& path, const std::string& host_directory) {
    const unique_fd top(::open(cstr(host_directory).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (top.get() < 0) fail(host_directory);
    const auto end = path.find_last_not_of('/');
    if (end == std::string::npos) {
      directory("/", static_cast<std::uint64_t>(g_.statns("/").st_size), top, 0);
      return std::move(done_);
    }
    const auto slash = path.rfind('/', end);
    if (slash == std::string::npos) throw Error("extract", shown(path) + ": not an absolute path", EINVAL);
    const auto name = path.substr(slash + 1, end - slash);
    const auto parent = slash == 0 ? std::string("/") : path.substr(0, slash);
    const auto status = g_.lstatnslist(parent, string_list{name});
    if (status.empty() || status.front().st_ino == -1)
      throw Error("extract", shown(path) + ": no such file", ENOENT);
    GuestFile file{.path = joined(parent, name), .kind = kind_of(status.front().st_mode)};
    file.size = static_cast<std::uint64_t>(status.front().st_size);
    file.mode = static_cast<std::uint32_t>(status.front().st_mode) & 07777U;
    file.mtime = status.front().st_mtime_sec;
    if (is_no_name(name))
      throw Error("extract", shown(path) + ": its last part is not a name of a file", EINVAL);
    whole_ = file.path;
    limits_.count_entries(1);
    if (file.kind == FileKind::symlink) {  // what it names is not in what is copied
      skip_link(file, link_target(g_, parent, name));
    } else if (file.kind == FileKind::directory) {
      subdirectory(file, name, top, 0);
    } else {
      entry(file, name, top, 0);
    }
    return std::move(done_);
  }

 private:
  static constexpr auto most_depth = static_cast<std::size_t>(WalkOptions().max_depth);

  [[noreturn]] static void fail(const std::string& host_name) {
    throw Error("extract", shown(host_name) + ": " + std::strerror(errno), errno);
  }

  static bool is_no_name(const std::string& name) {
    return name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos;
  }

  void skip(const GuestFile& file, const std::string& reason) {
    done_.skipped.push_back({file.path, reason});
  }

  void skip_link(const GuestFile& file, const std::string& target) {
    skip(file, "a symlink that points outside: " + in_quotes(target));
  }

  /// The host has refused to make the file. A name or a kind of file that it cannot have costs itself alone,
  /// unless that is all that was to be copied. What the caller's directory has already is never left out.
  void not_made(const GuestFile& file, const std::string& name) {
    constexpr std::array skipped{ENAMETOOLONG, EEXIST, EINVAL, EILSEQ, EPERM, EOPNOTSUPP, ENOSYS};
    const bool is_there = errno == EEXIST && whole_.empty() && file.path.rfind('/') == 0;
    if (is_there || file.path == whole_ || std::ranges::find(skipped, errno) == skipped.end()) fail(name);
    skip(file, std::strerror(errno));
  }

  /// @param depth  how many directories of the copied tree lie above this one: symlinks may climb no further,
  ///     since the tree may be moved
  void entry(const GuestFile& file, const std::string& name, const unique_fd& host, std::size_t depth) {
    if (is_no_name(name)) return skip(file, "not a name of a file");
    switch (file.kind) {
      case FileKind::regular:
        return regular(file, name, host);
      case FileKind::directory:
        return subdirectory(file, name, host, depth + 1);
      case FileKind::symlink:
        if (!stays_inside(file.target, depth)) return skip_link(file, file.target);
        if (::symlinkat(file.target.c_str(), host.get(), name.c_str()) != 0) return not_made(file, name);
        ++done_.symlinks;
        return;
      default:
        return skip(file, "neither a regular file, a directory nor a symlink");
    }
  }

  /// @param depth  of its own entries
  void subdirectory(const GuestFile& file, const std::string& name, const unique_fd& host,
                    std::size_t depth) {
    if (depth > most_depth) return skip(file, "too deep");
    if (::mkdirat(host.get(), name.c_str(), 0700) != 0) return not_made(file, name);
    const unique_fd made(::openat(host.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (made.get() < 0) fail(name);
    ++done_.directories;
    directory(file.path, file.size, made, depth);
    finish(file, made, 0700);
  }

  void directory(const std::string& path, std::uint64_t size, const unique_fd& host, std::size_t depth) {
    // The directory may once have been large, and have few files now.
    if (const auto error = error_of([&] { check_names(path, size, options_.max_entries); }))
      return done_.skipped.push_back({path, error->message()});
    std::vector<GuestFile> files;
    if (const auto error = error_of([&] { files = list_directory(g_, path, limits_); })) {
      if (error->error_number() == EFBIG) throw Error(*error);  // the limits are those of the whole copy
      return done_.skipped.push_back({path, error->message()});
    }
    for (const auto& file : files) entry(file, file.path.substr(file.path.rfind('/') + 1), host, depth);
  }

  void regular(const GuestFile& file, const std::string& name, const unique_fd& host) {
    if (file.size > options_.max_bytes - done_.bytes)
      throw Error("extract",
                  shown(file.path) + ": more than " + std::to_string(options_.max_bytes) + " bytes in all",
                  EFBIG, {Cause::too_large, "max_bytes permits more"});
    const unique_fd made(
        ::openat(host.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (made.get() < 0) return not_made(file, name);
    std::uint64_t at = 0;
    std::optional<Error> error;
    while (at < file.size) {
      buffer part;
      error = error_of([&] { part = read_part(g_, file.path, at, file.size - at); });
      if (error || part.empty()) break;
      write(made, part.view(), at, name);  // what the host refuses ends the extraction
      at += part.size();
      if (options_.progress) options_.progress(file, done_.bytes + at);
    }
    if (::ftruncate(made.get(), static_cast<off_t>(at)) != 0) fail(name);
    done_.bytes += at;
    ++done_.files;
    if (error) skip(file, "read up to byte " + std::to_string(at) + ": " + error->message());
    finish(file, made, 0600);
  }

  /// Leaves holes for runs of zeros.
  static void write(const unique_fd& host, std::string_view bytes, std::uint64_t at,
                    const std::string& name) {
    if (bytes.find_first_not_of('\0') == std::string_view::npos) return;
    while (!bytes.empty()) {
      const auto count = ::pwrite(host.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail(name);
      bytes.remove_prefix(static_cast<std::size_t>(count));
      at += static_cast<std::uint64_t>(count);
    }
  }

  /// Sets the time and the permissions, without set-id bits and writable only for the owner. A host
  /// filesystem that supports neither is not an error.
  static void finish(const GuestFile& file, const unique_fd& host, mode_t least) {
    static_cast<void>(::fchmod(host.get(), (file.mode & 0755U) | least));
    struct timespec time {};
    time.tv_sec = file.mtime;
    const std::array times{time, time};
    static_cast<void>(::futimens(host.get(), times.data()));
  }

  guest_actions& g_;
  ExtractOptions options_;
  Extracted done_;
  std::string whole_;  // what was to be copied; empty: all of the guest
  listing_limits limits_;
};

GUESTKIT_INLINE Extracted extract(guest_actions& g, const std::string& path,
                                  const std::string& host_directory, const ExtractOptions& options) {
  return extraction(g, path, options).run(path, host_directory);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
