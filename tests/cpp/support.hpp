// Shared by several tests. Include it after BOOST_TEST_MODULE is defined.
#pragma once

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <guestkit/guestkit.hpp>
#include <initializer_list>
#include <latch>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// A test that waits for an event that never comes fails after this many seconds.
#define PATIENCE *boost::unit_test::timeout(60)

// A test that shows nothing on a host without these is skipped there, and Boost.Test says so.
#define WHERE_KVM *boost::unit_test::precondition(support::has_kvm)
#define WHERE_ROOT *boost::unit_test::precondition(support::is_root)
#define WHERE_QEMU_ARM *boost::unit_test::precondition(support::has_qemu_arm)
#define WHERE_QEMU *boost::unit_test::precondition(support::has_qemu)
#define WHERE_CHILDREN_HAVE_THREADS *boost::unit_test::precondition(support::children_have_threads)

namespace support {

/// The answer to a precondition, with what is missing.
inline boost::test_tools::assertion_result only_with(bool there, const char* what) {
  boost::test_tools::assertion_result result(there);
  if (!there) result.message() << "there is no " << what;
  return result;
}

/// The thread sanitizer takes the threads of a parent for alive in its forked child, and ends that as soon as
/// a new one gets the id of one of them.
inline boost::test_tools::assertion_result children_have_threads(boost::unit_test::test_unit_id) {
#ifdef __SANITIZE_THREAD__
  constexpr bool there = false;
#else
  constexpr bool there = true;
#endif
  return only_with(there, "support for threads in forked children");
}

inline boost::test_tools::assertion_result has_kvm(boost::unit_test::test_unit_id) {
  return only_with(::access("/dev/kvm", R_OK | W_OK) == 0, "/dev/kvm that this user can open");
}
inline boost::test_tools::assertion_result is_root(boost::unit_test::test_unit_id) {
  return only_with(::geteuid() == 0, "root to become another user");
}
inline boost::test_tools::assertion_result has_qemu(boost::unit_test::test_unit_id) {
  return only_with(::access("/usr/bin/qemu-system-x86_64", X_OK) == 0, "/usr/bin/qemu-system-x86_64");
}
inline boost::test_tools::assertion_result has_qemu_arm(boost::unit_test::test_unit_id) {
  return only_with(::access("/usr/bin/qemu-system-aarch64", X_OK) == 0, "/usr/bin/qemu-system-aarch64");
}

/// Makes a directory that passes for a fixed appliance with guestkit and libguestfs, until it has to boot.
inline void write_appliance(const std::filesystem::path& folder) {
  for (const char* file : {"kernel", "initrd", "README.fixed"}) std::ofstream(folder / file) << "content";
  std::string root(4096, '\0');
  root.replace(1024 + 0x38, 2, "\x53\xef");  // the magic number of an ext file system
  root.replace(1024 + 0x68, 16, 16, 'u');    // its UUID
  std::ofstream(folder / "root") << root;
}

/// This process' name as /proc has it: under valgrind it is valgrind's.
inline std::string own_name() {
  std::ifstream file("/proc/self/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

/// A folder that is removed at the end, with all its content.
struct temporary_folder {
  temporary_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "guestkit-test-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = std::filesystem::canonical(name);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

/// A folder with programs that write their process id to `started` and then wait for ever.
class stuck_programs : private temporary_folder {
 public:
  stuck_programs() {
    std::filesystem::create_directory(folder / "appliance");
    write_appliance(folder / "appliance");
    std::ofstream(folder / "disk") << std::string(4096, '\0');
    BOOST_REQUIRE(::mkfifo((folder / "started").c_str(), 0600) == 0);
    started_ = ::open((folder / "started").c_str(), O_RDWR | O_CLOEXEC);
    for (const char* program : {"hypervisor", "qemu-img"}) {
      std::ofstream(folder / program)
          << "#!/bin/sh\necho $$ > " << (folder / "started").string() << "\nsleep 1000\n";
      std::filesystem::permissions(folder / program, std::filesystem::perms::owner_all);
    }
  }
  stuck_programs(const stuck_programs&) = delete;
  stuck_programs& operator=(const stuck_programs&) = delete;
  ~stuck_programs() { ::close(started_); }

  /// A handle whose launch never ends.
  guestkit::Guestfs handle(const guestkit::Limits& limits = {}) const {
    guestkit::Guestfs g({.environment = false, .accel = guestkit::Accel::tcg, .limits = limits});
    prepare(g);
    return g;
  }

  void prepare(guestkit::Guestfs& g) const {
    g.set_hv(folder / "hypervisor");
    g.set_path((folder / "appliance").string());
    g.set_cachedir(folder.string());
    g.add_drive(folder / "disk", {.format = "raw"});
  }

  /// Waits until one of the programs runs; returns its process id.
  pid_t wait_until_started() const {
    std::string digits;
    for (char c = 0; ::read(started_, &c, 1) == 1 && c != '\n';) digits += c;
    return std::atoi(digits.c_str());
  }

  const std::filesystem::path& folder = path;

 private:
  int started_;
};

/// Whether a process has ended; a zombie counts as ended.
inline bool is_gone(pid_t process) {
  const std::string stat = guestkit::detail::file_of(process, "stat");
  return stat.empty() || stat.find(") Z ") != std::string::npos;
}

/// Waits until a process has ended.
inline bool ends(pid_t process) {
  while (!is_gone(process)) std::this_thread::yield();
  return true;
}

/// What a forked child reports; "hung" or what killed it if it does not finish.
inline std::string in_child(const std::function<std::string()>& says) {
  std::array<int, 2> ends{};
  BOOST_REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  BOOST_REQUIRE(child != -1);
  if (child == 0) {
    ::alarm(20);
    std::string text;
    try {
      text = says();
    } catch (const std::exception& e) {
      text = std::string("threw ") + e.what();
    }
    const bool written = ::write(ends[1], text.data(), text.size()) >= 0;
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  std::array<char, 256> chunk{};
  for (ssize_t size = 0; (size = ::read(ends[0], chunk.data(), chunk.size())) > 0;)
    text.append(chunk.data(), static_cast<std::size_t>(size));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status))
    return WTERMSIG(status) == SIGALRM ? "hung" : "killed by signal " + std::to_string(WTERMSIG(status));
  return text;
}

/// Makes system calls fail from now on in this thread and those that it starts. Returns whether that worked.
inline bool forbid(std::initializer_list<unsigned> calls, unsigned error) {
  std::vector<sock_filter> filter{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const unsigned call : calls) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog all{.len = static_cast<unsigned short>(filter.size()), .filter = filter.data()};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all) == 0;
}

/// Captures what is written to file descriptor 2 while this lives.
class captured_stderr {
 public:
  captured_stderr() : saved_(::dup(STDERR_FILENO)), file_(::memfd_create("stderr", MFD_CLOEXEC)) {
    BOOST_REQUIRE(saved_ != -1 && file_ != -1);
    std::fflush(stderr);
    ::dup2(file_, STDERR_FILENO);
  }
  captured_stderr(const captured_stderr&) = delete;
  captured_stderr& operator=(const captured_stderr&) = delete;
  ~captured_stderr() {
    end();
    ::close(file_);
  }

  /// Restores stderr, and returns what was written.
  std::string end() {
    if (saved_ == -1) return text_;
    std::fflush(stderr);
    ::dup2(saved_, STDERR_FILENO);
    ::close(std::exchange(saved_, -1));
    text_.resize(static_cast<std::size_t>(::lseek(file_, 0, SEEK_END)));
    if (::pread(file_, text_.data(), text_.size(), 0) < 0) text_ = "stderr cannot be read back";
    return text_;
  }

 private:
  int saved_;
  int file_;
  std::string text_;
};

/// A call on another thread that stays inside the handle, in an event callback, until release().
class held_call {
 public:
  explicit held_call(guestkit::Guestfs& g, std::function<void()> at_end = {})
      : subscription_(g.set_event_callback(guestkit::Event::enter,
                                           [this, at_end](const guestkit::EventMessage&) {
                                             if (held_.exchange(true)) return;
                                             inside_.count_down();
                                             released_.wait();
                                             if (at_end) at_end();
                                           })),
        caller_([&g] { g.get_memsize(); }) {
    inside_.wait();
  }
  held_call(const held_call&) = delete;
  held_call& operator=(const held_call&) = delete;
  ~held_call() {
    if (caller_.joinable()) release();
  }

  void release() {
    released_.count_down();
    caller_.join();
  }

 private:
  std::atomic<bool> held_{false};
  std::latch inside_{1};
  std::latch released_{1};
  guestkit::Subscription subscription_;
  std::thread caller_;
};

/// Makes internal_test calls, and reads what libguestfs received.
class recorder {
 public:
  recorder() { g.internal_test_set_output(file_); }

  std::vector<std::string> lines() {
    g.internal_test_close_output();
    std::ifstream in(file_);
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  }

  guestkit::Guestfs g{guestkit::HandleOptions{.environment = false}};

 private:
  temporary_folder folder_;
  std::filesystem::path file_ = folder_.path / "received";
};

/// Puts another folder in front of the environment variable PATH while this lives.
class first_in_path {
 public:
  explicit first_in_path(const std::filesystem::path& folder) : before_(std::getenv("PATH")) {
    ::setenv("PATH", (folder.string() + ":" + before_).c_str(), 1);
  }
  first_in_path(const first_in_path&) = delete;
  first_in_path& operator=(const first_in_path&) = delete;
  ~first_in_path() { ::setenv("PATH", before_.c_str(), 1); }

 private:
  std::string before_;
};

}  // namespace support
