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

BOOST_AUTO_TEST_CASE(a_message_shows_the_begin_of_a_long_text) {
  BOOST_TEST(detail::in_quotes(std::string(1000, 'x')) == '"' + std::string(200, 'x') + "…\"");
  BOOST_TEST(detail::excerpt(std::string(1000, 'x')) == '"' + std::string(120, 'x') + "…\"");
}

BOOST_AUTO_TEST_CASE(a_plain_name_of_a_file_needs_no_quotation_marks) {
  BOOST_TEST(detail::shown("/srv/Käse disk.img") == "/srv/Käse disk.img");
  BOOST_TEST(detail::shown("/srv/a\nb") == "\"/srv/a\\x0ab\"");
  BOOST_TEST(detail::shown("") == "''");
}
