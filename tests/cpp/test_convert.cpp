// convert.hpp: every kind of argument and of result, in both directions. libguestfs' internal_test calls
// write what they received to a file, and return what they were asked for; they need no appliance.
#define BOOST_TEST_MODULE convert
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <guestkit/guestkit.hpp>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "support.hpp"

using namespace std::string_literals;
using namespace std::string_view_literals;
using guestkit::buffer;
using guestkit::buffer_view;
using guestkit::cstr;
using guestkit::cstr_list;
using guestkit::Error;
using guestkit::Guestfs;
using guestkit::PV;
using guestkit::string_list;

using support::recorder;

namespace {

/// The line of internal_test's output for each argument.
enum line { str, optstr, strlist, boolean, integer, integer64, filein, fileout, bufferin };

/// What libguestfs received for one argument; the values of the others do not matter.
std::string received_str(cstr value) {
  recorder r;
  r.g.internal_test(value, std::nullopt, {}, false, 0, 0, "", "", "");
  return r.lines().at(str);
}
std::string received_optstr(std::optional<cstr> value) {
  recorder r;
  r.g.internal_test("", value, {}, false, 0, 0, "", "", "");
  return r.lines().at(optstr);
}
std::string received_strlist(const cstr_list& value) {
  recorder r;
  r.g.internal_test("", std::nullopt, value, false, 0, 0, "", "", "");
  return r.lines().at(strlist);
}
std::string received_bool(bool value) {
  recorder r;
  r.g.internal_test("", std::nullopt, {}, value, 0, 0, "", "", "");
  return r.lines().at(boolean);
}
std::string received_int(int value) {
  recorder r;
  r.g.internal_test("", std::nullopt, {}, false, value, 0, "", "", "");
  return r.lines().at(integer);
}
std::string received_int64(std::int64_t value) {
  recorder r;
  r.g.internal_test("", std::nullopt, {}, false, 0, value, "", "", "");
  return r.lines().at(integer64);
}
std::string received_filein(cstr value) {
  recorder r;
  r.g.internal_test("", std::nullopt, {}, false, 0, 0, value, "", "");
  return r.lines().at(filein);
}
std::string received_fileout(cstr value) {
  recorder r;
  r.g.internal_test("", std::nullopt, {}, false, 0, 0, "", value, "");
  return r.lines().at(fileout);
}
std::string received_bufferin(buffer_view value) {
  recorder r;
  r.g.internal_test("", std::nullopt, {}, false, 0, 0, "", "", value);
  return r.lines().at(bufferin);
}

/// A buffer in internal_test's output.
std::string written(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    std::array<char, 16> hex{};
    std::snprintf(hex.data(), hex.size(), "<%02x>", static_cast<unsigned>(static_cast<int>(byte)));
    text += hex.data();
  }
  return text;
}

std::string every_byte(int first) {
  std::string bytes;
  for (int byte = first; byte < 256; ++byte) bytes += static_cast<char>(byte);
  return bytes;
}

/// Exposes to the test the function that every method calls.
struct opened : Guestfs {
  opened() : Guestfs({.environment = false}) {}
  using Guestfs::invoke;
};

char* made_by_c = nullptr;

}  // namespace

BOOST_AUTO_TEST_SUITE(text_argument)

static_assert(std::is_convertible_v<const char*, cstr>);
static_assert(std::is_convertible_v<std::string, cstr>);
static_assert(std::is_convertible_v<std::filesystem::path, cstr>);
static_assert(!std::is_constructible_v<cstr, std::string_view>, "it may have no NUL at its end");
static_assert(!std::is_constructible_v<cstr, int>);
static_assert(!std::is_constructible_v<cstr, char>);
static_assert(!std::is_constructible_v<cstr, std::vector<std::string>>);

BOOST_AUTO_TEST_CASE(a_text_arrives) {
  BOOST_TEST(received_str("abc") == "abc");
  BOOST_TEST(received_str("def"s) == "def");
  BOOST_TEST(received_str("") == "");
}

BOOST_AUTO_TEST_CASE(a_path_arrives) {
  BOOST_TEST(received_str(std::filesystem::path("/a") / "b c") == "/a/b c");
}

