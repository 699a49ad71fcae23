// Disks from strangers: what QEMU may open for a disk is settled before it sees any of it.
//
// A read-only disk is added as an overlay of ours, which refers to the files that were checked by descriptor,
// so that nobody can put others in their places. Where QEMU has to find a file itself, it gets the name by
// which the kernel knows what was checked: for a disk that is written to, and for other backends than direct.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/chain.hpp"
#include "guestkit/detail/image/qemu_img.hpp"
#include "guestkit/detail/launch/scratch.hpp"
#include "guestkit/generated/options.hpp"
#include "guestkit/guestfs.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A file in the handle's private directory.
class private_file {
 public:
  explicit private_file(std::shared_ptr<scratch> directory) : directory_(std::move(directory)) {
    path_ = directory_->path() + "/disk-XXXXXX";
    fd_ = unique_fd(::mkostemp(path_.data(), O_CLOEXEC));
    if (fd_.get() < 0) throw std::system_error(errno, std::generic_category(), path_);
  }
  private_file(const private_file&) = delete;
  private_file& operator=(const private_file&) = delete;
  ~private_file() {
    if (owner_ == ::getpid()) ::unlink(path_.c_str());
  }
  int descriptor() const noexcept { return fd_.get(); }
  const std::string& path() const noexcept { return path_; }

 private:
  const pid_t owner_ = ::getpid();
  std::shared_ptr<scratch> directory_;
  std::string path_;
  unique_fd fd_;
};

/// What QEMU opens when it starts, and nobody needs afterwards.
struct opened_disk {
  std::vector<unique_fd> files;
  std::shared_ptr<private_file> overlay;
};

/// A disk, checked: what add_drive is called with, and what is to be kept until the launch.
struct checked_disk {
  ImageInfo info;
  std::string filename;
  AddDriveOptions options;
  std::string in_use;  // for the log
  opened_disk kept;
};

/// nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH.
inline checked_disk nbd_disk(const char* op, const std::string& uri, const OpenDiskOptions& options) {
  const auto refuse = [&](const std::string& reason) { throw Error(op, shown(uri) + ": " + reason, EINVAL); };
  if (options.format != "raw")
    refuse(
        "state format=raw: the header of any other format cannot be checked through the network; have the "
        "server present the disk itself (qemu-nbd, nbdkit)");
  if (options.snapshot) refuse("a snapshot can be opened in a local file only");
  if (uri.find('%') != std::string::npos) refuse("guestkit does not decode % in it");
  const auto authority = uri.find("://") + 3;
  const auto slash = std::min(uri.find('/', authority), uri.size());
  const auto query = std::min(uri.find('?', slash), uri.size());
  auto server = "tcp:" + uri.substr(authority, slash - authority);
  if (uri.starts_with("nbd+unix")) {
    constexpr std::string_view key = "?socket=";
    if (slash != authority || uri.compare(query, key.size(), key) != 0)
      refuse("a URI of this kind is nbd+unix:///EXPORT?socket=PATH");
    server = "unix:" + uri.substr(query + key.size());
  } else if (query != uri.size() || slash == authority) {
    refuse("a URI of this kind is nbd://HOST:PORT/EXPORT");
  }
  checked_disk disk;
  disk.info.format = "raw";
  if (slash < query) disk.filename = uri.substr(slash + 1, query - slash - 1);
  disk.options.readonly = options.readonly;
  disk.options.format = options.format;
  disk.options.protocol = "nbd";
  disk.options.server = {server};
  disk.options.blocksize = options.blocksize;
  return disk;
}

/// The options that QEMU's tools take for a list, with one value in it.
inline std::string escape_commas(std::string_view value) {
  std::string escaped;
  for (const char c : value) escaped.append(c == ',' ? 2 : 1, c);
  return escaped;
}

/// Copies a snapshot out of the image, with what it has from backing files; returns its size.
inline std::uint64_t copy_snapshot(const char* op, const std::string& path, const ImageInfo& info,
                                   const std::string& name, const std::string& node,
                                   const std::string& target) {
  const ImageSnapshot* found = nullptr;
  std::string known;
  for (const auto& snapshot : info.snapshots) {
    known += (known.empty() ? "" : ", ") + in_quotes(snapshot.name);
    if (snapshot.name != name && snapshot.id != name) continue;
    if (found != nullptr)
      throw Error(op, shown(path) + ": more than one snapshot is called " + in_quotes(name), EINVAL);
    found = &snapshot;
  }
  if (found == nullptr)
    throw Error(
        op, shown(path) + ": has no snapshot " + in_quotes(name) + (known.empty() ? "" : ", but " + known),
        ENOENT);
  if (info.format != "qcow2" || (found->id + found->name).find('\0') != std::string::npos)
    throw Error(op, shown(path) + ": the snapshot's name holds a NUL byte", EINVAL);
  const std::string which =
      "snapshot.id=" + escape_commas(found->id) + ",snapshot.name=" + escape_commas(found->name);
  // Nobody needs what was written after a crash of the host.
  const auto result =
      run_qemu_img(op, {"convert", "-t", "unsafe", "-l", which, "-O", "qcow2", "json:" + node, target});
  if (!result.succeeded)
    throw Error(op, shown(path) + ": the snapshot cannot be copied: " + in_quotes(result.output), EIO);
  return found->virtual_size;
}

