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
#include <dirent.h>
#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

using std::string;

string read_file(const string& path, size_t limit = 65536) {
  string content;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return content;
  content.resize(limit);
  size_t size = 0;
  while (size < limit) {
    const ssize_t got = ::read(fd, content.data() + size, limit - size);
    if (got <= 0) break;
    size += static_cast<size_t>(got);
  }
  content.resize(size);
  ::close(fd);
  return content;
}

void write_file(const string& path, std::string_view text, int flags = O_CREAT | O_TRUNC) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | flags, 0644);
  if (fd < 0) return;
  if (::write(fd, text.data(), text.size()) < 0) std::perror(path.c_str());
  ::close(fd);
}

std::vector<string> entries(const string& folder) {
  std::vector<string> names;
  DIR* dir = ::opendir(folder.c_str());
  if (dir == nullptr) return names;
  while (const dirent* entry = ::readdir(dir))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  ::closedir(dir);
  return names;
}

bool exists(const string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

bool has(const string& text, std::string_view part) {
  return text.find(part) != string::npos;
}

void run(const std::vector<string>& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t child = -1;
  const int error = ::posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ);
  if (error != 0) {
    std::fprintf(stderr, "init: %s: %s\n", argv[0], std::strerror(error));
    return;
  }
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

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

void directory(const char* path, mode_t mode = 0755) {
  if (::mkdir(path, mode) == 0) ::chmod(path, mode);
}

void link(const char* target, const char* path) {
  if (::symlink(target, path) != 0 && errno != EEXIST) std::perror(path);
}

void mount_kernel_filesystems() {
  struct stat s {};
  for (const char* path : {"/tmp", "/var/tmp"}) {
    if (::lstat(path, &s) == 0 && !S_ISDIR(s.st_mode)) ::unlink(path);
    directory(path, 01777);
  }
  directory("/proc");
  directory("/sys");
  ::mount("/proc", "/proc", "proc", 0, nullptr);
  ::mount("/sys", "/sys", "sysfs", 0, nullptr);
  ::mount("/dev", "/dev", "devtmpfs", 0, nullptr);
}

void mount_the_rest(const CommandLine& line) {
  link("/proc/self/fd", "/dev/fd");
  directory("/dev/pts");
  directory("/dev/shm", 01777);
  ::mount("/dev/pts", "/dev/pts", "devpts", 0, nullptr);
  ::mount("shmfs", "/dev/shm", "tmpfs", 0, "mode=1777");
  directory("/sysroot");
  directory("/run");
  ::mount("tmpfs", "/run", "tmpfs", MS_NOSUID, "size=20%,mode=0755");
  directory("/run/lock");
  link("../run/lock", "/var/lock");
  if (line.flag("selinux")) ::mount("none", "/sys/fs/selinux", "selinuxfs", 0, nullptr);
  link("/proc/mounts", "/etc/mtab");
  // Fedora's openssl requires it.
  const char* policy = "/etc/crypto-policies/back-ends/opensslcnf.config";
  const char* stock = "/usr/share/crypto-policies/DEFAULT/opensslcnf.txt";
  if (exists("/etc/crypto-policies/back-ends") && !exists(policy) && exists(stock)) {
    ::unlink(policy);
    link(stock, policy);
  }
}

void make_machine_id() {
  const string random = read_file("/dev/urandom", 16);
  string text;
  for (const char byte : random) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned char>(byte));
    text += hex;
  }
  write_file("/etc/machine-id", text + "\n");
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
    if (const auto slash = path.find('/', 5); slash != string::npos) directory(path.substr(0, slash).c_str());
    ::mknod(path.c_str(), static_cast<mode_t>(type == 'c' ? S_IFCHR : S_IFBLK) | 0600,
            makedev(major_number, minor_number));
  }
  std::fclose(list);
  ::chmod("/dev/fuse", 0666);
}

bool is_scsi_disk(const string& name) {
  return name.starts_with("sd");
}

/// Waits until a condition holds; if it never does, says so and returns false.
template <class Condition>
bool wait_for(const string& what, Condition holds) {
  for (int tries = 0; !holds(); ++tries) {
    if (tries == 10000) {
      std::fprintf(stderr, "init: %s did not appear\n", what.c_str());
      return false;
    }
    ::usleep(2000);
  }
  return true;
}

/// Waits until every SCSI disk has its block device: sd probes in the background.
bool wait_for_disks() {
  bool all = true;
  for (const auto& address : entries("/sys/class/scsi_device")) {
    const string device = "/sys/class/scsi_device/" + address + "/device";
    if (read_file(device + "/type", 16) == "0\n")
      all = wait_for(address, [&] { return !entries(device + "/block").empty(); }) && all;
  }
  return all;
}

