#define BOOST_TEST_MODULE turns
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <future>
#include <iterator>
#include <mutex>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "guestkit/detail/base/threads.hpp"
#include "support.hpp"

using namespace std::chrono_literals;
using guestkit::ApplianceKilled;
using guestkit::CallTimeout;
using guestkit::Error;
using guestkit::Event;
using guestkit::Guestfs;
using guestkit::HandleOptions;
using guestkit::Limits;
using guestkit::Seconds;
using support::ends;
using support::first_in_path;
using support::forbid;
using support::in_child;
using support::is_gone;
using support::stuck_programs;
namespace fs = std::filesystem;

namespace {

/// A launch on another thread. Only the main thread may use Boost.Test's macros, so it asks for the outcome.
class background_launch {
 public:
  explicit background_launch(Guestfs& g)
      : thread_([this, &g] {
          try {
            g.launch();
          } catch (const ApplianceKilled& e) {
            killed_ = e.message();
          }
        }) {}

  /// Waits for its end; returns the message of the ApplianceKilled that it threw, or nothing.
  std::string killed() {
    thread_.join();
    return killed_;
  }

 private:
  std::string killed_;
  std::jthread thread_;  // last, since it uses the other member
};

}  // namespace

BOOST_AUTO_TEST_SUITE(time_outs)

BOOST_AUTO_TEST_CASE(a_launch_that_hangs_ends_at_its_limit_and_leaves_no_hypervisor, PATIENCE) {
  const stuck_programs programs;
  auto g = programs.handle({.launch = Seconds(0.3)});
  BOOST_CHECK_EXCEPTION(g.launch(), CallTimeout, [](const CallTimeout& e) {
    BOOST_TEST(e.op() == "launch");
    BOOST_TEST(e.clock() == "launch_timeout");
    BOOST_TEST((e.cause() == guestkit::Cause::launch_timeout));
    BOOST_TEST(e.limit().count() == 0.3);
    BOOST_TEST(e.error_number() == ETIMEDOUT);
    return e.message() ==
           "took longer than 0.3 s (launch_timeout) and was stopped; the appliance was killed, open a new "
           "handle";
  });
  BOOST_TEST(ends(programs.wait_until_started()));
}

BOOST_AUTO_TEST_CASE(a_handle_whose_hypervisor_was_killed_says_so, PATIENCE) {
  const stuck_programs programs;
  auto g = programs.handle({.launch = Seconds(0.1)});
  BOOST_CHECK_THROW(g.launch(), CallTimeout);
  BOOST_CHECK_EXCEPTION(g.get_memsize(), ApplianceKilled, [](const Error& e) {
    return e.message() ==
           "the appliance was killed: launch took longer than its launch_timeout; open a new handle";
  });
  BOOST_TEST(g.is_open());
  g.close();
}

BOOST_AUTO_TEST_CASE(a_qemu_img_that_hangs_ends_at_the_calls_limit_and_the_handle_goes_on, PATIENCE) {
  const stuck_programs programs;
  const first_in_path path(programs.folder);
  Guestfs g({.environment = false, .limits = {.call = Seconds(0.3)}});
  BOOST_CHECK_EXCEPTION(g.add_drive_ro(programs.folder / "disk"), CallTimeout, [](const CallTimeout& e) {
    BOOST_TEST(e.clock() == "call_timeout");
    BOOST_TEST((e.cause() == guestkit::Cause::call_timeout));
    return e.message() == "took longer than 0.3 s (call_timeout) and was stopped; the handle can be used";
  });
  BOOST_TEST(ends(programs.wait_until_started()));
  BOOST_TEST(g.get_memsize() == 1280);
}

BOOST_AUTO_TEST_CASE(a_call_in_time_is_left_alone_and_so_is_the_next_one, PATIENCE) {
  Guestfs g({.environment = false, .limits = {.call = Seconds(0.05)}});
  for (int i = 0; i < 1000; ++i) BOOST_REQUIRE(g.get_memsize() == 1280);
}

BOOST_AUTO_TEST_CASE(the_limit_of_a_call_does_not_count_the_wait_for_its_turn, PATIENCE) {
  Guestfs g({.environment = false, .limits = {.call = Seconds(0.2)}});
  const auto subscription = g.set_event_callback(Event::enter, [](const guestkit::EventMessage& event) {
    if (event.text == "internal_test_rint") std::this_thread::sleep_for(300ms);
  });
  std::jthread busy([&] { g.internal_test_rint("1"); });
  while (g.is_idle()) std::this_thread::yield();
  BOOST_TEST(g.get_memsize() == 1280);
}

