// A guest's files: small ones by one cheap message each instead of a transfer, trees as values, and copies on
// the host that stay where they were put.
//
// The guest's symlinks are resolved inside the guest, as its own kernel would. The filesystems must be
// mounted.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/inspect/borrowed.hpp"
#include "guestkit/generated/guest_files.hpp"
#include "guestkit/guestfs.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// The content of a file, or why there is none.
struct FileContent {
  std::optional<std::string> bytes = {};
  std::string message = {};
  int error_number = 0;
};

struct WalkOptions {
  std::size_t max_entries = 1'000'000;  ///< more is an Error with EFBIG
  int max_depth = 256;                  ///< of directories below the one to begin with; 0: its entries alone
};

struct ExtractOptions {
  std::uint64_t max_bytes = std::uint64_t{16}
                            << 30U;     ///< more is an Error with EFBIG: sparse files cost nothing
  std::size_t max_entries = 1'000'000;  ///< likewise
  std::function<void(const GuestFile&, std::uint64_t)> progress =
      {};  ///< told the file and how many bytes there are in all, now and then, by the calling thread
};

/// As much as read_small() takes by default.
inline constexpr std::size_t small_file = std::size_t{2} << 20U;

namespace detail {

/// What one message carries.
inline constexpr std::size_t pread_most = std::size_t{2} << 20U;

inline FileKind kind_of(std::int64_t mode) noexcept {
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

inline std::string joined(const std::string& directory, const std::string& name) {
  return directory.ends_with('/') ? directory + name : directory + '/' + name;
}

/// The content, if it is a regular file of at most that size. Anything else might hang or never end.
template <class Guest>
std::string read_small(Guest& g, const std::string& path, std::size_t limit = small_file) {
  const auto status = g.statns(path);
  if (kind_of(status.st_mode) != FileKind::regular)
    throw Error("read_small", path + ": not a regular file", EINVAL);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > limit)
    throw Error("read_small",
                path + ": has " + std::to_string(size) + " bytes, more than " + std::to_string(limit), EFBIG);
  std::string bytes = {};
  bytes.reserve(static_cast<std::size_t>(size));
  while (bytes.size() < size) {
    const auto wanted = std::min<std::uint64_t>(size - bytes.size(), pread_most);
    const buffer part = g.pread(path, static_cast<int>(wanted), static_cast<std::int64_t>(bytes.size()));
    if (part.empty()) break;
    bytes += part.view();
  }
  return bytes;
}

/// The same; nothing if there is no such file, or none that can be read.
template <class Guest>
std::optional<std::string> find_small(Guest& g, const std::string& path, std::size_t limit = small_file) {
  std::optional<std::string> bytes = {};
  attempt([&] { bytes = read_small(g, path, limit); });
  return bytes;
}

/// Throws Error with EFBIG for a directory of more names than are read: a guest may have made millions.
template <class Guest>
void check_names_of(Guest& g, const std::string& directory) {
  constexpr std::int64_t most = std::int64_t{16} << 20U;
  const auto size = g.statns(directory).st_size;
  if (size > most)
    throw Error("readdir",
                printable(directory) + ": its names take " + std::to_string(size) + " bytes, more than the " +
                    std::to_string(most) + " that are read",
                EFBIG);
}

/// The names in a directory, sorted; none if there is no such directory. Throws Error with EFBIG for too many
/// names.
template <class Guest>
string_list names_in(Guest& g, const std::string& directory) {
  string_list names;
  if (const auto error = attempt([&] { check_names_of(g, directory); })) {
    if (error->error_number() == EFBIG) throw Error(*error);
    return names;
  }
  attempt([&] {
    for (auto& entry : g.readdir(directory))
      if (entry.name != "." && entry.name != "..") names.push_back(std::move(entry.name));
  });
  std::sort(names.begin(), names.end());
  return names;
}

/// The files in a directory, sorted by name; links are not followed.
template <class Guest>
std::vector<GuestFile> list_directory(Guest& g, const std::string& directory) {
  string_list names;
  for (auto& entry : g.readdir(directory))
    if (entry.name != "." && entry.name != "..") names.push_back(std::move(entry.name));
  std::sort(names.begin(), names.end());
  std::vector<GuestFile> files = {};
  if (names.empty()) return files;
  const auto found = g.lstatnslist(directory, names);
  bool links = false;
  for (std::size_t i = 0; i < names.size() && i < found.size(); ++i) {
    const auto& status = found[i];
    if (status.st_ino == -1) continue;  // lstat failed
    GuestFile file{.path = joined(directory, names[i]), .kind = kind_of(status.st_mode)};
    file.size = static_cast<std::uint64_t>(status.st_size);
    file.mode = static_cast<std::uint32_t>(status.st_mode) & 07777U;
    file.uid = status.st_uid;
    file.gid = status.st_gid;
    file.mtime = status.st_mtime_sec;
    links = links || file.kind == FileKind::symlink;
    files.push_back(std::move(file));
  }
  if (!links) return files;
  const auto targets = g.readlinklist(directory, names);
  auto file = files.begin();
  for (std::size_t i = 0; i < names.size() && i < targets.size() && file != files.end(); ++i)
    if (file->path == joined(directory, names[i])) (file++)->target = targets[i];
  return files;
}

template <class Guest>
std::vector<GuestFile> walk(Guest& g, const std::string& top, const WalkOptions& options) {
  std::vector<GuestFile> all = {};
  std::vector<std::pair<std::string, int>> waiting{{top, 0}};
  while (!waiting.empty()) {
    const auto [directory, depth] = std::move(waiting.back());
    waiting.pop_back();
    auto files = list_directory(g, directory);
    if (all.size() + files.size() > options.max_entries)
      throw Error("walk", top + ": more than " + std::to_string(options.max_entries) + " entries", EFBIG);
    for (auto file = files.rbegin(); file != files.rend(); ++file)
      if (file->kind == FileKind::directory && depth < options.max_depth)
        waiting.emplace_back(file->path, depth + 1);
    std::move(files.begin(), files.end(), std::back_inserter(all));
  }
  return all;
}

/// Whether a symlink may be made in a copied tree: followed from the directory that holds it, it stays
/// inside. Leading ".." climb real directories of ours; one behind a name could climb out through another
/// link.
inline bool stays_inside(std::string_view target, std::size_t depth) {
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

/// Copies a tree of the guest below a directory of the host. Every name is used alone, relative to an open
/// directory that we made or that is the caller's: nothing the guest says becomes a path.
template <class Guest>
class extraction {
 public:
  extraction(Guest& g, const ExtractOptions& options) : g_(g), options_(options) {}

  Extracted run(const std::string& path, const std::string& host_directory) {
    const unique_fd top(::open(host_directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (top.get() < 0) fail(host_directory);
    const auto end = path.find_last_not_of('/');
    if (end == std::string::npos) {
      directory("/", top, 0);
      return std::move(done_);
    }
    const auto slash = path.rfind('/', end);
    if (slash == std::string::npos) throw Error("extract", path + ": not an absolute path", EINVAL);
    const auto name = path.substr(slash + 1, end - slash);
    const auto parent = slash == 0 ? std::string("/") : path.substr(0, slash);
    const auto status = g_.lstatnslist(parent, string_list{name});
    if (status.empty() || status.front().st_ino == -1)
      throw Error("extract", path + ": no such file", ENOENT);
    GuestFile file{.path = joined(parent, name), .kind = kind_of(status.front().st_mode)};
    file.size = static_cast<std::uint64_t>(status.front().st_size);
    file.mode = static_cast<std::uint32_t>(status.front().st_mode) & 07777U;
    file.mtime = status.front().st_mtime_sec;
    if (file.kind == FileKind::symlink) file.target = g_.readlinklist(parent, string_list{name}).at(0);
    entry(file, name, top, 0);
    return std::move(done_);
  }

 private:
  static constexpr std::size_t most_depth = 256;

  [[noreturn]] static void fail(const std::string& host_name) {
    throw Error("extract", host_name + ": " + std::strerror(errno), errno);
  }

  void skip(const GuestFile& file, const std::string& reason) {
    done_.skipped.push_back({file.path, reason});
  }

  void entry(const GuestFile& file, const std::string& name, const unique_fd& host, std::size_t depth) {
    if (++entries_ > options_.max_entries)
      throw Error("extract", "more than " + std::to_string(options_.max_entries) + " files", EFBIG);
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos)
      return skip(file, "not a name of a file");
    switch (file.kind) {
      case FileKind::regular:
        return regular(file, name, host);
      case FileKind::directory:
        return subdirectory(file, name, host, depth);
      case FileKind::symlink:
        if (!stays_inside(file.target, depth))
          return skip(file, "a symlink that points outside: " + file.target);
        if (::symlinkat(file.target.c_str(), host.get(), name.c_str()) != 0) fail(name);
        ++done_.symlinks;
        return;
      default:
        return skip(file, "neither a regular file, a directory nor a symlink");
    }
  }

  void subdirectory(const GuestFile& file, const std::string& name, const unique_fd& host,
                    std::size_t depth) {
    if (depth == most_depth) return skip(file, "too deep");
    if (::mkdirat(host.get(), name.c_str(), 0700) != 0) fail(name);
    const unique_fd made(::openat(host.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (made.get() < 0) fail(name);
    ++done_.directories;
    directory(file.path, made, depth + 1);
    finish(file, made, 0700);
  }

  void directory(const std::string& path, const unique_fd& host, std::size_t depth) {
    std::vector<GuestFile> files;
    if (const auto error = attempt([&] { files = list_directory(g_, path); }))
      return done_.skipped.push_back({path, error->message()});
    for (const auto& file : files) entry(file, file.path.substr(file.path.rfind('/') + 1), host, depth);
  }

  void regular(const GuestFile& file, const std::string& name, const unique_fd& host) {
    if (file.size > options_.max_bytes - done_.bytes)
      throw Error("extract",
                  file.path + ": more than " + std::to_string(options_.max_bytes) + " bytes in all", EFBIG);
    const unique_fd made(
        ::openat(host.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (made.get() < 0) fail(name);
    std::uint64_t at = 0;
    const auto error = attempt([&] {
      while (at < file.size) {
        const auto wanted = std::min<std::uint64_t>(file.size - at, pread_most);
        const buffer part = g_.pread(file.path, static_cast<int>(wanted), static_cast<std::int64_t>(at));
        if (part.empty()) break;
        write(made, part.view(), at, name);
        at += part.size();
        if (options_.progress) options_.progress(file, done_.bytes + at);
      }
    });
    if (::ftruncate(made.get(), static_cast<off_t>(at)) != 0) fail(name);
    done_.bytes += at;
    ++done_.files;
    if (error) skip(file, "read up to byte " + std::to_string(at) + ": " + error->message());
    finish(file, made, 0600);
  }

  /// Zeros stay holes.
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

  /// The permissions, without set-id bits and nobody else's to write, and the time. Of no consequence if the
  /// host's filesystem has none.
  static void finish(const GuestFile& file, const unique_fd& host, mode_t least) {
    static_cast<void>(::fchmod(host.get(), (file.mode & 0755U) | least));
    struct timespec time {};
    time.tv_sec = file.mtime;
    const std::array times{time, time};
    static_cast<void>(::futimens(host.get(), times.data()));
  }

  Guest& g_;
  ExtractOptions options_;
  Extracted done_;
  std::size_t entries_ = 0;
};

}  // namespace detail

/// The content of a small file, by a message instead of a transfer: some hundred times faster than
/// read_file(). Throws Error for what is no regular file (EINVAL) or larger than the limit (EFBIG). Since
/// 0.3.
template <class Core, class Guest = detail::borrowed<>>
std::string read_small(basic_guestfs<Core>& g, const std::string& path, std::size_t limit = small_file) {
  Guest guest(state_of(g));
  const detail::call_scope scope(guest.state(), "read_small");
  return detail::read_small(guest, path, limit);
}

/// The contents of small files, or why one cannot be had, by path.
template <class Core, class Guest = detail::borrowed<>>
std::map<std::string, FileContent> read_files(basic_guestfs<Core>& g, const string_list& paths,
                                              std::size_t limit = small_file) {
  Guest guest(state_of(g));
  const detail::call_scope scope(guest.state(), "read_files");
  std::map<std::string, FileContent> all = {};
  for (const auto& path : paths) {
    auto& file = all[path];
    if (const auto error = detail::attempt([&] { file.bytes = detail::read_small(guest, path, limit); })) {
      file.message = error->message();
      file.error_number = error->error_number();
    }
  }
  return all;
}

/// Every file below a directory, without following symlinks; a directory stands before what it holds.
///
template <class Core, class Guest = detail::borrowed<>>
std::vector<GuestFile> walk(basic_guestfs<Core>& g, const std::string& directory,
                            const WalkOptions& options = {}) {
  Guest guest(state_of(g));
  const detail::call_scope scope(guest.state(), "walk");
  return detail::walk(guest, directory, options);
}

/// Copy a file or a tree of the guest into a directory of the host, under its own name.
///
/// Nothing is written outside that directory, whatever the guest's names and symlinks are: symlinks that
/// point outside are skipped, as are devices, FIFOs and sockets; files lose their set-id bits. What is there
/// already is an Error with EEXIST.
template <class Core, class Guest = detail::borrowed<>>
Extracted extract(basic_guestfs<Core>& g, const std::string& path, const std::string& host_directory,
                  const ExtractOptions& options = {}) {
  Guest guest(state_of(g));
  const detail::call_scope scope(guest.state(), "extract");
  return detail::extraction<Guest>(guest, options).run(path, host_directory);
}

}  // namespace guestkit::inline GUESTKIT_FORM
