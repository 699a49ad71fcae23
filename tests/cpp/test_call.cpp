// call.hpp: the one way into libguestfs. Errors belong to this call and thread, nothing is printed, and a
// handle that is closed or moved from says so.
#define BOOST_TEST_MODULE call
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <guestkit/detail/base/low_descriptors.hpp>
#include <guestkit/guestkit.hpp>
#include <iterator>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support.hpp"

using guestkit::Error;
using guestkit::Event;
using guestkit::Guestfs;
using guestkit::HandleClosed;
using guestkit::HandleOptions;
using guestkit::detail::attempt;

using support::captured_stderr;
using support::held_call;

namespace {

/// Exposes to the test the function that every method calls.
struct opened : Guestfs {
  opened() : Guestfs({.environment = false}) {}
  using Guestfs::invoke;
};

/// Fails with a message that names the file and with ENOENT.
void fail_on(Guestfs& g, const std::string& file) {
  g.add_drive(file);
}
std::string message_for(const std::string& file) {
  return file + ": No such file or directory";
}

/// A custom core, which returns results as C made them, but owned.
class raw_core : public guestkit::detail::handle {
 public:
  using guestkit::detail::handle::handle;
  template <class R>
  using result = guestkit::detail::c_result<R>;

 protected:
  template <class R, class F, class... A>
  guestkit::detail::c_result<R> call(const guestkit::detail::action& op, F fn, const A&... arguments) {
    return this->template invoke<R>(op, fn, arguments...);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(errors)

BOOST_AUTO_TEST_CASE(a_failed_call_throws_its_op_message_and_errno) {
  Guestfs g({.environment = false});
  BOOST_CHECK_EXCEPTION(fail_on(g, "/nonexistent"), Error, [](const Error& e) {
    BOOST_TEST(e.op() == "add_drive");
    BOOST_TEST(e.message() == message_for("/nonexistent"));
    BOOST_TEST(e.what() == "add_drive: " + message_for("/nonexistent"));
    return e.error_number() == ENOENT;
  });
}

BOOST_AUTO_TEST_CASE(an_attempt_returns_libguestfs_error_and_throws_every_other) {
  Guestfs g({.environment = false});
  const auto state = state_of(g);
  const auto failed = attempt<int>(state, "internal_test_rinterr", guestfs_internal_test_rinterr);
  BOOST_TEST_REQUIRE(failed.error() != nullptr);
  BOOST_TEST(failed.error()->op() == "internal_test_rinterr");
  BOOST_TEST(failed.error()->message() == "error");
  const auto succeeded = attempt<int>(state, "get_memsize", guestfs_get_memsize);
  BOOST_TEST_REQUIRE(succeeded.error() == nullptr);
  BOOST_TEST((*succeeded).lift() == g.get_memsize());
  g.close();
  BOOST_CHECK_THROW(attempt<int>(state, "get_memsize", guestfs_get_memsize).get(), HandleClosed);
}

BOOST_AUTO_TEST_CASE(a_failure_without_a_reason_does_not_tell_that_of_an_earlier_call) {
  Guestfs g({.environment = false});
  BOOST_CHECK_THROW(fail_on(g, "/nonexistent"), Error);
  // libguestfs returns -1 here, which means an error, but sets no message.
  BOOST_CHECK_EXCEPTION(g.internal_test_rint("-1"), Error, [](const Error& e) {
    BOOST_TEST(e.message() == "the call failed and libguestfs gave no reason");
    return e.error_number() == 0;
  });
}

BOOST_AUTO_TEST_CASE(a_handle_works_after_a_failed_call) {
  Guestfs g({.environment = false});
  BOOST_CHECK_THROW(g.internal_test_rinterr(), Error);
  BOOST_TEST(g.internal_test_rint("7") == 7);
}

BOOST_AUTO_TEST_CASE(an_argument_that_throws_leaves_no_call_behind) {
  Guestfs g({.environment = false});
  BOOST_CHECK_THROW(
      g.internal_test("", std::nullopt, {}, false, 0, 0, "", "", "", {.ostring = std::string(1, '\0')}),
      std::invalid_argument);
  BOOST_TEST(g.is_idle());
  BOOST_TEST(g.internal_test_rint("7") == 7);
}

BOOST_AUTO_TEST_CASE(failures_leave_no_call_behind) {
  Guestfs g({.environment = false});
  BOOST_CHECK_THROW(g.internal_test_rinterr(), Error);
  BOOST_TEST(g.is_idle());
  g.close();
  BOOST_CHECK_THROW(g.get_memsize(), HandleClosed);
  BOOST_TEST(g.is_idle());
}

BOOST_AUTO_TEST_CASE(an_error_in_a_callback_does_not_replace_that_of_the_call) {
  Guestfs g({.environment = false});
  std::string inner;
  // This event comes after the call has failed, but before it returns.
  const auto subscription = g.set_event_callback(Event::trace, [&](const guestkit::EventMessage& event) {
    if (!event.text.starts_with("internal_test_rinterr =")) return;
    try {
      fail_on(g, "/nonexistent-inner");
    } catch (const Error& e) {
      inner = e.message();
    }
  });
  g.set_trace(true);
  BOOST_CHECK_EXCEPTION(g.internal_test_rinterr(), Error, [](const Error& e) {
    BOOST_TEST(e.what() == "internal_test_rinterr: error");
    return e.error_number() == 0;
  });
  BOOST_TEST(inner == message_for("/nonexistent-inner"));
  g.close();
}

BOOST_AUTO_TEST_CASE(an_error_of_another_handle_in_a_callback_does_not_replace_that_of_the_call) {
  Guestfs g({.environment = false});
  Guestfs other({.environment = false});
  std::string inner;
  const auto subscription = g.set_event_callback(Event::trace, [&](const guestkit::EventMessage& event) {
    if (!event.text.starts_with("internal_test_rinterr =")) return;
    try {
      fail_on(other, "/nonexistent-inner");
    } catch (const Error& e) {
      inner = e.message();
    }
  });
  g.set_trace(true);
  BOOST_CHECK_EXCEPTION(g.internal_test_rinterr(), Error,
                        [](const Error& e) { return e.message() == "error" && e.error_number() == 0; });
  BOOST_TEST(inner == message_for("/nonexistent-inner"));
  g.close();
}

BOOST_AUTO_TEST_CASE(a_call_in_a_callback_does_not_swallow_the_error_of_the_call) {
  Guestfs g({.environment = false});
  const auto subscription = g.set_event_callback(Event::enter, [&](const guestkit::EventMessage& event) {
    if (event.text == "internal_test_rinterr") g.get_memsize();
  });
  BOOST_CHECK_EXCEPTION(g.internal_test_rinterr(), Error,
                        [](const Error& e) { return e.message() == "error"; });
}

BOOST_AUTO_TEST_CASE(an_error_in_a_callback_is_none_of_a_call_that_succeeds) {
  Guestfs g({.environment = false});
  bool failed = false;
  const auto subscription = g.set_event_callback(Event::enter, [&](const guestkit::EventMessage& event) {
    if (event.text != "internal_test_rint") return;
    try {
      g.internal_test_rinterr();
    } catch (const Error&) {
      failed = true;
    }
  });
  BOOST_TEST(g.internal_test_rint("7") == 7);
  BOOST_TEST(failed);
}

/// Each thread fails again and again and counts the errors that were not its own.
int foreign_errors(const std::function<Guestfs&(int)>& handle_of_thread) {
  constexpr int threads = 4;
  constexpr int rounds = 200;
  std::atomic<int> own{0};
  std::latch start{threads};
  {
    std::vector<std::jthread> running;
    for (int thread = 0; thread < threads; ++thread)
      running.emplace_back([&, thread] {
        start.arrive_and_wait();
        for (int round = 0; round < rounds; ++round) {
          const std::string file = "/nonexistent-" + std::to_string(thread) + "-" + std::to_string(round);
          try {
            fail_on(handle_of_thread(thread), file);
          } catch (const Error& e) {
            own += e.message() == message_for(file) && e.error_number() == ENOENT;
          }
        }
      });
  }
  return threads * rounds - own;
}

BOOST_AUTO_TEST_CASE(threads_that_fail_at_once_on_one_handle_get_their_own_errors, PATIENCE) {
  Guestfs g({.environment = false});
  BOOST_TEST(foreign_errors([&](int) -> Guestfs& { return g; }) == 0);
}

BOOST_AUTO_TEST_CASE(threads_that_fail_at_once_on_their_own_handles_get_their_own_errors, PATIENCE) {
  std::vector<Guestfs> handles;
  for (int i = 0; i < 4; ++i) handles.emplace_back(HandleOptions{.environment = false});
  BOOST_TEST(foreign_errors(
                 [&](int thread) -> Guestfs& { return handles.at(static_cast<std::size_t>(thread)); }) == 0);
}

/// Permits 2048 files while it lives.
class many_files {
 public:
  many_files() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    auto limit = before_;
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 2048);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  many_files(const many_files&) = delete;
  many_files& operator=(const many_files&) = delete;
  ~many_files() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  /// Opens so many that the next get descriptors above 1023.
  static std::vector<guestkit::detail::unique_fd> open() {
    std::vector<guestkit::detail::unique_fd> files(1100);
    for (auto& file : files) file = guestkit::detail::unique_fd(::dup(STDERR_FILENO));
    return files;
  }

 private:
  rlimit before_{};
};

// libguestfs waits for programs with select(), and FD_SET aborts the process for descriptors above 1023.
BOOST_AUTO_TEST_CASE(a_process_with_too_many_files_open_is_told_and_not_aborted) {
  const many_files permitted;
  const support::temporary_folder folder;
  Guestfs g({.environment = false});
  const auto too_many = [](const Error& e) {
    BOOST_TEST(e.message().starts_with("1000 files are open in this process"));
    return e.error_number() == EMFILE;
  };
  {
    const auto files = many_files::open();
    BOOST_REQUIRE(files.back().get() >= 1024);
    const auto disk = folder.path / "disk";
    BOOST_CHECK_EXCEPTION(g.disk_create(disk, "qcow2", 1 << 20), Error, too_many);
    BOOST_CHECK_EXCEPTION(g.add_drive("/dev/null", {.readonly = true}), Error, too_many);
    BOOST_CHECK_EXCEPTION(g.launch(), guestkit::LaunchError, too_many);
    BOOST_TEST(g.get_memsize() == 1280);
  }
  g.disk_create(folder.path / "disk", "qcow2", 1 << 20);
  BOOST_TEST(g.disk_format(folder.path / "disk") == "qcow2");
}

// libguestfs removes the directory with the overlay by running rm, and waits for that with select(), too.
BOOST_AUTO_TEST_CASE(closing_a_handle_with_too_many_files_open_aborted_the_process) {
  const many_files permitted;
  const support::temporary_folder folder;
  std::ofstream(folder.path / "disk") << std::string(4096, '\0');
  std::filesystem::create_directory(folder.path / "tmp");
  const auto left = [&] {
    return std::distance(std::filesystem::directory_iterator(folder.path / "tmp"), {});
  };
  const auto handle_with_overlay = [&] {
    Guestfs g({.environment = false});
    g.set_tmpdir(folder.path / "tmp");
    g.add_drive(folder.path / "disk", {.readonly = true, .format = "raw"});
    return g;
  };
  BOOST_TEST(support::in_child([&] {
               auto first = handle_with_overlay(), second = handle_with_overlay();
               const auto files = many_files::open();
               first.close();
               { const auto destroyed = std::move(second); }
               return "closed, and left behind: " + std::to_string(left());
             }) == "closed, and left behind: 0");
}

// Regression: each of the later ones was given up, and so was one of two at once.
BOOST_AUTO_TEST_CASE(a_descriptor_that_another_thread_got_during_a_close_was_the_end_of_all_closes) {
  const many_files permitted;
  BOOST_TEST(support::in_child([] {
               const support::temporary_folder folder;
               std::ofstream(folder.path / "disk") << std::string(4096, '\0');
               std::string logged;
               std::vector<Guestfs> handles;
               for (int i = 0; i < 8; ++i) {
                 auto& g = handles.emplace_back(HandleOptions{
                     .environment = false,
                     .log = [&](guestkit::LogLevel, const std::string& line) { logged += line; }});
                 g.add_drive(folder.path / "disk", {.readonly = true, .format = "raw"});
               }
               const auto files = many_files::open();
               guestkit::detail::unique_fd lost;
               {
                 guestkit::detail::spare_descriptors::loan other;
                 other.begin();
                 lost = guestkit::detail::unique_fd(::dup(STDERR_FILENO));
               }
               if (lost.get() >= 1024) return std::string("no low one was lent");
               {
                 std::vector<std::jthread> closers;
                 for (auto& g : handles) closers.emplace_back([&g] { g.close(); });
               }
               return "logged: " + logged;
             }) == "logged: ");
}

BOOST_AUTO_TEST_CASE(a_handle_that_libguestfs_cannot_close_is_given_up_and_says_so) {
  const many_files permitted;
  BOOST_TEST(
      support::in_child([] {
        const support::temporary_folder folder;
        std::string logged;
        Guestfs g({.environment = false, .log = [&](guestkit::LogLevel level, const std::string& line) {
                     if (level == guestkit::LogLevel::error) logged += line;
                   }});
        g.set_tmpdir(folder.path);
        bool shut_down = false;  // with what was pending written
        const auto subscription = g.set_event_callback(
            Event::trace,
            [&](const guestkit::EventMessage& event) { shut_down = shut_down || event.text == "shutdown"; });
        g.set_trace(true);
        const auto files = many_files::open();
        g.native();  // whoever has it may have had libguestfs make files
        g.close();
        return logged.substr(0, 45) + (shut_down ? "; shut down" : "; killed") + "; left: " +
               std::to_string(std::distance(std::filesystem::directory_iterator(folder.path), {}));
      }) == "close: so many files are open in this process; shut down; left: 0");
  BOOST_TEST(support::in_child([] {
               std::string logged;
               const auto files = many_files::open();
               Guestfs g({.environment = false,
                          .log = [&](guestkit::LogLevel, const std::string& line) { logged += line; }});
               g.close();  // it has no files, so there is nothing to run
               return "logged: " + logged;
             }) == "logged: ");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(silence, *boost::unit_test::description("libguestfs prints no error to stderr"))

BOOST_AUTO_TEST_CASE(a_failed_call_prints_nothing) {
  captured_stderr output;
  Guestfs g({.environment = false});
  BOOST_CHECK_THROW(g.internal_test_rinterr(), Error);
  BOOST_TEST(output.end() == "");
}

BOOST_AUTO_TEST_CASE(a_null_that_is_no_failure_prints_nothing) {
  captured_stderr output;
  Guestfs g({.environment = false});
  g.internal_test_rconstoptstringerr();
  BOOST_TEST(output.end() == "");
}

BOOST_AUTO_TEST_CASE(a_failure_in_a_new_thread_prints_nothing) {
  Guestfs g({.environment = false});
  captured_stderr output;
  std::atomic<int> failures{0};
  const auto fail = [&] {
    try {
      g.internal_test_rinterr();
    } catch (const Error&) {
      ++failures;
    }
  };
  for (int i = 0; i < 4; ++i) std::jthread{fail};
  BOOST_TEST(output.end() == "");
  BOOST_TEST(failures == 4);
}

BOOST_AUTO_TEST_CASE(failures_on_handles_in_turn_print_nothing) {
  Guestfs a({.environment = false});
  Guestfs b({.environment = false});
  captured_stderr output;
  std::jthread([&] {
    for (Guestfs* g : {&a, &b, &a, &b, &b, &a}) try {
        g->internal_test_rinterr();
      } catch (const Error&) {
      }
  }).join();
  BOOST_TEST(output.end() == "");
}

BOOST_AUTO_TEST_CASE(a_failure_on_a_handle_made_after_a_closed_one_prints_nothing) {
  captured_stderr output;
  for (int i = 0; i < 10; ++i) {  // probably at the address of the closed handle
    Guestfs g({.environment = false});
    BOOST_CHECK_THROW(g.internal_test_rinterr(), Error);
  }
  BOOST_TEST(output.end() == "");
}

BOOST_AUTO_TEST_CASE(a_failure_after_another_handle_was_used_in_a_callback_prints_nothing) {
  Guestfs g({.environment = false});
  Guestfs other({.environment = false});
  captured_stderr output;
  const auto subscription =
      g.set_event_callback(Event::enter, [&](const guestkit::EventMessage&) { other.get_memsize(); });
  BOOST_CHECK_THROW(g.internal_test_rinterr(), Error);
  BOOST_CHECK_THROW(other.internal_test_rinterr(), Error);
  BOOST_CHECK_THROW(g.internal_test_rinterr(), Error);
  BOOST_TEST(output.end() == "");
}

BOOST_AUTO_TEST_CASE(a_failed_launch_prints_nothing) {
  Guestfs g({.environment = false, .accel = guestkit::Accel::tcg});
  captured_stderr output;
  BOOST_CHECK_THROW(g.launch(), guestkit::LaunchError);
  BOOST_TEST(output.end() == "");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(closed)

/// Checks that each way into the handle throws HandleClosed, with its own name and EBADF.
void check_refusals(Guestfs& g) {
  const std::vector<std::pair<std::string, std::function<void()>>> ways{
      {"get_memsize", [&] { g.get_memsize(); }},
      {"internal_test_rbufferout", [&] { g.internal_test_rbufferout(""); }},
      {"internal_test_rconstoptstring", [&] { g.internal_test_rconstoptstring(""); }},
      {"launch", [&] { g.launch(); }},
      {"shutdown", [&] { g.shutdown(); }},
      {"user_cancel", [&] { g.user_cancel(); }},
      {"set_event_callback",
       [&] { static_cast<void>(g.set_event_callback(Event::all, [](const guestkit::EventMessage&) {})); }}};
  for (const auto& [op, way] : ways) BOOST_TEST_CONTEXT(op)
  BOOST_CHECK_EXCEPTION(way(), HandleClosed, [&op = op](const Error& e) {
    BOOST_TEST(e.op() == op);
    return e.error_number() == EBADF;
  });
  BOOST_TEST(!g.is_open());
  BOOST_CHECK(g.native() == nullptr);
}

BOOST_AUTO_TEST_CASE(a_closed_handle_refuses_everything) {
  Guestfs g({.environment = false});
  g.close();
  check_refusals(g);
}

BOOST_AUTO_TEST_CASE(a_handle_that_was_moved_from_refuses_everything) {
  Guestfs g({.environment = false});
  const Guestfs other = std::move(g);
  check_refusals(g);  // NOLINT: use after move is the test
  BOOST_TEST(!g.is_idle());
  BOOST_TEST(other.is_open());
}

BOOST_AUTO_TEST_CASE(a_moved_from_handle_says_that_it_was_moved_from) {
  Guestfs g({.environment = false});
  const Guestfs other = std::move(g);
  BOOST_CHECK_EXCEPTION(g.get_memsize(), HandleClosed,  // NOLINT: use after move is the test
                        [](const Error& e) { return e.message() == "the handle was moved from"; });
}

BOOST_AUTO_TEST_CASE(a_call_that_comes_while_the_handle_is_closing_is_refused, PATIENCE) {
  Guestfs g({.environment = false});
  int memory = 0;
  held_call call(g, [&] { memory = g.get_memsize(); });  // a part of the call that close() waits for
  std::jthread closer([&] { g.close(); });
  while (g.is_open()) std::this_thread::yield();
  BOOST_CHECK_THROW(g.get_memsize(), HandleClosed);
  call.release();
  closer.join();
  BOOST_TEST(memory == 1280);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(entering)

BOOST_AUTO_TEST_CASE(a_handle_is_idle_unless_a_call_is_inside, PATIENCE) {
  Guestfs g({.environment = false});
  BOOST_TEST(g.is_idle());
  {
    held_call call(g);
    BOOST_TEST(!g.is_idle());
    call.release();
    BOOST_TEST(g.is_idle());
  }
}

BOOST_AUTO_TEST_CASE(a_call_that_waits_too_long_for_its_turn_never_runs, PATIENCE) {
  Guestfs g({.environment = false, .limits = {.queue = guestkit::Seconds(0.05)}});
  held_call call(g);
  BOOST_CHECK_EXCEPTION(g.set_memsize(700), guestkit::CallTimeout,
                        [](const guestkit::CallTimeout& e) { return e.clock() == "queue_timeout"; });
  call.release();
  BOOST_TEST(g.get_memsize() == 1280);
}

BOOST_AUTO_TEST_CASE(user_cancel_does_not_wait_for_the_call_that_it_is_to_stop, PATIENCE) {
  Guestfs g({.environment = false});
  held_call call(g);
  g.user_cancel();
  BOOST_TEST(!g.is_idle());
  call.release();
}

BOOST_AUTO_TEST_CASE(a_call_made_in_a_callback_returns_its_result) {
  Guestfs g({.environment = false});
  int inner = 0;
  const auto subscription = g.set_event_callback(Event::enter, [&](const guestkit::EventMessage& event) {
    if (event.text == "internal_test_rint64") inner = g.internal_test_rint("3");
  });
  BOOST_TEST(g.internal_test_rint64("4") == 4);
  BOOST_TEST(inner == 3);
}

BOOST_AUTO_TEST_CASE(a_function_of_ones_own_goes_the_same_way) {
  opened g;
  BOOST_TEST(g.invoke<int>(
                  "fake", +[](guestfs_h* h, int n) { return h != nullptr ? n + 1 : -1; }, 41)
                 .lift() == 42);
  BOOST_CHECK_EXCEPTION(g.invoke<void>(
                            "fake", +[](guestfs_h*) { return -1; }),
                        Error, [](const Error& e) { return e.op() == "fake"; });
}

BOOST_AUTO_TEST_CASE(the_c_handle_is_there_for_c_functions) {
  Guestfs g({.environment = false});
  g.set_memsize(777);
  BOOST_TEST(guestfs_get_memsize(g.native()) == 777);
}

BOOST_AUTO_TEST_CASE(a_core_of_ones_own_gets_what_c_returned) {
  guestkit::basic_guestfs<raw_core> g(HandleOptions{.environment = false});
  const auto list = g.internal_test_rstringlist("3");
  static_assert(std::is_same_v<decltype(list), const guestkit::detail::c_result<guestkit::string_list>>);
  BOOST_TEST(list.get().size() == 3U);
  BOOST_CHECK_THROW(g.internal_test_rstringlisterr(), Error);
}

BOOST_AUTO_TEST_SUITE_END()
