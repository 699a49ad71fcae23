// What this host can do: whether KVM really works.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/given_time.hpp"
#include "guestkit/detail/base/posix.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/launch/processes.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Whether KVM can run an appliance on this host, and if not, why and what to do.
struct KvmStatus {
  bool usable = false;
  std::string reason;
  bool hangs =
      false;  ///< the reason is that no guest code came to run: after some minutes that is tried again
  bool settled = true;  ///< false: the host was too busy to find out
};

namespace detail {

/// How a program ended and what it last wrote to stderr.
struct ProgramEnd {
  int error = 0;           // errno, if it could not be started
  bool timed_out = false;  // it was killed
  bool had_time = false;   // all of the limit, before that: the host did not keep it from running
  int status = 0;          // of waitpid
  std::string stderr_tail = {};
};

/// How long a program may take.
struct ProgramTime {
  std::chrono::milliseconds given;   ///< of the time that the host lets it run
  std::chrono::milliseconds in_all;  ///< on the clock, however busy the host is
};

/// Called now and then while something is waited for; throws when that is to end.
using Look = std::function<void()>;

/// A child that is waited for, killed before if that has not been done yet.
class reaped_child {
 public:
  explicit reaped_child(pid_t child) noexcept : child_(child) {}
  reaped_child(const reaped_child&) = delete;
  reaped_child& operator=(const reaped_child&) = delete;
  ~reaped_child() { kill(); }

  bool has_ended() noexcept { return ended_ = ended_ || ::waitpid(child_, &status_, WNOHANG) == child_; }
  void kill() noexcept {
    if (has_ended()) return;
    ::kill(child_, SIGKILL);
    while (::waitpid(child_, &status_, 0) < 0 && errno == EINTR) {
    }
    ended_ = true;
  }
  int status() const noexcept { return status_; }  // of waitpid

 private:
  pid_t child_;
  bool ended_ = false;
  int status_ = 0;
};

/// Runs a program to its end, or kills it when its time is over or look throws. No shell; stdin and stdout
/// are /dev/null.
template <class = void>
ProgramEnd run_program(const std::vector<std::string>& command, ProgramTime limit, const Look& look) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {.error = errno};
  const unique_fd reader(ends[0]);
  unique_fd writer(ends[1]);

  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, writer.get(), STDERR_FILENO);
  pid_t child = -1;
  const int error = ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return {.error = error};
  constexpr rlimit no_core{};  // QEMU aborts where KVM is broken
  ::prlimit(child, RLIMIT_CORE, &no_core, nullptr);
  writer = unique_fd();

  reaped_child running(child);
  ProgramEnd end;
  using clock = std::chrono::steady_clock;
  const auto begin = clock::now();
  given_time time(child, begin);
  std::array<char, 512> chunk{};
  pollfd waiting{.fd = reader.get(), .events = POLLIN, .revents = 0};
  for (;;) {
    // stderr closes when the program ends; earlier, if it closes it itself, and later, if another thread has
    // forked a process that holds the other end.
    const bool is_closed = waiting.fd < 0;
    const int ready = ::poll(&waiting, 1, is_closed ? 1 : 50);  // milliseconds
    if (ready > 0) {
      const ssize_t size = ::read(reader.get(), chunk.data(), chunk.size());
      if (size > 0) end.stderr_tail.append(chunk.data(), static_cast<std::size_t>(size));
      if (end.stderr_tail.size() > 4096) end.stderr_tail.erase(0, end.stderr_tail.size() - 4096);
      if (size <= 0) waiting.fd = -1;
    } else if (running.has_ended()) {
      break;
    }
    look();
    const auto now = clock::now();
    end.had_time = time.look(now) >= limit.given;
    if (!end.had_time && now - begin < limit.in_all) continue;
    end.timed_out = !running.has_ended();  // a process that it has left behind may go on writing
    break;
  }
  running.kill();
  end.status = running.status();
  return end;
}

/// The last line of a program's output, safe to print.
inline std::string last_line(const std::string& output) {
  const auto end = output.find_last_not_of(" \r\n");
  if (end == std::string::npos) return "";
  const auto before = output.find_last_of('\n', end);
  const auto begin = before == std::string::npos ? 0 : before + 1;
  std::string line = output.substr(begin, end - begin + 1);
  for (char& c : line)
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  return line;
}

