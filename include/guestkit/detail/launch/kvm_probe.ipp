#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/launch/kvm_probe.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A firmware for x86-64 that reports, through the isa-debug-exit device and thus QEMU's exit status, that
/// guest code has run in long mode. Real mode would prove nothing: on some hosts KVM runs it and hangs at the
/// first instruction after it.
inline std::vector<unsigned char> x86_firmware() {
  std::vector<unsigned char> image(65536, 0xf4);  // hlt
  // cli; lgdt; cr0 |= PE; far jump; ds = 16; page tables for the first 2 MB at 0x1000, 0x2000, 0x3000;
  // cr4 = PAE; cr3 = 0x1000; EFER |= LME; cr0 |= PG; far jump; mov al, 0x10; out 0xf4, al; hlt; the GDT
  constexpr std::array<unsigned char, 158> code{
      0xfa, 0x2e, 0x66, 0x0f, 0x01, 0x16, 0x98, 0x00, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0,
      0x66, 0xea, 0x18, 0x00, 0x0f, 0x00, 0x08, 0x00, 0xb8, 0x10, 0x00, 0x00, 0x00, 0x8e, 0xd8, 0xc7,
      0x05, 0x00, 0x10, 0x00, 0x00, 0x03, 0x20, 0x00, 0x00, 0xc7, 0x05, 0x00, 0x20, 0x00, 0x00, 0x03,
      0x30, 0x00, 0x00, 0xc7, 0x05, 0x00, 0x30, 0x00, 0x00, 0x83, 0x00, 0x00, 0x00, 0xb8, 0x20, 0x00,
      0x00, 0x00, 0x0f, 0x22, 0xe0, 0xb8, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x22, 0xd8, 0xb9, 0x80, 0x00,
      0x00, 0xc0, 0x0f, 0x32, 0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30, 0x0f, 0x20, 0xc0, 0x0d, 0x00,
      0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, 0xea, 0x6d, 0x00, 0x0f, 0x00, 0x18, 0x00, 0xb0, 0x10, 0xe6,
      0xf4, 0xf4, 0xeb, 0xfd, 0x0f, 0x1f, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
      0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xcf, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf, 0x00,
      0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xaf, 0x00, 0x1f, 0x00, 0x78, 0x00, 0x0f, 0x00};
  std::memcpy(image.data(), code.data(), code.size());
  constexpr std::array<unsigned char, 3> reset{0xe9, 0x0d, 0x00};  // at the reset vector: jump to the start
  std::memcpy(image.data() + 0xfff0, reset.data(), reset.size());
  return image;
}

/// A firmware for QEMU's aarch64 machine virt that writes "ok" to its serial port and turns the machine off.
inline std::vector<unsigned char> aarch64_firmware() {
  // mov x0, 0x9000000, the PL011; then for each character: mov w1, it; str w1, [x0]
  // mov w0, 0x84000008, PSCI's SYSTEM_OFF; hvc 0; b .
  constexpr std::array<std::uint32_t, 11> code{0xd2a12000, 0x52800de1, 0xb9000001, 0x52800d61,
                                               0xb9000001, 0x52800141, 0xb9000001, 0x52800100,
                                               0x72b08000, 0xd4000002, 0x14000000};
  std::vector<unsigned char> image(4096);
  for (std::size_t i = 0; i < code.size(); ++i)
    for (std::size_t byte = 0; byte < 4; ++byte)
      image[4 * i + byte] = static_cast<unsigned char>(code[i] >> (8 * byte));
  return image;
}

