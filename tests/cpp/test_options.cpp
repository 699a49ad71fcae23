// Optional arguments: those that are given arrive, the others stay unset.
#define BOOST_TEST_MODULE options
#include <unistd.h>

#include <bit>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <guestkit/guestkit.hpp>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "support.hpp"

using namespace std::string_literals;
using guestkit::Guestfs;
using guestkit::string_list;
using Options = guestkit::InternalTestOptions;
using Options63 = guestkit::InternalTest63OptargsOptions;
using Lines = std::vector<std::string>;

static_assert(std::is_aggregate_v<Options>);
static_assert(std::is_aggregate_v<Options63>);
static_assert(std::is_aggregate_v<guestkit::AddDriveOptions>);

using support::recorder;

namespace {

/// The options that libguestfs received: a line for each of the five.
Lines received(const Options& options) {
  recorder r;
  r.g.internal_test("", std::nullopt, {}, false, 0, 0, "", "", "", options);
  Lines lines = r.lines();
  BOOST_REQUIRE(lines.size() == 14U);
  return {lines.begin() + 9, lines.end()};
}

const Lines unset{"obool: unset", "oint: unset", "oint64: unset", "ostring: unset", "ostringlist: unset"};

/// The five lines if only one option is given.
Lines only(std::size_t number, const std::string& line) {
  Lines lines = unset;
  lines.at(number) = line;
  return lines;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(kinds)

BOOST_AUTO_TEST_CASE(options_that_are_not_given_are_unset) {
  BOOST_TEST(received({}) == unset, boost::test_tools::per_element());
  recorder r;
  r.g.internal_test("", std::nullopt, {}, false, 0, 0, "", "", "");
  BOOST_TEST(r.lines().at(9) == "obool: unset");
}

BOOST_AUTO_TEST_CASE(a_bool_arrives_and_false_is_given) {
  BOOST_TEST(received({.obool = true}) == only(0, "obool: true"), boost::test_tools::per_element());
  BOOST_TEST(received({.obool = false}) == only(0, "obool: false"), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_int_arrives_up_to_its_limits_and_zero_is_given) {
  for (const int n : {0, 1, -1, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()})
    BOOST_TEST(received({.oint = n}) == only(1, "oint: " + std::to_string(n)),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_int64_arrives_up_to_its_limits_and_zero_is_given) {
  using limits = std::numeric_limits<std::int64_t>;
  for (const std::int64_t n : {std::int64_t{0}, std::int64_t{1} << 32, limits::min(), limits::max()})
    BOOST_TEST(received({.oint64 = n}) == only(2, "oint64: " + std::to_string(n)),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_text_arrives_and_an_empty_one_is_given) {
  for (const auto& text : {"abc"s, ""s, "\xff\xfe"s})
    BOOST_TEST(received({.ostring = text}) == only(3, "ostring: " + text), boost::test_tools::per_element());
  BOOST_TEST(received({.ostring = "literal"}) == only(3, "ostring: literal"),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_path_arrives_as_a_text) {
  BOOST_TEST(received({.ostring = std::filesystem::path("/a") / "b"}) == only(3, "ostring: /a/b"),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_list_arrives_and_an_empty_one_is_given) {
  BOOST_TEST(received({.ostringlist = string_list{}}) == only(4, "ostringlist: []"),
             boost::test_tools::per_element());
  BOOST_TEST(received({.ostringlist = string_list{"a", "", "\xff"}}) ==
                 only(4, "ostringlist: [\"a\", \"\", \"\xff\"]"),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(all_kinds_arrive_at_once) {
  const Lines expected{"obool: true", "oint: -1", "oint64: 4294967296", "ostring: abc",
                       "ostringlist: [\"x\", \"y\"]"};
  BOOST_TEST(received({.obool = true,
                       .oint = -1,
                       .oint64 = std::int64_t{1} << 32,
                       .ostring = "abc",
                       .ostringlist = string_list{"x", "y"}}) == expected,
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_option_can_be_taken_back) {
  Options options{.oint = 1, .ostring = "abc"};
  options.oint.reset();
  BOOST_TEST(received(options) == only(3, "ostring: abc"), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(options_can_be_used_again) {
  const Options options{.ostring = "abc", .ostringlist = string_list{"a", "b"}};
  BOOST_TEST(received(options) == received(options), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_option_of_a_call_that_takes_nothing_else_arrives) {
  recorder r;
  r.g.internal_test_only_optargs({.test = -7});
  r.g.internal_test_only_optargs();
  const Lines expected{"test: -7", "test: unset"};
  BOOST_TEST(r.lines() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_nul_inside_a_text_or_a_list_throws_invalid_argument) {
  BOOST_CHECK_THROW(received({.ostring = "a\0b"s}), std::invalid_argument);
  BOOST_CHECK_THROW(received({.ostringlist = string_list{"a", "b\0"s}}), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(the_options_of_a_renamed_call_reach_it) {  // in C: guestfs_add_drive_opts_argv
  Guestfs g({.environment = false});
  BOOST_CHECK_EXCEPTION(g.add_drive("/dev/null", {.format = "no,comma"}), guestkit::Error,
                        [](const guestkit::Error& e) {
                          BOOST_TEST(e.op() == "add_drive");
                          return e.message().find("format") != std::string::npos;
                        });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(sixty_three)

/// Passes the options for which wanted(number) is true, each with its number as value.
Lines received_where(auto wanted) {
  Options63 options;
  int number = 0;
  Options63::each([&](const char*, auto member, auto, std::uint64_t) {
    if (wanted(++number)) options.*member = number;
  });
  BOOST_TEST(number == 63);
  recorder r;
  r.g.internal_test_63_optargs(options);
  return r.lines();
}

Lines expected_where(auto wanted) {
  Lines lines;
  for (int number = 1; number <= 63; ++number)
    lines.push_back("opt" + std::to_string(number) + ": " +
                    (wanted(number) ? std::to_string(number) : "unset"));
  return lines;
}

BOOST_AUTO_TEST_CASE(none_of_sixty_three_is_set) {
  const auto none = [](int) { return false; };
  BOOST_TEST(received_where(none) == expected_where(none), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(all_sixty_three_arrive) {
  const auto all = [](int) { return true; };
  BOOST_TEST(received_where(all) == expected_where(all), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(every_other_one_arrives) {
  const auto odd = [](int number) { return number % 2 == 1; };
  BOOST_TEST(received_where(odd) == expected_where(odd), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(each_alone_arrives) {
  for (int one = 1; one <= 63; ++one) {
    const auto alone = [one](int number) { return number == one; };
    BOOST_TEST(received_where(alone) == expected_where(alone), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_designator_names_the_option_that_arrives) {
  recorder r;
  r.g.internal_test_63_optargs({.opt1 = 10, .opt33 = 330, .opt63 = 630});
  Lines expected = expected_where([](int) { return false; });
  expected[0] = "opt1: 10";
  expected[32] = "opt33: 330";
  expected[62] = "opt63: 630";
  BOOST_TEST(r.lines() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(each_option_has_a_name_and_a_bit_of_its_own) {
  std::set<std::string> names;
  std::uint64_t bits = 0;
  Options63::each([&](const char* name, auto, auto, std::uint64_t bit) {
    BOOST_TEST(std::popcount(bit) == 1);
    BOOST_TEST((bits & bit) == 0U);
    bits |= bit;
    names.insert(name);
  });
  BOOST_TEST(names.size() == 63U);
  BOOST_TEST(bits == (std::uint64_t{1} << 63) - 1);
}

BOOST_AUTO_TEST_SUITE_END()