BOOST_AUTO_TEST_CASE(a_text_argument_is_a_view) {
  const std::string text = "abc";
  const std::filesystem::path path = "/abc";
  BOOST_CHECK(cstr(text).c_str() == text.c_str());
  BOOST_CHECK(cstr(path).c_str() == path.c_str());
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_utf8_go_in_and_come_back) {
  Guestfs g({.environment = false});
  const std::string bytes = every_byte(1);
  g.set_program(bytes);
  BOOST_TEST(g.get_program() == bytes);
  g.set_program(std::filesystem::path("/\xff\xfe"));
  BOOST_TEST(g.get_program() == "/\xff\xfe");
}

BOOST_AUTO_TEST_CASE(a_nul_inside_a_text_throws_invalid_argument) {
  for (const auto& text : {"a\0b"s, "\0"s, "a\0"s}) BOOST_CHECK_THROW(cstr{text}, std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(a_nul_inside_a_path_throws_invalid_argument) {
  BOOST_CHECK_THROW(cstr{std::filesystem::path("a\0b"s)}, std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(a_null_pointer_throws_invalid_argument) {
  const char* null = nullptr;
  BOOST_CHECK_THROW(cstr{null}, std::invalid_argument);
}

// Regression: set_append(nullptr), after documentation that said "null for none", threw at run time.
static_assert(!std::is_constructible_v<cstr, std::nullptr_t>);
static_assert(!std::is_convertible_v<std::nullptr_t, std::optional<cstr>>);
static_assert(!std::is_constructible_v<buffer_view, std::nullptr_t>);

BOOST_AUTO_TEST_CASE(a_call_with_a_bad_text_never_reaches_libguestfs) {
  Guestfs g({.environment = false});
  g.set_program("before");
  const char* null = nullptr;
  BOOST_CHECK_THROW(g.set_program("after\0"s), std::invalid_argument);
  BOOST_CHECK_THROW(g.set_program(null), std::invalid_argument);
  BOOST_TEST(g.get_program() == "before");
}

BOOST_AUTO_TEST_CASE(an_optional_text_arrives_or_is_null) {
  BOOST_TEST(received_optstr(std::nullopt) == "null");
  BOOST_TEST(received_optstr("") == "");
  BOOST_TEST(received_optstr("abc") == "abc");
  BOOST_TEST(received_optstr("def"s) == "def");
  BOOST_TEST(received_optstr(std::filesystem::path("/ghi")) == "/ghi");
}

BOOST_AUTO_TEST_CASE(a_null_pointer_as_an_optional_text_throws_invalid_argument) {
  const char* null = nullptr;
  BOOST_CHECK_THROW(received_optstr(null), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(the_name_of_a_host_file_arrives) {
  BOOST_TEST(received_filein("/in") == "/in");
  BOOST_TEST(received_fileout("/out") == "/out");
  BOOST_TEST(received_filein(std::filesystem::path("/in \xff")) == "/in \xff");
  BOOST_TEST(received_fileout(std::filesystem::path("/out \xff")) == "/out \xff");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(list_argument)

static_assert(std::is_convertible_v<string_list, cstr_list>);
static_assert(!std::is_convertible_v<std::string, cstr_list>, "a text is no list of one");
static_assert(!std::is_convertible_v<const char*, cstr_list>);

BOOST_AUTO_TEST_CASE(an_empty_list_arrives) {
  BOOST_TEST(received_strlist({}) == "[]");
  BOOST_TEST(received_strlist(string_list{}) == "[]");
}

BOOST_AUTO_TEST_CASE(a_list_of_anything_that_is_text_arrives) {
  BOOST_TEST(received_strlist({"a"}) == R"(["a"])");
  BOOST_TEST(received_strlist({"a", "b"}) == R"(["a", "b"])");  // not a pair of iterators
  BOOST_TEST(received_strlist({"a", "b"s, std::filesystem::path("/c"), ""}) == R"(["a", "b", "/c", ""])");
}

BOOST_AUTO_TEST_CASE(a_vector_arrives) {
  const string_list texts{"x", "", "\xff", "y z"};
  BOOST_TEST(received_strlist(texts) == "[\"x\", \"\", \"\xff\", \"y z\"]");
  BOOST_TEST(received_strlist(cstr_list(std::vector<cstr>{"p", "q"})) == R"(["p", "q"])");
}

BOOST_AUTO_TEST_CASE(many_texts_arrive) {
  string_list texts;
  std::string expected = "[";
  for (int i = 0; i < 10'000; ++i) {
    texts.push_back(std::to_string(i));
    expected += (i == 0 ? "\"" : ", \"") + texts.back() + "\"";
  }
  BOOST_CHECK(received_strlist(texts) == expected + "]");  // BOOST_TEST would print it
}

BOOST_AUTO_TEST_CASE(a_list_is_a_view_that_ends_in_null) {
  const string_list texts{"a", "b"};
  const cstr_list list(texts);
  BOOST_TEST(list.size() == 2U);
  BOOST_CHECK(list.c_strv()[0] == texts[0].c_str());
  BOOST_CHECK(list.c_strv()[1] == texts[1].c_str());
  BOOST_CHECK(list.c_strv()[2] == nullptr);
  BOOST_TEST(cstr_list(string_list{}).size() == 0U);
  BOOST_CHECK(cstr_list(string_list{}).c_strv()[0] == nullptr);
}

BOOST_AUTO_TEST_CASE(a_bad_text_in_a_list_throws_invalid_argument) {
  BOOST_CHECK_THROW(cstr_list(string_list{"a", "b\0c"s}), std::invalid_argument);
  const char* null = nullptr;
  BOOST_CHECK_THROW((cstr_list{"a", null}), std::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(number_argument)

BOOST_AUTO_TEST_CASE(a_bool_arrives) {
  BOOST_TEST(received_bool(true) == "true");
  BOOST_TEST(received_bool(false) == "false");
}

BOOST_AUTO_TEST_CASE(an_int_arrives_up_to_its_limits) {
  for (const int n : {0, 1, -1, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()})
    BOOST_TEST(received_int(n) == std::to_string(n));
}

BOOST_AUTO_TEST_CASE(an_int64_arrives_up_to_its_limits) {
  using limits = std::numeric_limits<std::int64_t>;
  for (const std::int64_t n :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 32, limits::min(), limits::max()})
    BOOST_TEST(received_int64(n) == std::to_string(n));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(buffer_argument)

static_assert(std::is_convertible_v<std::string, buffer_view>);
static_assert(std::is_convertible_v<std::string_view, buffer_view>);
static_assert(std::is_convertible_v<const char*, buffer_view>);
static_assert(std::is_convertible_v<std::vector<unsigned char>, buffer_view>);
static_assert(std::is_convertible_v<std::span<const std::byte>, buffer_view>);
static_assert(std::is_convertible_v<std::span<std::uint8_t, 4>, buffer_view>);
static_assert(std::is_convertible_v<buffer, buffer_view>);
static_assert(!std::is_constructible_v<buffer_view, std::span<const int>>, "the order of its bytes differs");
static_assert(!std::is_constructible_v<buffer_view, std::vector<char16_t>>);
static_assert(!std::is_constructible_v<buffer_view, int>);

BOOST_AUTO_TEST_CASE(bytes_arrive_from_each_kind_of_holder) {
  const auto bytes = "\0\x01\xfe\xff"sv;
  const std::string text(bytes);
  const std::vector<unsigned char> numbers{0x00, 0x01, 0xfe, 0xff};
  const std::vector<std::byte> raw{std::byte{0x00}, std::byte{0x01}, std::byte{0xfe}, std::byte{0xff}};
  std::array<std::uint8_t, 4> fixed{0x00, 0x01, 0xfe, 0xff};
  BOOST_TEST(received_bufferin(bytes) == written(bytes));
  BOOST_TEST(received_bufferin(text) == written(bytes));
  BOOST_TEST(received_bufferin(numbers) == written(bytes));
  BOOST_TEST(received_bufferin(raw) == written(bytes));
  BOOST_TEST(received_bufferin(std::span<const std::byte>(raw)) == written(bytes));
  BOOST_TEST(received_bufferin(std::span<std::uint8_t, 4>(fixed)) == written(bytes));
  BOOST_TEST(received_bufferin("a literal") == written("a literal"));
}

BOOST_AUTO_TEST_CASE(every_byte_arrives) {
  BOOST_TEST(received_bufferin(every_byte(0)) == written(every_byte(0)));
}

BOOST_AUTO_TEST_CASE(empty_bytes_arrive) {
  BOOST_TEST(received_bufferin("") == "");
  BOOST_TEST(received_bufferin(std::string()) == "");
}

BOOST_AUTO_TEST_CASE(empty_bytes_without_memory_arrive) {  // libguestfs takes no null pointer
  BOOST_TEST(received_bufferin(std::vector<unsigned char>()) == "");
  BOOST_TEST(received_bufferin(std::string_view()) == "");
  BOOST_TEST(received_bufferin(std::span<const std::byte>()) == "");
  BOOST_TEST(received_bufferin(buffer()) == "");
}

BOOST_AUTO_TEST_CASE(a_buffer_argument_is_a_view) {
  const std::vector<unsigned char> bytes{1, 2, 3};
  const buffer_view view(bytes);
  BOOST_CHECK(static_cast<const void*>(view.data()) == bytes.data());
  BOOST_TEST(view.size() == 3U);
}

BOOST_AUTO_TEST_CASE(a_result_goes_in_again_as_an_argument) {
  Guestfs g({.environment = false});
  const buffer bytes = g.internal_test_rbufferout("abc");
  BOOST_TEST(received_bufferin(bytes) == written("abc"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(results, *boost::unit_test::description("each kind: its values and its error"))

#define FAILS(call)                                           \
  BOOST_CHECK_EXCEPTION(g.call(), Error, [](const Error& e) { \
    BOOST_TEST(e.op() == #call);                              \
    BOOST_TEST(e.message() == "error");                       \
    return e.error_number() == 0;                             \
  })

struct handle {
  Guestfs g{guestkit::HandleOptions{.environment = false}};
};

BOOST_FIXTURE_TEST_CASE(a_bool, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rbool("")), bool>);
  BOOST_TEST(g.internal_test_rbool("true") == true);
  BOOST_TEST(g.internal_test_rbool("false") == false);
  FAILS(internal_test_rboolerr);
}

BOOST_FIXTURE_TEST_CASE(an_int_up_to_its_limits, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rint("")), int>);
  for (const int n : {0, 1, -2, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()})
    BOOST_TEST(g.internal_test_rint(std::to_string(n)) == n);
  FAILS(internal_test_rinterr);
}

BOOST_FIXTURE_TEST_CASE(an_int64_up_to_its_limits, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rint64("")), std::int64_t>);
  using limits = std::numeric_limits<std::int64_t>;
  for (const std::int64_t n :
       {std::int64_t{0}, std::int64_t{-2}, std::int64_t{1} << 32, limits::min(), limits::max()})
    BOOST_TEST(g.internal_test_rint64(std::to_string(n)) == n);
  FAILS(internal_test_rint64err);
}

BOOST_FIXTURE_TEST_CASE(a_string, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rstring("")), std::string>);
  BOOST_TEST(g.internal_test_rstring("") == "");
  BOOST_TEST(g.internal_test_rstring("abc") == "abc");
  BOOST_TEST(g.internal_test_rstring(every_byte(1)) == every_byte(1));
  FAILS(internal_test_rstringerr);
}

BOOST_FIXTURE_TEST_CASE(a_const_string_is_copied, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rconststring("")), std::string>);
  BOOST_TEST(g.internal_test_rconststring("abc") == "static string");
  g.set_program("before");
  const std::string program = g.get_program();
  g.set_program("after");  // frees what C returned
  BOOST_TEST(program == "before");
  FAILS(internal_test_rconststringerr);
}

BOOST_FIXTURE_TEST_CASE(a_const_opt_string_is_a_text_or_nothing_and_never_an_error, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rconstoptstring("")), std::optional<std::string>>);
  BOOST_CHECK(g.internal_test_rconstoptstring("abc") == "static string");
  BOOST_CHECK(g.internal_test_rconstoptstringerr() == std::nullopt);
}

BOOST_FIXTURE_TEST_CASE(a_list_from_none_to_many, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rstringlist("")), string_list>);
  BOOST_CHECK(g.internal_test_rstringlist("0") == string_list{});
  BOOST_CHECK(g.internal_test_rstringlist("1") == string_list{"0"});
  BOOST_CHECK((g.internal_test_rstringlist("3") == string_list{"0", "1", "2"}));
  const auto many = g.internal_test_rstringlist("10000");
  BOOST_TEST(many.size() == 10'000U);
  BOOST_TEST(many.back() == "9999");
  FAILS(internal_test_rstringlisterr);
}

