// The lean /init of the appliance: does what libguestfs' own shell script does, but runs only the programs
// that are needed.
//
// It runs in two parts. First comes everything that needs no disk. Then, if the host has given the machine a
// second port, it pauses. The snapshot for the warm appliance is taken during this pause, and a restored
// machine learns through the port what a boot would have told it. Without the port it continues at once.
//
// Under emulation every program that the guest executes costs 50 to 90 ms. So mounts, static nodes and links
// are made with system calls, udev is triggered only for block devices and virtio ports, and mdadm, lvm and
// ldmtool run only if a disk may contain something for them. Rescue mode and the network are left to the
// stock script, which is kept beside it.
#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "daemon.hpp"
#include "storage.hpp"
#include "system.hpp"
#include "udev.hpp"

namespace {

using namespace appliance;
using std::string;

/// The words of the kernel's command line. Compared whole, so that a disk's label cannot pass for one of
/// them.
class CommandLine {
 public:
  explicit CommandLine(const string& text) {
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find_first_of(" \n", at);
      words_.push_back(text.substr(at, end == string::npos ? string::npos : end - at));
      if (end == string::npos) break;
      at = end + 1;
    }
  }
  bool flag(std::string_view name) const { return value(name) == "1"; }
  string value(std::string_view name) const {
    string found;
    for (const auto& word : words_)
      if (word.size() > name.size() && word.starts_with(name) && word[name.size()] == '=')
        found = word.substr(name.size() + 1);
    return found;
  }

 private:
  std::vector<string> words_;
};

void mount_kernel_filesystems() {
  struct stat s {};
  for (const char* path : {"/tmp", "/var/tmp"}) {
    if (::lstat(path, &s) == 0 && !S_ISDIR(s.st_mode)) ::unlink(path);
    make_directory(path, 01777);
  }
  make_directory("/proc");
  make_directory("/sys");
  ::mount("/proc", "/proc", "proc", 0, nullptr);
  ::mount("/sys", "/sys", "sysfs", 0, nullptr);
  ::mount("/dev", "/dev", "devtmpfs", 0, nullptr);
}

void mount_the_rest(const CommandLine& line) {
  make_link("/proc/self/fd", "/dev/fd");
  make_directory("/dev/pts");
  make_directory("/dev/shm", 01777);
  ::mount("/dev/pts", "/dev/pts", "devpts", 0, nullptr);
  ::mount("shmfs", "/dev/shm", "tmpfs", 0, "mode=1777");
  make_directory("/sysroot");
  make_directory("/run");
  ::mount("tmpfs", "/run", "tmpfs", MS_NOSUID, "size=20%,mode=0755");
  make_directory("/run/lock");
  make_link("../run/lock", "/var/lock");
  if (line.flag("selinux")) ::mount("none", "/sys/fs/selinux", "selinuxfs", 0, nullptr);
  make_link("/proc/mounts", "/etc/mtab");
  // Fedora's openssl requires it.
  const char* policy = "/etc/crypto-policies/back-ends/opensslcnf.config";
  const char* stock = "/usr/share/crypto-policies/DEFAULT/opensslcnf.txt";
  if (exists("/etc/crypto-policies/back-ends") && !exists(policy) && exists(stock)) {
    ::unlink(policy);
    make_link(stock, policy);
  }
}

/// In memory: to write to the root disk takes 30 ms.
void make_machine_id() {
  const string random = read_file("/dev/urandom", 16);
  string text;
  for (const char byte : random) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned char>(byte));
    text += hex;
  }
  write_file("/run/machine-id", text + "\n");
}

/// Device nodes whose first use loads their module: /dev/fuse, /dev/mapper/control, /dev/loop-control…
void make_static_nodes() {
  utsname kernel{};
  ::uname(&kernel);
  FILE* list = std::fopen((string("/lib/modules/") + kernel.release + "/modules.devname").c_str(), "re");
  if (list == nullptr) return;
  char row[256];
  while (std::fgets(row, sizeof row, list) != nullptr) {
    char module[64];
    char name[64];
    char type = 0;
    unsigned major_number = 0;
    unsigned minor_number = 0;
    if (row[0] == '#' ||
        std::sscanf(row, "%63s %63s %c%u:%u", module, name, &type, &major_number, &minor_number) != 5)
      continue;
    const string path = string("/dev/") + name;
    if (const auto slash = path.find('/', 5); slash != string::npos) make_directory(path.substr(0, slash));
    ::mknod(path.c_str(), static_cast<mode_t>(type == 'c' ? S_IFCHR : S_IFBLK) | 0600,
            makedev(major_number, minor_number));
  }
  std::fclose(list);
  ::chmod("/dev/fuse", 0666);
}

void bring_up_loopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  ::ioctl(fd, SIOCSIFFLAGS, &request);
  ::close(fd);
}