string udev_record(const string& block) {
  string number = read_file("/sys/class/block/" + block + "/dev", 32);
  if (!number.empty() && number.back() == '\n') number.pop_back();
  return "/run/udev/data/b" + number;
}

/// The disks that have a link by path. The daemon builds its table of names from these links when it starts,
/// so a link that appeared later would shift all names.
std::set<string> linked_disks() {
  std::set<string> disks;
  const string folder = "/dev/disk/by-path/";
  for (const auto& name : entries(folder)) {
    char target[256];
    const ssize_t size = ::readlink((folder + name).c_str(), target, sizeof target);
    if (size > 0) disks.insert(string(target, static_cast<size_t>(size)).erase(0, strlen("../../")));
  }
  return disks;
}

void settle() {
  run({"udevadm", "settle", "--timeout=600"});
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

void start_udev() {
  for (const char* udevd : {"/lib/systemd/systemd-udevd", "/usr/lib/systemd/systemd-udevd", "/sbin/udevd",
                            "/lib/udev/udevd", "/usr/lib/udev/udevd"})
    if (exists(udevd)) {
      run({udevd, "--daemon"});
      break;
    }
  wait_for_disks();
  for (const string folder : {"/sys/class/virtio-ports", "/sys/class/block"})
    for (const auto& name : entries(folder)) write_file(folder + "/" + name + "/uevent", "add", 0);
  settle();
  wait_for_links();
}

void tune_disks() {
  for (const auto& name : entries("/sys/block"))
    if (is_scsi_disk(name)) write_file("/sys/block/" + name + "/device/timeout", "300\n", 0);
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

/// Whether the first and the last megabyte, where LVM, MD and LDM keep their labels, contain only zeros.
bool has_empty_edges(const string& name) {
  const int fd = ::open(("/dev/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  constexpr off_t megabyte = 1 << 20;
  const off_t size = ::lseek(fd, 0, SEEK_END);
  string block(megabyte, '\1');
  bool empty = true;
  for (const off_t at : {off_t{0}, size > megabyte ? size - megabyte : off_t{0}}) {
    const ssize_t got = ::pread(fd, block.data(), block.size(), at);
    empty = empty && got >= 0 && block.find_first_not_of('\0') >= static_cast<size_t>(got);
  }
  ::close(fd);
  return empty;
}

/// What to scan for: everything that cannot be ruled out.
struct Scan {
  bool lvm = false;
  bool md = false;
  bool ldm = false;
};

Scan what_to_scan() {
  Scan scan;
  for (const auto& name : entries("/sys/class/block")) {
    if (name.starts_with("loop") || name.starts_with("ram")) continue;
    const string record = read_file(udev_record(name));
    const bool file_system = has(record, "E:ID_FS_TYPE=");
    const bool certain = !has(record, "E:ID_FS_AMBIVALENT=") &&
                         (file_system || has(record, "E:ID_PART_TABLE_TYPE=") || has_empty_edges(name));
    if (!certain) return {true, true, true};
    scan.lvm |= has(record, "=LVM");
    scan.md |= has(record, "_raid_member") || has(record, "ddf_raid");
    scan.ldm |= has(record, "ID_PART_ENTRY_TYPE=0x42") ||
                has(record, "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3") ||
                has(record, "af9b60a0-1431-4f62-bc68-3311714a69ad");
  }
  return scan;
}

void configure_lvm() {
  directory("/tmp/lvm");
  const bool devices_file = exists("/sbin/lvmdevices") || exists("/usr/sbin/lvmdevices") ||
                            exists("/sbin/vgimportdevices") || exists("/usr/sbin/vgimportdevices");
  write_file("/tmp/lvm/lvm.conf", devices_file ? "devices {\n\tuse_devicesfile = 0\n}\n" : "");
  ::setenv("LVM_SYSTEM_DIR", "/tmp/lvm", 1);
}

void activate_storage() {
  const Scan scan = what_to_scan();
  if (scan.md) run({"mdadm", "-As", "--auto=yes", "--no-degraded"});
  if (scan.lvm || scan.md || scan.ldm) run({"modprobe", "dm_mod"});
  if (scan.lvm || scan.md) run({"lvm", "pvscan", "--cache", "--activate", "ay"});
  if (scan.md) run({"mdadm", "-As", "--auto=yes", "--run"});
  if (scan.ldm) run({"ldmtool", "create", "all"});
}

// ---- the pause

/// The port that only a template and machines restored from it have; empty: this is a normal boot.
string pause_port() {
  for (const auto& name : entries("/sys/class/virtio-ports"))
    if (read_file("/sys/class/virtio-ports/" + name + "/name", 64) == "org.guestkit.warm.0\n")
      return "/dev/" + name;
  return "";
}

/// Loads what an inspection will need, for the snapshot to keep: modules, and the pages of programs.
void prepare() {
  // Each is loaded by itself: one that this kernel has built in, or lacks, is an error for modprobe.
  for (const char* module : {"btrfs", "dm_crypt", "dm_mod", "fuse", "nls_ascii", "nls_cp437", "nls_utf8",
                             "raid0", "raid1", "raid456", "vfat", "xfs"})
    run({"modprobe", "--quiet", module});
  run({"guestfsd", "--help"});
  run({"lvm", "pvscan", "--cache", "--activate", "ay"});
  for (const char* program : {"btrfs", "cryptsetup", "mdadm", "ntfs-3g"}) run({program, "--version"});
  for (const char* program :
       {"/bin/mount", "/bin/umount", "/sbin/blkid", "/sbin/blockdev", "/sbin/e2fsck", "/bin/cp", "/bin/tar"})
    read_file(program, 2 << 20);
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

/// The kernel generates the id when it is first read, which may have been before the pause.
bool renew_boot_id() {
  string id = read_file("/proc/sys/kernel/random/uuid", 64);
  write_file("/run/boot_id", id);
  const char* place = "/proc/sys/kernel/random/boot_id";
  return ::mount("/run/boot_id", place, nullptr, MS_BIND, nullptr) == 0 && read_file(place, 64) == id;
}

/// Finds the disks that the host has added since, at the addresses that it always uses.
bool find_disks(size_t count) {
  for (const auto& host : entries("/sys/class/scsi_host")) {
    const string scsi = "/sys/class/scsi_host/" + host;
    if (read_file(scsi + "/proc_name", 64) != "virtio_scsi\n") continue;
    for (size_t id = 0; id < count; ++id) write_file(scsi + "/scan", "0 " + std::to_string(id) + " 0", 0);
  }
  if (!wait_for_disks()) return false;
  settle();
  size_t found = 0;
  for (const auto& name : entries("/sys/block")) found += is_scsi_disk(name) ? 1 : 0;
  return wait_for_links() && found == count;
}

/// Waits for the restore and gives the restored machine its own identity. Returns the kernel's command line
/// as a boot would have had it. If the machine does not answer, the host kills it.
string pause_for_snapshot(const string& path, const string& booted_with) {
  prepare();
  const int port = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (port < 0 || ::write(port, "ready\n", 6) != 6) return booted_with;
  const string message = receive(port);
  string fault;
  if (!set_clock(value_in(message, "time"))) fault += " clock";
  if (!seed_random(value_in(message, "seed"))) fault += " seed";
  if (!renew_boot_id()) fault += " boot_id";
  make_machine_id();
  if (!find_disks(std::strtoul(value_in(message, "disks").c_str(), nullptr, 10))) fault += " disks";
  const string answer = fault.empty() ? "up\n" : "failed:" + fault + "\n";
  if (::write(port, answer.data(), answer.size()) < 0) std::perror("init: the host");
  ::close(port);
  string line = value_in(message, "append");
  if (has(line, "guestfs_verbose=1")) write_file("/proc/sys/kernel/printk", "7", 0);
  return line;
}

/// For an appliance that only inspects: augeas reads all its lenses, more than 200, before the first file.
/// This keeps only those that inspection uses, and the ones they need.
void keep_few_lenses() {
  const string all = "/usr/share/augeas/lenses/dist";
  directory("/run/lenses");
  for (const string name :
       {"build", "fstab", "hostname", "hosts", "mdadm_conf", "quote", "rx", "sep", "shellvars", "util"})
    if (const string lens = read_file(all + '/' + name + ".aug", 1 << 20); !lens.empty())
      write_file("/run/lenses/" + name + ".aug", lens);
  ::mount("/run/lenses", all.c_str(), nullptr, MS_BIND, nullptr);
}

void run_daemon(const CommandLine& line) {
  std::vector<string> command{"guestfsd"};
  if (const string channel = line.value("guestfs_channel"); !channel.empty()) {
    command.emplace_back("--channel");
    command.push_back(channel);
  }
  if (line.flag("guestfs_verbose")) {
    std::fprintf(stderr, "init: starting guestfsd\n");
    command.emplace_back("--verbose");
  }
  run(command);
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
  make_machine_id();
  make_static_nodes();
  bring_up_loopback();
  configure_lvm();
  start_udev();
  if (const string port = pause_port(); !port.empty())
    line = CommandLine(pause_for_snapshot(port, booted_with));
  tune_disks();
  activate_storage();
  if (line.value("guestkit_lenses") == "few") keep_few_lenses();
  run_daemon(line);
  ::sync();
  if (!line.flag("guestfs_noreboot")) ::reboot(RB_AUTOBOOT);
  for (;;) ::pause();
}