BOOST_FIXTURE_TEST_CASE(a_hashtable_from_none_to_many, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rhashtable("")), guestkit::hashtable>);
  BOOST_CHECK(g.internal_test_rhashtable("0") == guestkit::hashtable{});
  BOOST_CHECK((g.internal_test_rhashtable("2") == guestkit::hashtable{{"0", "0"}, {"1", "1"}}));
  const auto many = g.internal_test_rhashtable("1000");
  BOOST_TEST(many.size() == 1000U);
  BOOST_TEST(many.at("999") == "999");
  FAILS(internal_test_rhashtableerr);
}

BOOST_AUTO_TEST_CASE(a_hashtable_takes_keys_and_values_in_turn) {  // internal_test's are equal
  opened g;
  const auto table = g.invoke<guestkit::hashtable>(
                          "fake",
                          +[](guestfs_h*) {
                            auto** const list = static_cast<char**>(std::calloc(5, sizeof(char*)));
                            const char* const texts[] = {"uuid", "1234", "label", ""};
                            for (std::size_t i = 0; i < 4; ++i) list[i] = ::strdup(texts[i]);
                            return list;
                          })
                         .lift();
  BOOST_CHECK((table == guestkit::hashtable{{"uuid", "1234"}, {"label", ""}}));
}

BOOST_FIXTURE_TEST_CASE(a_struct_with_every_column, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rstruct("")), PV>);
  const PV pv = g.internal_test_rstruct("");
  BOOST_TEST(pv.pv_name == "pv0");
  BOOST_TEST(pv.pv_uuid == "12345678901234567890123456789012");  // 32 bytes without a NUL after them
  BOOST_TEST(pv.pv_fmt == "unknown");
  BOOST_TEST(pv.pv_size == 0U);
  BOOST_TEST(pv.pv_attr == "attr0");
  BOOST_TEST(pv.pv_tags == "tag0");
  FAILS(internal_test_rstructerr);
}

