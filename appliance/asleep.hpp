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

struct Asleep {
  unsigned long long number = 0;
  int process = 0;
};

/// Returns false if udevd is awake.
inline bool read_asleep(Asleep& found) {
  std::FILE* file = std::fopen(asleep, "re");
  if (file == nullptr) return false;
  const bool is_whole = std::fscanf(file, "%llu %d", &found.number, &found.process) == 2;
  std::fclose(file);
  return is_whole;
}

/// Returns whether it is noted. If not, udevd must be woken.
inline bool note_asleep(std::uint64_t number, int process) {
  constexpr const char* draft = "/run/udev.asleep.new";
  std::FILE* file = std::fopen(draft, "we");
  if (file == nullptr) return false;
  const bool is_written =
      std::fprintf(file, "%llu %d\n", static_cast<unsigned long long>(number), process) > 0;
  return std::fclose(file) == 0 && is_written && std::rename(draft, asleep) == 0;
}

}  // namespace appliance
