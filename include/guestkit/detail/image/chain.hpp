// A disk image with every file that it refers to: opened by guestkit according to the policy, and described
// to QEMU by format and descriptor. No name from an image reaches QEMU, and QEMU has no format to guess.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/detail/image/overlay.hpp"
#include "guestkit/generated/image_info.hpp"
#include "guestkit/open_disk_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What to do where a format has to be stated: not what the header says, which a guest may have written.
inline constexpr const char* state_the_format =
    "state format=, from where you know it (its maker, libvirt's definition of the guest), not from the "
    "image itself";

/// A disk as QEMU's JSON describes it.
struct image_node {
  std::string json;
  std::string driver;

  sparse_file overlay(std::uint64_t virtual_size) const {
    return make_overlay(virtual_size, "json:" + json, driver);
  }
};

/// Opens a disk once. Whatever the policy forbids throws Error.
class image_chain {
 public:
  /// @param op, options  kept by reference, not copied
  /// @param by_name      QEMU will follow the names itself, so an image that makes it guess a format is
  ///     refused
  /// @param inherited    QEMU will have the files open under the same numbers as this process, of which it
  ///     cannot reach any
  image_chain(const char* op, const OpenDiskOptions& options, bool by_name, bool inherited = false);

  /// Opens the disk and every file that it refers to.
  ImageInfo open(const std::string& path, const std::optional<std::string>& format);

  /// The files of the chain that others use, and who they are, as a sentence for the log; "":
  /// none.
  const std::string& in_use() const noexcept { return in_use_; }
  /// The disk.
  const image_node& node() const noexcept { return node_; }
  /// The disk's own file.
  int descriptor() const noexcept { return files_.front().get(); }
  file_identity identity() const noexcept { return identity_; }
  /// Every file that QEMU is to open; keep them open until it has.
  std::vector<unique_fd> release() noexcept { return std::move(files_); }
  /// The size of the files together, in bytes.
  std::uint64_t file_size() const noexcept { return file_size_; }
  /// The files' numbers, where QEMU's programs inherit them; otherwise none.
  std::vector<int> inherited() const;

 private:
  struct opened {
    ImageInfo info;
    image_node node;
    std::string file;  // the path by which QEMU opens it
  };

  /// Opens the files that this one refers to, and keeps all of them.
  opened add(image_file file, const std::optional<std::string>& format);

  /// The path by which QEMU opens a file that is open here.
  std::string path_of(int fd) const;

  /// Adds this file to path_, unless it is already in the chain, or the chain is too long or has too many
  /// files.
  void enter(const image_file& file);
  void leave() noexcept { path_.pop_back(); }

  /// Refuses what is no disk, or none that QEMU, libguestfs or guestkit can read.
  void refuse_what_cannot_be_read(const image_file& file, const ImageInfo& info, bool stated) const;

  /// Who uses the file, in a way that this disk does not allow, and how; "": nobody.
  std::string use_of(const image_file& file) const;

  /// Refuses a file that others use, or records it.
  void look_for_users(const image_file& file);

  /// Opens the files that the image refers to, except for extents; returns them as fields of the image's
  /// node. Notes in info whether one of them is truncated.
  std::string follow(const image_file& file, ImageInfo& info, bool stated);

  void permit(const image_file& file, const ImageReference& reference, bool stated) const;

  /// Nothing where QEMU would guess. Then a file that looks like a raw disk is taken for one, and any other
  /// must not refer to further files (permit()).
  std::optional<std::string> format_of(const image_file& file, const ImageReference& reference) const;

  /// Where the files may lie that this one names, canonical: beside the name by which it was opened, as for
  /// QEMU, even if that is a link. oVirt's volumes are links to devices elsewhere, and name one another so.
  /// Then beside the file itself, to which a link may have been made without its backing file; QEMU alone
  /// does not find that.
  std::vector<std::filesystem::path> directories_of(const image_file& file) const;

  /// Opens the first such file that the policy permits.
  image_file find(const image_file& file, const ImageReference& reference) const;

  /// A VMDK's descriptor rewritten to name the extents that we have opened, in place of its own. Notes in
  /// info whether one of them is truncated.
  sparse_file describe_extents(const image_file& file, ImageInfo& info);

  /// Extra fields for a file's node. A disk that somebody is writing to can only be read without a lock, and
  /// such a read disturbs nobody. (The extents of a VMDK have no node, but inherit force-share from it.)
  std::string unlocked_file() const { return locks_ ? "" : R"(,"locking":"off")"; }

  /// Keeps the content in a private, unnamed file.
  int keep_private(const sparse_file& content);

  const char* op_;
  const Backing& backing_;
  const bool readonly_, locks_, by_name_, inherited_;
  const std::size_t max_files_;
  std::string in_use_;
  std::filesystem::path beneath_;
  file_identity identity_;             // of the disk's own file
  std::vector<file_identity> path_;    // from the disk to where we are
  std::set<file_identity> all_files_;  // each counts once in file_size_
  std::uint64_t file_size_ = 0;
  image_node node_;
  std::vector<unique_fd> files_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/chain.ipp"
#endif