BOOST_AUTO_TEST_CASE(the_limit_of_a_call_does_not_count_the_wait_for_memory, PATIENCE) {
  Guestfs g({.environment = false, .limits = {.call = Seconds(0.1)}});
  const auto state = state_of(g);
  const guestkit::detail::call_scope scope(state, "inspect");
  const auto look = [&] { state->turns->throw_if_stopped("inspect", "", 0, {}); };
  state->turns->off_the_clock([] { std::this_thread::sleep_for(300ms); });
  look();
  BOOST_CHECK_THROW(for (;;) look(), CallTimeout);  // the clock runs again
}

BOOST_AUTO_TEST_CASE(each_call_of_a_launch_had_the_whole_limit_again, PATIENCE) {
  static constexpr guestkit::detail::action launch{"launch"};
  guestkit::detail::turns turns;
  turns.limits.launch = Seconds(4);
  static_cast<void>(turns.launch_begins());
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_until(begin + 4s);
  turns.enter(launch);
  for (bool goes_on = true; goes_on; std::this_thread::yield()) try {
      turns.throw_if_stopped("launch", "", EINTR, {});
    } catch (const CallTimeout&) {
      goes_on = false;
    }
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 8s));
  turns.leave();
}

BOOST_AUTO_TEST_CASE(a_launch_inside_an_inspection_had_no_limit_of_its_own, PATIENCE) {
  const stuck_programs programs;
  const auto clock_of_launch = [&](const Limits& limits, const guestkit::detail::action& around = "inspect") {
    auto g = programs.handle(limits);
    const guestkit::detail::call_scope outer(state_of(g), around);
    try {
      g.launch();
      return std::string("launched");
    } catch (const CallTimeout& e) {
      BOOST_TEST(e.op() == "launch");
      BOOST_TEST(e.limit().count() == 0.3);
      BOOST_TEST(ends(programs.wait_until_started()));
      BOOST_CHECK_EXCEPTION(g.get_memsize(), ApplianceKilled, [&](const Error& after) {
        return after.message().find("launch took longer than its " + e.clock()) != std::string::npos;
      });
      return e.clock();
    }
  };
  BOOST_TEST(clock_of_launch({.launch = Seconds(0.3)}) == "launch_timeout");
  BOOST_TEST(clock_of_launch({.launch = Seconds(0.3), .call = Seconds(3600)}) == "launch_timeout");
  BOOST_TEST(clock_of_launch({.launch = Seconds(3600), .call = Seconds(0.3)}) == "call_timeout");
  // As from a callback of a call that starts no programs itself.
  BOOST_TEST(clock_of_launch({.launch = Seconds(0.3)}, "get_memsize") == "launch_timeout");
}

BOOST_AUTO_TEST_CASE(after_a_launch_inside_a_call_the_limit_of_the_call_holds, PATIENCE) {
  for (const auto call : {Seconds(3600), guestkit::no_limit}) {
    guestkit::detail::turns turns;
    turns.limits = {.launch = Seconds(0.05), .call = call};
    const auto look = [&] { turns.throw_if_stopped("inspect", "", 0, {}); };
    turns.enter("inspect");
    static_cast<void>(turns.launch_begins());
    turns.enter("launch");
    turns.enter("launch");  // as from a callback
    turns.leave();
    turns.leave();
    turns.launch_ends({});
    std::this_thread::sleep_for(200ms);
    BOOST_CHECK_NO_THROW(look());
    turns.count_too(Seconds(3600));
    if (call != guestkit::no_limit) BOOST_CHECK_THROW(for (;;) look(), CallTimeout);
    turns.leave();
  }
}

BOOST_AUTO_TEST_CASE(a_launch_in_a_callback_of_a_launch_ended_both) {
  guestkit::detail::turns turns;
  static_cast<void>(turns.launch_begins());
  turns.enter("launch");
  turns.launch_ends(turns.launch_begins());
  BOOST_TEST(turns.is_launching_here());
  turns.leave();
}

BOOST_AUTO_TEST_CASE(a_launch_that_waited_for_its_turn_was_over_before_it_began, PATIENCE) {
  const stuck_programs programs;
  std::ofstream(programs.folder / "hypervisor") << "#!/bin/sh\nexit 1\n";
  std::string logged;
  Guestfs g({.environment = false,
             .accel = guestkit::Accel::tcg,
             .log = [&](guestkit::LogLevel, const std::string& line) { logged += line + '\n'; },
             .limits = {.launch = Seconds(2)}});
  programs.prepare(g);
  support::held_call other(g);
  auto launch = std::async(std::launch::async, [&] { g.launch(); });
  std::this_thread::sleep_for(2100ms);
  other.release();
  BOOST_CHECK_THROW(launch.get(), guestkit::LaunchError);
  BOOST_TEST(logged.find(" after 0.") != std::string::npos);  // seconds
}

