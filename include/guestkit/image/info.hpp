// What the header of a disk image says, as values. Everything here was written by whoever made the image.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace guestkit {

/// Another file that an image has QEMU open.
struct ImageReference {
  std::string kind;  ///< "backing", "data", "extent" or "parent"
  std::string name;  ///< as it stands in the image: a path, or what QEMU takes for a protocol
  std::optional<std::string> format;  ///< the one that QEMU will use; none: QEMU guesses
};

/// A line of a VMDK descriptor.
struct ImageExtent {
  std::string access;  ///< "RW", "RDONLY", "NOACCESS"
  std::string kind;    ///< "FLAT", "SPARSE", …
  std::string name;
  std::uint64_t size = 0;    ///< in bytes
  std::uint64_t offset = 0;  ///< in bytes, in a flat extent's file
};

/// A snapshot inside a qcow2 image.
struct ImageSnapshot {
  std::string id;
  std::string name;
  std::uint64_t virtual_size = 0;   ///< of the disk when it was taken
  std::uint64_t vm_state_size = 0;  ///< bytes of saved memory
  std::int64_t seconds = 0;         ///< since 1970
};

/// What a disk image is, read from its header by guestkit itself.
struct ImageInfo {
  std::string format;     ///< QEMU's name: "raw", "qcow", "qcow2", "vmdk", "vpc" (VHD), "vhdx", "vdi"
  int version = 0;        ///< the format's own; 3 for what is called qcow3
  std::string subformat;  ///< such as "streamOptimized", "fixed", "dynamic", "differencing"
  /// Of raw: "mbr", "gpt", "luks", or what is plainly no disk: "gzip", "xz", "zstd", "bzip2", "tar", "zip",
  /// "html", "xml", "ovf", "pdf", "text", … (image/raw.hpp has them all).
  std::string content;
  std::uint64_t virtual_size = 0;  ///< of the disk, in bytes
  std::uint64_t file_size = 0;     ///< of the file, in bytes
  /// Of the disk's sectors, in bytes: 4096 where its partition table shows that, else 512; none: probe()
  /// cannot tell, and open_disk() looks through QEMU.
  std::optional<int> blocksize;
  std::uint64_t cluster_size = 0;  ///< the unit of allocation, in bytes; 0: none
  std::optional<std::string> backing_file;
  std::optional<std::string> backing_format;
  std::optional<std::string> data_file;
  bool data_file_raw = false;
  std::vector<ImageExtent> extents;
  std::string encryption;   ///< "aes", "luks" or empty
  std::string compression;  ///< of compressed clusters: "zlib", "zstd", "deflate" or empty
  std::vector<ImageSnapshot> snapshots;
  bool extended_l2 = false;
  bool lazy_refcounts = false;
  bool dirty = false;    ///< not closed properly
  bool corrupt = false;  ///< marked so by QEMU
  /// The image refers to clusters behind the file's end. Not told of an image in use: its end moves.
  bool truncated = false;
  /// Another program writes to it, as QEMU's locks tell. From open_disk(): to a file of its chain.
  bool in_use = false;
  /// Everything outside the file that it refers to.
  std::vector<ImageReference> references;
};

}  // namespace guestkit
