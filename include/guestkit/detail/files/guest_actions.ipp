#pragma once

#include "guestkit/detail/files/guest_actions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE guest_actions::guest_actions(std::shared_ptr<handle_state> state)
    : actions(std::move(state)) {}

GUESTKIT_INLINE Version guest_actions::version() {
  return actions::version();
}

GUESTKIT_INLINE string_list guest_actions::list_devices() {
  return actions::list_devices();
}

GUESTKIT_INLINE string_list guest_actions::list_partitions() {
  return actions::list_partitions();
}

GUESTKIT_INLINE string_list guest_actions::list_md_devices() {
  return actions::list_md_devices();
}

GUESTKIT_INLINE string_list guest_actions::list_dm_devices() {
  return actions::list_dm_devices();
}

GUESTKIT_INLINE std::int64_t guest_actions::blockdev_getsize64(const std::string& device) {
  return actions::blockdev_getsize64(device);
}

GUESTKIT_INLINE hashtable guest_actions::blkid(const std::string& device) {
  return actions::blkid(device);
}

GUESTKIT_INLINE std::string guest_actions::vfs_label(const std::string& device) {
  return actions::vfs_label(device);
}

GUESTKIT_INLINE buffer guest_actions::pread_device(const std::string& device, int count,
                                                   std::int64_t offset) {
  return actions::pread_device(device, count, offset);
}

GUESTKIT_INLINE hashtable guest_actions::md_detail(const std::string& array) {
  return actions::md_detail(array);
}

GUESTKIT_INLINE void guest_actions::cryptsetup_open(const std::string& device, const std::string& key,
                                                    const std::string& mapname) {
  actions::cryptsetup_open(device, key, mapname);
}

GUESTKIT_INLINE string_list guest_actions::vgs() {
  return actions::vgs();
}

GUESTKIT_INLINE std::vector<VG> guest_actions::vgs_full() {
  return actions::vgs_full();
}

GUESTKIT_INLINE string_list guest_actions::vgpvuuids(const std::string& group) {
  return actions::vgpvuuids(group);
}

GUESTKIT_INLINE void guest_actions::vg_activate(bool activate, const string_list& groups) {
  actions::vg_activate(activate, groups);
}

GUESTKIT_INLINE string_list guest_actions::lvs() {
  return actions::lvs();
}

GUESTKIT_INLINE std::string guest_actions::lvuuid(const std::string& volume) {
  return actions::lvuuid(volume);
}

GUESTKIT_INLINE std::vector<BTRFSSubvolume> guest_actions::btrfs_subvolume_list(
    const std::string& device_or_path) {
  return actions::btrfs_subvolume_list(device_or_path);
}

GUESTKIT_INLINE std::int64_t guest_actions::btrfs_subvolume_get_default(const std::string& device_or_path) {
  return actions::btrfs_subvolume_get_default(device_or_path);
}

GUESTKIT_INLINE string_list guest_actions::inspect_os() {
  is_clear_ = false;
  return actions::inspect_os();
}

GUESTKIT_INLINE void guest_actions::mount(const std::string& device, const std::string& mountpoint) {
  is_clear_ = false;
  actions::mount(device, mountpoint);
}

GUESTKIT_INLINE void guest_actions::mount_ro(const std::string& device, const std::string& mountpoint) {
  is_clear_ = false;
  actions::mount_ro(device, mountpoint);
}

GUESTKIT_INLINE void guest_actions::mount_options(const std::string& options, const std::string& device,
                                                  const std::string& mountpoint) {
  is_clear_ = false;
  actions::mount_options(options, device, mountpoint);
}

GUESTKIT_INLINE void guest_actions::umount_all() {
  if (is_clear_) return;
  actions::umount_all();
  is_clear_ = true;
}

GUESTKIT_INLINE StatVFS guest_actions::statvfs(const std::string& path) {
  return actions::statvfs(path);
}

GUESTKIT_INLINE StatNS guest_actions::statns(const std::string& path) {
  return actions::statns(path);
}

GUESTKIT_INLINE StatNS guest_actions::lstatns(const std::string& path) {
  return actions::lstatns(path);
}

GUESTKIT_INLINE std::vector<StatNS> guest_actions::lstatnslist(const std::string& directory,
                                                               const string_list& names) {
  return actions::lstatnslist(directory, names);
}

GUESTKIT_INLINE string_list guest_actions::readlinklist(const std::string& directory,
                                                        const string_list& names) {
  return actions::readlinklist(directory, names);
}

GUESTKIT_INLINE std::vector<Dirent> guest_actions::readdir(const std::string& directory) {
  return actions::readdir(directory);
}

GUESTKIT_INLINE std::string guest_actions::case_sensitive_path(const std::string& path) {
  return actions::case_sensitive_path(path);
}

GUESTKIT_INLINE buffer guest_actions::pread(const std::string& path, int count, std::int64_t offset) {
  return actions::pread(path, count, offset);
}

GUESTKIT_INLINE std::vector<Application2> guest_actions::inspect_list_applications2(const std::string& root) {
  return actions::inspect_list_applications2(root);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