GUESTKIT_INLINE kvm_probe probe_for(std::string_view architecture, const std::string& accelerator) {
  if (architecture == "x86_64")  // q35: some QEMUs have no pc
    return {.options = {"-machine", "q35,accel=" + accelerator, "-cpu", "max", "-m", "16", "-device",
                        "isa-debug-exit,iobase=0xf4,iosize=4"},
            .firmware = x86_firmware(),
            .exit_status = (0x10 << 1) | 1,
            .word = ""};
  if (architecture == "aarch64")
    return {.options = {"-machine", "virt,gic-version=max,accel=" + accelerator, "-cpu", "max", "-m", "16",
                        "-serial", "stdio"},
            .firmware = aarch64_firmware(),
            .word = "ok"};
  // There QEMU must at least start, and end when it reads the end of its stdin.
  return {
      .options = {"-machine", "none,accel=" + accelerator, "-monitor", "stdio"}, .firmware = {}, .word = ""};
}

/// Whether a program ended by a fault of its own. One that was killed may have been in the way.
inline bool crashed(int status) {
  if (!WIFSIGNALED(status)) return false;
  const int signal = WTERMSIG(status);
  return signal == SIGABRT || signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE;
}

/// A file with the firmware, for QEMU to inherit and to open by its number. If it cannot be made, returns no
/// descriptor and sets errno.
inline unique_fd firmware_file(const std::vector<unsigned char>& image) {
  auto file = above_streams(unique_fd(::memfd_create("guestkit-kvm-probe", MFD_CLOEXEC)));
  if (file.get() >= 0 &&
      ::write(file.get(), image.data(), image.size()) != static_cast<ssize_t>(image.size()))
    return unique_fd();
  return file;
}

GUESTKIT_INLINE std::optional<KvmStatus> refused_kvm(const std::string& device) {
  const unique_fd kvm(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (kvm.get() >= 0) return std::nullopt;
  const int why = errno;
  if (why == ENOENT)
    return KvmStatus{
        false, device + " is missing: the processor or the cloud offers no (nested) virtualisation here"};
  if (why == EACCES)
    return KvmStatus{false, device + " cannot be opened by this user: add the user to the group kvm"};
  return KvmStatus{.reason = device + " cannot be opened: " + std::strerror(why), .settled = is_lasting(why)};
}

GUESTKIT_INLINE KvmStatus probe_kvm(const std::string& device, const std::string& qemu,
                                    const kvm_probe& probe, const program_limit& limit,
                                    const std::function<void()>& look) {
  if (auto refused = refused_kvm(device)) return *std::move(refused);
  std::vector<std::string> command{qemu, "-nodefaults", "-no-user-config", "-display", "none"};
  for (const auto& word : probe.options) command.push_back(word);
  unique_fd firmware;
  if (!probe.firmware.empty()) {
    firmware = firmware_file(probe.firmware);
    if (firmware.get() < 0)
      return {.reason = std::string("a probe of KVM could not be made: ") + std::strerror(errno),
              .settled = false};
    command.emplace_back("-bios");
    command.push_back("/proc/self/fd/" + std::to_string(firmware.get()));
  }
  const auto end = run_program(
      command, {.limit = limit,
                .look = look,
                .inherited = firmware.get() < 0 ? std::vector<int>{} : std::vector{firmware.get()},
                .takes_stdout = !probe.word.empty()});
  const bool proved = WIFEXITED(end.status) && WEXITSTATUS(end.status) == probe.exit_status &&
                      end.output.find(probe.word) != std::string::npos;
  if (end.error != 0)
    return {.reason = qemu + " cannot be run: " + std::strerror(end.error), .settled = is_lasting(end.error)};
  if (end.timed_out && !end.had_time)
    return {.reason = "this host is too busy to find out whether " + qemu + " runs guests with " + device,
            .settled = false};
  if (end.timed_out)
    return {.reason = qemu + " runs no guest code with " + device + " within " +
                      std::to_string(limit.given.count()) + " ms: virtualisation is broken on this host",
            .hangs = true};
  if (proved) return {true, ""};
  const std::string line = end.last_line();
  return {.reason = qemu + " fails with " + device + (line.empty() ? "" : " (" + line + ")") +
                    ": virtualisation is broken on this host",
          .crashed = crashed(end.status)};
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
