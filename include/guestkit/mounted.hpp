// Guestfs::mounted(): a guest's files in a directory of this host, by FUSE, for programs that know nothing of
// disks.
//
// The host's kernel follows symlinks itself, so that an absolute one of the guest's leads to this host's
// files. A program that reads a stranger's disk has to be kept inside of the directory, as by a container or
// chroot(2).
#pragma once

#include <filesystem>
#include <memory>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/mount/local_mount.hpp"
#include "guestkit/detail/state/handle_state.hpp"
#include "guestkit/guestfs.hpp"
#include "guestkit/mounted_options.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// A directory that shows what is mounted in a handle, until this object is destroyed.
///
///     guestkit::mount_guest(g);
///     {
///       const auto directory = g.mounted("mnt");
///       std::filesystem::copy(directory.path() / "etc", "etc");
///     }
///
/// A thread of its own serves the directory, and has the handle meanwhile: every other call throws an Error
/// with Cause::mounted and EBUSY at once. Callbacks of events run on another thread, a moment later; at most
/// 1000 wait, more are dropped. They may use the directory. Closing or destroying the handle unmounts it
/// before, and so does Guestfs::cancel(). If this process is killed, the directory is unmounted, too.
///
/// Ownership: move-only; it does not keep the handle open. Threads: any, but not from inside a call of the
/// handle.
class [[nodiscard]] Mounted {
 public:
  Mounted(Mounted&&) noexcept = default;
  Mounted& operator=(Mounted&& other) noexcept;
  ~Mounted();

  /// Where the files are, absolute and without symlinks.
  const std::filesystem::path& path() const noexcept { return path_; }

  /// Waits until the directory is unmounted, by whomever. Throws what unmount() throws.
  void wait() const;

  /// Unmounts the directory, although programs may still use it: their next access fails. What they have
  /// written is on the disk. A guest that does not answer for ten seconds is given up: its hypervisor is
  /// killed. Does nothing if it is unmounted already. The destructor does the same, and logs what this
  /// throws.
  ///
  /// Throws Error with EIO if what was written last may be lost, because the hypervisor has ended. Only the
  /// first call throws that, or wait().
  void unmount();

 private:
  template <class Core>
  friend class basic_guestfs;
  Mounted(std::shared_ptr<detail::handle_state> state, const std::filesystem::path& directory,
          const MountedOptions& options);
  void finish() noexcept;

  std::shared_ptr<detail::handle_state> state_;
  std::shared_ptr<detail::local_mount> mount_;
  std::filesystem::path path_;
};

template <class Core>
Mounted basic_guestfs<Core>::mounted(const std::filesystem::path& directory, const MountedOptions& options) {
  return Mounted(this->state(), directory, options);
}

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/files/mounted.ipp"
#endif
