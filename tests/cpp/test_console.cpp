// console.hpp: the last lines of the console, within bounds.
#define BOOST_TEST_MODULE console
#include <boost/test/unit_test.hpp>
#include <guestkit/detail/state/console.hpp>
#include <string>
#include <vector>

using guestkit::detail::console_ring;
using Lines = std::vector<std::string>;

BOOST_AUTO_TEST_CASE(pieces_become_lines) {
  console_ring ring;
  ring.add("fir");
  ring.add("st\r\n\nsecond\nthi");
  BOOST_TEST(ring.lines() == (Lines{"first", "second", "thi"}), boost::test_tools::per_element());
  ring.add_line("rd");
  ring.add_line("fourth");
  BOOST_TEST(ring.lines() == (Lines{"first", "second", "third", "fourth"}), boost::test_tools::per_element());
  ring.clear();
  BOOST_TEST(ring.lines().empty());
}

BOOST_AUTO_TEST_CASE(a_guest_that_writes_without_end_fills_no_memory) {
  console_ring ring;
  ring.add(std::string(10'000, 'x'));
  BOOST_TEST(ring.lines().front().size() == console_ring::longest_line);
  for (int i = 0; i < 1000; ++i) ring.add_line(std::to_string(i));
  BOOST_TEST(ring.lines().size() == console_ring::most_lines);
  BOOST_TEST(ring.lines().front() == "800");
  BOOST_TEST(ring.lines().back() == "999");
}

BOOST_AUTO_TEST_CASE(the_beginning_of_a_line_was_one_more_than_the_most) {
  console_ring ring;
  for (int i = 0; i < 1000; ++i) ring.add_line(std::to_string(i));
  ring.add("1000 and");
  BOOST_TEST(ring.lines().size() == console_ring::most_lines);
  BOOST_TEST(ring.lines().front() == "801");
  BOOST_TEST(ring.lines().back() == "1000 and");
}

BOOST_AUTO_TEST_CASE(a_secret_is_in_no_line_however_it_comes) {
  console_ring ring;
  ring.hide("p/w d");
  ring.hide("");
  ring.add("user p/");
  const auto completed = ring.add("w d!\nhttp://u:p%2Fw%20d@host\np/w d");
  BOOST_TEST(completed == (Lines{"user ***!", "http://u:***@host"}), boost::test_tools::per_element());
  BOOST_TEST(ring.lines() == (Lines{"user ***!", "http://u:***@host", "***"}),
             boost::test_tools::per_element());
  BOOST_TEST(ring.redacted("p/w d and p/w d") == "*** and ***");
}

BOOST_AUTO_TEST_CASE(the_beginning_of_a_secret_stayed_where_a_long_line_was_cut) {
  console_ring ring;
  ring.hide("secret");
  const std::string before(console_ring::longest_line - 3, 'x');
  ring.add(before + "secret and more");
  BOOST_TEST(ring.lines() == Lines{before + "***"}, boost::test_tools::per_element());
  ring.add("\n");
  BOOST_TEST(ring.lines() == Lines{before + "***"}, boost::test_tools::per_element());
}
