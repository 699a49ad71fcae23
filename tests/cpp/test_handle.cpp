// handle.hpp: creating, moving, closing and forking, and the limit on the number of handles.
#define BOOST_TEST_MODULE handle
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <guestkit/guestkit.hpp>
#include <guestkit/open_disk.hpp>
#include <latch>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
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
using Lines = std::vector<std::string>;

static_assert(!std::is_copy_constructible_v<Guestfs>);
static_assert(!std::is_copy_assignable_v<Guestfs>);
static_assert(std::is_nothrow_move_constructible_v<Guestfs>);
static_assert(std::is_nothrow_move_assignable_v<Guestfs>);
static_assert(std::is_nothrow_destructible_v<Guestfs>);
static_assert(std::is_nothrow_swappable_v<Guestfs>);
static_assert(std::is_default_constructible_v<Guestfs>);
static_assert(!std::is_convertible_v<HandleOptions, Guestfs>, "creating a handle must be seen");
static_assert(std::is_aggregate_v<HandleOptions>);

using support::captured_stderr;
using support::held_call;
using support::in_child;

namespace {

/// Removes LIBGUESTFS_* of the shell that runs the tests: they set their own.
struct clean_environment {
  clean_environment() {
    Lines names;
    for (char** variable = environ; *variable != nullptr; ++variable)
      if (std::string text = *variable; text.starts_with("LIBGUESTFS_"))
        names.push_back(text.substr(0, text.find('=')));
    for (const auto& name : names) ::unsetenv(name.c_str());
  }
};
BOOST_TEST_GLOBAL_FIXTURE(clean_environment);

/// Sets an environment variable while this lives.
class variable {
 public:
  variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value, 1);
  }
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;
  ~variable() {
    if (before_)
      ::setenv(name_, before_->c_str(), 1);
    else
      ::unsetenv(name_);
  }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

/// Work on another thread that may have to wait there.
class other_thread {
 public:
  explicit other_thread(std::function<void()> work)
      : thread_([this, work = std::move(work)] {
          id_ = ::gettid();
          work();
          returned_ = true;
        }) {}

  /// Returns when the kernel says that the thread waits, or when the work is done.
  void until_it_waits() const {
    const auto waits = [this] {
      std::ifstream file("/proc/self/task/" + std::to_string(id_) + "/stat");
      const std::string stat{std::istreambuf_iterator<char>(file), {}};
      const auto end_of_name = stat.rfind(')');
      return end_of_name != std::string::npos && stat.compare(end_of_name, 3, ") S") == 0;
    };
    while (!returned_ && (id_ == 0 || !waits())) std::this_thread::yield();
  }
  bool returned() const { return returned_; }
  void join() { thread_.join(); }

 private:
  std::atomic<pid_t> id_{0};
  std::atomic<bool> returned_{false};
  std::jthread thread_;
};

