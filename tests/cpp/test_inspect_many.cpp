// inspect_many.hpp: the life of a fleet, without an appliance. Guests hang in their launch or fail.
#define BOOST_TEST_MODULE inspect_many
#include <sys/wait.h>

#include <guestkit/inspect_many.hpp>
#include <ranges>
#include <set>

#include "support.hpp"

using guestkit::CallTimeout;
using guestkit::Error;
using guestkit::HandleClosed;
using guestkit::inspect_many;
using guestkit::InspectMany;
using guestkit::InspectManyOptions;
using guestkit::InspectProgress;
using guestkit::InspectReport;
using guestkit::Seconds;
using guestkit::string_list;

template <unsigned threads>
struct pool : boost::executors::executor_adaptor<boost::basic_thread_pool> {
  pool() : executor_adaptor(threads) {}
};

static_assert(std::ranges::input_range<InspectMany>);
static_assert(!std::is_copy_constructible_v<InspectMany>);

namespace {

/// A fleet whose appliances never come up.
class stuck : public support::stuck_programs {
 public:
  stuck() {
    ::setenv("LIBGUESTFS_HV", (folder / "hypervisor").c_str(), 1);
    ::setenv("LIBGUESTFS_PATH", (folder / "appliance").c_str(), 1);
    options.inspect.disk.format = "raw";
    options.handle.accel = guestkit::Accel::tcg;
    options.concurrency = 2;
  }
  stuck(const stuck&) = delete;
  stuck& operator=(const stuck&) = delete;
  ~stuck() {
    ::unsetenv("LIBGUESTFS_HV");
    ::unsetenv("LIBGUESTFS_PATH");
  }

