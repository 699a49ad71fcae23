// libguestfs runs this in place of QEMU when there is a template. If the launch fits the template, it becomes
// a QEMU that restores the template's snapshot. Otherwise, or if anything is unknown or wrong, it becomes
// QEMU with exactly the arguments it was given: a normal boot.
//
// It lies in the template's directory, beside
//   command   the real QEMU and the arguments that libguestfs gave it when the template was made
//   root      the root disk's image, over that of the lean appliance
//   mem       the memory, which each restored machine maps privately; without it the state holds the memory
//   state     the devices' state
//   manifest  what all that is and was made from: guestkit/detail/launch/appliance_fault.hpp
//
// A separate process watches the restore until the guest answers, because a QEMU that cannot open a disk
// after it has loaded the state stays paused for ever, and a guest may hang. Once the host has given QEMU
// half a minute, plus two seconds for each disk, the watcher kills it and exits. Time in which QEMU waits for
// a processor or is stopped does not count: booting instead of finishing a slow restore would load a busy
// host even more.
//
//   hypervisor --template QMP PORT    is the template's QEMU; the two are descriptors
//
// In a lean appliance's directory it is called "cage", and `command` there has only the real QEMU: it then
// boots a machine that is shut in (cage.hpp), and without -guestkit-cage is QEMU.
//
//   cage -guestkit-cage … -guestkit-program QEMU-IMG ARGUMENTS    is a tool of QEMU's that is shut in
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <guestkit/detail/base/given_time.hpp>
#include <guestkit/detail/base/host_files.hpp>
#include <guestkit/detail/base/text.hpp>
#include <guestkit/detail/base/unique_fd.hpp>
#include <guestkit/detail/launch/appliance_fault.hpp>
#include <guestkit/detail/state/verdict.hpp>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cage.hpp"
#include "command.hpp"

namespace {

namespace warm = guestkit::detail::warm;  // what is said to the handle
using appliance::Option;
using appliance::Words;
using guestkit::detail::unique_fd;
using std::string;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds patience{30};
constexpr std::chrono::seconds patience_for_disk{2};  // it takes a third of a second of processor time

/// Writes to the appliance's log, where the handle reads it.
void say(const string& text) {
  const string line = string(warm::verdict_prefix) + text + "\n";
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

string own_directory() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

Words words_of(const string& path) {
  Words words;
  string word;
  std::ifstream file(path);
  while (std::getline(file, word, '\0')) words.push_back(word);
  return words;
}

[[noreturn]] void become(const string& program, const Words& arguments) {
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const auto& word : arguments) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(program.c_str(), argv.data());
  say(program + ": " + std::strerror(errno));
  ::_exit(127);
}

/// Becomes QEMU, in the cage if there is one.
[[noreturn]] void become_machine(const std::optional<appliance::Cage>& cage, const string& qemu,
                                 Words arguments) {
  if (cage) {
    string fault = appliance::connect_sockets(*cage, arguments);
    if (fault.empty()) fault = appliance::enter_cage(*cage, qemu, arguments, {own_directory()});
    if (!fault.empty()) {
      say("QEMU cannot be shut in: " + fault);
      ::_exit(127);
    }
  }
  become(qemu, arguments);
}

/// Opens a file of the template. QEMU inherits it only after inherit().
unique_fd open_file(const string& path, int flags) {
  return unique_fd(::open(path.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
}

/// Lets QEMU inherit descriptors. Returns whether that is possible.
bool inherit(std::initializer_list<int> descriptors) {
  return std::all_of(descriptors.begin(), descriptors.end(),
                     [](int each) { return ::fcntl(each, F_SETFD, 0) == 0; });
}

/// A connection to QEMU or to its guest.
struct Link {
  unique_fd ours;
  unique_fd theirs;  // QEMU's end

  bool open() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return false;
    ours = unique_fd(ends[0]);
    theirs = unique_fd(ends[1]);
    return true;
  }
  void send(const string& text) const { ::send(ours.get(), text.data(), text.size(), MSG_NOSIGNAL); }
};

string random_hex() {
  std::array<std::uint8_t, 64> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return "";
  string text;
  for (const auto byte : bytes) guestkit::detail::append_hex(text, byte);
  return text;
}

/// What a launch asks of the restored machine.
struct Asked {
  size_t disks = 0;
  Words writable;  // the files of the disks that are not read-only
  string append;   // the kernel's arguments
};

Asked asked_by(const std::vector<Option>& launch) {
  Asked asked;
  for (const auto& option : launch) {
    if (option.name == "-append") asked.append = option.value.value_or("");
    if (option.name != "-drive" || !appliance::is_disk(option)) continue;
    ++asked.disks;
    const string file = appliance::Parameters(*option.value)["file"];
    if (!file.empty()) asked.writable.push_back(file);  // a read-only disk is an overlay: file.file.filename
  }
  return asked;
}

/// The message that the pause in init.cpp waits for.
string release(const Asked& asked) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::array<char, 64> time{};
  std::snprintf(time.data(), time.size(), "%lld.%09ld", static_cast<long long>(now.tv_sec), now.tv_nsec);
  return "time " + string(time.data()) + "\nseed " + random_hex() + "\ndisks " + std::to_string(asked.disks) +
         "\nappend " + asked.append + "\ngo\n";
}

/// Watches one restore until the guest answers. Returns what went wrong; empty if nothing did, or if QEMU has
/// exited and reported the reason itself.
class Watch {
 public:
  /// @param qmp, port  must outlive it
  Watch(pid_t qemu, const Link& qmp, const Link& port, int state, bool shared, Asked asked)
      : qemu_(qemu), qmp_(qmp), port_(port), state_(state), asked_(std::move(asked)) {
    qmp_.send(R"({"execute": "qmp_capabilities"})"
              R"({"execute": "migrate-set-capabilities", "arguments": {"capabilities": [)"
              R"({"capability": "events", "state": true}, {"capability": "x-ignore-shared", "state": )" +
              string(shared ? "true" : "false") + R"(}]}})");
    load("file:/proc/self/fd/");
  }

