#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "guestkit/detail/base/cage_value.hpp"
#include "guestkit/detail/base/diagnosis.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/install_command.hpp"
#include "guestkit/detail/base/private_file.hpp"
#include "guestkit/detail/base/run_program.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/detail/image/qemu_img.hpp"
#include "guestkit/detail/image/sectors.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

struct qemu_img_result {
  bool succeeded = false;
  std::string output;  // the end of its output, at most 1000 bytes
};

/// Where a qemu-img that is shut in may put temporary files.
class qemu_img_directory {
 public:
  qemu_img_directory(const char* op, const private_file& target) : path_(target.path() + ".d") {
    if (::mkdir(path_.c_str(), 0700) != 0)
      throw Error(op, "sandbox=strict: " + path_ + ": " + std::strerror(errno), errno);
  }
  qemu_img_directory(const qemu_img_directory&) = delete;
  qemu_img_directory& operator=(const qemu_img_directory&) = delete;
  ~qemu_img_directory() { remove_tree(path_); }

  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// The command of a qemu-img that is shut in, without its arguments.
inline std::vector<std::string> caged_qemu_img(const described_image& image, const private_file& target,
                                               const qemu_img_directory& directory) {
  std::vector<caged_file> files;
  files.reserve(image.inherited.size() + 1);
  for (const int file : image.inherited) files.push_back({.number = file, .writes = false});
  files.push_back({.number = target.descriptor(), .writes = true});
  return {*image.cage, "-guestkit-cage", cage_value(files, directory.path()), "-guestkit-program",
          program_file("qemu-img")};
}

/// Runs qemu-img and waits for it. Throws Error if it cannot be started.
/// @param target  what it writes to
/// @param look    as program_options'
inline qemu_img_result run_qemu_img(const char* op, const std::vector<std::string>& arguments,
                                    const described_image& image, const private_file& target,
                                    std::function<void()> look = {}) {
  std::optional<qemu_img_directory> directory;
  std::vector<std::string> command{"qemu-img"};
  if (image.cage) {
    if (image.cage->empty())
      throw Error(op,
                  "sandbox=strict: what shuts qemu-img in is part of an appliance that guestkit has built "
                  "(guestkit appliance build)",
                  ENOTSUP);
    directory.emplace(op, target);
    command = caged_qemu_img(image, target, *directory);
  }
  command.insert(command.end(), arguments.begin(), arguments.end());
  const auto end = run_program(command, {.look = std::move(look),
                                         .inherited = image.cage ? std::vector<int>{} : image.inherited,
                                         .takes_stdout = true});
  if (end.error == ECHILD)
    throw Error(op, "it is not known how qemu-img ended: this process ignores SIGCHLD", ECHILD);
  if (end.error == ENOENT)
    throw Error(op, "qemu-img cannot be run", ENOENT, {.hint = install_hint("qemu-img")});
  if (end.error != 0)
    throw Error(op, std::string("qemu-img cannot be run: ") + std::strerror(end.error), end.error,
                scarcity(end.error).value_or(Diagnosis{}));
  constexpr std::size_t longest = 1000;
  auto output = end.output.size() > longest ? end.output.substr(end.output.size() - longest) : end.output;
  while (output.ends_with('\n')) output.pop_back();
  return {.succeeded = end.succeeded(), .output = std::move(output)};
}

/// Escapes a value in a comma-separated argument of QEMU's tools.
inline std::string escape_commas(std::string_view value) {
  std::string escaped;
  for (const char c : value) escaped.append(c == ',' ? 2 : 1, c);
  return escaped;
}

/// Throws Error if a snapshot's copy is larger than an honest image makes it.
/// @param path  of the image, for messages
inline void check_size(const char* op, const std::string& path, const described_image& image,
                       const private_file& copy) {
  constexpr std::uint64_t growth = 1024;  // zlib, which most compressed images have, packs no tighter
  struct stat file {};
  if (::fstat(copy.descriptor(), &file) == 0 &&
      static_cast<std::uint64_t>(file.st_size) / growth > image.file_size)
    throw Error(
        op,
        shown(path) + ": the snapshot becomes more than 1024 times as large as the image's files, " +
            std::to_string(image.file_size) + " bytes",
        EFBIG,
        {Cause::unknown,
         "if the image is to be trusted, copy the snapshot by qemu-img convert -l SNAPSHOT -O qcow2 IMAGE "
         "COPY, and open the copy"});
}

/// Throws Error if a snapshot's copy is about to take the last space of its file system.
inline void check_space(const char* op, const std::string& path, const private_file& copy) {
  constexpr std::uint64_t spare = std::uint64_t{1} << 30U;
  struct statvfs space {};
  if (::fstatvfs(copy.descriptor(), &space) != 0) return;
  const auto size = space.f_blocks * space.f_frsize, free = space.f_bavail * space.f_frsize;
  if (free < std::min<std::uint64_t>(spare, size / 10))
    throw Error(op, shown(path) + ": the snapshot would fill the file system of temporary files (TMPDIR)",
                ENOSPC,
                {Cause::no_space, "set TMPDIR, or the handle's tmpdir, to a directory with more space"});
}

/// Names a few of the image's snapshots, for messages: it may have 65536, and its maker chose the names.
inline std::string snapshots_of(const ImageInfo& info) {
  constexpr std::size_t most = 10;
  std::string known;
  for (std::size_t i = 0; i < std::min(most, info.snapshots.size()); ++i)
    known += (i == 0 ? "" : ", ") + in_quotes(info.snapshots[i].name);
  return known + (info.snapshots.size() <= most ? "" : ", … (" + std::to_string(info.snapshots.size()) + ")");
}

GUESTKIT_INLINE std::uint64_t copy_snapshot(const char* op, const std::string& path, const ImageInfo& info,
                                            const std::string& name, const described_image& image,
                                            const private_file& target) {
  const ImageSnapshot* found = nullptr;
  for (const auto& snapshot : info.snapshots) {
    if (snapshot.name != name && snapshot.id != name) continue;
    if (found != nullptr)
      throw Error(op, shown(path) + ": more than one snapshot is called " + in_quotes(name), EINVAL);
    found = &snapshot;
  }
  if (found == nullptr)
    throw Error(op,
                shown(path) + ": has no snapshot " + in_quotes(name) +
                    (info.snapshots.empty() ? "" : ", but " + snapshots_of(info)),
                ENOENT);
  if (info.format != "qcow2" || (found->id + found->name).find('\0') != std::string::npos)
    throw Error(op, shown(path) + ": the snapshot's name holds a NUL byte", EINVAL);
  const std::string which =
      "snapshot.id=" + escape_commas(found->id) + ",snapshot.name=" + escape_commas(found->name);
  const auto check = [&] {
    check_size(op, path, image, target);
    check_space(op, path, target);
  };
  check();
  // After a crash of the host nobody needs the copy, so it is not synced to the disk.
  const auto result = run_qemu_img(
      op, {"convert", "-t", "unsafe", "-l", which, "-O", "qcow2", "json:" + image.json, target.path()}, image,
      target, check);
  check_size(op, path, image, target);
  if (!result.succeeded) {
    check_space(op, path, target);  // it may have filled the file system between two looks
    throw Error(op, shown(path) + ": the snapshot cannot be copied: " + in_quotes(result.output), EIO);
  }
  return found->virtual_size;
}

GUESTKIT_INLINE int sector_size_by_qemu(const char* op, const described_image& image, std::uint64_t disk,
                                        const std::shared_ptr<scratch>& directory) {
  constexpr std::uint64_t block = 65536, blocks = 18;  // including the usual first partition, at 1 MiB
  std::uint64_t window_begin = 0;
  std::optional<std::string> window;
  const auto read = [&](std::uint64_t offset, std::size_t size) -> std::optional<std::string> {
    if (offset >= disk) return std::string(size, '\0');
    if (!window || offset < window_begin || offset + size > window_begin + block * blocks) {
      const private_file copy(directory);
      const auto result = run_qemu_img(
          op,
          {"dd", "-O", "raw", "bs=" + std::to_string(block), "skip=" + std::to_string(offset / block),
           "count=" + std::to_string(blocks), "if=json:" + image.json, "of=" + copy.path()},
          image, copy);
      if (!result.succeeded) return std::nullopt;
      window_begin = offset / block * block;
      const unique_fd written(::open(copy.path().c_str(), O_RDONLY | O_CLOEXEC));
      window.emplace(block * blocks, '\0');
      if (::pread(written.get(), window->data(), window->size(), 0) < 0) return std::nullopt;
    }
    return window->substr(static_cast<std::size_t>(offset - window_begin), size);
  };
  try {
    return sector_size(disk, read).value_or(512);
  } catch (const Error& e) {
    const bool is_missing = e.error_number() == ENOENT || e.error_number() == ENOTSUP;
    if (is_missing) return 512;  // neither is qemu-img needed, nor what would shut it in
    throw;
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