BOOST_AUTO_TEST_CASE(what_was_done_before_a_call_counts_for_its_limit, PATIENCE) {
  Guestfs g({.environment = false, .limits = {.call = Seconds(3600)}});
  const auto state = state_of(g);
  const auto look = [&] { state->turns->throw_if_stopped("inspect", "", 0, {}); };
  {
    const guestkit::detail::call_scope scope(state, "inspect");
    state->turns->count_too(Seconds(1800));
    look();
    state->turns->count_too(Seconds(1800));
    BOOST_CHECK_THROW(for (;;) look(), CallTimeout);
  }
  const guestkit::detail::call_scope next(state, "inspect");  // has its full time
  look();
}

/// Regression: calls waited for ever while libguestfs' mount_local_run() ran.
BOOST_AUTO_TEST_CASE(a_call_that_waits_for_a_handle_that_serves_a_directory_is_refused, PATIENCE) {
  guestkit::detail::turns turns;
  turns.limits.call = Seconds(0);  // does not apply
  turns.take_turn("mounted");
  auto refused = std::async(std::launch::async, [&]() -> std::string {
    try {
      turns.enter("ls");
      return "";
    } catch (const Error& e) {
      return e.cause() == guestkit::Cause::mounted ? e.what() : "";
    }
  });
  turns.serves_at("/mnt");
  turns.enter("mount_local_run");
  BOOST_TEST(turns.is_serving());
  BOOST_TEST(
      refused.get() ==
      "ls: the handle serves /mnt until that is unmounted; use the files there, or open the disk with a "
      "second handle");
  turns.throw_if_stopped("mount_local_run", "", 0, {});
  turns.leave();
  BOOST_TEST(!turns.is_serving());
  turns.leave();
}

/// Regression: close() waited without limit if the directory could not be unmounted.
BOOST_AUTO_TEST_CASE(a_close_waited_for_ever_for_a_handle_that_serves_a_directory, PATIENCE) {
  guestkit::detail::turns turns;
  turns.serves_at("/mnt");
  turns.enter("mount_local_run");
  const auto close = [&] { return turns.begin_close([] {}); };
  const auto says_who = [](const Error& e) {
    return e.message() == "/mnt: the thread that serves it did not stop";
  };
  BOOST_CHECK_EXCEPTION(std::async(std::launch::async, close).get(), Error, says_who);
  BOOST_TEST(turns.is_open());
  turns.leave();
  BOOST_TEST(close());
  turns.end_close();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(waiting)

bool sleeps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  return stat.find(") S ") != std::string::npos;
}

// Regression: whoever made one call after the other took the turn back each time before anybody else woke.
BOOST_AUTO_TEST_CASE(a_thread_that_loops_over_calls_kept_all_others_from_the_handle, PATIENCE) {
  guestkit::detail::turns turns;
  turns.enter("get_memsize");
  for (int i = 0; i < 20; ++i) {
    std::atomic<pid_t> thread{0};
    std::atomic<bool> had{false};
    std::jthread other([&] {
      thread = guestkit::detail::thread_id();
      turns.enter("get_smp");
      had = true;
      turns.leave();
    });
    while (thread == 0 || !sleeps(thread)) continue;
    turns.leave();
    turns.enter("get_memsize");
    BOOST_TEST(had);
  }
  turns.leave();
}

