// event.hpp: what libguestfs reports while a call runs, and registrations that end by themselves.
#define BOOST_TEST_MODULE event
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdio>
#include <guestkit/detail/call/listeners.hpp>
#include <guestkit/guestkit.hpp>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support.hpp"

using guestkit::Error;
using guestkit::Event;
using guestkit::EventMessage;
using guestkit::Guestfs;
using guestkit::HandleClosed;
using guestkit::HandleOptions;
using guestkit::LogLevel;
using guestkit::Subscription;
using Lines = std::vector<std::string>;

static_assert(static_cast<std::uint64_t>(Event::close) == GUESTFS_EVENT_CLOSE);
static_assert(static_cast<std::uint64_t>(Event::subprocess_quit) == GUESTFS_EVENT_SUBPROCESS_QUIT);
static_assert(static_cast<std::uint64_t>(Event::launch_done) == GUESTFS_EVENT_LAUNCH_DONE);
static_assert(static_cast<std::uint64_t>(Event::progress) == GUESTFS_EVENT_PROGRESS);
static_assert(static_cast<std::uint64_t>(Event::appliance) == GUESTFS_EVENT_APPLIANCE);
static_assert(static_cast<std::uint64_t>(Event::library) == GUESTFS_EVENT_LIBRARY);
static_assert(static_cast<std::uint64_t>(Event::trace) == GUESTFS_EVENT_TRACE);
static_assert(static_cast<std::uint64_t>(Event::enter) == GUESTFS_EVENT_ENTER);
static_assert(static_cast<std::uint64_t>(Event::libvirt_auth) == GUESTFS_EVENT_LIBVIRT_AUTH);
static_assert(static_cast<std::uint64_t>(Event::warning) == GUESTFS_EVENT_WARNING);
static_assert(static_cast<std::uint64_t>(Event::all) == GUESTFS_EVENT_ALL);

static_assert((Event::trace | Event::enter) == static_cast<Event>(GUESTFS_EVENT_TRACE | GUESTFS_EVENT_ENTER));
static_assert((Event::all & Event::trace) == Event::trace);
static_assert((Event::enter & Event::trace) == static_cast<Event>(0));
static_assert(!std::is_convertible_v<Event, int>, "flags are no numbers");

static_assert(!std::is_copy_constructible_v<Subscription>);
static_assert(!std::is_copy_assignable_v<Subscription>);
static_assert(std::is_nothrow_move_constructible_v<Subscription>);
static_assert(std::is_nothrow_move_assignable_v<Subscription>);
static_assert(std::is_nothrow_destructible_v<Subscription>);
static_assert(std::is_nothrow_default_constructible_v<Subscription>);

using support::captured_stderr;

namespace {

/// A handle that collects its log lines.
struct logged_handle {
  Lines log;
  Guestfs g{HandleOptions{.environment = false, .log = [this](LogLevel level, const std::string& line) {
                            log.push_back((level == LogLevel::error ? "error: " : "other: ") + line);
                          }}};
};

struct plain_handle {
  Guestfs g{HandleOptions{.environment = false}};
};

}  // namespace

BOOST_AUTO_TEST_SUITE(delivery)