void configure_lvm() {
  make_directory("/tmp/lvm");
  const bool devices_file = exists("/sbin/lvmdevices") || exists("/usr/sbin/lvmdevices") ||
                            exists("/sbin/vgimportdevices") || exists("/usr/sbin/vgimportdevices");
  write_file("/tmp/lvm/lvm.conf", devices_file ? "devices {\n\tuse_devicesfile = 0\n}\n" : "");
  ::setenv("LVM_SYSTEM_DIR", "/tmp/lvm", 1);
}

void assemble_arrays(const Udev& udev, const char* degraded) {
  // mdadm waits for a link of udev's, or makes it itself.
  if (udev.is_asleep()) ::setenv("MDADM_NO_UDEV", "1", 1);
  run({"mdadm", "-As", "--auto=yes", degraded});
  ::unsetenv("MDADM_NO_UDEV");
}

void activate_groups(const std::vector<BlockDevice>& devices, Udev& udev) {
  std::vector<string> names;
  bool is_plain = true;
  for (const auto& [name, contents] : devices)
    if (contents.lvm) {
      names.push_back(name);
      is_plain = is_plain && !contents.md && !contents.table;  // LVM may know better what the label is worth
    }
  if (is_plain && udev.is_asleep() && activate_ordinary_groups(names)) return;
  udev.wake();
  run({"modprobe", "dm_mod"});
  run({"lvm", "pvscan", "--cache", "--activate", "ay"});
}

/// In libguestfs' order: arrays may be below LVM's groups, or on them.
void activate_storage(Udev& udev) {
  auto devices = block_devices();
  const auto has = [&](bool Contents::*kind) {
    return std::ranges::any_of(devices, [&](const auto& device) { return device.contents.*kind; });
  };
  if (has(&Contents::md)) {
    assemble_arrays(udev, "--no-degraded");
    devices = block_devices();
  }
  if (has(&Contents::lvm)) {
    activate_groups(devices, udev);
    devices = block_devices();
  }
  if (std::ranges::any_of(devices,
                          [](const auto& device) { return device.contents.md && !is_assembled(device); })) {
    assemble_arrays(udev, "--run");
    devices = block_devices();
  }
  if (has(&Contents::ldm)) {
    udev.wake();  // ldmtool waits for it
    run({"modprobe", "dm_mod"});
    run({"ldmtool", "create", "all"});
    devices = block_devices();
  }
  for (const auto& device : devices)
    if (device.contents.btrfs) register_btrfs(device.name);
}

// ---- the pause

/// The port that only a template and machines restored from it have; empty: this is a normal boot.
string pause_port() {
  for (const auto& name : entries("/sys/class/virtio-ports"))
    if (read_line("/sys/class/virtio-ports/" + name + "/name") == "org.guestkit.warm.0")
      return "/dev/" + name;
  return "";
}

/// Loads what an inspection will need, for the snapshot to keep: modules, and the pages of programs.
void prepare() {
  // Each is loaded by itself: one that this kernel has built in, or lacks, is an error for modprobe.
  for (const char* module : {"btrfs", "dm_crypt", "dm_mod", "fuse", "nls_ascii", "nls_cp437", "nls_utf8",
                             "raid0", "raid1", "raid456", "sg", "vfat", "xfs"})
    run({"modprobe", "--quiet", module});
  run({"lvm", "pvscan", "--cache", "--activate", "ay"});
  run({"ls", "-1v", "/dev/disk/by-path"}, Output::none);  // the daemon's first step
  for (const char* program :
       {"blkid", "blockdev", "btrfs", "cryptsetup", "dmsetup", "mdadm", "mount", "ntfs-3g", "umount"})
    run({program, "--version"}, Output::none);
  for (const char* program : {"/sbin/e2fsck", "/bin/cp", "/bin/tar"}) read_file(program, 2 << 20);
}

/// The host's message after the snapshot has been restored: lines of a word and a value, with "go" at the
/// end. Empty if no valid message came.
string receive(int port) {
  string message;
  char chunk[4096];
  while (!message.ends_with("\ngo\n")) {
    const ssize_t got = ::read(port, chunk, sizeof chunk);
    if (got > 0)
      message.append(chunk, static_cast<size_t>(got));
    else if (got == 0)
      ::usleep(10000);  // the host has not opened its end yet
    else if (errno != EINTR && errno != EAGAIN)
      return "";
    if (message.size() > (1 << 20)) return "";
  }
  return message;
}

string value_in(const string& message, const string& word) {
  const size_t at = ("\n" + message).find("\n" + word + " ");
  if (at == string::npos) return "";
  const size_t begin = at + word.size() + 1;
  return message.substr(begin, message.find('\n', begin) - begin);
}

