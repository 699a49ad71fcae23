// udev, and the disks that it links.
//
// udevd runs a process for each event and a dozen programs for each disk, which takes half a second under
// emulation, for links and records that inspections never use. In a restored machine it sleeps until the
// disks are there, and in one that only inspects until the kernel tells of a block device that is new since
// then. Only the links that libguestfs' daemon reads at its start are made here, with the names that udev's
// rules give them; udevd, once awake, makes them again with all others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace appliance {

/// What the kernel tells of a device.
struct KernelEvent {
  std::string action;     ///< such as add
  std::string subsystem;  ///< such as block
  std::string type;       ///< such as disk or partition
  std::string name;       ///< such as sda1
  std::uint64_t number = 0;
};

/// The kernel's events since this was made.
class KernelEvents {
 public:
  KernelEvents();
  KernelEvents(const KernelEvents&) = delete;
  KernelEvents& operator=(const KernelEvents&) = delete;
  ~KernelEvents();

  /// The next event; nothing if none comes in that time (-1: there is no limit), or if some were lost.
  std::optional<KernelEvent> next(int milliseconds) const;

  /// What poll(2) can wait for.
  int descriptor() const { return socket_; }

 private:
  int socket_;
};

class Udev {
 public:
  /// Starts it and lets it see the disks and ports that are there.
  void start();

  /// Lets it sleep from now on: what the kernel tells waits in its queue.
  void sleep();

  bool is_asleep() const { return process_ != 0; }

  /// Lets it go on; what it has missed it does beside everything else.
  void resume();

  /// Resumes it, and waits until it has seen and linked all disks.
  bool wake();

  /// Tells `udevadm settle` that it sleeps, and that what the kernel has told until now need not wake it.
  void announce_sleep(const KernelEvents& events);

  /// Waits for that process's end. Meanwhile, wakes udev as soon as the kernel tells of a block device.
  void guard(int process, const KernelEvents& events);

 private:
  int process_ = 0;         ///< if it sleeps
  std::uint64_t last_ = 0;  ///< the last event that need not wake it
};

/// Waits for so many disks at the addresses that the host always uses, and links them.
bool find_disks(std::size_t count, Udev& udev, const KernelEvents& events);

/// Sets how long the kernel waits for a disk.
void tune_disks();

}  // namespace appliance
