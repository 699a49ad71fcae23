#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/image/chain.hpp"
#include "guestkit/detail/image/checked_disk.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/detail/image/overlay.hpp"
#include "guestkit/detail/image/qemu_img.hpp"
#include "guestkit/detail/image/read.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH.
inline checked_disk nbd_disk(const char* op, const std::string& uri, const OpenDiskOptions& options) {
  const auto refuse = [&](const std::string& reason, Diagnosis diagnosis = {}) {
    throw Error(op, shown(uri) + ": " + reason, EINVAL, std::move(diagnosis));
  };
  if (options.format != "raw")
    refuse("the header of any format but raw cannot be checked through the network",
           {Cause::network_format,
            "state format=raw, and have the server present the disk itself (qemu-nbd, nbdkit)"});
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

/// Refuses what guestkit never opens, whatever the disk is.
inline void check_options(const char* op, const OpenDiskOptions& options) {
  for (const auto& protocol : options.protocols)
    if (protocol != "file" && protocol != "nbd")
      throw Error(op,
                  "guestkit opens the protocols file and nbd, not " + in_quotes(protocol) +
                      "; nbdkit makes an NBD server of most others (docs/images.md)",
                  EINVAL);
  if (options.blocksize && *options.blocksize != 512 && *options.blocksize != 4096)
    throw Error(op, "the sectors of a disk have 512 or 4096 bytes, not " + std::to_string(*options.blocksize),
                EINVAL);
}

/// Checks the requirements for a disk that is a file.
inline void check_file_options(const char* op, const std::string& path, const OpenDiskOptions& options) {
  if (!options.protocols.contains("file"))
    throw Error(op, shown(path) + ": is a file, and \"file\" is not among the protocols", EACCES);
  if (!options.readonly && !options.format)
    throw Error(
        op,
        shown(path) +
            ": a disk that is written to needs its format stated: the guest of a raw disk can make it "
            "look like any other, and the next one who opens it reads what files of the host it names",
        EINVAL, {Cause::format_unstated, state_the_format});
  if (!options.readonly && options.snapshot)
    throw Error(op, shown(path) + ": a snapshot is opened read-only", EINVAL);
}

GUESTKIT_INLINE checked_disk check_disk(const char* op, const std::string& path,
                                        const OpenDiskOptions& options, bool direct,
                                        const std::shared_ptr<scratch>& directory,
                                        const std::optional<std::string>& cage) {
  check_options(op, options);
  if (options.protocols.contains("nbd") && (path.starts_with("nbd://") || path.starts_with("nbd+unix://")))
    return nbd_disk(op, path, options);
  check_file_options(op, path, options);

  const bool by_name = !options.snapshot && (!options.readonly || !direct);
  image_chain chain(op, options, by_name, cage.has_value());
  checked_disk disk;
  disk.info = chain.open(path, options.format);
  disk.in_use = chain.in_use();
  disk.options.readonly = false;
  const described_image image{chain.node().json, chain.inherited(), chain.file_size(), cage};
  if (by_name) {
    // At launch libguestfs resolves the real name: a disk that was moved is found, a replacement is not.
    disk.filename = "/proc/self/fd/" + std::to_string(chain.descriptor());
    disk.options.readonly = options.readonly;
    disk.options.format = disk.info.format;
    if (!options.readonly && ::access(disk.filename.c_str(), W_OK) != 0)
      throw Error(op, shown(path) + ": " + std::strerror(errno), errno);
  } else {
    disk.kept.overlay = std::make_shared<private_file>(directory);
    if (options.snapshot)
      disk.info.virtual_size =
          copy_snapshot(op, path, disk.info, *options.snapshot, image, *disk.kept.overlay);
    else
      write_sparse(disk.kept.overlay->descriptor(), chain.node().overlay(disk.info.virtual_size));
    disk.filename = disk.kept.overlay->path();
    disk.options.format = "qcow2";
    disk.options.cachemode = "unsafe";  // the overlay does not outlive the appliance
  }
  auto& blocksize = disk.info.blocksize;
  if (options.blocksize)
    blocksize = options.blocksize;
  else if (options.snapshot)  // a snapshot may have another partition table
    blocksize = read_image(image_file(op, disk.filename), "qcow2").blocksize;
  else if (!blocksize)
    blocksize = sector_size_by_qemu(op, image, disk.info.virtual_size, directory);
  if (options.blocksize || blocksize == 4096) disk.options.blocksize = blocksize;
  if (!options.readonly) disk.kept.written = chain.identity();
  disk.kept.files = chain.release();
  return disk;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