/// All machines restored from one snapshot have the same generator state: this gives each its own seed.
bool seed_random(const string& hex) {
  struct {
    int bits = 0;
    int size = 0;
    unsigned char bytes[64] = {};
  } entropy;
  for (size_t at = 0; at + 2 <= hex.size() && entropy.size < 64; at += 2)
    entropy.bytes[entropy.size++] =
        static_cast<unsigned char>(std::strtoul(hex.substr(at, 2).c_str(), nullptr, 16));
  entropy.bits = entropy.size * 8;
  const int fd = ::open("/dev/urandom", O_RDWR | O_CLOEXEC);
  const bool done = entropy.size == 64 && fd >= 0 && ::ioctl(fd, RNDADDENTROPY, &entropy) == 0 &&
                    ::ioctl(fd, RNDRESEEDCRNG) == 0;
  ::close(fd);
  return done;
}

bool set_clock(const string& text) {
  char* rest = nullptr;
  timespec now{};
  now.tv_sec = std::strtoll(text.c_str(), &rest, 10);
  if (now.tv_sec <= 0 || *rest != '.') return false;
  now.tv_nsec = std::strtol(rest + 1, nullptr, 10);
  return ::clock_settime(CLOCK_REALTIME, &now) == 0;
}

const char* const boot_id = "/proc/sys/kernel/random/boot_id";

/// Puts a file of ours in the place of the boot's id. The kernel generates it only once, before the pause.
void replace_boot_id() {
  write_file("/run/boot_id", "");
  ::mount("/run/boot_id", boot_id, nullptr, MS_BIND, nullptr);
}

bool renew_boot_id() {
  const string id = read_file("/proc/sys/kernel/random/uuid", 64);
  tell("/run/boot_id", id);
  return !id.empty() && read_file(boot_id, 64) == id;
}

DaemonOptions daemon_options(const CommandLine& line) {
  return {.channel = line.value("guestfs_channel"), .verbose = line.flag("guestfs_verbose")};
}

/// Waits for the restore and gives the restored machine its own identity. Returns the kernel's command line
/// as a boot would have had it. If the machine does not answer, the host kills it.
string pause_for_snapshot(const string& path, const string& booted_with, Daemon& daemon, Udev& udev,
                          const KernelEvents& events) {
  prepare();
  replace_boot_id();
  daemon.prepare(daemon_options(CommandLine(booted_with)));
  udev.sleep();
  const int port = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (port < 0 || ::write(port, "ready\n", 6) != 6) return booted_with;
  const string message = receive(port);
  string fault;
  if (!set_clock(value_in(message, "time"))) fault += " clock";
  if (!seed_random(value_in(message, "seed"))) fault += " seed";
  if (!renew_boot_id()) fault += " boot_id";
  make_machine_id();
  if (!find_disks(std::strtoul(value_in(message, "disks").c_str(), nullptr, 10), udev, events))
    fault += " disks";
  const string answer = fault.empty() ? "up\n" : "failed:" + fault + "\n";
  if (::write(port, answer.data(), answer.size()) < 0) std::perror("init: the host");
  ::close(port);
  string line = value_in(message, "append");
  if (line.find("guestfs_verbose=1") != string::npos) tell("/proc/sys/kernel/printk", "7");
  return line;
}

}  // namespace

int main() {
  ::umask(022);
  ::setenv("PATH", "/sbin:/usr/sbin:/bin:/usr/bin", 1);
  ::setenv("RUNLEVEL", "S", 1);
  ::setenv("PREVLEVEL", "N", 1);
  mount_kernel_filesystems();
  const string booted_with = read_file("/proc/cmdline");
  CommandLine line(booted_with);
  if (line.flag("guestfs_rescue") || line.flag("guestfs_network") || line.flag("guestfs_boot_analysis")) {
    // The stock script mounts them itself.
    for (const char* path : {"/dev", "/sys", "/proc"}) ::umount(path);
    ::execl("/init.stock", "/init.stock", nullptr);
  }
  mount_the_rest(line);
  ::unlink("/etc/machine-id");
  make_link("/run/machine-id", "/etc/machine-id");
  make_machine_id();
  make_static_nodes();
  bring_up_loopback();
  configure_lvm();
  Udev udev;
  udev.start();
  const KernelEvents events;
  Daemon daemon;
  if (const string port = pause_port(); !port.empty())
    line = CommandLine(pause_for_snapshot(port, booted_with, daemon, udev, events));
  tune_disks();
  activate_storage(udev);
  if (line.value("guestkit_udev") == "asleep")
    udev.announce_sleep(events);
  else
    udev.resume();  // programs of the guest may look for its links; the daemon waits until they are there
  udev.guard(daemon.start(daemon_options(line)), events);
  ::sync();
  if (!line.flag("guestfs_noreboot")) ::reboot(RB_AUTOBOOT);
  for (;;) ::pause();
}
