#define BOOST_TEST_MODULE admission
#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <guestkit/detail/turn/admission.hpp>
#include <new>
#include <string>

#include "support.hpp"

using guestkit::CallTimeout;
using guestkit::Seconds;
using guestkit::detail::admission;
using guestkit::detail::appliance_memory;
using guestkit::detail::available_memory;
using guestkit::detail::memory_unknown;

namespace {

/// Whether this thread gets no memory.
constinit thread_local bool no_memory = false;

}  // namespace

void* operator new(std::size_t size) {
  if (void* const memory = no_memory ? nullptr : std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace {

constexpr std::uint64_t mb = 1U << 20U;
const auto nobody_looks = [] {};

/// A directory that looks like the root of a machine.
class Machine : private support::temporary_folder {
 public:
  Machine() { write("proc/meminfo", "MemTotal: 9999999 kB\nMemAvailable: 1048576 kB\n"); }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  std::uint64_t available() const { return available_memory(root_); }

 private:
  const std::filesystem::path& root_ = path;
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_machine_says_what_is_available) {
  BOOST_TEST(Machine().available() == 1024 * mb);
  BOOST_TEST(available_memory() > 0U);
  BOOST_TEST(available_memory("/nonexistent") == memory_unknown);
}

BOOST_AUTO_TEST_CASE(the_tightest_of_the_groups_above_counts_in_cgroup_v2) {
  const Machine machine;
  machine.write("proc/self/cgroup", "0::/user.slice/job.scope\n");
  machine.write("sys/fs/cgroup/user.slice/job.scope/memory.max", "max\n");
  machine.write("sys/fs/cgroup/user.slice/job.scope/memory.current", "1\n");
  BOOST_TEST(machine.available() == 1024 * mb);
  machine.write("sys/fs/cgroup/user.slice/memory.max", std::to_string(500 * mb));
  machine.write("sys/fs/cgroup/user.slice/memory.current", std::to_string(300 * mb));
  BOOST_TEST(machine.available() == 200 * mb);
  machine.write("sys/fs/cgroup/user.slice/memory.stat", "anon 5\ninactive_file " + std::to_string(100 * mb));
  BOOST_TEST(machine.available() == 300 * mb);
}

BOOST_AUTO_TEST_CASE(a_container_whose_path_is_the_hosts_has_its_limit_at_the_top) {
  const Machine machine;
  machine.write("proc/self/cgroup", "12:cpu,cpuacct:/docker/abc\n5:memory:/docker/abc\n0::/docker/abc\n");
  machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", std::to_string(700 * mb));
  machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", std::to_string(100 * mb));
  BOOST_TEST(machine.available() == 600 * mb);
  machine.write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", std::to_string(50 * mb));
  machine.write("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", std::to_string(60 * mb));
  BOOST_TEST(machine.available() == 0U);
}

// Regression: it counted 448 MB whatever the user let it use.
BOOST_AUTO_TEST_CASE(an_appliance_with_more_memory_was_counted_as_any_other) {
  using guestkit::ApplianceMode;
  BOOST_TEST(appliance_memory(ApplianceMode::lean) == 448 * mb);
  BOOST_TEST(appliance_memory(ApplianceMode::lean, -1000) == 448 * mb);
  BOOST_TEST(appliance_memory(ApplianceMode::lean, 2816) == (448 + 2816) * mb);
  BOOST_TEST(appliance_memory(ApplianceMode::system, 64'000'000) == (768 + 64'000'000ULL) * mb);
}

BOOST_AUTO_TEST_CASE(the_first_is_admitted_whatever_there_is) {
  admission all([] { return std::uint64_t{0}; });
  const auto place = all.take(400 * mb, Seconds(0), nobody_looks);
  BOOST_TEST(all.running() == 1U);
}

BOOST_AUTO_TEST_CASE(those_that_start_keep_their_memory_reserved) {
  admission all([] { return 900 * mb; });
  auto first = all.take(400 * mb, Seconds(0), nobody_looks);
  auto second = all.take(400 * mb, Seconds(0), nobody_looks);
  BOOST_CHECK_THROW(all.take(400 * mb, Seconds(0), nobody_looks), CallTimeout);
  first.started();  // the kernel no longer counts its memory as available, so the reservation ends
  const auto third = all.take(400 * mb, Seconds(0), nobody_looks);
  BOOST_TEST(all.running() == 3U);
  second.give_back();
  second.give_back();
  BOOST_TEST(all.running() == 2U);
}

// Regression: eight appliances with 4 GB each were admitted on 16 GB, before argon2 took its memory in each.
BOOST_AUTO_TEST_CASE(memory_that_an_appliance_uses_later_was_free_once_it_was_up) {
  admission all([] { return 1000 * mb; });
  auto first = all.take(700 * mb, Seconds(0), nobody_looks, 300 * mb);
  first.started();
  BOOST_CHECK_THROW(all.take(800 * mb, Seconds(0), nobody_looks), CallTimeout);
  const auto second = all.take(700 * mb, Seconds(0), nobody_looks);
  first.give_back();
  const auto third = all.take(300 * mb, Seconds(0), nobody_looks);
  BOOST_TEST(all.running() == 2U);
}

// Regression: each counted as if it wanted as much as the one that asked.
BOOST_AUTO_TEST_CASE(a_large_appliance_that_starts_was_as_small_as_the_next_one) {
  admission all([] { return 1000 * mb; });
  const auto large = all.take(900 * mb, Seconds(0), nobody_looks);
  BOOST_CHECK_THROW(all.take(200 * mb, Seconds(0), nobody_looks), CallTimeout);
  const auto small = all.take(100 * mb, Seconds(0), nobody_looks);
  BOOST_TEST(all.running() == 2U);
}

// Regression: the place that it was moved to was the child's own.
BOOST_AUTO_TEST_CASE(a_forked_child_gave_back_its_parents_place) {
  admission all([] { return memory_unknown; });
  auto place = all.take(mb, Seconds(0), nobody_looks);
  const pid_t child = ::fork();
  if (child == 0) {
    {
      const admission::place moved(std::move(place));
      admission::place assigned;
      assigned = all.take(mb, Seconds(0), nobody_looks);
    }
    ::_exit(static_cast<int>(all.running()));
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  BOOST_TEST(WEXITSTATUS(status) == 2);
}

BOOST_AUTO_TEST_CASE(who_waits_gets_the_place_that_is_given_back) {
  admission all([] { return std::uint64_t{0}; });
  auto first = all.take(mb, Seconds(0), nobody_looks);
  auto waiting = std::async(std::launch::async, [&] { return all.take(mb, Seconds(60), nobody_looks); });
  first.give_back();
  const auto second = waiting.get();
  BOOST_TEST(all.running() == 1U);
}

BOOST_AUTO_TEST_CASE(a_limit_holds_where_there_is_memory_and_can_be_taken_back) {
  admission all([] { return memory_unknown; });
  all.set_limit(1);
  const auto first = all.take(mb, Seconds(0), nobody_looks);
  try {
    all.take(mb, Seconds(0), nobody_looks);
    BOOST_ERROR("the limit did not hold");
  } catch (const CallTimeout& e) {
    BOOST_TEST(e.clock() == "admission_timeout");
    BOOST_TEST((e.cause() == guestkit::Cause::admission_timeout));
    BOOST_TEST(e.message().find("runs 1 appliances") != std::string::npos);
  }
  all.set_limit(std::nullopt);
  const auto second = all.take(mb, Seconds(0), nobody_looks);
  BOOST_TEST(all.running() == 2U);
}

BOOST_AUTO_TEST_CASE(a_launch_that_ran_out_of_memory_kept_its_place, PATIENCE) {
  const support::stuck_programs programs;
  auto g = programs.handle();
  const auto out_of_memory = g.set_event_callback(guestkit::Event::enter, [](const guestkit::EventMessage&) {
    no_memory = admission::shared().running() > 0;
  });
  bool told = false;
  try {
    g.launch();
  } catch (const std::bad_alloc&) {
    told = true;
  }
  no_memory = false;
  BOOST_TEST(told);
  BOOST_TEST(admission::shared().running() == 0U);
}

BOOST_AUTO_TEST_CASE(a_close_waited_for_a_launch_that_waited_for_memory, PATIENCE) {
  const support::stuck_programs programs;
  guestkit::set_appliance_limit(1);
  auto first = admission::shared().take(mb, Seconds(0), nobody_looks);
  auto g = programs.handle();
  auto launch = std::async(std::launch::async, [&] { g.launch(); });
  while (g.is_idle()) std::this_thread::yield();
  g.close();
  BOOST_CHECK_THROW(launch.get(), guestkit::HandleClosed);
  first.give_back();
  guestkit::set_appliance_limit(std::nullopt);
}

BOOST_AUTO_TEST_CASE(a_limit_of_none_at_all_admitted_one) {
  BOOST_CHECK_EXCEPTION(guestkit::set_appliance_limit(0), guestkit::Error,
                        [](const guestkit::Error& e) { return e.error_number() == EINVAL; });
}

BOOST_AUTO_TEST_CASE(what_ends_the_waiting_takes_no_place) {
  admission all([] { return std::uint64_t{0}; });
  const auto first = all.take(mb, Seconds(0), nobody_looks);
  struct Stop {};
  BOOST_CHECK_THROW(all.take(mb, Seconds(60), [] { throw Stop(); }), Stop);
  BOOST_TEST(all.running() == 1U);
}
