#define BOOST_TEST_MODULE callback
#include <boost/test/unit_test.hpp>
#include <functional>
#include <guestkit/detail/base/callback.hpp>
#include <memory>
#include <stdexcept>
#include <string>

using guestkit::callback;

namespace {

int twice(int number) {
  return 2 * number;
}

struct accumulator {
  int sum = 0;
  int operator()(int number) { return sum += number; }
};

using number_callback = callback<int(int)>;
using text_callback = callback<void(const std::string&)>;
static_assert(std::is_convertible_v<std::function<int(int)>, number_callback>);
static_assert(std::is_convertible_v<number_callback, std::function<int(int)>>);
static_assert(std::is_convertible_v<std::nullptr_t, number_callback>);
static_assert(!std::is_convertible_v<std::function<int(std::string)>, number_callback>);
static_assert(!std::is_convertible_v<std::function<std::string(int)>, number_callback>);
static_assert(!std::is_convertible_v<int, number_callback>);

}  // namespace

BOOST_AUTO_TEST_CASE(whatever_can_be_called_is_taken) {
  const int factor = 3;
  BOOST_TEST(number_callback(twice)(4) == 8);
  BOOST_TEST(number_callback(&twice)(4) == 8);
  BOOST_TEST(number_callback([&](int number) { return factor * number; })(4) == 12);
  BOOST_TEST(number_callback(std::function<int(int)>(twice))(4) == 8);
  BOOST_TEST(number_callback([](long number) { return static_cast<short>(number); })(4) == 4);
  auto only_moved = [kept = std::make_unique<int>(7)](int) { return *kept; };
  BOOST_TEST(number_callback(std::move(only_moved))(0) == 7);
}

BOOST_AUTO_TEST_CASE(arguments_are_passed_as_they_are_declared_and_a_result_may_be_dropped) {
  std::string heard;
  const text_callback append = [&](const std::string& text) -> std::string& { return heard += text; };
  append("a");
  append("b");
  BOOST_TEST(heard == "ab");
  const callback<std::size_t(std::unique_ptr<std::string>)> takes = [](std::unique_ptr<std::string> text) {
    return text->size();
  };
  BOOST_TEST(takes(std::make_unique<std::string>("abc")) == 3U);
}

BOOST_AUTO_TEST_CASE(what_is_empty_stays_empty_and_throws_when_it_is_called) {
  int (*const no_function)(int) = nullptr;
  for (const auto& empty : {number_callback(), number_callback(nullptr), number_callback(no_function),
                            number_callback(std::function<int(int)>())}) {
    BOOST_TEST(!empty);
    BOOST_TEST((empty == nullptr));
    BOOST_CHECK_THROW(empty(1), std::logic_error);
  }
  number_callback filled = twice;
  BOOST_TEST(static_cast<bool>(filled));
  filled = nullptr;
  BOOST_TEST(!filled);
}

BOOST_AUTO_TEST_CASE(copies_share_what_they_hold_and_the_last_one_ends_it) {
  const number_callback one = accumulator();
  const number_callback two = one;  // NOLINT(performance-unnecessary-copy-initialization)
  one(3);
  BOOST_TEST(two(4) == 7);
  auto alive = std::make_shared<int>();
  const std::weak_ptr<int> seen = alive;
  {
    const number_callback holding = [alive = std::move(alive)](int) { return 0; };
    BOOST_TEST(!seen.expired());
  }
  BOOST_TEST(seen.expired());
}

BOOST_AUTO_TEST_CASE(what_it_throws_comes_out) {
  BOOST_CHECK_THROW(number_callback([](int) -> int { throw std::range_error("x"); })(1), std::range_error);
}