/// Records what happened, in order, on any thread.
class history {
 public:
  void add(const std::string& line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(line);
  }
  Lines lines() {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  Lines lines_;
};

/// A directory that passes for an appliance, a disk, and a hypervisor that reports that it runs and then
/// waits.
class stuck_appliance : private support::temporary_folder {
 public:
  explicit stuck_appliance(Guestfs& g) {
    support::write_appliance(dir_);
    std::ofstream(dir_ / "disk") << std::string(4096, '\0');
    std::ofstream(dir_ / "hv") << "#!/bin/sh\n"
                                  "cd '"
                               << dir_.string()
                               << "' || exit 1\n"
                                  "[ -e released ] && exit 1\n"
                                  "echo running >started\n"
                                  "read -r line <go\n"
                                  "exit 1\n";
    std::filesystem::permissions(dir_ / "hv", std::filesystem::perms::owner_all);
    BOOST_REQUIRE(::mkfifo((dir_ / "started").c_str(), 0600) == 0);
    BOOST_REQUIRE(::mkfifo((dir_ / "go").c_str(), 0600) == 0);
    started_ = ::open((dir_ / "started").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    BOOST_REQUIRE(started_ != -1);
    g.set_path(dir_);
    g.set_tmpdir(dir_.native());
    g.set_cachedir(dir_.native());
    g.set_hv(dir_ / "hv");
    g.add_drive(dir_ / "disk", {.format = "raw"});
  }
  stuck_appliance(const stuck_appliance&) = delete;
  stuck_appliance& operator=(const stuck_appliance&) = delete;
  ~stuck_appliance() { ::close(started_); }

  /// Waits for the hypervisor to start; returns whether it did in time.
  bool runs() const {
    pollfd waiting{.fd = started_, .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, 30'000) == 1 && (waiting.revents & POLLIN) != 0;
  }
  void release() const {
    std::ofstream(dir_ / "released") << "";
    std::ofstream(dir_ / "go") << "\n";
  }

 private:
  const std::filesystem::path& dir_ = path;
  int started_ = -1;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(creating)

BOOST_AUTO_TEST_CASE(a_new_handle_is_open_and_idle) {
  const Guestfs g;
  BOOST_TEST(g.is_open());
  BOOST_TEST(g.is_idle());
  BOOST_CHECK(g.native() != nullptr);
}

BOOST_AUTO_TEST_CASE(the_environment_is_read) {
  const variable memsize("LIBGUESTFS_MEMSIZE", "1111");
  const variable path("LIBGUESTFS_PATH", "/from/the/environment");
  Guestfs g;
  BOOST_TEST(g.get_memsize() == 1111);
  BOOST_TEST(g.get_path() == "/from/the/environment");
}

BOOST_AUTO_TEST_CASE(the_environment_is_not_read_when_it_shall_not) {
  const variable memsize("LIBGUESTFS_MEMSIZE", "1111");
  const variable path("LIBGUESTFS_PATH", "/from/the/environment");
  Guestfs g({.environment = false});
  BOOST_TEST(g.get_memsize() != 1111);
  BOOST_TEST(g.get_path() != "/from/the/environment");
}

BOOST_AUTO_TEST_CASE(a_bad_variable_is_an_error_and_prints_nothing) {
  const std::vector<std::array<const char*, 3>> bad{
      {"LIBGUESTFS_MEMSIZE", "much", "non-numeric value for LIBGUESTFS_MEMSIZE"},
      {"LIBGUESTFS_MEMSIZE", "1", "memsize"},
      {"LIBGUESTFS_TRACE", "perhaps", "LIBGUESTFS_TRACE=perhaps"},
      {"LIBGUESTFS_BACKEND", "nonsense", "nonsense"}};
  for (const auto& [name, value, part] : bad) BOOST_TEST_CONTEXT(name << '=' << value) {
      const variable set(name, value);
      captured_stderr output;
      BOOST_CHECK_EXCEPTION(Guestfs(), Error, [part = part](const Error& e) {
        BOOST_TEST(e.op() == "parse_environment");
        return e.message().find(part) != std::string::npos;
      });
      BOOST_TEST(output.end() == "");
    }
}

BOOST_AUTO_TEST_CASE(a_bad_variable_does_not_matter_when_the_environment_is_not_read) {
  const variable memsize("LIBGUESTFS_MEMSIZE", "much");
  BOOST_CHECK_NO_THROW(Guestfs({.environment = false}));
}

BOOST_AUTO_TEST_CASE(an_empty_tmpdir_is_none) {
  const variable memsize("LIBGUESTFS_MEMSIZE", "1111");
  const variable tmpdir("TMPDIR", "");
  BOOST_TEST(Guestfs().get_memsize() == 1111);
}

BOOST_AUTO_TEST_CASE(a_runtime_directory_that_is_not_there_is_none) {
  const variable memsize("LIBGUESTFS_MEMSIZE", "1111");
  const variable runtime("XDG_RUNTIME_DIR", "/nonexistent");
  BOOST_TEST(Guestfs().get_memsize() == 1111);
}

BOOST_AUTO_TEST_CASE(a_cleared_environment_is_an_empty_one) {
  BOOST_TEST(in_child([] {
               ::clearenv();
               return Guestfs().get_backend();
             }) == "direct");
}

BOOST_AUTO_TEST_CASE(the_backend_is_direct) {
  BOOST_TEST(Guestfs().get_backend() == "direct");
  BOOST_TEST(Guestfs({.environment = false}).get_backend() == "direct");
}

BOOST_AUTO_TEST_CASE(the_environment_chooses_another_backend) {
  const variable backend("LIBGUESTFS_BACKEND", "libvirt");
  BOOST_TEST(Guestfs().get_backend() == "libvirt");
}

BOOST_AUTO_TEST_CASE(the_backend_is_direct_when_the_environment_is_not_read) {
  const variable backend("LIBGUESTFS_BACKEND", "libvirt");
  BOOST_TEST(Guestfs({.environment = false}).get_backend() == "direct");
}

BOOST_AUTO_TEST_CASE(an_empty_variable_chooses_no_backend) {
  const variable backend("LIBGUESTFS_BACKEND", "");
  BOOST_TEST(Guestfs().get_backend() == "direct");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(moving)

BOOST_AUTO_TEST_CASE(a_moved_handle_is_the_same_handle) {
  Guestfs first({.environment = false});
  first.set_memsize(777);
  guestfs_h* const c = first.native();
  Guestfs second = std::move(first);
  BOOST_CHECK(second.native() == c);
  BOOST_TEST(second.get_memsize() == 777);
  first = std::move(second);
  BOOST_CHECK(first.native() == c);
  BOOST_TEST(first.get_memsize() == 777);
}

BOOST_AUTO_TEST_CASE(a_handle_that_was_moved_from_is_closed_and_can_be_destroyed_closed_and_filled_again) {
  Guestfs first({.environment = false});
  { const Guestfs second = std::move(first); }
  BOOST_TEST(!first.is_open());  // NOLINT: use after move is the test
  BOOST_CHECK(first.native() == nullptr);
  BOOST_CHECK_THROW(first.get_memsize(), HandleClosed);
  BOOST_CHECK_NO_THROW(first.close());
  first = Guestfs({.environment = false});
  BOOST_TEST(first.is_open());
}

BOOST_AUTO_TEST_CASE(assigning_closes_the_handle_that_was_there) {
  bool closed = false;
  Guestfs g({.environment = false});
  const auto subscription =
      g.set_event_callback(Event::close, [&](const guestkit::EventMessage&) { closed = true; });
  Guestfs other({.environment = false});
  guestfs_h* const c = other.native();
  g = std::move(other);
  BOOST_TEST(closed);
  BOOST_CHECK(g.native() == c);
}

BOOST_AUTO_TEST_CASE(a_handle_assigned_to_itself_stays_open) {
  Guestfs g({.environment = false});
  Guestfs& same = g;
  g = std::move(same);
  BOOST_TEST(g.is_open());
}

BOOST_AUTO_TEST_CASE(swapped_handles_have_changed_places) {
  Guestfs a({.environment = false});
  Guestfs b({.environment = false});
  a.set_memsize(777);
  std::swap(a, b);
  BOOST_TEST(b.get_memsize() == 777);
  BOOST_TEST(a.is_open());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(closing)

BOOST_AUTO_TEST_CASE(closing_ends_the_handle_once) {
  int closes = 0;
  Guestfs g({.environment = false});
  const auto subscription =
      g.set_event_callback(Event::close, [&](const guestkit::EventMessage&) { ++closes; });
  g.close();
  BOOST_TEST(closes == 1);
  BOOST_TEST(!g.is_open());
  BOOST_CHECK_NO_THROW(g.close());
  BOOST_TEST(closes == 1);
}

BOOST_AUTO_TEST_CASE(the_end_of_its_scope_closes_a_handle) {
  bool closed = false;
  guestkit::Subscription subscription;
  {
    Guestfs g({.environment = false});
    subscription = g.set_event_callback(Event::close, [&](const guestkit::EventMessage&) { closed = true; });
  }
  BOOST_TEST(closed);
}

BOOST_AUTO_TEST_CASE(close_waits_for_a_call_in_another_thread, PATIENCE) {
  history events;
  Guestfs g({.environment = false});
  held_call call(g, [&] { events.add("the call ends"); });
  other_thread closing([&] {
    g.close();
    events.add("closed");
  });
  while (g.is_open()) std::this_thread::yield();
  closing.until_it_waits();
  BOOST_TEST(!closing.returned());
  call.release();
  closing.join();
  const Lines expected{"the call ends", "closed"};
  BOOST_TEST(events.lines() == expected, boost::test_tools::per_element());
}

// Regression: an inspection lost its report, since the first message that it still had to send was refused.
BOOST_AUTO_TEST_CASE(close_ended_a_call_of_many_messages_instead_of_waiting_for_it, PATIENCE) {
  Guestfs g({.environment = false});
  std::latch begun(1), closed(1);
  auto inspection = std::async(std::launch::async, [&] {
    const guestkit::detail::call_scope scope(state_of(g), "inspect");
    begun.count_down();
    closed.wait();
    g.user_cancel();
    return g.get_memsize();
  });
  begun.wait();
  other_thread closing([&] { g.close(); });
  while (g.is_open()) std::this_thread::yield();
  BOOST_CHECK_THROW(g.get_memsize(), guestkit::HandleClosed);
  closed.count_down();
  BOOST_TEST(inspection.get() == 1280);
  closing.join();
}

BOOST_AUTO_TEST_CASE(close_waits_for_a_launch_in_another_thread, PATIENCE) {
  Guestfs g({.environment = false, .accel = guestkit::Accel::tcg});
  const stuck_appliance appliance(g);
  std::atomic<bool> failed{false};
  std::jthread launcher([&] {
    try {
      g.launch();
    } catch (const guestkit::LaunchError&) {
      failed = true;
    }
  });
  const bool runs = appliance.runs();
  BOOST_TEST(runs);
  other_thread closing([&] { g.close(); });
  while (g.is_open()) std::this_thread::yield();
  closing.until_it_waits();
  BOOST_TEST(!closing.returned());
  if (runs) appliance.release();
  closing.join();
  launcher.join();
  BOOST_TEST(failed);
}

BOOST_AUTO_TEST_CASE(a_destructor_waits_for_a_call_in_another_thread, PATIENCE) {
  history events;
  std::optional<Guestfs> g(HandleOptions{.environment = false});
  held_call call(*g, [&] { events.add("the call ends"); });
  other_thread destroying([&] {
    g.reset();
    events.add("destroyed");
  });
  destroying.until_it_waits();
  BOOST_TEST(!destroying.returned());
  call.release();
  destroying.join();
  const Lines expected{"the call ends", "destroyed"};
  BOOST_TEST(events.lines() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_second_of_two_closers_returns_when_the_handle_is_closed, PATIENCE) {
  Guestfs g({.environment = false});
  std::optional<other_thread> second;
  bool early = true;
  const auto subscription = g.set_event_callback(Event::close, [&](const guestkit::EventMessage&) {
    second.emplace([&] { g.close(); });
    second->until_it_waits();
    early = second->returned();
  });
  g.close();
  second->join();
  BOOST_TEST(!early);
}

BOOST_AUTO_TEST_CASE(two_closers_wait_for_the_same_call, PATIENCE) {
  int closes = 0;
  Guestfs g({.environment = false});
  const auto subscription =
      g.set_event_callback(Event::close, [&](const guestkit::EventMessage&) { ++closes; });
  held_call call(g);
  other_thread first([&] { g.close(); });
  other_thread second([&] { g.close(); });
  while (g.is_open()) std::this_thread::yield();
  first.until_it_waits();
  second.until_it_waits();
  BOOST_TEST(!first.returned());
  BOOST_TEST(!second.returned());
  call.release();
  first.join();
  second.join();
  BOOST_TEST(closes == 1);
}

BOOST_AUTO_TEST_CASE(calls_that_race_with_close_end_in_handle_closed, PATIENCE) {
  for (int round = 0; round < 20; ++round) {
    Guestfs g({.environment = false});
    std::atomic<int> calls{0};
    std::atomic<int> refused{0};
    std::vector<std::jthread> callers;
    for (int i = 0; i < 4; ++i)
      callers.emplace_back([&] {
        try {
          for (;; ++calls) g.internal_test_rstringlist("3");
        } catch (const HandleClosed&) {
          ++refused;
        }
      });
    while (calls < 20) std::this_thread::yield();
    g.close();
    callers.clear();
    BOOST_TEST(refused == 4);
    BOOST_TEST(g.is_idle());
  }
}

BOOST_AUTO_TEST_CASE(close_from_a_callback_throws_and_the_handle_stays_open, PATIENCE) {
  Guestfs g({.environment = false});
  std::string refusal;
  int number = 0;
  const auto subscription = g.set_event_callback(Event::enter, [&](const guestkit::EventMessage& event) {
    if (event.text != "internal_test_rint") return;
    try {
      g.close();
    } catch (const Error& e) {
      refusal = e.op();
      number = e.error_number();
    }
  });
  BOOST_TEST(g.internal_test_rint("7") == 7);
  BOOST_TEST(refusal == "close");
  BOOST_TEST(number == EDEADLK);
  BOOST_TEST(g.is_open());
  BOOST_TEST(g.internal_test_rint("8") == 8);
  BOOST_CHECK_NO_THROW(g.close());
}

BOOST_AUTO_TEST_CASE(another_handle_may_be_closed_in_a_callback, PATIENCE) {
  Guestfs g({.environment = false});
  Guestfs other({.environment = false});
  const auto subscription =
      g.set_event_callback(Event::enter, [&](const guestkit::EventMessage&) { other.close(); });
  BOOST_TEST(g.internal_test_rint("7") == 7);
  BOOST_TEST(!other.is_open());
  BOOST_TEST(g.is_open());
}

BOOST_AUTO_TEST_CASE(close_from_the_close_event_throws_and_does_not_hang) {
  BOOST_TEST(in_child([] {
               Guestfs g({.environment = false});
               std::string refusal = "nothing";
               const auto subscription =
                   g.set_event_callback(Event::close, [&](const guestkit::EventMessage&) {
                     try {
                       g.close();
                     } catch (const Error& e) {
                       refusal = e.op();
                     }
                   });
               g.close();
               return "the callback got: " + refusal;
             }) == "the callback got: close");
}

BOOST_AUTO_TEST_CASE(a_handle_destroyed_by_its_own_callback_serves_the_call_to_its_end) {
  BOOST_TEST(in_child([] {
               std::string logged;
               const auto token = std::make_shared<int>(0);
               std::optional<Guestfs> g(HandleOptions{
                   .environment = false,
                   .log = [&logged, token](guestkit::LogLevel, const std::string& line) { logged += line; }});
               bool alive = false;
               guestkit::Subscription subscription;
               subscription = g->set_event_callback(Event::enter, [&](const guestkit::EventMessage&) {
                 subscription.reset();
                 g.reset();
                 alive = token.use_count() > 1;
               });
               std::string text = std::to_string(g->internal_test_rint("7"));
               if (alive) text += ", it was alive";
               if (logged.find("close: called from inside") != std::string::npos) text += " and said why";
               return text;
             }) == "7, it was alive and said why");
}

BOOST_AUTO_TEST_CASE(calls_used_the_handle_that_their_own_callback_had_destroyed) {
  const support::temporary_folder folder;
  std::ofstream(folder.path / "disk") << std::string(4096, '\0');
  const auto disk = folder.path / "disk";
  const auto destroyed_by = [](const char* name, const std::function<void(Guestfs&)>& call) {
    return in_child([&] {
      // Memory that fails when it is used after its end, whatever the allocator does.
      void* const page =
          ::mmap(nullptr, sizeof(Guestfs), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      auto* const g =
          new (page) Guestfs({.environment = false, .log = [](guestkit::LogLevel, const std::string&) {}});
      bool done = false;
      guestkit::Subscription subscription;
      subscription = g->set_event_callback(Event::enter, [&](const guestkit::EventMessage& event) {
        if (event.text != name || std::exchange(done, true)) return;
        subscription.reset();
        g->~Guestfs();
        ::mprotect(page, sizeof(Guestfs), PROT_NONE);
      });
      call(*g);
      return std::string(done ? "served" : "no event");
    });
  };
  BOOST_TEST(destroyed_by("set_path", [](Guestfs& g) { g.set_path("/nonexistent"); }) == "served");
  BOOST_TEST(destroyed_by("get_path", [](Guestfs& g) { g.get_path(); }) == "served");
  BOOST_TEST(destroyed_by("add_drive", [&](Guestfs& g) { g.add_drive(disk, {.format = "raw"}); }) ==
             "served");
  BOOST_TEST(destroyed_by("config", [](Guestfs& g) { g.config("-device", "pvpanic"); }) == "served");
  BOOST_TEST(destroyed_by("set_tmpdir", [&](Guestfs& g) { g.set_tmpdir(folder.path); }) == "served");
  BOOST_TEST(destroyed_by("get_tmpdir", [&](Guestfs& g) { g.set_tmpdir(folder.path); }) == "served");
  BOOST_TEST(destroyed_by("set_trace", [](Guestfs& g) { g.set_trace(false); }) == "served");
  BOOST_TEST(destroyed_by("shutdown", [](Guestfs& g) { g.shutdown(); }) == "served");
  BOOST_TEST(destroyed_by("get_backend", [&](Guestfs& g) { g.open_disk(disk, {.format = "raw"}); }) ==
             "served");
}

BOOST_AUTO_TEST_CASE(a_handle_destroyed_by_its_own_callback_is_closed_when_the_call_ends) {
  BOOST_TEST(in_child([] {
               history events;
               std::optional<Guestfs> g(
                   HandleOptions{.environment = false, .log = [](guestkit::LogLevel, const std::string&) {}});
               const auto on_close = g->set_event_callback(
                   Event::close, [&](const guestkit::EventMessage&) { events.add("closed"); });
               const auto on_enter = g->set_event_callback(Event::enter, [&](const guestkit::EventMessage&) {
                 g.reset();
                 events.add("destroyed");
               });
               g->internal_test_rint("7");
               std::string text;
               for (const auto& line : events.lines()) text += line + " ";
               return text;
             }) == "destroyed closed ");
}

BOOST_AUTO_TEST_CASE(a_handle_destroyed_by_its_close_event_is_closed) {
  BOOST_TEST(in_child([] {
               int closes = 0;
               std::optional<Guestfs> g(
                   HandleOptions{.environment = false, .log = [](guestkit::LogLevel, const std::string&) {}});
               const auto subscription =
                   g->set_event_callback(Event::close, [&](const guestkit::EventMessage&) {
                     ++closes;
                     g.reset();
                   });
               g->close();
               return "close events: " + std::to_string(closes);
             }) == "close events: 1");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(forking)

BOOST_AUTO_TEST_CASE(a_child_may_not_use_the_handle_of_its_parent) {
  Guestfs g({.environment = false});
  BOOST_TEST(in_child([&] {
               std::string text;
               try {
                 g.get_memsize();
                 text += "used";
               } catch (const HandleClosed& e) {
                 text += e.what();
               }
               try {
                 g.user_cancel();
                 text += "used";
               } catch (const HandleClosed& e) {
                 text += " | " + e.op();
               }
               if (g.is_open()) text += " open";
               if (g.native() != nullptr) text += " native";
               return text;
             }) ==
             "get_memsize: the handle belongs to the process before the fork; open one in this process | "
             "user_cancel");
  BOOST_TEST(g.get_memsize() > 0);
}

BOOST_AUTO_TEST_CASE(a_child_that_closes_or_destroys_leaves_the_handle_of_its_parent_alone) {
  int closes = 0;
  std::optional<Guestfs> g(HandleOptions{.environment = false});
  auto subscription = g->set_event_callback(Event::close, [&](const guestkit::EventMessage&) { ++closes; });
  BOOST_TEST(in_child([&] {
               g->close();
               subscription.reset();
               g.reset();
               return "close events in the child: " + std::to_string(closes);
             }) == "close events in the child: 0");
  BOOST_TEST(g->is_open());
  BOOST_TEST(g->get_memsize() > 0);
  g.reset();
  BOOST_TEST(closes == 1);
}

BOOST_AUTO_TEST_CASE(a_child_may_open_a_handle_of_its_own) {
  Guestfs g({.environment = false});
  BOOST_TEST(in_child([] {
               Guestfs own({.environment = false});
               own.set_memsize(777);
               const int memsize = own.get_memsize();
               own.close();
               return std::to_string(memsize);
             }) == "777");
  BOOST_TEST(g.is_open());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(how_many)

BOOST_AUTO_TEST_CASE(the_handle_after_the_thousandth_is_refused_until_one_is_closed) {
  std::vector<Guestfs> open;
  for (int i = 0; i < guestkit::max_handles; ++i) open.emplace_back(HandleOptions{.environment = false});
  for (int i = 0; i < 2; ++i)  // a refused handle does not count
    BOOST_CHECK_EXCEPTION(Guestfs({.environment = false}), Error, [](const Error& e) {
      BOOST_TEST(e.op() == "create");
      BOOST_TEST(e.message().find("1000 handles are open") != std::string::npos);
      return e.error_number() == EMFILE;
    });
  open.front().close();
  BOOST_CHECK_NO_THROW(open.front() = Guestfs({.environment = false}));
  BOOST_CHECK_THROW(Guestfs({.environment = false}), Error);
  open.clear();
  for (int i = 0; i < guestkit::max_handles; ++i) BOOST_REQUIRE_NO_THROW(open.emplace_back());
}

BOOST_AUTO_TEST_CASE(a_limit_that_makes_no_sense_meant_no_time_at_all) {
  using guestkit::Limits;
  using guestkit::Seconds;
  const auto refused = [](const Limits& limits) {
    try {
      const Guestfs g({.environment = false, .limits = limits});
    } catch (const Error& e) {
      BOOST_TEST(e.error_number() == EINVAL);
      return std::string(e.what());
    }
    return std::string("made");
  };
  constexpr Seconds bad(-1);
  BOOST_TEST(refused({.launch = bad}) == "create: Limits::launch is -1 s; it must be at least 0");
  BOOST_TEST(refused({.call = Seconds(std::nan(""))}).starts_with("create: Limits::call is "));
  BOOST_TEST(refused({.close = bad}).starts_with("create: Limits::close is "));
  BOOST_TEST(refused({.admission = bad}).starts_with("create: Limits::admission is "));
  BOOST_TEST(refused({.cancel_grace = bad}).starts_with("create: Limits::cancel_grace is "));
  BOOST_TEST(refused({.queue = bad}).starts_with("create: Limits::queue is "));
  BOOST_TEST(refused({.launch = Seconds(0), .call = guestkit::no_limit}) == "made");
}

BOOST_AUTO_TEST_CASE(a_handle_that_could_not_be_made_takes_no_place) {
  {
    const variable memsize("LIBGUESTFS_MEMSIZE", "much");
    for (int i = 0; i <= guestkit::max_handles; ++i) BOOST_CHECK_THROW(Guestfs(), Error);
  }
  BOOST_CHECK_NO_THROW(Guestfs());
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

std::size_t disks_to_repeat(const Guestfs& g) {
  const auto& all = state_of(g)->machine.additions;
  return static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [](const auto& e) { return e.disk; }));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_shutdown_before_the_launch_had_a_failed_restore_boot_without_the_disks) {
  const support::temporary_folder folder;
  const auto disk = folder.path / "disk";
  std::ofstream(disk) << std::string(4096, '\0');
  Guestfs g({.environment = false});
  g.add_drive(disk, {.format = "raw"});
  g.shutdown();  // does nothing: libguestfs still has the disk
  g.add_drive(disk, {.format = "raw"});
  BOOST_TEST(g.debug_drives().size() == 2U);
  BOOST_TEST(disks_to_repeat(g) == 2U);
}

BOOST_AUTO_TEST_CASE(a_failed_restore_booted_with_the_disks_of_the_appliance_before) {
  const support::temporary_folder folder;
  const auto disk = folder.path / "disk";
  std::ofstream(disk) << std::string(4096, '\0');
  Guestfs g({.environment = false, .accel = guestkit::Accel::tcg, .appliance = "/nonexistent"});
  g.config("-device", "pvpanic");
  g.add_drive(disk, {.format = "raw"});
  const auto state = state_of(g);  // as if the appliance had died
  guestkit::detail::deliver(state->h, state.get(), GUESTFS_EVENT_SUBPROCESS_QUIT, 0, 0, nullptr, 0, nullptr,
                            0);
  BOOST_CHECK_THROW(g.launch(), guestkit::LaunchError);  // there is no such appliance
  BOOST_TEST(disks_to_repeat(g) == 0U);
  BOOST_TEST(state->machine.additions.size() == 1U);  // libguestfs forgets no parameter of QEMU's
}

BOOST_AUTO_TEST_CASE(a_handle_that_could_not_be_made_again_hid_why_its_restore_failed) {
  const Guestfs g({.environment = false});
  const auto state = state_of(g);
  BOOST_TEST((guestkit::detail::fresh_copy(state) != nullptr));
  state->machine.additions.push_back(
      {.disk = true, .repeat = [](guestfs_h*) -> bool { throw std::bad_alloc(); }});
  BOOST_TEST((guestkit::detail::fresh_copy(state) == nullptr));
}

// Regression: a failed restore is followed by a boot, for which each disk is added again, without a limit.
BOOST_AUTO_TEST_CASE(a_launch_could_not_be_ended_while_it_added_the_disks_again, PATIENCE) {
  const support::stuck_programs programs;
  Guestfs g({.environment = false, .limits = {.launch = guestkit::Seconds(0.3)}});
  g.add_drive_ro(programs.folder / "disk");
  const support::first_in_path path(programs.folder);
  const auto state = state_of(g);
  const guestkit::detail::turn mine(state, "launch");
  BOOST_TEST((guestkit::detail::fresh_copy(state) == nullptr));
  BOOST_CHECK_THROW(state->turns->throw_if_stopped("launch", "", 0, {}), guestkit::CallTimeout);
  BOOST_TEST(support::ends(programs.wait_until_started()));
}

BOOST_AUTO_TEST_CASE(a_line_of_the_guests_passed_for_the_hypervisors) {
  namespace detail = guestkit::detail;
  const Guestfs g({.environment = false, .log = [](guestkit::LogLevel, const std::string&) {}});
  const auto state = state_of(g);
  const auto verdict_after = [&](const std::string& lines) {
    state->launches.verdict.clear();
    detail::deliver(state->h, state.get(), GUESTFS_EVENT_APPLIANCE, 0, 0, lines.data(), lines.size(), nullptr,
                    0);
    return state->launches.verdict;
  };
  BOOST_TEST(verdict_after("guestkit: restoring\nguestkit: normal boot: \x1b[2J\n") == "restoring");
  BOOST_TEST(verdict_after("guestkit: normal boot: why\nguestkit: restoring\n") == "normal boot: why");
  BOOST_TEST(verdict_after("guestkit: restoring\nguestkit: restore failed: why\nguestkit: restoring\n") ==
             "restore failed: why");
  BOOST_TEST(verdict_after("the kernel\nguestkit: QEMU cannot be run\n") == "QEMU cannot be run");
}

BOOST_AUTO_TEST_CASE(a_huge_close_timeout_killed_at_once_what_still_wrote, PATIENCE) {
  const support::stuck_programs programs;
  auto g = programs.handle({.close = guestkit::Seconds(1e300)});
  std::thread launching([&] { BOOST_CHECK_THROW(g.launch(), Error); });
  const auto hypervisor = programs.wait_until_started();
  const auto served = std::async(std::launch::async, [] {
                        std::this_thread::sleep_for(std::chrono::milliseconds(50));  // as long as it writes
                      }).share();
  guestkit::detail::local_mount mount("/nonexistent", served, [] {});
  mount.is_over();
  guestkit::detail::end_mount(*state_of(g), mount);
  BOOST_TEST(!support::is_gone(hypervisor));
  g.terminate();
  launching.join();
}