BOOST_FIXTURE_TEST_CASE(the_enter_event_names_the_call, plain_handle) {
  Lines texts;
  const auto subscription =
      g.set_event_callback(Event::enter, [&](const EventMessage& event) { texts.emplace_back(event.text); });
  g.get_memsize();
  g.internal_test_rint("1");
  const Lines expected{"get_memsize", "internal_test_rint"};
  BOOST_TEST(texts == expected, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(a_message_tells_its_event_its_registration_and_its_text, plain_handle) {
  const auto none = g.set_event_callback(Event::close, [](const EventMessage&) {});
  std::optional<Event> event;
  std::string text;
  int number = -1;
  std::size_t numbers = 1;
  const auto subscription = g.set_event_callback(Event::enter, [&](const EventMessage& message) {
    event = message.event;
    text = message.text;
    number = message.registration;
    numbers = message.numbers.size();
  });
  g.get_memsize();
  BOOST_CHECK(event == Event::enter);
  BOOST_TEST(text == "get_memsize");
  BOOST_TEST(number == subscription.number());
  BOOST_TEST(number != none.number());
  BOOST_TEST(numbers == 0U);
}

BOOST_FIXTURE_TEST_CASE(a_trace_event_tells_the_call_and_its_result, plain_handle) {
  Lines texts;
  const auto subscription =
      g.set_event_callback(Event::trace, [&](const EventMessage& event) { texts.emplace_back(event.text); });
  g.set_trace(true);
  texts.clear();
  g.internal_test_rint("7");
  g.close();
  const Lines expected{"internal_test_rint \"7\"", "internal_test_rint = 7", "close"};
  BOOST_TEST(texts == expected, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(the_text_of_an_event_is_bytes, plain_handle) {
  std::string last;
  const auto subscription = g.set_event_callback(Event::trace, [&](const EventMessage& event) {
    if (event.text.starts_with("set_program \"")) last = event.text;
  });
  g.set_trace(true);
  g.set_program("\xff\xfe");
  g.close();
  BOOST_TEST(last == "set_program \"\xff\xfe\"");
}

BOOST_FIXTURE_TEST_CASE(several_flags_are_one_registration_and_each_message_has_one_flag, plain_handle) {
  std::vector<Event> events;
  const auto subscription = g.set_event_callback(
      Event::enter | Event::trace, [&](const EventMessage& event) { events.push_back(event.event); });
  g.set_trace(true);
  events.clear();
  g.get_memsize();
  g.close();
  const std::vector<Event> expected{Event::enter, Event::trace, Event::trace, Event::trace};
  BOOST_CHECK(events == expected);
}

BOOST_FIXTURE_TEST_CASE(an_event_that_was_not_asked_for_does_not_come, plain_handle) {
  int events = 0;
  const auto subscription = g.set_event_callback(Event::trace, [&](const EventMessage&) { ++events; });
  g.get_memsize();  // sends an enter event, but no trace event
  BOOST_TEST(events == 0);
}

BOOST_FIXTURE_TEST_CASE(all_gets_the_events_of_every_kind, plain_handle) {
  Event seen = static_cast<Event>(0);
  const auto subscription =
      g.set_event_callback(Event::all, [&](const EventMessage& event) { seen = seen | event.event; });
  g.set_trace(true);
  g.set_verbose(true);
  g.close();
  BOOST_CHECK(seen == (Event::enter | Event::trace | Event::library | Event::close));
}

BOOST_FIXTURE_TEST_CASE(each_registration_of_an_event_gets_it, plain_handle) {
  int first = 0;
  int second = 0;
  const auto a = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++first; });
  const auto b = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++second; });
  g.get_memsize();
  BOOST_TEST(first == 1);
  BOOST_TEST(second == 1);
}

BOOST_FIXTURE_TEST_CASE(an_event_comes_on_the_thread_of_the_call, plain_handle) {
  std::thread::id seen;
  const auto subscription =
      g.set_event_callback(Event::enter, [&](const EventMessage&) { seen = std::this_thread::get_id(); });
  std::thread caller([&] { g.get_memsize(); });
  const auto expected = caller.get_id();
  caller.join();
  BOOST_CHECK(seen == expected);
}

// Only an appliance sends progress, so this test plays the part of libguestfs.
BOOST_AUTO_TEST_CASE(a_progress_event_has_numbers_and_no_text) {
  const auto state = std::make_shared<guestkit::detail::handle_state>();
  const std::array<std::uint64_t, 4> progress{1, 2, 30, std::uint64_t{1} << 40};
  bool called = false;
  const Subscription subscription(state, Event::progress, [&](const EventMessage& event) {
    called = true;
    BOOST_CHECK(event.event == Event::progress);
    BOOST_TEST(event.registration == subscription.number());
    BOOST_TEST(event.text.empty());
    BOOST_TEST(event.numbers == progress, boost::test_tools::per_element());
  });
  guestkit::detail::deliver(nullptr, state.get(), GUESTFS_EVENT_PROGRESS, 0, 0, nullptr, 0, progress.data(),
                            progress.size());
  BOOST_TEST(called);
}

BOOST_FIXTURE_TEST_CASE(the_close_event_comes_once_and_has_no_text, plain_handle) {
  int closes = 0;
  const auto subscription = g.set_event_callback(Event::close, [&](const EventMessage& event) {
    ++closes;
    BOOST_CHECK(event.event == Event::close);
    BOOST_TEST(event.text.empty());
  });
  g.close();
  g.close();
  BOOST_TEST(closes == 1);
}