/// The size of the sectors of a disk that guestkit does not read itself; 512 where QEMU cannot either: then
/// it is the launch that fails, and tells why.
inline int sector_size_by_qemu(const char* op, const std::string& node, std::uint64_t disk,
                               const std::shared_ptr<scratch>& directory) {
  constexpr std::uint64_t block = 65536, blocks = 18;  // with the usual first partition, at 1 MiB
  std::uint64_t window_begin = 0;
  std::optional<std::string> window;
  const auto read = [&](std::uint64_t offset, std::size_t size) -> std::optional<std::string> {
    if (offset >= disk) return std::string(size, '\0');
    if (!window || offset < window_begin || offset + size > window_begin + block * blocks) {
      const private_file copy(directory);
      const auto result = run_qemu_img(
          op, {"dd", "-O", "raw", "bs=" + std::to_string(block), "skip=" + std::to_string(offset / block),
               "count=" + std::to_string(blocks), "if=json:" + node, "of=" + copy.path()});
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
  } catch (const Error&) {  // there is no qemu-img
    return 512;
  }
}

/// Checks the disk and prepares what QEMU is to open.
/// @param direct  whether libguestfs itself starts QEMU, as this user
inline checked_disk check_disk(const char* op, const std::string& path, const OpenDiskOptions& options,
                               bool direct, const std::shared_ptr<scratch>& directory) {
  for (const auto& protocol : options.protocols)
    if (protocol != "file" && protocol != "nbd")
      throw Error(op,
                  "guestkit opens the protocols file and nbd, not " + in_quotes(protocol) +
                      "; nbdkit makes an NBD server of most others (docs/images.md)",
                  EINVAL);
  if (options.blocksize && *options.blocksize != 512 && *options.blocksize != 4096)
    throw Error(op, "the sectors of a disk have 512 or 4096 bytes, not " + std::to_string(*options.blocksize),
                EINVAL);
  if (options.protocols.contains("nbd") && (path.starts_with("nbd://") || path.starts_with("nbd+unix://")))
    return nbd_disk(op, path, options);
  if (!options.protocols.contains("file"))
    throw Error(op, shown(path) + ": is a file, and \"file\" is not among the protocols", EACCES);
  if (!options.readonly && !options.format)
    throw Error(
        op,
        shown(path) +
            ": a disk that is written to needs its format stated: the guest of a raw disk can make it "
            "look like any other, and the next one who opens it reads what files of the host it names",
        EINVAL);
  if (!options.readonly && options.snapshot)
    throw Error(op, shown(path) + ": a snapshot is opened read-only", EINVAL);

  const bool by_name = !options.snapshot && (!options.readonly || !direct);
  image_chain chain(op, options, by_name);
  checked_disk disk;
  disk.info = chain.open(path, options.format);
  disk.in_use = chain.in_use();
  disk.options.readonly = false;
  if (by_name) {
    // libguestfs asks for the real name at the launch: a disk that was moved is found, another one is not.
    disk.filename = "/proc/self/fd/" + std::to_string(chain.descriptor());
    disk.options.readonly = options.readonly;
    disk.options.format = disk.info.format;
    if (!options.readonly && ::access(disk.filename.c_str(), W_OK) != 0)
      throw Error(op, shown(path) + ": " + std::strerror(errno), errno);
  } else {
    disk.kept.overlay = std::make_shared<private_file>(directory);
    if (options.snapshot)
      disk.info.virtual_size =
          copy_snapshot(op, path, disk.info, *options.snapshot, chain.node().json, disk.kept.overlay->path());
    else
      write_sparse(disk.kept.overlay->descriptor(), chain.node().overlay(disk.info.virtual_size));
    disk.filename = disk.kept.overlay->path();
    disk.options.format = "qcow2";
    disk.options.cachemode = "unsafe";  // it ends with the appliance
  }
  auto& blocksize = disk.info.blocksize;
  if (options.blocksize)
    blocksize = options.blocksize;
  else if (options.snapshot)  // which may have another table
    blocksize = read_image(image_file(op, disk.filename), "qcow2").blocksize;
  else if (!blocksize)
    blocksize = sector_size_by_qemu(op, chain.node().json, disk.info.virtual_size, directory);
  if (options.blocksize || blocksize == 4096) disk.options.blocksize = blocksize;
  disk.kept.files = chain.release();
  return disk;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail

namespace guestkit::inline GUESTKIT_FORM {

template <class Core>
template <class Path>
ImageInfo basic_guestfs<Core>::open_disk(const Path& path, const OpenDiskOptions& options) {
  constexpr auto op = "open_disk";
  const std::filesystem::path disk_path(path);
  const auto state = this->state();
  const detail::call_scope scope(state, op);
  try {
    const bool direct = this->template invoke<std::string>(op, guestfs_get_backend).lift() == "direct";
    const auto directory = state->temporary ? state->temporary : detail::scratch::beneath(this->tmpdir());
    auto disk = detail::check_disk(op, disk_path.native(), options, direct, directory);
    try {
      actions::add_drive(disk.filename, disk.options);
    } catch (const Error& e) {
      if (disk.options.protocol != "nbd" || disk.options.readonly == false) throw;
      throw Error(
          op,
          detail::shown(disk_path.native()) +
              ": QEMU gets no answer there: start the NBD server first, one that presents this export "
              "and that this user may connect to",
          e.error_number());
    }
    if (!disk.in_use.empty())
      detail::log(*state, LogLevel::warning,
                  std::string(op) + ": " + disk.in_use + ": what is read may be in motion");
    state->disks.push_back(std::make_shared<detail::opened_disk>(std::move(disk.kept)));
    return std::move(disk.info);
  } catch (const Error& e) {  // of a tool that was killed, perhaps
    state->turns->throw_if_stopped(op, e.message(), e.error_number(), {});
    throw;
  } catch (const std::system_error& e) {
    throw Error(op, std::string("no private file: ") + e.what(), e.code().value());
  }
}

template <class Core>
template <class Path>
ImageInfo basic_guestfs<Core>::open_disk(const Path& path) {
  return open_disk(path, {});
}

}  // namespace guestkit::inline GUESTKIT_FORM