/// A firmware that tells the isa-debug-exit device, and so QEMU's exit status, that guest code has run in
/// long mode. There are hosts whose KVM runs real mode and hangs in the first instruction behind it.
template <class = void>
unique_fd probe_firmware() {
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
  constexpr std::array<unsigned char, 3> reset{0xe9, 0x0d, 0x00};  // at the reset vector: jmp to the begin
  std::memcpy(image.data() + 0xfff0, reset.data(), reset.size());
  unique_fd file(::memfd_create("guestkit-kvm-probe", 0));  // inherited: QEMU opens it by its number
  if (file.get() >= 0 &&
      ::write(file.get(), image.data(), image.size()) != static_cast<ssize_t>(image.size()))
    return unique_fd();
  return file;
}

inline constexpr int probe_exit_status = (0x10 << 1) | 1;

/// Asks the kernel and QEMU, without a cache. Runs QEMU for about 0.1 s where the device can be opened.
template <class = void>
KvmStatus probe_kvm(
    const std::string& device, const std::string& qemu, ProgramTime limit, const Look& look = [] {}) {
  const unique_fd kvm(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (kvm.get() < 0) {
    if (errno == ENOENT)
      return {false,
              device + " is missing: the processor or the cloud offers no (nested) virtualisation here"};
    if (errno == EACCES)
      return {false, device + " cannot be opened by this user: add the user to the group kvm"};
    return {false, device + " cannot be opened: " + std::strerror(errno)};
  }
#if defined(__x86_64__)
  const unique_fd firmware = probe_firmware();
  if (firmware.get() < 0)
    return {false, std::string("a probe of KVM could not be made: ") + std::strerror(errno)};
  const auto end =
      run_program({qemu, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc,accel=kvm",
                   "-cpu", "max", "-m", "16", "-bios", "/proc/self/fd/" + std::to_string(firmware.get()),
                   "-device", "isa-debug-exit,iobase=0xf4,iosize=4"},
                  limit, look);
  const bool proved = WIFEXITED(end.status) && WEXITSTATUS(end.status) == probe_exit_status;
#else
  // No firmware of a few bytes for the other architectures: QEMU must at least start with KVM.
  const auto end = run_program({qemu, "-nodefaults", "-no-user-config", "-display", "none", "-machine",
                                "none,accel=kvm", "-monitor", "stdio"},
                               limit, look);
  const bool proved = WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0;
#endif
  if (end.error != 0) return {false, qemu + " cannot be run: " + std::strerror(end.error)};
  if (end.timed_out && !end.had_time)
    return {.reason = "this host is too busy to find out whether " + qemu + " runs guests with " + device,
            .settled = false};
  if (end.timed_out)
    return {.reason = qemu + " runs no guest code with " + device + " within " +
                      std::to_string(limit.given.count()) + " ms: virtualisation is broken on this host",
            .hangs = true};
  if (proved) return {true, ""};
  const std::string line = last_line(end.stderr_tail);
  return {false, qemu + " fails with " + device + (line.empty() ? "" : " (" + line + ")") +
                     ": virtualisation is broken on this host"};
}

/// Changes when the file does.
inline std::string file_key(const std::string& path) {
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) return "-";
  std::string key;
  for (const auto part : {static_cast<std::int64_t>(s.st_dev), static_cast<std::int64_t>(s.st_ino),
                          static_cast<std::int64_t>(s.st_size), static_cast<std::int64_t>(s.st_mtim.tv_sec),
                          static_cast<std::int64_t>(s.st_mtim.tv_nsec), static_cast<std::int64_t>(s.st_mode)})
    key += std::to_string(part) + ' ';
  return key;
}

}  // namespace detail

namespace detail {

/// For how long it is believed that KVM hangs. A wrong verdict costs every launch several times its time.
inline constexpr std::chrono::minutes hang_lifetime{10};
/// For how long a host counts as too busy to tell. Launches that come meanwhile would make it busier.
inline constexpr std::chrono::seconds busy_lifetime{30};

/// What the user's processes of this boot have found out about KVM. Two files in the cache, `works` and
/// `hangs`, each for the QEMU, the user and the /dev/kvm of its key. What worked once is never said to hang.
class kvm_verdicts {
 public:
  /// @param folder  empty: nothing is kept
  explicit kvm_verdicts(std::string folder) : folder_(std::move(folder)) {}

