// How init tells the appliance's `udevadm settle` that udevd sleeps, and that nothing waits for it.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>

namespace appliance {

/// Is there while udevd sleeps. It holds the number of the last event of the kernel that need not wake it,
/// and udevd's process.
inline constexpr const char* asleep = "/run/udev.asleep";

/// The number of the kernel's last event.
inline constexpr const char* kernel_events = "/sys/kernel/uevent_seqnum";

inline void note_asleep(std::uint64_t number, int process) {
  constexpr const char* draft = "/run/udev.asleep.new";
  std::FILE* file = std::fopen(draft, "we");
  if (file == nullptr) return;
  std::fprintf(file, "%llu %d\n", static_cast<unsigned long long>(number), process);
  std::fclose(file);
  std::rename(draft, asleep);
}

}  // namespace appliance
