#include "udev.hpp"

#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <vector>

#include "asleep.hpp"
#include "system.hpp"
#include "udevd_socket.hpp"

namespace appliance {

namespace {

bool is_scsi_disk(const std::string& name) {
  return name.starts_with("sd");
}

std::string udev_record(const std::string& block) {
  return "/run/udev/data/b" + read_line("/sys/class/block/" + block + "/dev");
}

/// Waits until every SCSI disk has its block device: sd probes in the background.
bool wait_for_disks() {
  bool all = true;
  for (const auto& address : entries("/sys/class/scsi_device")) {
    const std::string device = "/sys/class/scsi_device/" + address + "/device";
    if (read_line(device + "/type") == "0")
      all = wait_for(address, [&] { return !entries(device + "/block").empty(); }) && all;
  }
  return all;
}

/// The disks that have a link by path. The daemon builds its table of names from these links when it starts,
/// so a link that appeared later would shift all names.
std::set<std::string> linked_disks() {
  std::set<std::string> disks;
  const std::string folder = "/dev/disk/by-path/";
  for (const auto& name : entries(folder))
    if (std::string target = link_target(folder + name); !target.empty())
      disks.insert(target.erase(0, std::strlen("../../")));
  return disks;
}

/// Waits until udev has seen and linked every SCSI disk.
bool wait_for_links() {
  bool all = true;
  for (const auto& name : entries("/sys/class/block")) {
    if (!is_scsi_disk(name)) continue;
    all = wait_for(name, [&] { return exists(udev_record(name)); }) && all;
    const bool whole = exists("/sys/block/" + name);
    if (whole) all = wait_for("the link of " + name, [&] { return linked_disks().contains(name); }) && all;
  }
  return all;
}

void settle() {
  run({"udevadm", "settle", "--timeout=600"});
}

/// udev's ID_PATH, such as pci-0000:00:03.0-scsi-0:0:1:0, of a disk whose path below /sys has
/// …/0000:00:03.0/virtio0/host2/target2:0:1/2:0:1:0/…; empty for any other.
std::string path_id(const std::string& path) {
  std::vector<std::string> parts(1);
  for (const char c : path)
    if (c == '/')
      parts.emplace_back();
    else
      parts.back() += c;
  for (std::size_t i = 1; i + 3 < parts.size(); ++i) {
    const std::string &pci = parts[i - 1], &address = parts[i + 3];
    if (parts[i].starts_with("virtio") && parts[i + 1].starts_with("host") &&
        parts[i + 2].starts_with("target") && std::ranges::count(pci, ':') == 2)
      return "pci-" + pci + "-scsi-0" + address.substr(std::min(address.find(':'), address.size()));
  }
  return "";
}

/// Makes the links that the daemon reads: by path, and by the label that the host has given a disk.
/// @returns whether each disk has got one by path
bool link_disks() {
  make_directory("/dev/disk");
  make_directory("/dev/disk/by-path");
  for (const auto& name : entries("/sys/class/block")) {
    if (!is_scsi_disk(name)) continue;
    const std::string place = "/sys/class/block/" + name;
    const std::string path = link_target(place), id = path_id(path);
    if (id.empty()) return false;
    const std::string number = read_line(place + "/partition");
    const std::string node = "../../" + name;
    make_link(node, "/dev/disk/by-path/" + id + (number.empty() ? "" : "-part" + number));
    const std::string disk = place + (number.empty() ? "/device" : "/../device");
    constexpr std::size_t header = 4;
    const std::string serial = read_file(disk + "/vpd_pg80", 256);
    if (serial.size() <= header) continue;
    make_directory("/dev/disk/guestfs");
    make_link(node, "/dev/disk/guestfs/" + serial.substr(header) + number);
  }
  return true;
}

/// udevd's process, a child of init since it has made itself a daemon; 0 if there is none.
int process_of_udev() {
  for (const auto& name : entries("/proc")) {
    // Not by its name, which is that of the program it was started through; its workers' lines differ.
    const std::string line = read_file("/proc/" + name + "/cmdline", 4096);
    const std::string program = line.substr(0, line.find('\0'));
    const bool is_child = read_file("/proc/" + name + "/status").find("\nPPid:\t1\n") != std::string::npos;
    if (is_child && program.starts_with('/') && program.ends_with("udevd")) return std::atoi(name.c_str());
  }
  return 0;
}

}  // namespace

KernelEvents::KernelEvents()
    : socket_(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT)) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1;  // what the kernel sends, not what udevd makes of it
  const int size = 16 << 20;
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  if (::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    std::perror("init: netlink");
}

KernelEvents::~KernelEvents() {
  ::close(socket_);
}