BOOST_FIXTURE_TEST_CASE(a_call_in_the_close_event_is_refused, plain_handle) {
  bool refused = false;
  const auto subscription = g.set_event_callback(Event::close, [&](const EventMessage&) {
    try {
      g.get_memsize();
    } catch (const HandleClosed&) {
      refused = true;
    }
  });
  g.close();
  BOOST_TEST(refused);
}

BOOST_AUTO_TEST_CASE(events_go_on_when_the_handle_moves) {
  int events = 0;
  Guestfs first({.environment = false});
  auto subscription = first.set_event_callback(Event::enter, [&](const EventMessage&) { ++events; });
  Guestfs second = std::move(first);
  second.get_memsize();
  BOOST_TEST(events == 1);
  subscription.reset();
  second.get_memsize();
  BOOST_TEST(events == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(subscription)

BOOST_AUTO_TEST_CASE(an_empty_one_is_harmless) {
  Subscription none;
  BOOST_TEST(none.number() == -1);
  none.reset();
  Subscription other = std::move(none);
  BOOST_TEST(other.number() == -1);
}

BOOST_FIXTURE_TEST_CASE(its_end_ends_the_registration, plain_handle) {
  int events = 0;
  {
    const auto ending = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++events; });
    g.get_memsize();
  }
  g.get_memsize();
  BOOST_TEST(events == 1);
}

BOOST_FIXTURE_TEST_CASE(reset_ends_the_registration_and_may_come_twice, plain_handle) {
  int events = 0;
  auto ending = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++events; });
  BOOST_TEST(ending.number() >= 0);
  ending.reset();
  BOOST_TEST(ending.number() == -1);
  ending.reset();
  g.get_memsize();
  BOOST_TEST(events == 0);
}

BOOST_FIXTURE_TEST_CASE(its_end_leaves_the_others, plain_handle) {
  int events = 0;
  auto first = g.set_event_callback(Event::enter, [](const EventMessage&) {});
  const auto second = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++events; });
  first.reset();
  g.get_memsize();
  BOOST_TEST(events == 1);
}

BOOST_FIXTURE_TEST_CASE(its_end_destroys_the_callback, plain_handle) {
  const auto token = std::make_shared<int>(0);
  auto ending = g.set_event_callback(Event::enter, [token](const EventMessage&) {});
  BOOST_TEST(token.use_count() > 1);
  ending.reset();
  BOOST_TEST(token.use_count() == 1);
}

BOOST_FIXTURE_TEST_CASE(a_moved_one_keeps_the_registration, plain_handle) {
  int events = 0;
  std::optional<Subscription> first(
      g.set_event_callback(Event::enter, [&](const EventMessage&) { ++events; }));
  const int number = first->number();
  Subscription second = std::move(*first);
  BOOST_TEST(first->number() == -1);  // NOLINT: use after move is the test
  BOOST_TEST(second.number() == number);
  first.reset();
  g.get_memsize();
  BOOST_TEST(events == 1);
  second.reset();
  g.get_memsize();
  BOOST_TEST(events == 1);
}

BOOST_FIXTURE_TEST_CASE(assigning_ends_the_registration_that_was_there, plain_handle) {
  int first = 0;
  int second = 0;
  auto kept = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++first; });
  kept = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++second; });
  g.get_memsize();
  BOOST_TEST(first == 0);
  BOOST_TEST(second == 1);
}

BOOST_FIXTURE_TEST_CASE(one_assigned_to_itself_goes_on, plain_handle) {
  int events = 0;
  auto kept = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++events; });
  auto& same = kept;
  kept = std::move(same);
  g.get_memsize();
  BOOST_TEST(events == 1);
}

BOOST_AUTO_TEST_CASE(it_may_outlive_the_handle) {
  const auto token = std::make_shared<int>(0);
  Subscription reset_later;
  {
    Subscription destroyed_later;
    Guestfs g({.environment = false});
    destroyed_later = g.set_event_callback(Event::enter, [token](const EventMessage&) {});
    reset_later = g.set_event_callback(Event::enter, [token](const EventMessage&) {});
  }
  BOOST_CHECK_NO_THROW(reset_later.reset());
  BOOST_TEST(token.use_count() == 1);
}