  string follow() {
    const auto limit = patience + static_cast<int>(asked_.disks) * patience_for_disk;
    guestkit::detail::given_time time(qemu_, Clock::now());
    while (true) {
      constexpr int interval = 100;  // milliseconds
      std::array<pollfd, 2> waiting{{{.fd = qmp_.ours.get(), .events = POLLIN, .revents = 0},
                                     {.fd = port_.ours.get(), .events = POLLIN, .revents = 0}}};
      const int ready = ::poll(waiting.data(), waiting.size(), interval);
      if (ready < 0 && errno == EINTR) continue;
      if (waiting[0].revents != 0) {
        if (!read(qmp_, said_)) return "";
        if (string fault = after_event(); !fault.empty()) return fault;
      }
      if (waiting[1].revents != 0) {
        if (!read(port_, answer_)) return "";
        if (answer_.ends_with('\n'))
          return answer_ == "up\n" ? "" : "the guest says " + answer_.substr(0, answer_.size() - 1);
      }
      if (std::max(said_.size(), answer_.size()) > longest_) return "what it says has no end";
      if (released_) said_.clear();
      if (time.look(Clock::now()) >= limit)  // checked even if output keeps arriving
        return released_ ? "the guest does not answer" : "the state is not loaded in time";
    }
  }

 private:
  static bool read(const Link& link, string& text) {
    std::array<char, 4096> chunk{};
    const ssize_t size = ::recv(link.ours.get(), chunk.data(), chunk.size(), 0);
    if (size > 0) text.append(chunk.data(), static_cast<size_t>(size));
    return size > 0;
  }

  void load(const string& from) const {
    qmp_.send(R"({"execute": "migrate-incoming", "arguments": {"uri": ")" + from + std::to_string(state_) +
              R"("}})");
  }

  string after_event() {
    const auto told = [&](const char* text) { return said_.find(text) != string::npos; };
    if (told(R"("error")")) {
      if (!refused_.empty()) return "QEMU does not know a command: " + refused_;
      refused_ = said_.substr(said_.find(R"("error")"), 200);
      said_.clear();
      load("fd:");  // before version 8.2 QEMU knows files as descriptors only, and since 11.1 by names only
      return "";
    }
    if (released_ || !told(R"("completed")")) return "";
    // QEMU stays paused if it cannot open a disk in the required mode, and only complains if another process
    // is writing to one. The guest has not touched any disk yet.
    if (!told(R"("RESUME")")) return "a disk cannot be opened";
    for (const auto& file : asked_.writable)
      if (!is_locked(file)) return "another process has a disk open: " + file;
    released_ = true;
    port_.send(release(asked_));
    return "";
  }

  /// Whether any process holds the lock that forbids others to write: QEMU's byte 200, plus 1 for writing.
  /// Where the file system knows no locks, nobody else can hold that lock.
  static bool is_locked(const string& file) {
    const unique_fd opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = 201;
    lock.l_len = 1;
    return opened.get() < 0 || ::fcntl(opened.get(), F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
  }

  static constexpr size_t longest_ = 65536;

  pid_t qemu_;
  const Link& qmp_;
  const Link& port_;
  int state_;
  string refused_;  // the first error
  Asked asked_;
  string said_, answer_;
  bool released_ = false;
};

