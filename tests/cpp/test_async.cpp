// async.hpp: what AsyncGuestfs promises, without an appliance: run() queues functions that block.
#define BOOST_TEST_MODULE async
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <guestkit/async.hpp>
#include <iterator>
#include <memory>
#include <stdexcept>

#include "support.hpp"

using guestkit::ApplianceKilled;
using guestkit::AsyncGuestfs;
using guestkit::CallTimeout;
using guestkit::cstr;
using guestkit::Error;
using guestkit::Event;
using guestkit::Guestfs;
using guestkit::HandleClosed;
using guestkit::HandleOptions;
using guestkit::Seconds;
using support::is_gone;
using support::stuck_programs;
template <unsigned threads>
struct pool : boost::executors::executor_adaptor<boost::basic_thread_pool> {
  pool() : executor_adaptor(threads) {}
};

static_assert(std::is_same_v<decltype(std::declval<AsyncGuestfs>().mount("", "")), boost::future<void>>);
static_assert(std::is_same_v<decltype(std::declval<AsyncGuestfs>().cat("")), boost::future<std::string>>);
static_assert(!std::is_copy_constructible_v<AsyncGuestfs>);
static_assert(std::is_nothrow_move_constructible_v<AsyncGuestfs>);

namespace {

const HandleOptions plain{.environment = false, .accel = guestkit::Accel::tcg};

/// A function for run() that signals when it has begun, and ends when it is opened.
class gate {
 public:
  auto body() {
    return [state = state_](Guestfs& g) {
      state->begun.count_down();
      state->opened.wait();
      return g.get_memsize();
    };
  }
  void wait_until_begun() { state_->begun.wait(); }
  void open() {
    if (!std::exchange(open_, true)) state_->opened.count_down();
  }
  gate() = default;
  gate(const gate&) = delete;
  gate& operator=(const gate&) = delete;
  ~gate() { open(); }

 private:
  struct latches {
    std::latch begun{1}, opened{1};
  };
  std::shared_ptr<latches> state_ = std::make_shared<latches>();
  bool open_ = false;
};

/// Makes the handle launch a hypervisor that hangs; returns once it runs.
boost::future<void> launching(AsyncGuestfs& g, const stuck_programs& programs, pid_t& hypervisor) {
  g.run([&](Guestfs& handle) { programs.prepare(handle); }).get();
  auto launch = g.launch();
  hypervisor = programs.wait_until_started();
  return launch;
}

auto message(const std::string& expected) {
  return [expected](const std::exception& e) {
    BOOST_TEST(e.what() == expected);
    return e.what() == expected;
  };
}

}  // namespace

BOOST_AUTO_TEST_SUITE(values)