BOOST_FIXTURE_TEST_CASE(it_may_end_itself_inside_its_own_callback, plain_handle) {
  int events = 0;
  const auto token = std::make_shared<std::string>("still here, though on the heap");
  std::string seen;
  Subscription ending;
  ending = g.set_event_callback(Event::enter, [&, token](const EventMessage&) {
    ++events;
    ending.reset();
    seen = *token;  // what the callback owns lives until the callback returns
  });
  g.get_memsize();
  g.get_memsize();
  BOOST_TEST(events == 1);
  BOOST_TEST(seen == *token);
  BOOST_TEST(token.use_count() == 1);
}

BOOST_FIXTURE_TEST_CASE(another_may_begin_inside_a_callback, plain_handle) {
  int events = 0;
  std::vector<Subscription> inner;
  const auto outer = g.set_event_callback(Event::enter, [&](const EventMessage&) {
    if (inner.empty())
      inner.push_back(g.set_event_callback(Event::trace, [&](const EventMessage&) { ++events; }));
  });
  g.set_trace(true);
  events = 0;
  g.get_memsize();
  BOOST_TEST(events == 2);
  g.close();
}

BOOST_FIXTURE_TEST_CASE(its_end_waits_for_a_callback_that_runs, plain_handle, PATIENCE) {
  std::latch inside(1);
  std::latch ending_begins(1);
  std::atomic<bool> over{false};
  auto ending = g.set_event_callback(Event::enter, [&](const EventMessage&) {
    inside.count_down();
    ending_begins.wait();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // lets an end that does not wait return
    over = true;
  });
  std::jthread caller([&] { g.get_memsize(); });
  inside.wait();
  ending_begins.count_down();
  ending.reset();
  BOOST_TEST(over);
}

BOOST_FIXTURE_TEST_CASE(neither_its_beginning_nor_its_end_waits_for_a_call_that_runs, plain_handle,
                        PATIENCE) {
  auto there = g.set_event_callback(Event::trace, [](const EventMessage&) {});
  support::held_call call(g);
  auto begun = g.set_event_callback(Event::enter, [](const EventMessage&) {});
  begun.reset();
  there.reset();
  BOOST_TEST(!g.is_idle());
}

// A callback whose subscription another one ends before its turn is not called any more.
BOOST_FIXTURE_TEST_CASE(a_callback_may_end_the_next_one, plain_handle) {
  int events = 0;
  Subscription second;
  const auto first = g.set_event_callback(Event::enter, [&](const EventMessage&) { second.reset(); });
  second = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++events; });
  const auto third = g.set_event_callback(Event::enter, [&](const EventMessage&) { events += 10; });
  g.get_memsize();
  BOOST_TEST(events == 10);
}

BOOST_FIXTURE_TEST_CASE(a_callback_may_own_its_own_registration, plain_handle) {
  auto owned = std::make_shared<Subscription>();
  *owned = g.set_event_callback(Event::enter, [owned](const EventMessage&) { owned->reset(); });
  const std::weak_ptr<Subscription> alive = std::exchange(owned, nullptr);
  g.close();
  BOOST_TEST(alive.expired());
}

// Regression: libguestfs has 1000 places for callbacks, and frees only the last one.
BOOST_FIXTURE_TEST_CASE(registrations_used_up_the_places_that_libguestfs_has, plain_handle) {
  int events = 0;
  const auto token = std::make_shared<int>(0);
  const auto subscribe = [&] {
    return g.set_event_callback(Event::enter, [&events, token](const EventMessage&) { ++events; });
  };
  std::vector<Subscription> all;
  for (int i = 0; i < 3000; ++i) all.push_back(subscribe());
  g.get_memsize();
  BOOST_TEST(events == 3000);
  for (int i = 0; i < 3000; ++i) all[static_cast<std::size_t>(i)] = subscribe();
  all.erase(all.begin(), all.end() - 1);
  events = 0;
  g.get_memsize();
  BOOST_TEST(events == 1);
  all.clear();
  BOOST_TEST(token.use_count() == 1);
}