std::optional<KernelEvent> KernelEvents::next(int milliseconds) const {
  pollfd waiting{.fd = socket_, .events = POLLIN, .revents = 0};
  int ready = 0;
  do ready = ::poll(&waiting, 1, milliseconds);
  while (ready < 0 && errno == EINTR);
  std::array<char, 8192> message{};
  const ssize_t size = ready == 1 ? ::recv(socket_, message.data(), message.size(), MSG_DONTWAIT) : -1;
  if (size < 0) return std::nullopt;
  KernelEvent event;
  for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
    const std::string row(&message[at], ::strnlen(&message[at], static_cast<std::size_t>(size) - at));
    at += row.size() + 1;
    const auto value = [&](const char* name, std::string& into) {
      if (row.starts_with(name)) into = row.substr(std::strlen(name));
    };
    value("ACTION=", event.action);
    value("SUBSYSTEM=", event.subsystem);
    value("DEVTYPE=", event.type);
    value("DEVNAME=", event.name);
    std::string number;
    value("SEQNUM=", number);
    if (!number.empty()) event.number = std::strtoull(number.c_str(), nullptr, 10);
  }
  return event;
}

void Udev::start() {
  for (const char* udevd : {"/lib/systemd/systemd-udevd", "/usr/lib/systemd/systemd-udevd", "/sbin/udevd",
                            "/lib/udev/udevd", "/usr/lib/udev/udevd"})
    if (exists(udevd)) {
      run({udevd, "--daemon"});
      // Since version 260 of systemd, or a little earlier, it begins to listen to the kernel only afterwards.
      wait_for("udevd", [] { return udevd_answers("/run/udev", 1000); });
      break;
    }
  wait_for_disks();
  for (const std::string folder : {"/sys/class/virtio-ports", "/sys/class/block"})
    for (const auto& name : entries(folder)) tell(folder + "/" + name + "/uevent", "add");
  settle();
  wait_for_links();
}

void Udev::sleep() {
  process_ = process_of_udev();
  if (process_ != 0) ::kill(process_, SIGSTOP);
}

void Udev::resume() {
  if (process_ != 0) ::kill(process_, SIGCONT);
  process_ = 0;
}

bool Udev::wake() {
  resume();
  settle();
  return wait_for_links();
}

void Udev::announce_sleep(const KernelEvents& events) {
  if (process_ == 0) return;
  last_ = std::strtoull(read_line(kernel_events).c_str(), nullptr, 10);
  while (const auto event = events.next(0)) last_ = std::max(last_, event->number);
  if (!note_asleep(last_, process_)) resume();
}

void Udev::guard(int process, const KernelEvents& events) {
  if (process <= 0) return;
  sigset_t child;
  ::sigemptyset(&child);
  ::sigaddset(&child, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child, nullptr);
  const int ends = ::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  while (process_ != 0 && !reap(process, WNOHANG)) {
    std::array<pollfd, 2> waiting{{{.fd = events.descriptor(), .events = POLLIN, .revents = 0},
                                   {.fd = ends, .events = POLLIN, .revents = 0}}};
    ::poll(waiting.data(), waiting.size(), -1);
    signalfd_siginfo end;
    while (::read(ends, &end, sizeof end) > 0) {
    }
    if (waiting[0].revents == 0) continue;
    const auto event = events.next(0);
    // Newer kernels may deliver events out of order: behind a gap there may be one of a block device.
    const bool is_next = event && event->subsystem != "block" && event->number == last_ + 1;
    if (is_next && note_asleep(event->number, process_)) {
      last_ = event->number;
      continue;
    }
    ::unlink(asleep);
    resume();
  }
  ::close(ends);
  while (!reap(process, 0)) {
  }
}

bool find_disks(std::size_t count, Udev& udev, const KernelEvents& events) {
  for (const auto& host : entries("/sys/class/scsi_host")) {
    const std::string scsi = "/sys/class/scsi_host/" + host;
    if (read_line(scsi + "/proc_name") != "virtio_scsi") continue;
    for (std::size_t id = 0; id < count; ++id) tell(scsi + "/scan", "0 " + std::to_string(id) + " 0");
  }
  // The kernel tells of a disk when it knows its partitions.
  constexpr int patience = 20000;
  for (std::size_t found = 0; found < count;) {
    const auto event = events.next(patience);
    if (!event) return false;
    if (event->action == "add" && event->type == "disk" && is_scsi_disk(event->name)) ++found;
  }
  return (udev.is_asleep() && link_disks()) || udev.wake();
}

void tune_disks() {
  for (const auto& name : entries("/sys/block"))
    if (is_scsi_disk(name)) tell("/sys/block/" + name + "/device/timeout", "300\n");
}

}  // namespace appliance