  /// Why KVM hangs; empty if nobody has found that lately.
  std::string hang(const std::string& key) const {
    if (!content("kvm-works", key).empty()) return "";
    return content("kvm-hangs", key, std::chrono::seconds(hang_lifetime).count());
  }
  void keep_hang(const std::string& key, const std::string& reason) const {
    if (content("kvm-works", key).empty()) keep("kvm-hangs", key, reason);
  }
  void keep_success(const std::string& key) const {
    if (content("kvm-works", key).empty()) keep("kvm-works", key, "it works");
  }

 private:
  /// What stands behind the key; empty if the file is not this user's, of another key, or too old.
  std::string content(const char* name, const std::string& key,
                      long long oldest = std::numeric_limits<int>::max()) const {
    if (folder_.empty()) return "";
    const std::string path = folder_ + '/' + name;
    const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat s {};
    if (file.get() < 0 || ::fstat(file.get(), &s) != 0 || !S_ISREG(s.st_mode) || s.st_uid != ::geteuid() ||
        (s.st_mode & 022) != 0 || std::time(nullptr) - s.st_mtim.tv_sec > oldest)
      return "";
    std::string text(4096, '\0');
    const ssize_t size = ::read(file.get(), text.data(), text.size());
    text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return text.starts_with(key + '\n') ? text.substr(key.size() + 1) : "";
  }

  /// Whole or not at all. Without a cache the next process finds out again.
  void keep(const char* name, const std::string& key, const std::string& verdict) const {
    if (folder_.empty()) return;
    if (make_directories(folder_)) ::chmod(folder_.c_str(), 0700);
    const std::string path = folder_ + '/' + name;
    std::string written = path + ".XXXXXX";
    const unique_fd file(::mkostemp(written.data(), O_CLOEXEC));
    const std::string text = key + '\n' + verdict;
    if (file.get() < 0) return;
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::rename(written.c_str(), path.c_str()) != 0)
      ::unlink(written.c_str());
  }

  std::string folder_;
};

/// Finds out whether KVM works, unless it is known to hang. A hang is confirmed by a second probe: the first
/// one has read QEMU from the disk.
template <class = void>
KvmStatus remembered_probe(
    const std::string& device, const std::string& qemu, const std::string& key, const kvm_verdicts& verdicts,
    ProgramTime limit, const Look& look = [] {}) {
  const std::string boot = read_text("/proc/sys/kernel/random/boot_id");
  const std::string whole = boot.substr(0, boot.find('\n')) + ' ' + key;
  if (auto reason = verdicts.hang(whole); !reason.empty())
    return {.reason = std::move(reason), .hangs = true};
  auto status = probe_kvm(device, qemu, limit, look);
  if (status.hangs || !status.settled) status = probe_kvm(device, qemu, limit, look);
  if (status.hangs) verdicts.keep_hang(whole, status.reason);
  if (status.usable) verdicts.keep_success(whole);
  return status;
}

/// What this process has found out, by QEMU, user and state of /dev/kvm. Threads: any; one finds out, and who
/// asks meanwhile waits for what it finds.
template <class Clock = std::chrono::steady_clock>
class known_kvm {
 public:
  /// @param probe  finds out, if it is not known
  /// @param look   throws when the wait for another thread is to end
  template <class Probe>
  KvmStatus ask(const std::string& key, Probe&& probe, const Look& look) {
    constexpr std::chrono::milliseconds interval{50};
    std::unique_lock lock(mutex_);
    for (;;) {
      if (const auto found = known_.find(key); found != known_.end() && is_valid(found->second))
        return found->second.status;
      if (!std::exchange(busy_, true)) break;
      changed_.wait_until(lock, std::chrono::steady_clock::now() + interval);
      lock.unlock();
      look();
      lock.lock();
    }
    lock.unlock();
    const probing mine(*this);
    auto status = probe();
    const std::lock_guard keeping(mutex_);
    known_[key] = {status, Clock::now()};
    return status;
  }