BOOST_FIXTURE_TEST_CASE(their_numbers_count_from_0, plain_handle) {
  const auto first = g.set_event_callback(Event::enter, [](const EventMessage&) {});
  const auto second = g.set_event_callback(Event::enter, [](const EventMessage&) {});
  BOOST_TEST(first.number() == 0);
  BOOST_TEST(second.number() == 1);
}

// For ThreadSanitizer: the handle's listeners_mutex must guard all of this.
BOOST_FIXTURE_TEST_CASE(threads_may_begin_and_end_them_at_once, plain_handle, PATIENCE) {
  constexpr int threads = 4;
  std::atomic<int> wrong{0};
  std::atomic<int> kept{0};
  const auto one = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++kept; });
  std::latch start(threads);
  {
    std::vector<std::jthread> workers;
    for (int thread = 0; thread < threads; ++thread)
      workers.emplace_back([&] {
        start.arrive_and_wait();
        for (int i = 0; i < 100; ++i) {
          const auto ended = std::make_shared<std::atomic<bool>>(false);
          auto mine = g.set_event_callback(Event::enter | Event::trace, [&wrong, ended](const EventMessage&) {
            if (*ended) ++wrong;
          });
          g.get_memsize();
          mine.reset();
          *ended = true;
        }
      });
  }
  BOOST_TEST(wrong == 0);
  BOOST_TEST(kept == threads * 100);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(exceptions, *boost::unit_test::description("go to the log and never through C"))

BOOST_FIXTURE_TEST_CASE(an_exception_in_a_callback_is_logged_and_the_call_goes_on, logged_handle) {
  const auto subscription =
      g.set_event_callback(Event::enter, [](const EventMessage&) { throw std::runtime_error("no room"); });
  BOOST_TEST(g.internal_test_rint("7") == 7);
  const Lines expected{"error: an event callback threw: no room"};
  BOOST_TEST(log == expected, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(what_is_no_std_exception_is_logged_too, logged_handle) {
  const auto subscription = g.set_event_callback(Event::enter, [](const EventMessage&) { throw 42; });
  BOOST_TEST(g.internal_test_rint("7") == 7);
  const Lines expected{"error: an event callback threw: something that is no std::exception"};
  BOOST_TEST(log == expected, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(an_exception_in_one_callback_leaves_the_others, logged_handle) {
  int events = 0;
  const auto first =
      g.set_event_callback(Event::enter, [](const EventMessage&) { throw std::runtime_error("x"); });
  const auto second = g.set_event_callback(Event::enter, [&](const EventMessage&) { ++events; });
  g.get_memsize();
  g.get_memsize();
  BOOST_TEST(events == 2);
  BOOST_TEST(log.size() == 2U);
}

BOOST_FIXTURE_TEST_CASE(the_error_of_a_call_stays_that_of_the_call, logged_handle) {
  const auto subscription =
      g.set_event_callback(Event::enter, [](const EventMessage&) { throw std::runtime_error("x"); });
  BOOST_CHECK_EXCEPTION(g.internal_test_rinterr(), Error,
                        [](const Error& e) { return e.message() == "error"; });
}

BOOST_FIXTURE_TEST_CASE(an_exception_in_the_close_event_is_logged, logged_handle) {
  const auto subscription =
      g.set_event_callback(Event::close, [](const EventMessage&) { throw std::runtime_error("no room"); });
  BOOST_CHECK_NO_THROW(g.close());
  const Lines expected{"error: an event callback threw: no room"};
  BOOST_TEST(log == expected, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(without_a_log_sink_stderr_tells, plain_handle) {
  const auto subscription =
      g.set_event_callback(Event::enter, [](const EventMessage&) { throw std::runtime_error("no room"); });
  captured_stderr output;
  g.get_memsize();
  BOOST_TEST(output.end() == "guestkit: an event callback threw: no room\n");
}

BOOST_AUTO_TEST_CASE(a_log_sink_that_throws_harms_nothing) {
  int lines = 0;
  Guestfs g({.environment = false, .log = [&](LogLevel, const std::string&) {
               ++lines;
               throw std::runtime_error("the disk is full");
             }});
  const auto subscription =
      g.set_event_callback(Event::enter, [](const EventMessage&) { throw std::runtime_error("no room"); });
  BOOST_TEST(g.internal_test_rint("7") == 7);
  BOOST_TEST(lines == 1);
}

BOOST_AUTO_TEST_SUITE_END()
