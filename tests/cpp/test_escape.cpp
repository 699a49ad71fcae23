// escape.hpp: makes a guest's text safe for a terminal.
#define BOOST_TEST_MODULE escape
#include <boost/test/unit_test.hpp>
#include <guestkit/detail/base/escape.hpp>
#include <string>

namespace detail = guestkit::detail;
using guestkit::printable;

BOOST_AUTO_TEST_CASE(escape_sequences_become_visible) {
  BOOST_TEST(printable("a\x1b[31m\n") == "a\\x1b[31m\\x0a");
  BOOST_TEST(printable("a\r\n\a", true) == "a\r\n\\x07");
  BOOST_TEST(printable("\x7f\xff") == "\\x7f\\xff");
}

BOOST_AUTO_TEST_CASE(a_message_shows_no_control_character) {
  BOOST_TEST(detail::in_quotes("a\x1b[31m\n") == "\"a\\x1b[31m\\x0a\"");
  BOOST_TEST(detail::in_quotes("\x7f") == "\"\\x7f\"");
  BOOST_TEST(detail::excerpt("\x1b[2J\xff") == "\"\\x1b[2J\\xff\"");
}

// Regression: only control characters of ASCII were escaped in the name of an image's backing file.
BOOST_AUTO_TEST_CASE(a_name_turned_the_direction_of_writing_in_a_message) {
  BOOST_TEST(detail::in_quotes("a\u0085\u009b2J") == "\"a\\xc2\\x85\\xc2\\x9b2J\"");
  BOOST_TEST(detail::in_quotes("\u202egnp") == "\"\\xe2\\x80\\xaegnp\"");
  for (const auto* hidden : {"\u200b", "\u2028", "\u2066", "\u2069", "\ufeff", "\U000e0041"}) {
    const auto told = detail::shown(hidden);
    BOOST_TEST(told.starts_with("\"\\x"), told);
    BOOST_TEST(told.find_first_not_of("\"\\x0123456789abcdef") == std::string::npos, told);
  }
  BOOST_TEST(detail::shown("/srv/日本語-é-\U0001F4BE.img") == "/srv/日本語-é-\U0001F4BE.img");
}

// Regression: a terminal in Latin-1 takes the byte 9b for the beginning of a sequence.
BOOST_AUTO_TEST_CASE(bytes_that_are_no_utf8_reached_a_message) {
  BOOST_TEST(detail::in_quotes("\x9b"
                               "2J") == "\"\\x9b2J\"");
  for (const std::string odd : {"\x80", "\xc3", "\xc3(", "\xe2\x80", "\xc1\x9b", "\xe0\x82\x9b",
                                "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"})
    BOOST_TEST(detail::in_quotes(odd) == '"' + guestkit::printable(odd) + '"');
}

BOOST_AUTO_TEST_CASE(a_long_name_is_not_cut_in_the_middle_of_a_character) {
  BOOST_TEST(detail::in_quotes(std::string(199, 'x') + "é" + "y") == '"' + std::string(199, 'x') + "…\"");
  BOOST_TEST(detail::in_quotes(std::string(198, 'x') + "é") == '"' + std::string(198, 'x') + "é\"");
  BOOST_TEST(detail::in_quotes(std::string(300, '\x80')).ends_with("\\x80…\""));
}

BOOST_AUTO_TEST_CASE(a_message_shows_the_begin_of_a_long_text) {
  BOOST_TEST(detail::in_quotes(std::string(1000, 'x')) == '"' + std::string(200, 'x') + "…\"");
  BOOST_TEST(detail::excerpt(std::string(1000, 'x')) == '"' + std::string(120, 'x') + "…\"");
}

BOOST_AUTO_TEST_CASE(a_plain_name_of_a_file_needs_no_quotation_marks) {
  BOOST_TEST(detail::shown("/srv/Käse disk.img") == "/srv/Käse disk.img");
  BOOST_TEST(detail::shown("/srv/a\nb") == "\"/srv/a\\x0ab\"");
  BOOST_TEST(detail::shown("/srv/\xff.img") == "/srv/\xff.img");  // no terminal obeys it
  BOOST_TEST(detail::shown("") == "''");
}
