// given_time.hpp: how much of the elapsed time counts as time that a process was given.
#define BOOST_TEST_MODULE given_time
#include <signal.h>
#include <sys/wait.h>

#include <guestkit/detail/base/given_time.hpp>

#include "support.hpp"

using guestkit::detail::given_time;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

/// A fake /proc with one process, whose threads the test defines.
struct Kernel : private support::temporary_folder {
  given_time::clock::time_point now = given_time::clock::now();

  void thread(int number, char state, std::chrono::nanoseconds ran, std::chrono::nanoseconds waited) const {
    const auto folder = path / "7" / "task" / std::to_string(number);
    fs::create_directories(folder);
    std::ofstream(folder / "stat") << number << " (a) name) " << state << " 1 7\n";
    std::ofstream(folder / "schedstat") << ran.count() << ' ' << waited.count() << " 5\n";
  }
  void forget_schedstat() const {
    for (const auto& task : fs::directory_iterator(path / "7" / "task"))
      fs::remove(task.path() / "schedstat");
  }
  void end() const { fs::remove_all(path / "7"); }
  given_time watch() const { return {7, now, path.string()}; }

  /// Looks again after a tenth of a second.
  std::chrono::milliseconds look(given_time& time) {
    now += 100ms;
    return std::chrono::duration_cast<std::chrono::milliseconds>(time.look(now));
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(time_in_which_it_runs_or_sleeps_counts, Kernel) {
  thread(7, 'S', 5s, 9s);
  thread(8, 'S', 5s, 9s);
  auto time = watch();
  BOOST_TEST(look(time) == 100ms);
  thread(8, 'R', 5s + 90ms, 9s);
  BOOST_TEST(look(time) == 200ms);
}

BOOST_FIXTURE_TEST_CASE(time_in_which_a_thread_waits_for_a_processor_does_not, Kernel) {
  thread(7, 'S', 5s, 9s);
  thread(8, 'R', 5s, 9s);
  auto time = watch();
  thread(8, 'R', 5s + 10ms, 9s + 90ms);
  BOOST_TEST(look(time) == 10ms);
  BOOST_TEST(look(time) == 10ms);  // still waits: the kernel adds a wait only when it ends
  thread(8, 'S', 5s + 20ms, 9s + 290ms);
  BOOST_TEST(look(time) == 20ms);
}

BOOST_FIXTURE_TEST_CASE(time_in_which_it_is_stopped_or_waits_for_a_disk_of_the_host_does_not, Kernel) {
  for (const char state : {'T', 't', 'D'}) {
    thread(7, 'S', 5s, 9s);
    thread(8, 'S', 5s, 9s);
    auto time = watch();
    thread(8, state, 5s + 30ms, 9s);
    BOOST_TEST(look(time) == 30ms);
  }
}

BOOST_FIXTURE_TEST_CASE(what_passes_while_nobody_looks_counts_little, Kernel) {
  thread(7, 'S', 5s, 9s);
  auto time = watch();
  now += 3s;  // the observer was stopped
  BOOST_TEST(look(time) <= 200ms);
  thread(7, 'S', 9s, 9s);
  now += 5s;
  BOOST_TEST(look(time) >= 4000ms);  // it has run since the last look
}

BOOST_FIXTURE_TEST_CASE(who_looks_all_the_time_sees_the_same, Kernel) {
  thread(7, 'S', 5s, 9s);
  auto time = watch();
  const auto end = now + 1s;
  while (now < end) time.look(now += 1ms);
  BOOST_TEST(look(time) >= 1s);
}

BOOST_FIXTURE_TEST_CASE(threads_that_come_and_go_and_the_end_of_the_process_are_borne, Kernel) {
  thread(7, 'S', 5s, 9s);
  auto time = watch();
  thread(9, 'R', 20ms, 40ms);
  BOOST_TEST(look(time) == 60ms);
  thread(9, 'R', 10ms, 0ms);  // a new thread with the same number
  BOOST_TEST(look(time) == 160ms);
  end();
  BOOST_TEST(look(time) == 260ms);
}

BOOST_FIXTURE_TEST_CASE(where_the_kernel_does_not_tell_of_waiting_only_a_stop_does_not_count, Kernel) {
  thread(7, 'R', 5s, 9s);
  forget_schedstat();
  auto time = watch();
  BOOST_TEST(look(time) == 100ms);
  thread(7, 'T', 5s, 9s);
  forget_schedstat();
  BOOST_TEST(look(time) == 100ms);
}

BOOST_AUTO_TEST_CASE(a_real_process_that_is_stopped_is_given_nothing, PATIENCE) {
  const pid_t child = ::fork();
  if (child == 0)
    for (;;) ::pause();
  ::kill(child, SIGSTOP);
  int status = 0;
  ::waitpid(child, &status, WUNTRACED);
  const auto begin = given_time::clock::now();
  given_time time(child, begin);
  for (int tenth = 1; tenth <= 50; ++tenth) BOOST_TEST(time.look(begin + tenth * 100ms) < 10ms);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}
