// What several tests need. Include it after BOOST_TEST_MODULE is defined.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <guestkit/guestkit.hpp>
#include <latch>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// A test that waits for something that never comes fails after this many seconds.
#define PATIENCE *boost::unit_test::timeout(60)

namespace support {

/// Makes what guestkit and libguestfs take for a fixed appliance, until it is to boot.
inline void write_appliance(const std::filesystem::path& folder) {
  for (const char* file : {"kernel", "initrd", "README.fixed"}) std::ofstream(folder / file) << "content";
  std::string root(4096, '\0');
  root.replace(1024 + 0x38, 2, "\x53\xef");  // the magic number of an ext file system
  root.replace(1024 + 0x68, 16, 16, 'u');    // its UUID
  std::ofstream(folder / "root") << root;
}

/// What is written to file descriptor 2 while this lives.
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

  /// Gives stderr back and returns what was written.
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

/// A call that another thread makes and that stays inside the handle, in an event callback, until release().
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

/// Makes internal_test calls and reads what libguestfs received.
class recorder {
 public:
  recorder() {
    std::string name = (std::filesystem::temp_directory_path() / "guestkit-test-XXXXXX").string();
    const int fd = ::mkstemp(name.data());
    BOOST_REQUIRE(fd != -1);
    ::close(fd);
    file_ = name;
    g.internal_test_set_output(file_);
  }
  recorder(const recorder&) = delete;
  recorder& operator=(const recorder&) = delete;
  ~recorder() { std::filesystem::remove(file_); }

  std::vector<std::string> lines() {
    g.internal_test_close_output();
    std::ifstream in(file_);
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  }

  guestkit::Guestfs g{guestkit::HandleOptions{.environment = false}};

 private:
  std::filesystem::path file_;
};

}  // namespace support
