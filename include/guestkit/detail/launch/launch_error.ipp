#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/diagnosis.hpp"
#include "guestkit/detail/base/install_command.hpp"
#include "guestkit/detail/state/verdict.hpp"
#include "guestkit/launch_error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

namespace detail {

struct symptom {
  std::string_view text;  // to be found in the message or the console
  Cause cause;
  std::string_view hint;  // where it says {qemu} or {kernel}, the command that installs that is told
};

/// What QEMU, the kernel and libguestfs say; guestkit tells the cause of its own errors itself. In order of
/// certainty: a definite cause comes before what may only be its consequence.
inline constexpr std::array symptoms{
    symptom{
        "No space left on device", Cause::no_space,
        "free space in TMPDIR and in the cache directory, or set LIBGUESTFS_TMPDIR and LIBGUESTFS_CACHEDIR "
        "to directories with some GB free"},
    symptom{"Could not open temporary file", Cause::no_space,
            "QEMU's temporary files cannot be written: set TMPDIR to a directory that this user can write, "
            "but not to /tmp by that name, for which QEMU takes /var/tmp (TMPDIR=/tmp/. is /tmp)"},
    symptom{"Disk quota exceeded", Cause::no_space, "raise the quota, or set LIBGUESTFS_CACHEDIR elsewhere"},
    symptom{"failed to find a suitable kernel", Cause::kernel_unreadable,
            "install a kernel{kernel}, and if there is one in /boot, let users read it: "
            "sudo chmod 0644 /boot/vmlinuz-*"},
    symptom{"kvm_buf_set_msrs", Cause::kvm, "KVM does not work on this host: use accel=tcg"},
    symptom{"failed to initialize kvm", Cause::kvm,
            "let this user open /dev/kvm (sudo usermod -aG kvm USER), or use accel=tcg"},
    symptom{"Could not access KVM kernel module", Cause::kvm,
            "let this user open /dev/kvm (sudo usermod -aG kvm USER), or use accel=tcg"},
    symptom{"force_kvm", Cause::kvm, "KVM was asked for and is not there: use accel=auto or accel=tcg"},
    symptom{"ioctl(KVM_CREATE_VM) failed", Cause::kvm,
            "another hypervisor has the processor, or memory is short: stop it, or use accel=tcg"},
    symptom{"cannot set up guest memory", Cause::memory,
            "the host has too little memory: run fewer appliances at once, or lower LIBGUESTFS_MEMSIZE"},
    symptom{"Cannot allocate memory", Cause::memory,
            "the host has too little memory: run fewer appliances at once, or lower LIBGUESTFS_MEMSIZE"},
    symptom{"Out of memory", Cause::memory, "the appliance has too little memory: raise LIBGUESTFS_MEMSIZE"},
    symptom{"System is deadlocked on memory", Cause::memory,
            "the appliance has too little memory: raise LIBGUESTFS_MEMSIZE"},
    symptom{"Failed to get \"write\" lock", Cause::disk_locked,
            "another process writes to the disk: shut its guest down, or open the disk read-only"},
    symptom{
        "Failed to get shared \"write\" lock", Cause::disk_locked,
        "another process writes to the disk or to a file beneath it: shut its guest down, or read the disk "
        "by open_disk, which takes no lock"},
    symptom{"Is another process using the image", Cause::disk_locked,
            "another process uses the disk: shut its guest down, or open the disk read-only"},
    symptom{"supermin exited with error status", Cause::appliance_build,
            "libguestfs could not build its appliance: run libguestfs-test-tool for the whole story"},
    symptom{"supermin killed by signal", Cause::appliance_build,
            "libguestfs could not build its appliance: run libguestfs-test-tool for the whole story"},
    symptom{
        "cannot find any suitable libguestfs supermin", Cause::appliance_damaged,
        "there is no appliance in the search path: unset LIBGUESTFS_PATH, or correct the path that was set"},
    symptom{
        "could not load kernel", Cause::appliance_damaged,
        "the appliance's kernel is damaged: remove the appliance in the cache directory and launch again"},
    symptom{
        "could not open kernel file", Cause::appliance_damaged,
        "the appliance's kernel is missing: remove the appliance in the cache directory and launch again"},
    symptom{"Kernel panic", Cause::appliance_damaged,
            "the appliance does not boot: remove it from the cache directory and launch again"},
    symptom{"VFS: Unable to mount root fs", Cause::appliance_damaged,
            "the appliance's root is damaged: remove the appliance in the cache directory and launch again"},
};

/// The hint with what it says in braces replaced by " (sudo dnf install kernel)", or by nothing.
inline std::string completed(std::string_view hint) {
  std::string text(hint);
  const auto begin = text.find('{'), end = text.find('}');
  if (begin == std::string::npos || end == std::string::npos) return text;
  const auto command = install_command(text.substr(begin + 1, end - begin - 1));
  return text.replace(begin, end - begin + 1, command.empty() ? "" : " (" + command + ')');
}

inline bool contains(const std::string& line, std::string_view text) {
  return line.find(text) != std::string::npos;
}

/// supermin copies the kernel from /boot by cp; some distributions let only root read it there.
inline bool kernel_unreadable(const std::string& line) {
  return line.starts_with("cp: ") && contains(line, "/boot/") && contains(line, "Permission denied");
}

/// QEMU's complaint about a drive: "Could not open 'NAME': REASON". Beneath an overlay, as libguestfs makes
/// one for each read-only disk, it is "Could not open backing file: COMPLAINT".
inline Diagnosis drive_complaint(const std::string& line) {
  const bool beneath = contains(line, "Could not open backing file: ");
  if (!beneath && !contains(line, "Could not open '")) return {Cause::unknown, ""};
  if (contains(line, "No such file or directory"))
    return {Cause::disk_missing,
            beneath
                ? "the disk, or a file beneath it, is gone: qemu-img info --backing-chain DISK tells which"
                : "a disk is gone since it was added"};
  if (contains(line, "Permission denied"))
    return {Cause::disk_unreadable,
            "let this user read the disk and the files beneath it, and write the disk unless it is opened "
            "read-only"};
  return {Cause::disk_unreadable, "the disk cannot be opened: qemu-img check DISK tells more"};
}

inline Diagnosis diagnose(const std::string& message, int error_number,
                          const std::vector<std::string>& console) {
  std::vector<std::string> lines;
  for (auto i = console.size(); i-- > 0;) lines.push_back(console[i]);  // the latest lines say the most
  lines.push_back(message);
  for (const auto& line : lines)
    if (kernel_unreadable(line))
      return {Cause::kernel_unreadable, "let users read the kernel: sudo chmod 0644 /boot/vmlinuz-*"};
  if (auto found = complaint_of_own_files(message); found.cause != Cause::unknown) return found;
  for (const auto& symptom : symptoms)
    for (const auto& line : lines)
      if (contains(line, symptom.text)) return {symptom.cause, completed(symptom.hint)};
  for (const auto& line : lines)
    if (auto found = drive_complaint(line); found.cause != Cause::unknown) return found;
  const bool starts_qemu = contains(message, "qemu") || contains(message, "stat: ");  // of the hypervisor
  if (contains(message, "error status 126") || contains(message, "error status 127") ||
      (starts_qemu && (error_number == ENOENT || error_number == EACCES)))
    return {Cause::qemu_missing,
            completed("the hypervisor cannot be run: install QEMU{qemu}, or correct LIBGUESTFS_HV, or the "
                      "hypervisor that was set")};
  return {Cause::unknown, ""};
}

/// What is written without a failure, or besides what tells of one.
inline constexpr std::array<std::string_view, 8> routine{
    // by QEMU, of every disk for which libguestfs makes an overlay
    "WARNING: Image format was not specified", "Automatically detecting the format is dangerous",
    "Specify the 'raw' format explicitly", "warning: ",
    // by QEMU, as advice on how to replay the log of a VHDX image, below its complaint
    "To replay the log, run:", "qemu-img check -r all '",
    // by a verbose libguestfs, in the end
    "child_cleanup: ", "sending SIGTERM to process "};

inline bool is_routine(const std::string& line) {
  return warm::announces_qemu(line) ||
         std::any_of(routine.begin(), routine.end(), [&](auto text) { return contains(line, text); });
}

/// Whether it is one of QEMU's arguments, which a verbose libguestfs writes just before it runs QEMU.
inline bool is_argument(const std::string& line) {
  return line.starts_with("    -");
}

/// libguestfs' message for a failed launch only says how to debug libguestfs; the last line from QEMU or the
/// kernel says what went wrong.
inline std::string launch_message(const std::string& message, const std::vector<std::string>& console) {
  std::string first = message.substr(0, message.find('\n'));
  if (!contains(first, "guestfs_launch failed")) return first;
  for (auto i = console.size(); i-- > 0;) {
    if (is_argument(console[i])) break;
    if (!is_routine(console[i])) return "the appliance did not start; it last wrote: " + console[i];
  }
  return "the appliance did not start: its hypervisor ended or was killed, and wrote nothing of why";
}

}  // namespace detail

GUESTKIT_INLINE LaunchError::LaunchError(const std::string& op, const std::string& message, int error_number,
                                         std::vector<std::string> console)
    : Error(op, detail::launch_message(message, console), error_number,
            detail::diagnose(message, error_number, console)),
      WithConsole(std::move(console)) {}

}  // namespace guestkit::inline GUESTKIT_FORM
