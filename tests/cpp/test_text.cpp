#define BOOST_TEST_MODULE text
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <guestkit/detail/base/lines.hpp>
#include <guestkit/detail/base/text.hpp>
#include <guestkit/detail/base/utf16.hpp>
#include <string>
#include <string_view>
#include <vector>

using namespace guestkit::detail;

BOOST_AUTO_TEST_CASE(lines_and_words_are_taken_away_from_a_text) {
  std::string_view text = "one two\n\n three\tfour \nfive";
  BOOST_TEST(take_until(text, '\n') == "one two");
  BOOST_TEST(take_until(text, '\n').empty());
  auto line = take_until(text, '\n');
  BOOST_TEST(take_word(line) == "three");
  BOOST_TEST(take_word(line) == "four");
  BOOST_TEST(take_word(line).empty());
  BOOST_TEST(take_until(text, '\n') == "five");
  BOOST_TEST(text.empty());
}

BOOST_AUTO_TEST_CASE(only_ascii_has_capitals) {
  BOOST_TEST(in_lower_case("AZ@[`{ \xc4\xdcz") == "az@[`{ \xc4\xdcz");
}

// Regression: in a locale of Latin-1, a group of LVM's could have a name with bytes above 127.
BOOST_AUTO_TEST_CASE(only_ascii_has_letters_and_digits) {
  int count = 0;
  for (int byte = 0; byte < 256; ++byte) count += is_ascii_alnum(static_cast<char>(byte)) ? 1 : 0;
  BOOST_TEST(count == 26 + 26 + 10);
  BOOST_TEST((is_ascii_alnum('a') && is_ascii_alnum('Z') && is_ascii_alnum('0') && is_ascii_alnum('9')));
}

BOOST_AUTO_TEST_CASE(a_number_is_digits_and_fits) {
  std::uint64_t number = 1;
  BOOST_TEST((read_number("0", number) && number == 0U));
  BOOST_TEST((read_number("18446744073709551600", number) && number == 18446744073709551600U));
  for (const auto* odd : {"", "max", "-1", "1x", " 1", "18446744073709551616", "99999999999999999999"})
    BOOST_TEST(!read_number(odd, number), odd);
}

BOOST_AUTO_TEST_CASE(a_number_of_a_file_may_be_negative_and_is_nothing_else) {
  BOOST_TEST(number_of("-12").value() == -12);
  BOOST_TEST(number_of("0012").value() == 12);
  for (const auto* odd : {"", "-", "+1", "1 ", "0x1", "9223372036854775808"})
    BOOST_TEST(!number_of(odd).has_value(), odd);
}

BOOST_AUTO_TEST_CASE(assignments_lose_their_quotes_and_the_last_one_counts) {
  const auto values =
      assignments("# A=comment\n A = \"a \\\"b\\\"\" \r\nB='$x\\y'\nC=\"half\nno line\nC=last\n=\n");
  BOOST_TEST(value_or_empty(values, "A") == "a \"b\"");
  BOOST_TEST(value_or_empty(values, "B") == "$x\\y");
  BOOST_TEST(value_or_empty(values, "C") == "last");
  BOOST_TEST(value_or_empty(values, "D").empty());
}

BOOST_AUTO_TEST_CASE(an_ini_file_keeps_what_stands_twice_in_its_section) {
  const auto ini = sections("before=1\n[a]\n; comment\nkey = 1\nkey=2\n[b]\nkey=3\n[\n]\n=\n");
  BOOST_REQUIRE_EQUAL(ini.size(), 3U);
  BOOST_TEST(ini[0].second.count("before") == 1U);
  BOOST_TEST(ini[1].first == "a");
  BOOST_TEST(ini[1].second.count("key") == 2U);
  BOOST_TEST(ini[2].second.find("key")->second == "3");
  BOOST_TEST(last_of(ini[1].second, "key") == "2");
  BOOST_TEST(last_of(ini[1].second, "none") == "");
  const auto twice = sections("[a]\nkey=1\nkey=2\n[b]\nkey=3\n[a]\nother=4\n[a]\nkey=5\n[a]\n");
  BOOST_TEST(twice.size() == 6U);
  BOOST_TEST(last_of(twice, "a", "key") == "5");
  BOOST_TEST(last_of(twice, "b", "key") == "3");
  BOOST_TEST(last_of(twice, "c", "key") == "");
}

BOOST_AUTO_TEST_CASE(utf16_is_either_wholly_converted_or_none) {
  using namespace std::string_view_literals;
  BOOST_TEST(utf8_of_utf16("a\0\xe9\0\xac\x20\x3d\xd8\x00\xde"sv).value() ==
             "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  BOOST_TEST(utf8_of_utf16("\0a\xd8\x3d\xde\x00"sv, byte_order::big).value() == "a\xf0\x9f\x98\x80");
  for (const auto odd : {"a"sv, "\x3d\xd8"sv, "\x3d\xd8 \0"sv, "\x00\xde\x3d\xd8"sv, "\x3d\xd8\x3d\xd8"sv})
    BOOST_TEST(!utf8_of_utf16(odd).has_value());
  BOOST_TEST(utf16_before_nul("a\0\0b\0\0\x3d\xd8"sv) == "a\0\0b"sv);
  BOOST_TEST(utf16_before_nul("a\0b"sv) == "a\0"sv);
}
