// sandbox.hpp: whether QEMU filters its system calls, tested with a fake QEMU and the true one.
#define BOOST_TEST_MODULE sandbox
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <guestkit/detail/launch/sandbox.hpp>
#include <iterator>
#include <stdexcept>
#include <string>

#include "support.hpp"

namespace {

using guestkit::detail::is_script;
using guestkit::detail::probe_sandbox;
using guestkit::detail::sandbox_status;
using namespace std::chrono_literals;
constexpr guestkit::detail::program_limit patience{.given = 20s, .in_all = 40s};
constexpr guestkit::detail::program_limit brief{.given = 200ms, .in_all = 3s};

/// A cache of its own, and a fake QEMU that notes each of its runs.
struct Host : private support::temporary_folder {
  const std::filesystem::path& folder = path;
  std::string qemu = (folder / "qemu").string();

  Host() { ::setenv("GUESTKIT_CACHEDIR", (folder / "cache").c_str(), 1); }
  ~Host() { ::unsetenv("GUESTKIT_CACHEDIR"); }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  void qemu_does(const std::string& script) const {
    std::ofstream(qemu) << "#!/bin/sh\necho \"$@\" >>" << (folder / "runs").string() << '\n'
                        << script << '\n';
    ::chmod(qemu.c_str(), 0700);
  }
  std::string runs() const {
    std::ifstream file(folder / "runs");
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_qemu_that_takes_the_option_can_filter, Host) {
  qemu_does("exit 0");
  BOOST_TEST(probe_sandbox(qemu, patience).usable);
  BOOST_TEST(contains(runs(), "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,"));
}

BOOST_FIXTURE_TEST_CASE(a_qemu_without_seccomp_is_told_with_its_words, Host) {
  qemu_does("echo \"There is no option group 'sandbox'\" >&2; exit 1");
  const auto status = probe_sandbox(qemu, patience);
  BOOST_TEST(!status.usable);
  BOOST_TEST(status.reason == qemu + " cannot filter system calls (There is no option group 'sandbox')");
}

BOOST_FIXTURE_TEST_CASE(a_qemu_that_its_own_filter_ends_cannot_filter, Host) {
  qemu_does("kill -SYS $$");
  BOOST_TEST(!probe_sandbox(qemu, patience).usable);
}

BOOST_FIXTURE_TEST_CASE(one_that_was_killed_once_launched_without_its_filter_for_ever, Host) {
  for (const std::string signal : {"KILL", "TERM", "SEGV"}) {
    qemu_does("kill -" + signal + " $$");
    const auto status = probe_sandbox(qemu, patience);
    BOOST_TEST(!status.usable);
    BOOST_TEST(!status.settled, signal);
    BOOST_TEST(contains(status.reason, "was killed"), status.reason);
  }
  BOOST_TEST(!sandbox_status(qemu).usable);
  const auto once = runs();
  BOOST_TEST(!sandbox_status(qemu).usable);
  BOOST_TEST(runs() != once);
}

BOOST_FIXTURE_TEST_CASE(what_qemu_itself_says_settles_it, Host) {
  BOOST_TEST(probe_sandbox(qemu, patience).settled);  // there is none
  for (const std::string end : {"exit 1", "kill -SYS $$"}) {
    qemu_does(end);
    BOOST_TEST(probe_sandbox(qemu, patience).settled, end);
  }
}

BOOST_FIXTURE_TEST_CASE(a_missing_qemu_is_told, Host) {
  BOOST_TEST(contains(probe_sandbox(qemu, patience).reason, "cannot be run: No such file"));
}

BOOST_FIXTURE_TEST_CASE(a_qemu_that_hangs_is_ended_and_asked_again_by_the_next_launch, Host) {
  qemu_does("exec sleep 60");
  const auto status = probe_sandbox(qemu, brief);
  BOOST_TEST(!status.usable);
  BOOST_TEST(!status.settled);
}

BOOST_FIXTURE_TEST_CASE(a_launch_that_is_cancelled_does_not_wait_for_qemu, Host) {
  qemu_does("exec sleep 60");
  const auto cancel = [] { throw std::runtime_error("cancelled"); };
  BOOST_CHECK_THROW(sandbox_status(qemu, cancel), std::runtime_error);
}

BOOST_FIXTURE_TEST_CASE(what_is_known_is_not_asked_again_until_qemu_changes, Host) {
  qemu_does("exit 0");
  BOOST_TEST(sandbox_status(qemu).usable);
  const auto once = runs();
  BOOST_TEST(sandbox_status(qemu).usable);
  BOOST_TEST(runs() == once);
  qemu_does("echo none >&2; exit 1");
  BOOST_TEST(!sandbox_status(qemu).usable);
  BOOST_TEST(runs() != once);
}

BOOST_FIXTURE_TEST_CASE(what_one_process_has_found_serves_the_next_one, Host) {
  qemu_does("exit 0");
  BOOST_TEST(support::in_child([&] { return sandbox_status(qemu).reason; }) == "");
  const auto once = runs();
  BOOST_TEST(!once.empty());
  BOOST_TEST(sandbox_status(qemu).usable);
  BOOST_TEST(runs() == once);
}

BOOST_FIXTURE_TEST_CASE(a_script_is_told_from_a_program, Host) {
  qemu_does("exit 0");
  BOOST_TEST(is_script(qemu));
  BOOST_TEST(!is_script("/proc/self/exe"));
  BOOST_TEST(!is_script(folder / "absent"));
}

BOOST_FIXTURE_TEST_CASE(the_installed_qemu_filters, Host, WHERE_QEMU) {
  const auto status = sandbox_status("/usr/bin/qemu-system-x86_64");
  BOOST_TEST(status.usable, status.reason);
}