 private:
  struct verdict {
    KvmStatus status;
    typename Clock::time_point found;
  };
  struct probing {
    explicit probing(known_kvm& all) noexcept : all_(all) {}
    probing(const probing&) = delete;
    probing& operator=(const probing&) = delete;
    ~probing() {
      const std::lock_guard lock(all_.mutex_);
      all_.busy_ = false;
      all_.changed_.notify_all();
    }
    known_kvm& all_;
  };

  static bool is_valid(const verdict& known) {
    const auto age = Clock::now() - known.found;
    if (!known.status.settled) return age < busy_lifetime;
    return !known.status.hangs || age < hang_lifetime;
  }

  std::mutex mutex_;
  std::condition_variable changed_;  // a thread has found out, or given up
  bool busy_ = false;                // one finds out
  std::map<std::string, verdict> known_;
};

}  // namespace detail

/// Whether KVM works with this QEMU. Found out once for each QEMU, user and state of /dev/kvm in a process
/// and kept; costs about 0.1 s the first time, nothing where /dev/kvm is missing. Where KVM hangs, finding
/// out takes 6 s, and the verdict is kept for other processes too, for ten minutes.
///
/// Starting a guest is the only proof: there are hosts whose /dev/kvm opens and whose QEMU then aborts or
/// hangs. A host that is too busy to tell is given up after 10 s and asked again half a minute later.
/// Threads: any; of several at once one probes, and the others wait for its verdict.
/// @param look  called several times a second while that takes time, on this thread; what it throws ends it
template <class = void>
KvmStatus kvm_status(
    const std::string& qemu, const detail::Look& look = [] {}) {
  static constinit detail::of_process<detail::known_kvm<>> all;
  constexpr auto device = "/dev/kvm";
  constexpr detail::ProgramTime limit{.given = std::chrono::seconds(3), .in_all = std::chrono::seconds(5)};
  const std::string key =
      qemu + ' ' + detail::file_key(qemu) + detail::file_key(device) + std::to_string(::geteuid());
  return all.get().ask(
      key,
      [&] {
        const detail::kvm_verdicts verdicts(appliance_cache());
        return detail::remembered_probe(device, qemu, key, verdicts, limit, look);
      },
      look);
}

namespace detail {

/// Whether the file begins as an ext2, ext3 or ext4 file system does, with a UUID.
inline bool is_ext_filesystem(const std::string& path) {
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<unsigned char, 128> superblock{};
  if (file.get() < 0 || ::pread(file.get(), superblock.data(), superblock.size(), 1024) != 128) return false;
  constexpr std::array<unsigned char, 16> no_uuid{};
  return superblock[0x38] == 0x53 && superblock[0x39] == 0xef &&
         std::memcmp(superblock.data() + 0x68, no_uuid.data(), no_uuid.size()) != 0;
}

}  // namespace detail

/// What is wrong with the fixed appliance that libguestfs would take from this search path; empty if nothing
/// is, or if it would build its own. libguestfs itself crashes on a root that is empty or has no UUID.
inline std::string damaged_appliance(const std::string& search_path) {
  std::size_t begin = 0;
  while (begin <= search_path.size()) {
    const auto colon = search_path.find(':', begin);
    const auto end = colon == std::string::npos ? search_path.size() : colon;
    const std::string folder = end == begin ? "." : search_path.substr(begin, end - begin);
    begin = end + 1;
    if (::access((folder + "/supermin.d").c_str(), F_OK) == 0) return "";
    if (::access((folder + "/README.fixed").c_str(), F_OK) != 0) continue;
    for (const char* name : {"kernel", "initrd", "root"}) {
      const std::string path = folder + '/' + name;
      struct stat s {};
      if (::stat(path.c_str(), &s) != 0 || ::access(path.c_str(), R_OK) != 0)
        return path + ": " + std::strerror(errno);
      if (s.st_size == 0) return path + " is empty";
    }
    if (const std::string root = folder + "/root"; !detail::is_ext_filesystem(root))
      return root + " is not an ext2, ext3 or ext4 file system";
    return "";
  }
  return "";
}

}  // namespace guestkit::inline GUESTKIT_FORM