BOOST_AUTO_TEST_CASE(threads_get_the_turn_in_the_order_in_which_they_came, PATIENCE) {
  std::mutex mutex;
  guestkit::detail::waiting_line line;
  line.begin(1, 1);
  std::vector<int> order;
  std::counting_semaphore<> in_line(0);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 5; ++i) {
    threads.emplace_back([&, i, said = false]() mutable {
      std::unique_lock held(mutex);
      line.wait(held, guestkit::no_limit, i, [&] {
        if (!std::exchange(said, true)) in_line.release();
        return false;
      });
      order.push_back(i);
      line.wake_first();
    });
    in_line.acquire();
  }
  {
    const std::lock_guard held(mutex);
    line.end();
    line.wake_first();
    BOOST_TEST(!line.is_free());  // for whoever comes now
  }
  threads.clear();
  BOOST_TEST(order == (std::vector{0, 1, 2, 3, 4}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(who_no_longer_waits_for_the_turn_keeps_nobody_from_it, PATIENCE) {
  guestkit::detail::turns turns;
  turns.limits.queue = Seconds(0.01);
  turns.take_turn("first");
  const auto take = [&] {
    turns.take_turn("other");
    turns.leave();
  };
  for (int i = 0; i < 2; ++i) BOOST_CHECK_THROW(std::async(std::launch::async, take).get(), CallTimeout);
  turns.leave();
  BOOST_CHECK_NO_THROW(std::async(std::launch::async, take).get());
}

BOOST_AUTO_TEST_CASE(who_is_withdrawn_from_the_line_leaves_it_to_the_others, PATIENCE) {
  using enum guestkit::detail::waiting_line::wait_end;
  std::mutex mutex;
  guestkit::detail::waiting_line line;
  line.begin(1, 1);
  std::counting_semaphore<> in_line(0);
  const auto wait = [&](pid_t caller, Seconds limit) {
    std::unique_lock held(mutex);
    const auto end = line.wait(held, limit, caller, [&, said = false]() mutable {
      if (!std::exchange(said, true)) in_line.release();
      return false;
    });
    line.wake_first();
    return end;
  };
  auto first = std::async(std::launch::async, wait, 2, Seconds(3600));
  in_line.acquire();
  auto second = std::async(std::launch::async, wait, 3, guestkit::no_limit);
  in_line.acquire();
  {
    const std::lock_guard held(mutex);
    BOOST_TEST(!line.withdraw(1));  // it has the turn
    BOOST_TEST(!line.withdraw(4));
    line.end();
    line.wake_first();
    BOOST_TEST(line.withdraw(2));  // although it is due
  }
  BOOST_TEST((first.get() == withdrawn));
  BOOST_TEST((second.get() == due));
  const std::lock_guard held(mutex);
  BOOST_TEST(!line.withdraw(2));
  BOOST_TEST(line.is_free());
}

// Regression: the end of a wait for the turn ended the call that ran.
BOOST_AUTO_TEST_CASE(a_call_that_is_withdrawn_never_runs_and_the_one_that_runs_goes_on, PATIENCE) {
  guestkit::detail::turns turns;
  turns.enter("first");
  for (const pid_t caller : {0, 1}) {  // the waiting thread itself, another one
    std::atomic<pid_t> thread{caller};
    auto waiting = std::async(std::launch::async, [&] {
      if (caller == 0) thread = guestkit::detail::thread_id();
      turns.take_turn("other", caller);
    });
    while (waiting.wait_for(1ms) != std::future_status::ready)
      if (thread != 0) BOOST_TEST(!turns.withdraw(thread));
    BOOST_CHECK_EXCEPTION(waiting.get(), Error, [](const Error& e) {
      BOOST_TEST(e.error_number() == EINTR);
      return std::string(e.what()) == "other: cancelled while it waited for its turn; it did not run";
    });
  }
  BOOST_TEST(!turns.was_stopped());
  turns.leave();
  BOOST_TEST(turns.is_idle());
}

BOOST_AUTO_TEST_CASE(a_cancel_is_for_the_call_inside_if_that_is_the_thread_s, PATIENCE) {
  guestkit::detail::turns turns;
  const pid_t own = guestkit::detail::thread_id(), other = 1;
  BOOST_TEST(!turns.withdraw(own));
  turns.enter("call");
  BOOST_TEST(turns.withdraw(own));
  BOOST_TEST(!turns.withdraw(other));
  turns.leave();
  turns.take_turn("mounted", other);
  BOOST_TEST(turns.withdraw(other));
  BOOST_TEST(!turns.withdraw(own));
  turns.leave();
  turns.enter("call");
  auto close = std::async(std::launch::async, [&] { return turns.begin_close([] {}); });
  while (turns.is_open()) std::this_thread::yield();
  BOOST_TEST(turns.withdraw(other));  // it may be what closes
  turns.leave();
  BOOST_TEST(close.get());
  turns.end_close();
}

BOOST_AUTO_TEST_CASE(a_close_need_not_wait_for_a_call_that_is_withdrawn, PATIENCE) {
  guestkit::detail::turns turns;
  turns.enter("first");
  std::atomic<pid_t> thread{0};
  auto waiting = std::async(std::launch::async, [&] {
    thread = guestkit::detail::thread_id();
    turns.take_turn("other");
  });
  auto close = std::async(std::launch::async, [&] {
    while (thread == 0) std::this_thread::yield();
    return turns.begin_close([] {});
  });
  while (waiting.wait_for(1ms) != std::future_status::ready) turns.withdraw(thread);
  BOOST_CHECK_THROW(waiting.get(), Error);
  BOOST_TEST(!turns.was_stopped());
  turns.leave();
  BOOST_TEST(close.get());
  turns.end_close();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(cancelling)

BOOST_AUTO_TEST_CASE(a_launch_that_is_cancelled_ends_at_once, PATIENCE) {
  const stuck_programs programs;
  auto g = programs.handle();
  background_launch launch(g);
  const pid_t hypervisor = programs.wait_until_started();
  g.cancel();
  BOOST_TEST(launch.killed() ==
             "the appliance was killed: launch was cancelled and did not end; open a new handle");
  BOOST_TEST(ends(hypervisor));
}

// Regression: the search for KVM went on for a minute after the launch had ended for its user.
BOOST_AUTO_TEST_CASE(a_launch_that_is_stopped_while_it_looks_for_kvm_ends_at_once, PATIENCE WHERE_KVM) {
  for (const auto end : {&Guestfs::cancel, &Guestfs::terminate}) {
    const stuck_programs programs;
    Guestfs g({.environment = false});
    programs.prepare(g);
    auto launch = std::async(std::launch::async, [&] { g.launch(); });
    const pid_t probe = programs.wait_until_started();
    const auto begin = std::chrono::steady_clock::now();
    (g.*end)();
    BOOST_CHECK_THROW(launch.get(), Error);
    BOOST_TEST(ends(probe));
    BOOST_TEST((std::chrono::steady_clock::now() - begin < std::chrono::seconds(2)));
  }
}

BOOST_AUTO_TEST_CASE(the_limit_of_a_launch_holds_while_it_looks_for_kvm, PATIENCE WHERE_KVM) {
  const stuck_programs programs;
  Guestfs g({.environment = false, .limits = {.launch = Seconds(0.3)}});
  programs.prepare(g);
  BOOST_CHECK_EXCEPTION(g.launch(), CallTimeout, [](const CallTimeout& e) {
    return e.message() == "took longer than 0.3 s (launch_timeout) and was stopped; the handle can be used";
  });
}

BOOST_AUTO_TEST_CASE(a_cancel_when_nothing_runs_is_harmless) {
  Guestfs g({.environment = false});
  g.cancel();
  BOOST_TEST(g.get_memsize() == 1280);
  g.close();
  g.cancel();
}

// Regression: the end of the part, which had taken too long, forgot the cancel, and the call went on.
BOOST_AUTO_TEST_CASE(a_cancel_was_lost_while_a_part_of_the_call_was_being_stopped, PATIENCE) {
  Guestfs g({.environment = false, .limits = {.call = Seconds(3600)}});
  const auto state = state_of(g);
  const guestkit::detail::call_scope scope(state, "inspect");
  guestkit::detail::turns::part part(*state->turns, 1e-6);
  while (!state->turns->was_stopped()) std::this_thread::yield();
  g.cancel();
  const auto end = part.end();
  BOOST_TEST(!end.goes_on);
  BOOST_TEST(!end.limit);
  BOOST_CHECK_EXCEPTION(g.get_memsize(), Error, [](const Error& e) { return e.error_number() == EINTR; });
}

// Regression: the hypervisor was killed while it saved what the guest had written last.
BOOST_AUTO_TEST_CASE(a_cancel_killed_a_close) {
  guestkit::detail::turns turns;
  BOOST_TEST(turns.begin_close([] {}));
  turns.cancel();
  BOOST_TEST(!turns.was_stopped());
  turns.terminate();
  BOOST_TEST(turns.was_stopped());
  turns.end_close();
}

BOOST_AUTO_TEST_CASE(a_cancel_does_not_hit_the_next_call, PATIENCE) {
  Guestfs g({.environment = false});
  std::jthread canceller([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) g.cancel();
  });
  for (int i = 0; i < 10000; ++i) BOOST_REQUIRE(g.get_memsize() == 1280);
}

BOOST_AUTO_TEST_CASE(calls_in_one_turn_are_cancelled_together, PATIENCE) {
  Guestfs g({.environment = false});
  int calls = 0;
  const auto subscription = g.set_event_callback(Event::enter, [&](const guestkit::EventMessage&) {
    if (++calls == 2) g.cancel();
    if (calls == 2)
      BOOST_CHECK_EXCEPTION(g.get_smp(), Error, [](const Error& e) { return e.error_number() == EINTR; });
  });
  g.get_memsize();
  g.get_memsize();
  BOOST_TEST(g.get_memsize() == 1280);
  BOOST_TEST(calls == 3);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(terminating)

BOOST_AUTO_TEST_CASE(terminate_ends_a_launch_from_another_thread, PATIENCE) {
  const stuck_programs programs;
  auto g = programs.handle();
  background_launch launch(g);
  const pid_t hypervisor = programs.wait_until_started();
  g.terminate();
  BOOST_TEST(launch.killed() == "the appliance was killed: terminate() was called; open a new handle");
  BOOST_TEST(ends(hypervisor));
  BOOST_CHECK_THROW(g.launch(), ApplianceKilled);
}

BOOST_AUTO_TEST_CASE(terminate_makes_every_later_call_fail_but_close) {
  Guestfs g({.environment = false});
  g.terminate();
  BOOST_CHECK_THROW(g.get_memsize(), ApplianceKilled);
  g.terminate();
  g.close();
  g.terminate();
}

BOOST_AUTO_TEST_CASE(terminate_ends_close_too, PATIENCE) {
  const stuck_programs programs;
  auto g = programs.handle();
  background_launch launch(g);
  programs.wait_until_started();
  std::jthread closer([&] { g.close(); });
  while (g.is_open()) std::this_thread::yield();
  g.terminate();
  BOOST_TEST(!launch.killed().empty());
}

BOOST_AUTO_TEST_CASE(only_the_handles_own_programs_are_killed, PATIENCE) {
  const stuck_programs programs;
  const pid_t own = ::fork();  // the user's own qemu-img, started by the thread that makes the call
  if (own == 0) {
    ::execl("/bin/sleep", "qemu-img", "1000", nullptr);
    ::_exit(1);
  }
  auto other = programs.handle();
  background_launch launch(other);
  const pid_t hypervisor = programs.wait_until_started();
  while (guestkit::detail::ticks_now() <= guestkit::detail::status_of(own).begin) std::this_thread::yield();
  {
    const first_in_path path(programs.folder);
    Guestfs g({.environment = false, .limits = {.call = Seconds(0.2)}});
    BOOST_CHECK_THROW(g.add_drive_ro(programs.folder / "disk"), CallTimeout);
    g.terminate();
  }
  BOOST_TEST(!is_gone(hypervisor));
  BOOST_TEST(::waitpid(own, nullptr, WNOHANG) == 0);
  other.terminate();
  BOOST_TEST(!launch.killed().empty());
  ::kill(own, SIGKILL);
  ::waitpid(own, nullptr, 0);
}

BOOST_AUTO_TEST_CASE(a_launch_whose_hypervisor_runs_another_program_in_its_place_did_not_end, PATIENCE) {
  const stuck_programs programs;
  std::ofstream(programs.folder / "hypervisor")
      << "#!/bin/sh\necho $$ > " << (programs.folder / "started").string() << "\nexec sleep 1000\n";
  {
    auto g = programs.handle({.launch = Seconds(0.3)});
    // Not on the main thread, which gets other threads' programs when those end.
    BOOST_CHECK_THROW(std::async(std::launch::async, [&] { g.launch(); }).get(), CallTimeout);
    BOOST_TEST(ends(programs.wait_until_started()));
  }
  for (const auto end : {&Guestfs::cancel, &Guestfs::terminate}) {
    auto g = programs.handle();
    background_launch launch(g);
    const pid_t hypervisor = programs.wait_until_started();
    while (guestkit::detail::file_of(hypervisor, "cmdline").find("hypervisor") != std::string::npos)
      std::this_thread::yield();
    (g.*end)();
    BOOST_TEST(!launch.killed().empty());
    BOOST_TEST(ends(hypervisor));
  }
}

namespace {

/// A program of the user's, which the calling thread starts.
pid_t start_sleep() {
  const pid_t own = ::fork();
  if (own == 0) {
    ::execl("/bin/sleep", "sleep", "1000", nullptr);
    ::_exit(1);
  }
  return own;
}

/// Ends a program of the user's; returns whether it was still running.
bool was_left_alone(pid_t own) {
  if (own <= 0) return false;
  const bool runs = ::waitpid(own, nullptr, WNOHANG) == 0;
  if (runs) {
    ::kill(own, SIGKILL);
    ::waitpid(own, nullptr, 0);
  }
  return runs;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_user_s_programs_on_the_thread_of_a_launch_are_left_alone, PATIENCE) {
  const stuck_programs programs;
  pid_t before = 0, in_callback = 0, in_log = 0;
  bool launching = false;
  Guestfs g({.environment = false,
             .accel = guestkit::Accel::tcg,
             .log =
                 [&](guestkit::LogLevel, const std::string&) {
                   if (launching && in_log == 0) in_log = start_sleep();
                 },
             .log_level = guestkit::LogLevel::debug,
             .limits = {.launch = Seconds(0.5)}});
  programs.prepare(g);
  const auto subscription = g.set_event_callback(Event::enter, [&](const guestkit::EventMessage& event) {
    if (event.text == "launch" && in_callback == 0) in_callback = start_sleep();
    launching = launching || event.text == "launch";
  });
  const auto launch = [&] {
    before = start_sleep();
    g.launch();
  };
  BOOST_CHECK_THROW(std::async(std::launch::async, launch).get(), CallTimeout);
  BOOST_TEST(ends(programs.wait_until_started()));
  BOOST_TEST(was_left_alone(before));
  BOOST_TEST(was_left_alone(in_callback));
  BOOST_TEST(was_left_alone(in_log));
}

// Regression: when the thread that has started it ends, the kernel makes the main thread its parent.
BOOST_AUTO_TEST_CASE(a_launch_on_the_main_thread_killed_the_programs_of_ended_threads, PATIENCE) {
  const stuck_programs programs;
  auto g = programs.handle({.launch = Seconds(1)});
  pid_t hypervisor = 0, orphan = 0;
  std::jthread worker([&] {
    hypervisor = programs.wait_until_started();
    orphan = start_sleep();
  });
  BOOST_CHECK_THROW(g.launch(), CallTimeout);
  worker.join();
  BOOST_TEST(ends(hypervisor));
  BOOST_TEST(was_left_alone(orphan));
}

BOOST_AUTO_TEST_CASE(ending_one_handle_ended_those_whose_names_begin_with_its_own, PATIENCE) {
  const pid_t other = ::fork();
  if (other == 0) {
    ::execl("/bin/sleep", "guestkit-7-10", "1000", nullptr);
    ::_exit(1);
  }
  while (guestkit::detail::programs_of("guestkit-7-10", {}).empty()) std::this_thread::yield();
  BOOST_TEST(guestkit::detail::programs_of("guestkit-7-1", {}).empty());
  BOOST_TEST(guestkit::detail::programs_of("uestkit-7-10", {}).empty());
  ::kill(other, SIGKILL);
  ::waitpid(other, nullptr, 0);
}

// Regression: without pidfd_open (in kernels before 5.3, some sandboxes, valgrind), nothing was killed, and
// the call hung.
BOOST_AUTO_TEST_CASE(a_program_is_killed_where_there_are_no_descriptors_of_processes, PATIENCE) {
  const pid_t tester = ::fork();
  if (tester == 0) {
    if (!forbid({SYS_pidfd_open}, ENOSYS)) ::_exit(2);
    const pid_t busy = ::fork();
    if (busy == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // so that it does not outlive a failed test
      for (;;) ::pause();
    }
    const guestkit::detail::program held(busy, true);
    int status = 0;
    const bool killed = held.is_there() && held.kill() && ::waitpid(busy, &status, 0) == busy;
    ::_exit(killed && WIFSIGNALED(status) && !guestkit::detail::program(busy, true).is_there() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(tester, &status, 0);
  BOOST_TEST(status == 0);
}

// Regression: a child that QEMU's wrapper was just starting escaped and kept the connection open, so the
// launch waited for it.
BOOST_AUTO_TEST_CASE(a_program_that_is_to_end_starts_nothing_any_more, PATIENCE) {
  using guestkit::detail::status_of;
  const pid_t busy = ::fork();
  if (busy == 0) {
    ::execl("/bin/sh", "sh", "-c", "while :; do :; done", nullptr);
    ::_exit(1);
  }
  {
    std::vector<guestkit::detail::program> found;
    guestkit::detail::add_program(found, busy, ::getpid(), 0, true);
    BOOST_TEST(found.size() == 1);
    while (status_of(busy).state == 'D') std::this_thread::yield();  // the kernel is still at work for it
    BOOST_TEST(status_of(busy).state == 'T');
  }
  while (status_of(busy).state == 'T') std::this_thread::yield();  // not killed, so it continues
  ::kill(busy, SIGKILL);
  ::waitpid(busy, nullptr, 0);
}

BOOST_AUTO_TEST_CASE(a_process_that_ended_while_it_was_looked_at_ended_the_program) {
  // Reading a directory fails like reading the file of a process that ended: only after it was opened.
  BOOST_TEST(guestkit::detail::file_of(::getpid(), "task").empty());
}

BOOST_AUTO_TEST_SUITE_END()

// As under RLIMIT_NPROC or pids.max, which do not apply to root.
BOOST_AUTO_TEST_SUITE(without_threads)

namespace {

bool no_thread_can_be_started() {
  return forbid({SYS_clone, SYS_clone3}, EAGAIN);
}

bool is_for_want_of_a_thread(const Error& e) {
  return e.error_number() == EAGAIN && e.message().starts_with("no thread can be started (");
}

}  // namespace

// Regression: the call kept the handle's turn for ever, all other threads waited, and close() reported
// EDEADLK.
BOOST_AUTO_TEST_CASE(a_call_that_cannot_be_watched_says_so_and_leaves_the_handle_usable, PATIENCE) {
  BOOST_TEST(in_child([] {
               const stuck_programs programs;
               auto g = programs.handle();
               if (!no_thread_can_be_started()) return std::string("no filter");
               try {
                 g.launch();  // has a limit
                 return std::string("launched");
               } catch (const Error& e) {
                 if (e.op() != "launch" || !is_for_want_of_a_thread(e)) return std::string(e.what());
               }
               if (!g.is_idle()) return std::string("the turn is taken");
               if (g.get_memsize() != 1280) return std::string("not usable");
               g.close();
               return std::string("closed");
             }) == "closed");
}

// Regression: std::logic_error, if a launch had set kernel arguments where the user had none.
BOOST_AUTO_TEST_CASE(the_users_kernel_arguments_are_told_when_a_launch_has_put_others_in_their_place,
                     PATIENCE) {
  BOOST_TEST(in_child([] {
               const support::temporary_folder folder;
               support::write_appliance(folder.path);
               std::ofstream(folder.path / "disk") << std::string(4096, '\0');
               Guestfs g({.environment = false, .accel = guestkit::Accel::tcg});
               g.set_path(folder.path.string());
               g.add_drive(folder.path / "disk", {.format = "raw"});
               if (!no_thread_can_be_started()) return std::string("no filter");
               try {
                 g.launch();
               } catch (const Error& e) {
                 if (!is_for_want_of_a_thread(e)) return std::string(e.what());
               }
               if (g.get_append()) return *g.get_append();
               if (g.get_path() != folder.path.string()) return g.get_path();
               g.set_append("mine");
               return g.get_append().value_or("none");
             }) == "mine");
}

BOOST_AUTO_TEST_CASE(a_handle_that_cannot_be_watched_is_not_made_and_leaves_its_place, PATIENCE) {
  BOOST_TEST(in_child([] {
               if (!no_thread_can_be_started()) return std::string("no filter");
               for (int i = 0; i < 2 * guestkit::max_handles; ++i) {
                 try {
                   const Guestfs g({.environment = false, .limits = {.call = Seconds(60)}});
                   return std::string("made");
                 } catch (const Error& e) {
                   if (!is_for_want_of_a_thread(e)) return std::string(e.what());
                 }
               }
               return std::string("refused");
             }) == "refused");
}

// Regression: they threw before they killed.
BOOST_AUTO_TEST_CASE(terminate_and_cancel_end_a_launch_all_the_same, PATIENCE) {
  for (const auto end : {&Guestfs::terminate, &Guestfs::cancel})
    BOOST_TEST(in_child([&] {
                 const stuck_programs programs;
                 auto g = programs.handle({.launch = guestkit::no_limit});
                 background_launch launch(g);
                 const pid_t hypervisor = programs.wait_until_started();
                 if (!no_thread_can_be_started()) return std::string("no filter");
                 (g.*end)();
                 const auto killed = launch.killed();
                 if (!ends(hypervisor)) return std::string("it goes on");
                 g.close();
                 return killed.substr(0, killed.find(':'));
               }) == "the appliance was killed");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(forking)

// The child lacks the watching thread, so it cannot destroy the condition variable on which that thread
// waits.
BOOST_AUTO_TEST_CASE(a_forked_child_can_drop_a_handle_that_is_being_watched, PATIENCE) {
  auto g = std::make_unique<Guestfs>(HandleOptions{.environment = false, .limits = {.call = Seconds(60)}});
  g->get_memsize();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(10);
    g.reset();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  BOOST_TEST(status == 0);
  BOOST_TEST(g->get_memsize() == 1280);
}

BOOST_AUTO_TEST_SUITE_END()
