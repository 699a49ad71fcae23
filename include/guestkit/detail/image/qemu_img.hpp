// Tasks that guestkit gives to qemu-img. Each throws Error if qemu-img cannot be started.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/private_file.hpp"
#include "guestkit/detail/base/scratch.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// An image for qemu-img.
struct described_image {
  std::string json;            ///< as QEMU's JSON describes it
  std::vector<int> inherited;  ///< the descriptors that qemu-img needs for that
  std::uint64_t file_size;     ///< of all files that it consists of, in bytes
  /// The program that shuts qemu-img in, so that it reaches these descriptors and its output alone; empty:
  /// there is none, so qemu-img does not run. Nothing: it runs free.
  std::optional<std::string> cage = {};
};

/// Copies a snapshot out of the image, including the data in its backing files; returns its size. The copy is
/// bounded, since a small image can refer to the same data any number of times: it becomes at most 1024 times
/// as large as the image's files, and leaves 1 GiB of its file system free.
/// @param op    the call that needs the copy
/// @param path  of the image, for messages
/// @param name  of the snapshot, or its id
std::uint64_t copy_snapshot(const char* op, const std::string& path, const ImageInfo& info,
                            const std::string& name, const described_image& image,
                            const private_file& target);

/// The sector size of a disk that guestkit does not read itself. 512 if QEMU cannot read it either: then the
/// launch fails and reports why.
/// @param disk       its size in bytes
/// @param directory  for private files
int sector_size_by_qemu(const char* op, const described_image& image, std::uint64_t disk,
                        const std::shared_ptr<scratch>& directory);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/qemu_img.ipp"
#endif