/// Starts a process that watches this one, which becomes QEMU. It is a grandchild, since QEMU reaps no
/// children. Returns why it cannot be started; empty if it has been.
/// @param follow  runs in the watcher; returns what went wrong
string start_watching(const std::function<string()>& follow) {
  const unique_fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (self.get() < 0) return string("QEMU cannot be watched (pidfd_open): ") + std::strerror(errno);
  const pid_t child = ::fork();
  if (child < 0) return string("no process can be started: ") + std::strerror(errno);
  if (child == 0) {
    if (const pid_t watcher = ::fork(); watcher != 0) ::_exit(watcher > 0 ? 0 : 1);
    if (const string fault = follow(); !fault.empty()) {
      say(string(warm::restore_failed) + fault);
      ::syscall(SYS_pidfd_send_signal, self.get(), SIGKILL, nullptr, 0);
    }
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0 ? "" : "no process can be started";
}

/// The files of a template, open, so that QEMU gets the very ones that were checked.
struct Template {
  unique_fd state;
  unique_fd memory;  // none: the state holds it

  /// Returns why they cannot be used; empty if they can.
  string open(const string& directory, long long memory_size) {
    state = open_file(directory + "/state", O_RDONLY);
    if (state.get() < 0) return std::strerror(errno);
    memory = open_file(directory + "/mem", O_RDWR);
    if (memory.get() < 0) return errno == ENOENT ? "" : directory + "/mem: " + std::strerror(errno);
    struct stat s {};
    if (::fstat(memory.get(), &s) == 0 && s.st_size == memory_size) return "";
    return "the template's memory is too short";  // which would crash QEMU
  }
  bool has_memory() const { return memory.get() >= 0; }
};

/// Becomes the restored QEMU, or returns why it cannot.
string restore(const string& directory, const Words& recorded, const Words& given) {
  if (recorded.size() < 2) return "the template's command cannot be read";
  if (string fault = guestkit::detail::template_fault(directory); !fault.empty()) return fault;
  const auto machine = appliance::options({recorded.begin() + 1, recorded.end()});
  const auto launch = appliance::options(given);
  if (string fault = appliance::difference(machine, launch); !fault.empty()) return fault;

  Template kept;
  if (string fault = kept.open(directory, appliance::memory_size(machine)); !fault.empty()) return fault;
  Link qmp, port;
  if (!qmp.open() || !port.open()) return std::strerror(errno);
  const auto arguments = appliance::restored_command(
      machine, launch,
      {.root = directory + "/root",
       .memory = kept.has_memory() ? "/proc/self/fd/" + std::to_string(kept.memory.get()) : "",
       .shared = false,
       .qmp = qmp.theirs.get(),
       .port = port.theirs.get()});
  if (!inherit({kept.state.get(), qmp.theirs.get(), port.theirs.get()}) ||
      (kept.has_memory() && !inherit({kept.memory.get()})))
    return std::strerror(errno);
  const pid_t self = ::getpid();
  const string fault = start_watching([&] {
    const bool shared = kept.has_memory();
    const int state = kept.state.get();  // the same number in QEMU, whose command line names it
    // Only QEMU holds these ends, so the watcher notices when QEMU is gone.
    for (unique_fd* const each : {&qmp.theirs, &port.theirs, &kept.state, &kept.memory}) *each = unique_fd();
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO}) ::close(descriptor);
    return Watch(self, qmp, port, state, shared, asked_by(launch)).follow();
  });
  if (!fault.empty()) return fault;
  say(string(warm::restoring));
  become(recorded.front(), arguments);
}

}  // namespace

int main(int argc, char** argv) {
  const string directory = own_directory();
  const Words recorded = words_of(directory + "/command");
  string qemu = recorded.empty() ? "qemu-system-" + guestkit::detail::host_architecture() : recorded.front();
  Words given(argv + 1, argv + argc);
  if (argc == 4 && given[0] == "--template" && recorded.size() > 1) {
    const bool shared = ::access((directory + "/mem").c_str(), F_OK) == 0;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // so that it does not outlive a build that is killed
    become(qemu, appliance::template_command(appliance::options({recorded.begin() + 1, recorded.end()}),
                                             {.root = directory + "/root",
                                              .memory = shared ? directory + "/mem" : "",
                                              .shared = true,
                                              .qmp = std::atoi(argv[2]),
                                              .port = std::atoi(argv[3])}));
  }
  std::optional<appliance::Cage> cage;
  if (given.size() > 3 && given[2] == "-guestkit-program") {
    qemu = given[3];
    given.erase(given.begin() + 2, given.begin() + 4);
  }
  if (const string fault = appliance::take_cage(given, cage); !fault.empty()) {
    say("QEMU cannot be shut in: " + fault);
    return 127;
  }
  if (cage)
    if (const string fault = appliance::take_files(*cage); !fault.empty()) {
      say("a disk cannot be taken into QEMU's cage: " + fault);
      return 127;
    }
  // libguestfs also runs QEMU to query its features.
  const bool launch = std::find(given.begin(), given.end(), "-kernel") != given.end();
  if (launch && recorded.size() != 1)
    say(string(warm::normal_boot) +
        (cage ? "a QEMU that is shut in shares no memory with others" : restore(directory, recorded, given)));
  become_machine(cage, qemu, given);
}