BOOST_FIXTURE_TEST_CASE(a_struct_list_from_none_to_many, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rstructlist("")), std::vector<PV>>);
  BOOST_TEST(g.internal_test_rstructlist("0").empty());
  const auto pvs = g.internal_test_rstructlist("1000");
  BOOST_TEST(pvs.size() == 1000U);
  std::uint64_t i = 0;
  for (const PV& pv : pvs) {
    const std::string n = std::to_string(i);
    const auto count = static_cast<std::int64_t>(i);
    BOOST_TEST(pv.pv_name == "pv" + n);
    BOOST_TEST(pv.pv_uuid == "12345678901234567890123456789012");
    BOOST_TEST(pv.pv_fmt == "unknown");
    BOOST_TEST(pv.pv_size == i);
    BOOST_TEST(pv.dev_size == i);
    BOOST_TEST(pv.pv_free == i);
    BOOST_TEST(pv.pv_used == i);
    BOOST_TEST(pv.pv_attr == "attr" + n);
    BOOST_TEST(pv.pv_pe_count == count);
    BOOST_TEST(pv.pv_pe_alloc_count == count);
    BOOST_TEST(pv.pv_tags == "tag" + n);
    BOOST_TEST(pv.pe_start == i);
    BOOST_TEST(pv.pv_mda_count == count);
    BOOST_TEST(pv.pv_mda_free == i);
    ++i;
  }
  FAILS(internal_test_rstructlisterr);
}