  InspectManyOptions options;
  const std::string disk = folder / "disk";
};

std::string op_of(const InspectReport& report) {
  try {
    std::rethrow_exception(report.error);
  } catch (const Error& e) {
    return e.op();
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_guest_that_fails_has_its_report_with_the_error, PATIENCE) {
  const support::temporary_folder folder;
  const std::set<std::string> disks{folder.path / "missing", folder.path / "too", folder.path};
  std::set<std::string> reported;
  for (const auto& report : inspect_many(disks)) {
    const auto& disk = report.disks.at(0);
    reported.insert(disk);
    BOOST_TEST(!report.inspection);
    BOOST_TEST(report.message.starts_with(disk + ": "), report.message);
    BOOST_TEST(op_of(report) == "open_disk");
    BOOST_TEST(report.seconds > Seconds(0));
  }
  BOOST_TEST(reported == disks, boost::test_tools::per_element());
}

// Regression: they shared one step of the progress, and their reports looked alike.
BOOST_AUTO_TEST_CASE(guests_whose_disks_have_one_name_could_not_be_told_apart, PATIENCE) {
  std::mutex mutex;
  std::set<std::size_t> started, reported;
  const auto follow = [&](const InspectProgress& progress) {
    const std::lock_guard lock(mutex);
    for (const auto& [guest, step] : progress.steps) started.insert(guest);
  };
  const string_list disks{"/nowhere/a", "/nowhere/a", "/nowhere/b"};
  for (const auto& report : inspect_many(disks, {.progress = follow})) {
    BOOST_TEST(report.disks.front() == disks[report.index]);
    reported.insert(report.index);
  }
  const std::set<std::size_t> all{0, 1, 2};
  BOOST_TEST(reported == all, boost::test_tools::per_element());
  BOOST_TEST(started == all, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_guest_may_have_many_disks_or_none_and_a_fleet_no_guests, PATIENCE) {
  const std::vector<string_list> guests{{"/nowhere/a", "/nowhere/b"}, {}};
  auto reports = inspect_many(guests, {.concurrency = 1});
  const auto first = reports.next().get(), second = reports.next().get();
  BOOST_TEST(first.value().disks == guests[0]);
  BOOST_TEST(second.value().disks == guests[1]);
  BOOST_TEST(!second.value().message.empty());
  BOOST_TEST(!reports.next().get());
  BOOST_TEST(!inspect_many(string_list{}).next().get());
}

BOOST_AUTO_TEST_CASE(futures_are_settled_in_their_order_and_those_beyond_the_last_guest_with_nothing,
                     PATIENCE) {
  auto reports = inspect_many(string_list{"/nowhere/a"});
  auto first = reports.next(), beyond = reports.next();
  BOOST_TEST(!beyond.get());
  BOOST_TEST(first.get().value().disks.front() == "/nowhere/a");
}

BOOST_AUTO_TEST_CASE(a_guest_that_hangs_ends_at_its_limit_and_costs_no_other, PATIENCE) {
  stuck fleet;
  fleet.options.handle.limits.call = Seconds(0.3);
  std::size_t late = 0, missing = 0;
  for (const auto& report : inspect_many(string_list{fleet.disk, "/nowhere/a", fleet.disk}, fleet.options)) {
    try {
      std::rethrow_exception(report.error);
    } catch (const CallTimeout& e) {
      ++late;
      BOOST_TEST(e.clock() == "call_timeout");
    } catch (const Error&) {
      ++missing;
    }
  }
  BOOST_TEST(late == 2U);
  BOOST_TEST(missing == 1U);
}

BOOST_AUTO_TEST_CASE(leaving_early_kills_what_runs_and_settles_the_futures, PATIENCE) {
  const stuck fleet;
  boost::future<std::optional<InspectReport>> open;
  pid_t first = 0, second = 0;
  {
    auto reports = inspect_many(string_list{fleet.disk, fleet.disk, fleet.disk}, fleet.options);
    open = reports.next();
    first = fleet.wait_until_started();
    second = fleet.wait_until_started();
  }
  BOOST_TEST(support::is_gone(first));
  BOOST_TEST(support::is_gone(second));
  BOOST_TEST(open.is_ready());
}

BOOST_AUTO_TEST_CASE(what_nobody_takes_keeps_other_guests_from_starting, PATIENCE) {
  std::mutex mutex;
  std::set<std::size_t> started;
  InspectManyOptions options{.concurrency = 2};
  std::latch two_done{2};
  options.progress = [&](const InspectProgress& progress) {
    const std::lock_guard lock(mutex);
    for (const auto& [guest, step] : progress.steps) started.insert(guest);
    if (progress.steps.empty() && progress.done > 0 && progress.done <= 2) two_done.count_down();
  };
  pool<1> threads;
  auto reports = inspect_many(string_list{"/nowhere/a", "/nowhere/b", "/nowhere/c"}, options, threads);
  two_done.wait();
  {
    const std::lock_guard lock(mutex);
    BOOST_TEST(started == (std::set<std::size_t>{0, 1}), boost::test_tools::per_element());
  }
  for (int n = 0; n < 3; ++n) BOOST_TEST(reports.next().get().has_value());
  BOOST_TEST(started.contains(2));
}

BOOST_AUTO_TEST_CASE(an_end_waits_for_no_thread_of_the_pool, PATIENCE) {
  pool<1> threads;
  std::latch opened{1};
  threads.submit([&] { opened.wait(); });
  boost::future<std::optional<InspectReport>> open;
  {
    auto reports = inspect_many(string_list{"/nowhere/a"}, {}, threads);
    open = reports.next();
  }
  BOOST_TEST(!open.get());
  opened.count_down();
}

BOOST_AUTO_TEST_CASE(an_executor_that_takes_no_more_is_told_in_the_reports, PATIENCE) {
  pool<1> threads;
  threads.close();
  std::set<std::size_t> guests;
  for (const auto& report : inspect_many(string_list{"/nowhere/a", "/nowhere/b"}, {}, threads)) {
    guests.insert(report.index);
    BOOST_CHECK_THROW(std::rethrow_exception(report.error), boost::sync_queue_is_closed);
    BOOST_TEST(report.message.starts_with("/nowhere/"));
  }
  BOOST_TEST(guests.size() == 2U);
}

// Regression: each refusal asked for the next guest's thread from within, until the stack was full.
BOOST_AUTO_TEST_CASE(an_executor_that_refused_many_guests_crashed_the_program, PATIENCE) {
  pool<1> threads;
  threads.close();
  const std::vector<string_list> guests(50'000);
  auto reports = inspect_many(guests, {.concurrency = static_cast<unsigned>(guests.size())}, threads);
  BOOST_TEST(std::ranges::distance(reports) == std::ranges::ssize(guests));
}

BOOST_AUTO_TEST_CASE(a_forked_child_leaves_the_fleet_alone, PATIENCE) {
  const stuck fleet;
  auto reports = std::make_unique<InspectMany>(inspect_many(string_list{fleet.disk}, fleet.options));
  const pid_t hypervisor = fleet.wait_until_started();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    int status = 1;
    try {
      reports->next();
    } catch (const HandleClosed&) {
      status = 0;
    }
    reports.reset();
    ::_exit(status);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  BOOST_TEST(status == 0);
  BOOST_TEST(!support::is_gone(hypervisor));
}

// Regression: the child's fleet was refused as the parent's, and the parent's was waited for without an end.
BOOST_AUTO_TEST_CASE(a_fleet_that_a_forked_child_put_in_the_place_of_its_parents_hung,
                     PATIENCE WHERE_CHILDREN_HAVE_THREADS) {
  const stuck fleet;
  auto reports = inspect_many(string_list{fleet.disk}, fleet.options);
  fleet.wait_until_started();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    int status = 1;
    try {
      reports = inspect_many(string_list{"/nowhere/a"});
      const auto report = reports.next().get();
      status = report && report->disks.front() == "/nowhere/a" ? 0 : 2;
    } catch (const HandleClosed&) {
    }
    ::_exit(status);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  BOOST_TEST(status == 0);
}

// Regression: its end waited for the thread that it ran on.
BOOST_AUTO_TEST_CASE(a_fleet_that_the_continuation_of_a_report_destroyed_hung, WHERE_CHILDREN_HAVE_THREADS) {
  const auto said = support::in_child([]() -> std::string {
    pool<1> busy;
    std::latch asked{1};
    busy.submit([&] { asked.wait(); });
    auto reports =
        std::make_unique<InspectMany>(inspect_many(string_list{"/nowhere/a", "/nowhere/b"}, {}, busy));
    auto first = reports->next(), second = reports->next();
    auto done = first.then(boost::launch::sync, [&](auto report) {
      reports.reset();
      return report.get().value().disks.front();
    });
    asked.count_down();
    const auto disk = done.get();
    return second.get() ? "the second guest was inspected" : disk;
  });
  BOOST_TEST(said == "/nowhere/a");
}
