#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <string_view>
#include <utility>

#include "guestkit/launch_error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

namespace detail {

struct symptom {
  std::string_view text;  // to be found in the message or the console
  LaunchCause cause;
  std::string_view hint;
};

/// In order of certainty: a definite cause comes before what may only be its consequence.
inline constexpr std::array symptoms{
    symptom{
        "No space left on device", LaunchCause::no_space,
        "free space in TMPDIR and in the cache directory, or set LIBGUESTFS_TMPDIR and LIBGUESTFS_CACHEDIR "
        "to directories with some GB free"},
    symptom{"Disk quota exceeded", LaunchCause::no_space,
            "raise the quota, or set LIBGUESTFS_CACHEDIR elsewhere"},
    symptom{
        "failed to find a suitable kernel", LaunchCause::kernel_unreadable,
        "install a kernel (sudo apt-get install linux-image-cloud-amd64), and if there is one in /boot, let "
        "users read it: sudo chmod 0644 /boot/vmlinuz-*"},
    symptom{"kvm_buf_set_msrs", LaunchCause::kvm, "KVM does not work on this host: use accel=tcg"},
    symptom{"failed to initialize kvm", LaunchCause::kvm,
            "let this user open /dev/kvm (sudo usermod -aG kvm USER), or use accel=tcg"},
    symptom{"Could not access KVM kernel module", LaunchCause::kvm,
            "let this user open /dev/kvm (sudo usermod -aG kvm USER), or use accel=tcg"},
    symptom{"force_kvm", LaunchCause::kvm, "KVM was demanded and is not there: use accel=auto or accel=tcg"},
    symptom{"ioctl(KVM_CREATE_VM) failed", LaunchCause::kvm,
            "another hypervisor has the processor, or memory is short: stop it, or use accel=tcg"},
    symptom{"cannot set up guest memory", LaunchCause::memory,
            "the host has too little memory: run fewer appliances at once, or lower set_memsize()"},
    symptom{"Cannot allocate memory", LaunchCause::memory,
            "the host has too little memory: run fewer appliances at once, or lower set_memsize()"},
    symptom{"Out of memory", LaunchCause::memory, "the appliance has too little memory: raise set_memsize()"},
    symptom{"System is deadlocked on memory", LaunchCause::memory,
            "the appliance has too little memory: raise set_memsize()"},
    symptom{"Failed to get \"write\" lock", LaunchCause::disk_locked,
            "another process writes to the disk: shut its guest down, or open the disk read-only"},
    symptom{
        "Failed to get shared \"write\" lock", LaunchCause::disk_locked,
        "another process writes to the disk or to a file beneath it: shut its guest down, or read the disk "
        "by open_disk, which takes no lock"},
    symptom{"Is another process using the image", LaunchCause::disk_locked,
            "another process uses the disk: shut its guest down, or open the disk read-only"},
    symptom{"supermin exited with error status", LaunchCause::appliance_build,
            "libguestfs could not build its appliance: run libguestfs-test-tool for the whole story"},
    symptom{"supermin:", LaunchCause::appliance_build,
            "libguestfs could not build its appliance: run libguestfs-test-tool for the whole story"},
    symptom{"cannot find any suitable libguestfs supermin", LaunchCause::appliance_damaged,
            "there is no appliance in the search path: unset LIBGUESTFS_PATH or correct set_path()"},
    symptom{"the fixed appliance is damaged", LaunchCause::appliance_damaged,
            "make it again with libguestfs-make-fixed-appliance, or unset LIBGUESTFS_PATH"},
    symptom{
        "could not load kernel", LaunchCause::appliance_damaged,
        "the appliance's kernel is damaged: remove the appliance in the cache directory and launch again"},
    symptom{
        "could not open kernel file", LaunchCause::appliance_damaged,
        "the appliance's kernel is missing: remove the appliance in the cache directory and launch again"},
    symptom{"Kernel panic", LaunchCause::appliance_damaged,
            "the appliance does not boot: remove it from the cache directory and launch again"},
    symptom{"VFS: Unable to mount root fs", LaunchCause::appliance_damaged,
            "the appliance's root is damaged: remove the appliance in the cache directory and launch again"},
    symptom{"Could not open backing file", LaunchCause::disk_missing,
            "a backing file of the disk is missing or unreadable: qemu-img info --backing-chain DISK tells "
            "which"},
};

inline bool contains(const std::string& line, std::string_view text) {
  return line.find(text) != std::string::npos;
}

/// supermin copies the kernel from /boot, where some distributions let only root read it.
inline bool kernel_unreadable(const std::string& line) {
  return contains(line, "/boot/") && contains(line, "Permission denied");
}

/// What kept the appliance from starting, and the remedy.
struct diagnosis {
  LaunchCause cause = LaunchCause::unknown;
  std::string hint = {};
};

/// QEMU's complaint about a drive: "Could not open 'NAME': REASON".
inline diagnosis drive_complaint(const std::string& line) {
  if (!contains(line, "Could not open '")) return {LaunchCause::unknown, ""};
  if (contains(line, "No such file or directory"))
    return {LaunchCause::disk_missing, "a disk is gone since it was added"};
  if (contains(line, "Permission denied"))
    return {LaunchCause::disk_unreadable,
            "let this user read the disk, and write it unless it is opened read-only"};
  return {LaunchCause::disk_unreadable, "the disk cannot be opened: qemu-img check DISK tells more"};
}

inline diagnosis diagnose(const std::string& message, int error_number,
                          const std::vector<std::string>& console) {
  std::vector<std::string> lines;
  for (auto i = console.size(); i-- > 0;) lines.push_back(console[i]);  // the latest lines say the most
  lines.push_back(message);
  for (const auto& line : lines)
    if (kernel_unreadable(line))
      return {LaunchCause::kernel_unreadable, "let users read the kernel: sudo chmod 0644 /boot/vmlinuz-*"};
  for (const auto& symptom : symptoms)
    for (const auto& line : lines)
      if (contains(line, symptom.text)) return {symptom.cause, std::string(symptom.hint)};
  for (const auto& line : lines)
    if (auto found = drive_complaint(line); found.cause != LaunchCause::unknown) return found;
  const bool starts_qemu = contains(message, "qemu");
  if (contains(message, "error status 126") || contains(message, "error status 127") ||
      (starts_qemu && (error_number == ENOENT || error_number == EACCES)))
    return {LaunchCause::qemu_missing,
            "the hypervisor cannot be run: sudo apt-get install qemu-system-x86, or correct LIBGUESTFS_HV or "
            "set_hv()"};
  return {LaunchCause::unknown, ""};
}

/// What QEMU prints about every disk for which libguestfs makes an overlay; it indicates no failure.
inline bool is_routine(const std::string& line) {
  return contains(line, "WARNING: Image format was not specified") ||
         contains(line, "Automatically detecting the format is dangerous") ||
         contains(line, "Specify the 'raw' format explicitly") || contains(line, "warning: ");
}

/// libguestfs' message for a failed launch only says how to debug libguestfs; the last line from QEMU or the
/// kernel says what went wrong.
inline std::string launch_message(const std::string& message, const std::vector<std::string>& console) {
  std::string first = message.substr(0, message.find('\n'));
  if (!contains(first, "guestfs_launch failed")) return first;
  for (auto i = console.size(); i-- > 0;)
    if (!is_routine(console[i])) return "the appliance did not start; it last wrote: " + console[i];
  return "the appliance did not start: its hypervisor ended or was killed, and wrote nothing of why";
}

}  // namespace detail

GUESTKIT_INLINE const char* to_string(LaunchCause cause) noexcept {
  constexpr std::array names{"unknown",         "kernel_unreadable", "kvm",          "memory",
                             "appliance_build", "appliance_damaged", "qemu_missing", "disk_missing",
                             "disk_locked",     "disk_unreadable",   "no_space"};
  static_assert(names.size() == static_cast<std::size_t>(LaunchCause::no_space) + 1);
  return names.at(static_cast<std::size_t>(cause));
}

GUESTKIT_INLINE LaunchError::LaunchError(const std::string& op, const std::string& message, int error_number,
                                         std::vector<std::string> console)
    : Error(op, detail::launch_message(message, console), error_number), console_(std::move(console)) {
  auto found = detail::diagnose(message, error_number, console_);
  cause_ = found.cause;
  hint_ = std::move(found.hint);
}

}  // namespace guestkit::inline GUESTKIT_FORM