BOOST_FIXTURE_TEST_CASE(a_buffer, handle) {
  static_assert(std::is_same_v<decltype(g.internal_test_rbufferout("")), buffer>);
  const buffer bytes = g.internal_test_rbufferout("abc");
  BOOST_TEST(bytes.view() == "abc");
  BOOST_TEST(bytes.size() == 3U);
  BOOST_TEST(!bytes.empty());
  BOOST_TEST(std::string(bytes.begin(), bytes.end()) == "abc");
  BOOST_TEST(bytes.bytes().size() == 3U);
  BOOST_CHECK(bytes.bytes()[2] == std::byte{'c'});
  BOOST_TEST(g.internal_test_rbufferout("").empty());
  BOOST_TEST(g.internal_test_rbufferout(every_byte(1)).view() == every_byte(1));
  FAILS(internal_test_rbufferouterr);
}

BOOST_FIXTURE_TEST_CASE(nothing_but_success, handle) {
  static_assert(std::is_same_v<decltype(g.set_memsize(0)), void>);
  BOOST_CHECK_NO_THROW(g.set_memsize(1024));
  BOOST_CHECK_EXCEPTION(g.set_memsize(1), Error, [](const Error& e) { return e.op() == "set_memsize"; });
  BOOST_TEST(g.get_memsize() == 1024);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(memory)

static_assert(!std::is_copy_constructible_v<buffer>, "a copy of 64 MB must be asked for");
static_assert(std::is_nothrow_move_constructible_v<buffer>);
static_assert(std::is_nothrow_move_assignable_v<buffer>);

BOOST_AUTO_TEST_CASE(a_buffer_is_the_very_memory_that_c_returned) {
  opened g;
  const buffer bytes = g.invoke<buffer>(
                            "fake",
                            +[](guestfs_h*, std::size_t* size) {
                              made_by_c = static_cast<char*>(std::malloc(5));
                              std::memcpy(made_by_c, "a\0b\0c", 5);
                              *size = 5;
                              return made_by_c;
                            })
                           .lift();
  BOOST_CHECK(bytes.data() == made_by_c);
  BOOST_TEST(bytes.view() == "a\0b\0c"sv);
}

BOOST_AUTO_TEST_CASE(a_buffer_keeps_its_memory_when_it_moves) {
  Guestfs g({.environment = false});
  buffer first = g.internal_test_rbufferout("abc");
  const char* const memory = first.data();
  buffer second = std::move(first);
  BOOST_CHECK(second.data() == memory);
  BOOST_TEST(second.view() == "abc");
  first = std::move(second);
  BOOST_CHECK(first.data() == memory);
  BOOST_TEST(first.view() == "abc");
}

BOOST_AUTO_TEST_CASE(a_buffer_that_was_moved_from_is_empty) {
  Guestfs g({.environment = false});
  buffer first = g.internal_test_rbufferout("abc");
  const buffer second = std::move(first);
  BOOST_TEST(first.size() == 0U);  // NOLINT: use after move is the test
  BOOST_TEST(first.empty());
  BOOST_CHECK(first.begin() == first.end());
}

BOOST_AUTO_TEST_CASE(a_buffer_of_nothing_is_empty) {
  const buffer bytes;
  BOOST_TEST(bytes.empty());
  BOOST_TEST(bytes.view() == "");
  BOOST_TEST(bytes.bytes().empty());
}

BOOST_AUTO_TEST_CASE(a_result_that_nobody_converts_is_freed) {  // or sanitizers and valgrind report it
  opened g;
  const cstr five("5");
  g.invoke<std::string>("x", guestfs_internal_test_rstring, five);
  g.invoke<string_list>("x", guestfs_internal_test_rstringlist, five);
  g.invoke<guestkit::hashtable>("x", guestfs_internal_test_rhashtable, five);
  g.invoke<buffer>("x", guestfs_internal_test_rbufferout, five);
  g.invoke<PV>("x", guestfs_internal_test_rstruct, five);
  g.invoke<std::vector<PV>>("x", guestfs_internal_test_rstructlist, five);
}

BOOST_AUTO_TEST_CASE(a_result_can_be_read_where_c_put_it) {
  opened g;
  const cstr two("2");
  BOOST_TEST(g.invoke<std::string>("x", guestfs_internal_test_rstring, two).c_str() == "2");
  const auto list = g.invoke<string_list>("x", guestfs_internal_test_rstringlist, two);
  BOOST_TEST(list.get().size() == 2U);
  BOOST_TEST(list.get()[1] == "1");
  const auto table = g.invoke<guestkit::hashtable>("x", guestfs_internal_test_rhashtable, two);
  BOOST_TEST(table.get().size() == 4U);
  BOOST_TEST(table.get()[3] == "1");
  BOOST_TEST(g.invoke<buffer>("x", guestfs_internal_test_rbufferout, two).get().view() == "2");
  BOOST_TEST(g.invoke<PV>("x", guestfs_internal_test_rstruct, two).get().pv_name == "pv0");
  const auto pvs = g.invoke<std::vector<PV>>("x", guestfs_internal_test_rstructlist, two);
  BOOST_TEST(pvs.get().size() == 2U);
  BOOST_TEST(pvs.get()[1].pv_name == "pv1");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(fields,
                      *boost::unit_test::description("kinds of columns that internal_test does not return"))

BOOST_AUTO_TEST_CASE(each_column_comes_from_its_own) {  // internal_test sets several to the same value
  std::string name = "name", fmt = "fmt", attr = "attr", tags = "tags";
  guestfs_lvm_pv c{};
  c.pv_name = name.data();
  std::memcpy(c.pv_uuid, "uuid", 4);
  c.pv_fmt = fmt.data();
  c.pv_size = 1;
  c.dev_size = 2;
  c.pv_free = 3;
  c.pv_used = 4;
  c.pv_attr = attr.data();
  c.pv_pe_count = -5;
  c.pv_pe_alloc_count = -6;
  c.pv_tags = tags.data();
  c.pe_start = std::numeric_limits<std::uint64_t>::max();
  c.pv_mda_count = std::numeric_limits<std::int64_t>::min();
  c.pv_mda_free = 7;
  const PV pv = guestkit::detail::lift_struct<PV>(c);
  BOOST_TEST(pv.pv_name == "name");
  BOOST_TEST(pv.pv_uuid == "uuid");
  BOOST_TEST(pv.pv_fmt == "fmt");
  BOOST_TEST(pv.pv_size == 1U);
  BOOST_TEST(pv.dev_size == 2U);
  BOOST_TEST(pv.pv_free == 3U);
  BOOST_TEST(pv.pv_used == 4U);
  BOOST_TEST(pv.pv_attr == "attr");
  BOOST_TEST(pv.pv_pe_count == -5);
  BOOST_TEST(pv.pv_pe_alloc_count == -6);
  BOOST_TEST(pv.pv_tags == "tags");
  BOOST_TEST(pv.pe_start == std::numeric_limits<std::uint64_t>::max());
  BOOST_TEST(pv.pv_mda_count == std::numeric_limits<std::int64_t>::min());
  BOOST_TEST(pv.pv_mda_free == 7U);
}

BOOST_AUTO_TEST_CASE(a_null_text_is_empty) {
  guestfs_dirent c{};
  BOOST_TEST(guestkit::detail::lift_struct<guestkit::Dirent>(c).name == "");
}

BOOST_AUTO_TEST_CASE(a_char_stays_a_char) {
  std::string name = "usr";
  guestfs_dirent c{};
  c.ino = -1;
  c.ftyp = 'd';
  c.name = name.data();
  const auto entry = guestkit::detail::lift_struct<guestkit::Dirent>(c);
  BOOST_TEST(entry.ino == -1);
  BOOST_TEST(entry.ftyp == 'd');
  BOOST_TEST(entry.name == "usr");
}

BOOST_AUTO_TEST_CASE(a_percentage_that_does_not_apply_is_nothing) {
  guestfs_lvm_lv c{};
  c.snap_percent = -1;
  c.copy_percent = 0;
  const auto lv = guestkit::detail::lift_struct<guestkit::LV>(c);
  BOOST_CHECK(lv.snap_percent == std::nullopt);
  BOOST_CHECK(lv.copy_percent == 0.0F);
  c.copy_percent = 99.5F;
  BOOST_CHECK(guestkit::detail::lift_struct<guestkit::LV>(c).copy_percent == 99.5F);
}

BOOST_AUTO_TEST_CASE(a_fixed_array_ends_at_its_nul_or_at_its_end) {
  guestfs_lvm_lv c{};
  std::memcpy(c.lv_uuid, "short", 5);
  BOOST_TEST(guestkit::detail::lift_struct<guestkit::LV>(c).lv_uuid == "short");
  std::memset(c.lv_uuid, 'u', sizeof c.lv_uuid);
  BOOST_TEST(guestkit::detail::lift_struct<guestkit::LV>(c).lv_uuid == std::string(32, 'u'));
}

BOOST_AUTO_TEST_CASE(bytes_keep_their_nuls) {
  std::string name = "user.a";
  std::string value = "a\0b\xff"s;
  guestfs_xattr c{};
  c.attrname = name.data();
  c.attrval = value.data();
  c.attrval_len = static_cast<std::uint32_t>(value.size());
  const auto xattr = guestkit::detail::lift_struct<guestkit::XAttr>(c);
  BOOST_TEST(xattr.attrname == "user.a");
  BOOST_TEST(xattr.attrval == value);
}

BOOST_AUTO_TEST_CASE(bytes_of_length_zero_are_empty) {
  BOOST_TEST(guestkit::detail::lift_struct<guestkit::XAttr>(guestfs_xattr{}).attrval == "");
}

BOOST_AUTO_TEST_SUITE_END()
