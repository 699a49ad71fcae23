// The actions that inspections and file readers use on a guest, whatever handle opened it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/borrowed_core.hpp"
#include "guestkit/generated/actions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Every action of libguestfs. Those with which guestkit's own rules examine devices and files are virtual,
/// so that a test can keep a guest in memory.
class guest_actions : public actions<borrowed_core> {
 public:
  explicit guest_actions(std::shared_ptr<handle_state> state);
  guest_actions(const guest_actions&) = delete;
  guest_actions& operator=(const guest_actions&) = delete;
  virtual ~guest_actions() = default;

  virtual Version version();

  // Devices.
  virtual string_list list_devices();
  virtual string_list list_partitions();
  virtual string_list list_md_devices();
  virtual string_list list_dm_devices();
  virtual std::int64_t blockdev_getsize64(const std::string& device);
  virtual hashtable blkid(const std::string& device);
  virtual std::string vfs_label(const std::string& device);
  virtual buffer pread_device(const std::string& device, int count, std::int64_t offset);
  virtual hashtable md_detail(const std::string& array);
  virtual void cryptsetup_open(const std::string& device, const std::string& key, const std::string& mapname);

  // LVM and btrfs.
  virtual string_list vgs();
  virtual std::vector<VG> vgs_full();
  virtual string_list vgpvuuids(const std::string& group);
  virtual void vg_activate(bool activate, const string_list& groups);
  virtual string_list lvs();
  virtual std::string lvuuid(const std::string& volume);
  virtual std::vector<BTRFSSubvolume> btrfs_subvolume_list(const std::string& device_or_path);
  virtual std::int64_t btrfs_subvolume_get_default(const std::string& device_or_path);

  // Mounts.
  virtual string_list inspect_os();  ///< where it fails, it may leave a filesystem mounted
  virtual void mount(const std::string& device, const std::string& mountpoint);
  virtual void mount_ro(const std::string& device, const std::string& mountpoint);
  virtual void mount_options(const std::string& options, const std::string& device,
                             const std::string& mountpoint);
  virtual void umount_all();  ///< no message if nothing was mounted since the last one
  void note_nothing_is_mounted() noexcept { is_clear_ = true; }
  virtual StatVFS statvfs(const std::string& path);

  // Files.
  virtual StatNS statns(const std::string& path);
  virtual StatNS lstatns(const std::string& path);
  virtual std::vector<StatNS> lstatnslist(const std::string& directory, const string_list& names);
  virtual string_list readlinklist(const std::string& directory, const string_list& names);
  virtual std::vector<Dirent> readdir(const std::string& directory);
  virtual std::string case_sensitive_path(const std::string& path);
  virtual buffer pread(const std::string& path, int count, std::int64_t offset);

  // Packages.
  virtual std::vector<Application2> inspect_list_applications2(const std::string& root);

 private:
  bool is_clear_ = false;  // nothing is mounted
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/files/guest_actions.ipp"
#endif