BOOST_AUTO_TEST_CASE(arguments_arrive_though_the_callers_are_gone, PATIENCE) {
  const guestkit::InternalTestOptions options{.obool = true,
                                              .oint = 1,
                                              .oint64 = 2,
                                              .ostring = "three",
                                              .ostringlist = guestkit::string_list{"4", "5"}};
  const std::string bytes("a\0b", 3);
  support::recorder expected;
  expected.g.internal_test("text", "given", {"one", "two"}, true, -1, 1LL << 40, "in", "out", bytes, options);
  expected.g.internal_test("", std::nullopt, {}, false, 0, 0, "", "", "");

  support::recorder actual;  // its own handle stays unused
  const auto file = std::filesystem::temp_directory_path() / ("guestkit-async-" + std::to_string(::getpid()));
  AsyncGuestfs g(plain);
  gate busy;
  g.run(busy.body());
  g.internal_test_set_output(file);
  {
    std::string text = "text", given = "given", in = "in", out = "out", copy = bytes;
    guestkit::string_list list{"one", "two"};
    auto gone = options;
    g.internal_test(text, cstr(given), list, true, -1, 1LL << 40, in, out, copy, gone);
    for (auto* each : {&text, &given, &in, &out, &copy}) each->assign(each->size(), '?');
    list.assign(2, "?");
    gone = {};
  }
  g.internal_test("", std::nullopt, {}, false, 0, 0, "", "", "");
  busy.open();
  g.internal_test_close_output().get();
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::filesystem::remove(file);
  BOOST_TEST(lines == expected.lines(), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(results_are_those_of_the_blocking_handle, PATIENCE) {
  AsyncGuestfs g(plain);
  BOOST_TEST(g.internal_test_rint("7").get() == 7);
  BOOST_TEST(g.internal_test_rbool("true").get());
  BOOST_TEST(g.internal_test_rstring("text").get() == "text");
  BOOST_TEST(g.internal_test_rconstoptstring("").get().has_value());
  BOOST_TEST(g.internal_test_rstringlist("3").get() == (guestkit::string_list{"0", "1", "2"}));
  BOOST_TEST((g.internal_test_rhashtable("1").get() == guestkit::hashtable{{"0", "0"}}));
  BOOST_TEST(g.internal_test_rstructlist("5").get().size() == 5U);
  const guestkit::buffer bytes = g.internal_test_rbufferout("abc").get();
  BOOST_TEST(bytes.view() == "abc");
}

BOOST_AUTO_TEST_CASE(errors_come_out_of_the_future_as_they_are, PATIENCE) {
  AsyncGuestfs g(plain);
  auto failed = g.set_memsize(1);
  BOOST_CHECK_EXCEPTION(failed.get(), Error, [](const Error& e) { return e.op() == "set_memsize"; });
  auto own = g.run([](Guestfs&) -> int { throw std::out_of_range("own"); });
  BOOST_CHECK_EXCEPTION(own.get(), std::out_of_range, message("own"));
  BOOST_CHECK_THROW(g.set_hv(std::string(1, '\0')), std::invalid_argument);
  BOOST_TEST(g.get_memsize().get() == 1280);
}

// libguestfs launches with other settings than the user's, which Guestfs then restores.
BOOST_AUTO_TEST_CASE(what_guestfs_does_by_itself_is_done_here_too, PATIENCE) {
  AsyncGuestfs g(plain);
  g.set_tmpdir("/var/tmp");
  BOOST_TEST(g.get_tmpdir().get() == "/var/tmp");
  g.set_path("/nowhere");
  BOOST_TEST(g.get_path().get() == "/nowhere");
  g.set_append(std::nullopt);
  BOOST_TEST(!g.get_append().get());
  BOOST_TEST(!g.launch_info());
}

BOOST_AUTO_TEST_CASE(a_disk_is_opened_by_policy_too, PATIENCE) {
  AsyncGuestfs g(plain);
  auto opened = g.open_disk("/nowhere/disk", {.format = "raw"});
  BOOST_CHECK_EXCEPTION(opened.get(), Error, [](const Error& e) { return e.op() == "open_disk"; });
}

/// A thread that serves the directory needs the turn, which a queued call has otherwise.
BOOST_AUTO_TEST_CASE(a_directory_could_not_be_mounted_from_the_queue, PATIENCE) {
  AsyncGuestfs g(plain);
  const support::temporary_folder here;
  auto mounted = g.mounted(here.path);
  BOOST_CHECK_EXCEPTION(static_cast<void>(mounted.get()), Error, [](const Error& e) {
    return e.message() == "the handle is not launched" && e.error_number() == EINVAL;
  });
  BOOST_TEST(g.get_memsize().get() > 0);
}

BOOST_AUTO_TEST_CASE(events_are_delivered_on_the_thread_of_the_call, PATIENCE) {
  AsyncGuestfs g(plain);
  std::vector<std::string> entered;
  const auto subscription = g.set_event_callback(
      Event::enter, [&](const guestkit::EventMessage& event) { entered.emplace_back(event.text); });
  g.internal_test_rint("1").get();
  BOOST_TEST(entered == std::vector<std::string>{"internal_test_rint"});
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(order)

BOOST_AUTO_TEST_CASE(calls_run_in_the_order_in_which_they_were_made, PATIENCE) {
  std::vector<int> order;
  {
    AsyncGuestfs g(plain);
    for (int n = 0; n < 50; ++n) g.run([&order, n](Guestfs&) { order.push_back(n); });
  }
  BOOST_REQUIRE(order.size() == 50U);
  BOOST_TEST(std::is_sorted(order.begin(), order.end()));
}

BOOST_AUTO_TEST_CASE(no_call_runs_on_the_callers_thread, PATIENCE) {
  AsyncGuestfs g(plain);
  BOOST_TEST(
      (g.run([](Guestfs&) { return std::this_thread::get_id(); }).get() != std::this_thread::get_id()));
}

BOOST_AUTO_TEST_CASE(a_handle_holds_one_thread_of_the_pool_at_most, PATIENCE) {
  pool<2> threads;
  AsyncGuestfs busy(plain, threads), idle(plain, threads);
  gate first;
  busy.run(first.body());
  for (int n = 0; n < 50; ++n) busy.get_memsize();
  BOOST_TEST(idle.get_memsize().get() == 1280);
}

BOOST_AUTO_TEST_CASE(a_handle_with_many_calls_lets_the_others_in, PATIENCE) {
  pool<1> threads;
  AsyncGuestfs many(plain, threads), one(plain, threads);
  std::atomic<int> done{0};
  gate first;
  many.run(first.body());
  for (int n = 0; n < 50; ++n) many.run([&](Guestfs&) { ++done; });
  auto call = one.run([&](Guestfs&) { return done.load(); });
  first.open();
  BOOST_TEST(call.get() <= 1);
}

BOOST_AUTO_TEST_CASE(a_continuation_may_call_the_handle_and_wait, PATIENCE) {
  pool<1> threads;
  AsyncGuestfs g(plain, threads);
  auto twice =
      g.get_memsize().then([&](boost::future<int> size) { return size.get() + g.get_memsize().get(); });
  BOOST_TEST(twice.get() == 2560);
}

BOOST_AUTO_TEST_CASE(a_continuation_gets_the_error_and_can_run_on_the_executor, PATIENCE) {
  AsyncGuestfs g(plain);
  auto told = g.set_memsize(1).then(guestkit::shared_executor(), [](boost::future<void> failed) {
    try {
      failed.get();
    } catch (const Error& e) {
      return e.op();
    }
    return std::string();
  });
  BOOST_TEST(told.get() == "set_memsize");
}

// Regression: the same for functions that launch.
BOOST_AUTO_TEST_CASE(functions_that_may_launch_leave_other_handles_their_threads, PATIENCE) {
  AsyncGuestfs running(plain);
  running.run([](Guestfs& g) { state_of(g)->turns->launched = true; }).get();
  std::vector<gate> gates(64);
  std::vector<AsyncGuestfs> launching;
  for (auto& each : gates) {
    launching.emplace_back(plain).run(each.body());
    each.wait_until_begun();
  }
  BOOST_TEST(running.get_memsize().get() == 1280);
  BOOST_TEST(running.run([](Guestfs& g) { return g.get_smp(); }).get() == 1);
  gates.clear();
}

// Regression: 64 launches waiting for memory occupied every thread, so the handles that could free it had
// none.
BOOST_AUTO_TEST_CASE(launches_that_wait_for_memory_leave_other_handles_their_threads,
                     *boost::unit_test::timeout(300)) {  // 64 handles: minutes under valgrind
  const stuck_programs programs;
  AsyncGuestfs running(plain), other(plain);
  pid_t hypervisor = 0;
  auto launch = launching(running, programs, hypervisor);
  guestkit::set_appliance_limit(1);
  std::vector<AsyncGuestfs> waiting;
  for (int n = 0; n < 64; ++n) {
    waiting.emplace_back(plain).run([&](Guestfs& g) { programs.prepare(g); }).get();
    waiting.back().launch();
  }
  BOOST_TEST(other.get_memsize().get() == 1280);
  for (auto& g : waiting) g.terminate();
  running.terminate();
  BOOST_CHECK_THROW(launch.get(), ApplianceKilled);
  waiting.clear();
  guestkit::set_appliance_limit(std::nullopt);
}

BOOST_AUTO_TEST_CASE(many_threads_can_use_one_handle, PATIENCE) {
  AsyncGuestfs g(plain);
  {
    std::vector<std::jthread> threads;
    for (int n = 0; n < 4; ++n)
      threads.emplace_back([&] {
        for (int i = 0; i < 100; ++i) {
          g.get_memsize().get();
          g.get_smp();
        }
      });
  }
  BOOST_TEST(g.get_memsize().get() == 1280);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(cancelling)

BOOST_AUTO_TEST_CASE(a_call_cancelled_in_the_queue_never_runs, PATIENCE) {
  AsyncGuestfs g(plain);
  gate first;
  auto running = g.run(first.body());
  first.wait_until_begun();
  auto waiting = g.set_memsize(700);
  g.cancel();
  first.open();
  BOOST_CHECK_EXCEPTION(waiting.get(), Error, [](const Error& e) {
    BOOST_TEST(e.what() == "set_memsize: cancelled");
    return e.error_number() == EINTR;
  });
  BOOST_CHECK_EXCEPTION(running.get(), Error, message("get_memsize: cancelled"));
  BOOST_TEST(g.get_memsize().get() == 1280);
}

BOOST_AUTO_TEST_CASE(a_call_cancelled_while_it_waits_for_a_thread_never_runs, PATIENCE) {
  pool<1> threads;
  AsyncGuestfs other(plain, threads), g(plain, threads);
  gate first;
  other.run(first.body());
  first.wait_until_begun();
  auto waiting = g.set_memsize(700);
  g.cancel();
  first.open();
  BOOST_CHECK_EXCEPTION(waiting.get(), Error, message("set_memsize: cancelled"));
  BOOST_TEST(g.get_memsize().get() == 1280);
}

BOOST_AUTO_TEST_CASE(a_cancelled_launch_is_killed_and_leaves_no_hypervisor, PATIENCE) {
  const stuck_programs programs;
  AsyncGuestfs g(plain);
  pid_t hypervisor = 0;
  auto launch = launching(g, programs, hypervisor);
  g.cancel();
  BOOST_CHECK_THROW(launch.get(), ApplianceKilled);
  BOOST_TEST(support::ends(hypervisor));
  BOOST_CHECK_THROW(g.get_memsize().get(), ApplianceKilled);
}

BOOST_AUTO_TEST_CASE(a_cancel_never_hits_a_call_that_was_made_after_it, PATIENCE) {
  AsyncGuestfs g(plain);
  for (int n = 0; n < 300; ++n) {
    g.get_memsize();
    g.cancel();
    BOOST_REQUIRE(g.get_smp().get() == 1);
  }
}

BOOST_AUTO_TEST_CASE(the_limits_of_the_handle_hold, PATIENCE) {
  const stuck_programs programs;
  auto options = plain;
  options.limits.launch = Seconds(0.2);
  AsyncGuestfs g(options);
  pid_t hypervisor = 0;
  auto launch = launching(g, programs, hypervisor);
  BOOST_CHECK_EXCEPTION(launch.get(), CallTimeout,
                        [](const CallTimeout& e) { return e.clock() == "launch_timeout"; });
}

BOOST_AUTO_TEST_CASE(terminate_ends_what_runs_and_what_waits, PATIENCE) {
  const stuck_programs programs;
  AsyncGuestfs g(plain);
  pid_t hypervisor = 0;
  auto launch = launching(g, programs, hypervisor);
  auto waiting = g.get_memsize();
  g.terminate();
  BOOST_CHECK_THROW(launch.get(), ApplianceKilled);
  BOOST_CHECK_EXCEPTION(waiting.get(), HandleClosed,
                        message("get_memsize: the handle was terminated before the call's turn"));
  BOOST_CHECK_EXCEPTION(g.get_memsize(), HandleClosed, message("get_memsize: the handle is terminated"));
  BOOST_TEST(support::ends(hypervisor));
  g.close().get();
}

BOOST_AUTO_TEST_CASE(a_call_that_waits_too_long_for_its_turn_never_runs, PATIENCE) {
  auto options = plain;
  options.limits.queue = Seconds(0.05);
  AsyncGuestfs g(options);
  gate first;
  auto running = g.run(first.body());
  first.wait_until_begun();
  auto late = g.set_memsize(700), later = g.set_memsize(701);
  BOOST_CHECK_EXCEPTION(late.get(), CallTimeout, [](const CallTimeout& e) {
    BOOST_TEST(e.what() ==
               "set_memsize: waited longer than 0.05 s for its turn (queue_timeout); it did not run");
    BOOST_TEST((e.cause() == guestkit::Cause::queue_timeout));
    return e.clock() == "queue_timeout" && e.limit().count() == 0.05 && e.error_number() == ETIMEDOUT;
  });
  BOOST_CHECK_THROW(later.get(), CallTimeout);
  first.open();
  BOOST_TEST(running.get() == 1280);  // a running call is left alone
  BOOST_TEST(g.get_memsize().get() == 1280);
}

BOOST_AUTO_TEST_CASE(the_wait_for_a_thread_counts_too_and_the_handle_closes_without_one, PATIENCE) {
  pool<1> threads;
  auto options = plain;
  options.limits.queue = Seconds(0.05);
  AsyncGuestfs busy(plain, threads);
  gate first;
  busy.run(first.body());
  first.wait_until_begun();
  AsyncGuestfs g(options, threads);
  auto late = g.get_memsize();
  const auto closed = g.close();
  BOOST_CHECK_THROW(late.get(), CallTimeout);
  closed.wait();
}

BOOST_AUTO_TEST_CASE(what_waits_for_a_thread_is_cancelled_at_once_and_the_handle_closes_without_one,
                     PATIENCE) {
  pool<1> threads;
  AsyncGuestfs busy(plain, threads), g(plain, threads);
  gate first;
  busy.run(first.body());
  first.wait_until_begun();
  auto waiting = g.get_memsize();
  const auto closed = g.close();
  g.cancel();
  BOOST_CHECK_EXCEPTION(waiting.get(), Error, message("get_memsize: cancelled"));
  closed.wait();
}

BOOST_AUTO_TEST_CASE(a_limit_for_waiting_leaves_calls_alone_that_have_their_turn_in_time, PATIENCE) {
  auto options = plain;
  options.limits.queue = Seconds(30);
  AsyncGuestfs g(options);
  for (int n = 0; n < 300; ++n) g.get_smp();
  BOOST_TEST(g.get_memsize().get() == 1280);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(closing)

BOOST_AUTO_TEST_CASE(close_lets_the_calls_that_were_made_run_to_their_end, PATIENCE) {
  AsyncGuestfs g(plain);
  gate first;
  auto running = g.run(first.body());
  auto waiting = g.get_smp();
  const auto closed = g.close(), again = g.close();
  BOOST_CHECK_EXCEPTION(g.get_memsize(), HandleClosed, message("get_memsize: the handle is closed"));
  BOOST_TEST(!g.is_open());
  first.open();
  BOOST_TEST(running.get() == 1280);
  BOOST_TEST(waiting.get() == 1);
  closed.wait();
  again.wait();
  g.cancel();
  g.terminate();
}

BOOST_AUTO_TEST_CASE(a_close_that_failed_could_not_be_tried_again, PATIENCE) {
  AsyncGuestfs g(plain);
  std::latch served(1), go_on(1);
  std::promise<void> done;
  const auto state = g.run([](Guestfs& blocking) { return state_of(blocking); }).get();
  std::jthread server([&] {  // it goes on although what it serves is unmounted
    state->turns->serves_at("/mnt");
    state->turns->enter("mount_local_run");
    served.count_down();
    go_on.wait();
    state->turns->leave();
  });
  served.wait();
  BOOST_CHECK_EXCEPTION(
      g.close().get(), Error,
      message("close: /mnt: the thread that serves it did not stop; end the programs that use it, "
              "then close the handle again"));
  BOOST_TEST(g.is_open());
  go_on.count_down();
  server.join();
  BOOST_TEST(g.get_memsize().get() == 1280);
  g.close().get();
  BOOST_TEST(!g.is_open());
}

BOOST_AUTO_TEST_CASE(close_waits_for_no_thread_of_the_pool, PATIENCE) {
  pool<1> threads;
  AsyncGuestfs busy(plain, threads), g(plain, threads);
  gate first;
  busy.run(first.body());
  first.wait_until_begun();
  g.close().get();
}

BOOST_AUTO_TEST_CASE(the_end_of_a_handle_waits_for_its_calls, PATIENCE) {
  boost::future<int> call;
  {
    AsyncGuestfs g(plain);
    g.set_memsize(700);
    call = g.get_memsize();
  }
  BOOST_TEST(call.get() == 700);
}

BOOST_AUTO_TEST_CASE(leaving_by_an_exception_ends_the_launch, PATIENCE) {
  const stuck_programs programs;
  pid_t hypervisor = 0;
  boost::future<void> launch;
  const auto leave = [&] {
    AsyncGuestfs g(plain);
    launch = launching(g, programs, hypervisor);
    throw std::out_of_range("own");
  };
  BOOST_CHECK_THROW(leave(), std::out_of_range);
  BOOST_CHECK_THROW(launch.get(), ApplianceKilled);
  BOOST_TEST(is_gone(hypervisor));
}

BOOST_AUTO_TEST_CASE(a_handle_can_be_destroyed_by_its_own_call_and_by_a_continuation, PATIENCE) {
  auto g = std::make_unique<AsyncGuestfs>(plain);
  auto& handle = *g;
  handle.run([&](Guestfs&) { g.reset(); }).get();
  BOOST_TEST(!g);
  auto other = std::make_shared<AsyncGuestfs>(plain);
  auto size = other->get_memsize();
  size.then([owned = std::move(other)](boost::future<int> done) mutable {
        owned.reset();
        return done.get();
      })
      .get();
}

BOOST_AUTO_TEST_CASE(a_handle_that_was_moved_from_was_taken_for_another_process_s) {
  AsyncGuestfs g(plain);
  const auto subscribe = [&] { return g.set_event_callback(Event::all, {}).number(); };
  const AsyncGuestfs other(std::move(g));
  BOOST_CHECK_EXCEPTION(subscribe(), HandleClosed,
                        [](const Error& e) { return e.message() == "the handle was moved from"; });
  g = AsyncGuestfs(plain);
  BOOST_TEST(support::in_child([&] {
               try {
                 return std::to_string(subscribe());
               } catch (const HandleClosed& e) {
                 return e.message();
               }
             }) == "the handle belongs to the process before the fork; open one in this process");
}

BOOST_AUTO_TEST_CASE(a_moved_handle_keeps_its_calls, PATIENCE) {
  AsyncGuestfs g(plain);
  gate first;
  auto call = g.run(first.body());
  AsyncGuestfs other(std::move(g));
  BOOST_CHECK_THROW(g.get_memsize(), HandleClosed);  // NOLINT(bugprone-use-after-move)
  BOOST_TEST(!g.is_open());
  first.open();
  BOOST_TEST(call.get() == 1280);
  g = std::move(other);
  BOOST_TEST(g.get_memsize().get() == 1280);
}

BOOST_AUTO_TEST_CASE(an_executor_that_takes_no_more_fails_the_call, PATIENCE) {
  pool<1> threads;
  AsyncGuestfs g(plain, threads);
  threads.close();
  auto call = g.get_memsize();
  BOOST_CHECK_THROW(call.get(), boost::sync_queue_is_closed);
}

BOOST_AUTO_TEST_CASE(a_forked_child_leaves_the_handle_alone_and_can_open_its_own,
                     PATIENCE WHERE_CHILDREN_HAVE_THREADS) {
  auto g = std::make_unique<AsyncGuestfs>(plain);
  BOOST_TEST(g->get_memsize().get() == 1280);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    int status = 1;
    try {
      g->get_memsize();
    } catch (const HandleClosed&) {
      status = 0;
    }
    g->cancel();
    g->terminate();
    g->close().get();
    g.reset();
    if (AsyncGuestfs(plain).get_memsize().get() != 1280) status = 2;
    ::_exit(status);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  BOOST_TEST(status == 0);
  BOOST_TEST(g->get_memsize().get() == 1280);
}

BOOST_AUTO_TEST_SUITE_END()

// Regression, which the address sanitizer sees: cancel() went on in a queue that was freed.
BOOST_AUTO_TEST_CASE(a_handle_that_the_continuation_of_a_cancelled_call_destroyed, PATIENCE) {
  pool<1> threads;
  std::latch opened{1}, idle{1};
  threads.submit([&] { opened.wait(); });
  auto g = std::make_unique<AsyncGuestfs>(plain, threads);
  auto ended = g->get_memsize().then(boost::launch::sync, [&](auto size) {
    opened.count_down();
    g.reset();
    threads.submit([&] { idle.count_down(); });
    idle.wait();  // until then a thread keeps the queue
    return size.has_exception();
  });
  g->cancel();
  BOOST_TEST(ended.get());
}
