// Packages of rpm from databases in memory. Those that rpm and SQLite make are in tests/images and
// tests/fuzz/test_rpm.py; these are the odd and the hostile ones.
#define BOOST_TEST_MODULE rpm
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <functional>
#include <guestkit/detail/files/partial_file.hpp>
#include <guestkit/detail/inspect/packages.hpp>
#include <guestkit/detail/inspect/rpm_database.hpp>
#include <guestkit/detail/inspect/rpm_header.hpp>
#include <guestkit/detail/inspect/rules.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../fuzz/rpm_packages.hpp"
#include "doubts.hpp"
#include "pretended_files.hpp"
#include "support.hpp"

using namespace guestkit;
using namespace guestkit::detail;
using namespace support;

namespace {

std::string big(std::uint64_t value, int count) {
  std::string bytes;
  for (int i = count - 1; i >= 0; --i) bytes += static_cast<char>(value >> (8 * i) & 255U);
  return bytes;
}

std::string little(std::uint64_t value, int count) {
  auto bytes = big(value, count);
  return {bytes.rbegin(), bytes.rend()};
}

std::string at_end(std::string bytes, std::size_t size) {
  return std::string(size - bytes.size(), '\0') + bytes;
}

std::string padded(std::string bytes, std::size_t size) {
  bytes.resize(size);
  return bytes;
}

/// A value in a header: 4 is a number of four bytes, 6 a string, 9 a translated one.
struct tag {
  std::uint32_t number, type;
  std::string value;
  std::uint32_t count = 1;
};

std::string header(const std::vector<tag>& tags) {
  std::string index, data;
  for (const auto& one : tags) {
    index += big(one.number, 4) + big(one.type, 4) + big(data.size(), 4) + big(one.count, 4);
    data += one.value;
  }
  return big(tags.size(), 4) + big(data.size(), 4) + index + data;
}

std::string text(const std::string& value) {
  return value + '\0';
}

std::string package(const std::string& name, const std::string& version = "1") {
  return header({{1000, 6, text(name)}, {1001, 6, text(version)}, {1002, 6, text("2")}});
}

InspectedApplication application_in(const std::string& blob) {
  return rpm_header(blob, blob.size()).application();
}

std::string names_in(const package_list& list) {
  std::string all;
  for (const auto& app : list.packages) all += app.name + '-' + app.version + ' ';
  return all;
}

// SQLite, with pages of 512 bytes.

std::string varint(std::uint64_t value) {
  std::string bytes(1, static_cast<char>(value & 127U));
  while (value >>= 7U) bytes.insert(0, 1, static_cast<char>((value & 127U) | 128U));
  return bytes;
}

std::string leaf(const std::vector<std::string>& cells, std::size_t head = 0) {
  std::string pointers, body;
  for (const auto& cell : cells) {
    body.insert(0, cell);
    pointers += big(512 - body.size(), 2);
  }
  const auto start = '\x0d' + big(0, 2) + big(cells.size(), 2) + big(0, 2) + '\0' + pointers;
  return start + at_end(body, 512 - head - start.size());
}

std::string row(std::uint64_t number, const std::string& blob) {
  const auto type = varint(12 + 2 * blob.size());
  const auto record = varint(2 + type.size()) + '\0' + type + blob;
  return varint(record.size()) + varint(number) + record;
}

std::string schema_row(std::uint64_t number, const std::string& type, const std::string& name, char root) {
  const auto record = std::string("\x06") + varint(13 + 2 * type.size()) + varint(13 + 2 * name.size()) +
                      varint(13 + 2 * name.size()) + '\x01' + varint(13) + type + name + name + root;
  return varint(record.size()) + varint(number) + record;
}

std::string sqlite(const std::vector<std::string>& schema, const std::string& pages, char version = 1) {
  std::string head("SQLite format 3\0", 16);
  head += big(512, 2) + version + version + padded("", 80);
  return head + leaf(schema, 100) + pages;
}

std::string sqlite(const std::string& pages, char version = 1) {
  return sqlite({schema_row(1, "table", "Packages", 2)}, pages, version);
}

/// A frame of a write-ahead log: a page, and whether it ends a transaction.
struct frame {
  std::uint32_t page;
  std::string content;
  bool is_last = true;
};

std::string log_of(const std::vector<frame>& frames) {
  std::uint32_t one = 0, two = 0;
  const auto add = [&](const std::string& bytes) {
    const auto word = [&](std::size_t at) {
      std::uint32_t value = 0;
      for (std::size_t i = 4; i > 0; --i) value = value << 8U | static_cast<unsigned char>(bytes[at + i - 1]);
      return value;
    };
    for (std::size_t at = 0; at < bytes.size(); at += 8) {
      one += word(at) + two;
      two += word(at + 4) + one;
    }
  };
  const auto salts = big(5, 4) + big(6, 4);
  auto log = big(0x377f0682, 4) + big(3007000, 4) + big(512, 4) + big(0, 4) + salts;
  add(log);
  log += big(one, 4) + big(two, 4);
  for (const auto& each : frames) {
    const auto start = big(each.page, 4) + big(each.is_last ? 2 : 0, 4);
    add(start);
    add(each.content);
    log += start + salts + big(one, 4) + big(two, 4) + each.content;
  }
  return log;
}

// ndb: slots in the first page, and blobs behind it.

std::string ndb(const std::vector<std::string>& blobs) {
  auto slots = "RpmP" + little(0, 4) + little(1, 4) + little(1, 4) + padded("", 16);
  std::string body;
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    const auto blob = padded("BlbS" + little(i + 1, 4) + little(1, 4) + little(blobs[i].size(), 4) + blobs[i],
                             (blobs[i].size() + 28 + 15) / 16 * 16);
    slots += "Slot" + little(i + 1, 4) + little((4096 + body.size()) / 16, 4) + little(blob.size() / 16, 4);
    body += blob;
  }
  while (slots.size() < 4096) slots += "Slot" + padded("", 12);
  return slots + body;
}

// Berkeley DB, with pages of 512 bytes and one bucket, which begins with page 1.

std::string bdb_page(std::uint32_t next, std::uint16_t count, std::uint16_t offset, char type,
                     const std::string& body) {
  return padded(padded("", 16) + little(next, 4) + little(count, 2) + little(offset, 2) + '\0' + type + body,
                512);
}

std::string bdb_items(const std::vector<std::string>& items, std::uint32_t next = 0) {
  std::string offsets, body;
  for (const auto& item : items) {
    body.insert(0, item);
    offsets += little(512 - body.size(), 2);
  }
  return bdb_page(next, static_cast<std::uint16_t>(items.size()), 0, 13,
                  offsets + at_end(body, 512 - 26 - offsets.size()));
}

std::string bdb_key(std::uint32_t number) {
  return '\x01' + little(number, 4);
}

std::string bdb_elsewhere(std::uint32_t page, std::size_t size) {
  return '\x03' + little(0, 3) + little(page, 4) + little(size, 4);
}

std::string bdb(const std::string& pages) {
  auto meta = padded("", 12) + little(0x061561, 4) + little(9, 4) + little(512, 4);
  meta = padded(meta + '\0' + '\x08', 96) + little(1, 4);
  return padded(meta, 512) + pages;
}

}  // namespace

// Headers.

BOOST_AUTO_TEST_CASE(a_header_gives_what_librpm_prints) {
  const auto app = application_in(header({{63, 7, "region", 6},
                                          {1000, 6, text("bash")},
                                          {1001, 6, text("5.2")},
                                          {1002, 6, text("1.el9")},
                                          {1003, 4, big(3, 4)},
                                          {1004, 9, text("the shell") + text("die Shell"), 2},
                                          {1020, 6, text("https://example.org")}}));
  BOOST_TEST(app.name == "bash");
  BOOST_TEST(app.version == "5.2");
  BOOST_TEST(app.release == "1.el9");
  BOOST_TEST(app.epoch == 3);
  BOOST_TEST(app.summary == "the shell");
  BOOST_TEST(app.description == "(none)");
  BOOST_TEST(app.arch == "(none)");
  BOOST_TEST(app.url == "https://example.org");
  BOOST_TEST(app.display_name == "");
}

BOOST_AUTO_TEST_CASE(of_a_large_header_only_the_beginning_is_needed) {
  const auto blob = header({{1000, 6, text("kernel")}, {1028, 4, std::string(1 << 20U, '\1'), 1 << 18U}});
  BOOST_TEST(rpm_header(blob.substr(0, 8), blob.size()).bytes_needed() == 40U);  // the index
  BOOST_TEST(rpm_header(blob.substr(0, 40), blob.size()).bytes_needed() == 47U);
  BOOST_TEST(rpm_header(blob.substr(0, 47), blob.size()).application().name == "kernel");
}

BOOST_AUTO_TEST_CASE(vendor_and_licence_cost_nothing_where_they_are_missing_or_odd) {
  const tag name{1000, 6, text("bash")};
  const auto app =
      application_in(header({name, {1011, 6, text("GNU")}, {1014, 6, text("GPL-3.0-or-later")}}));
  BOOST_TEST(app.publisher == "GNU");
  BOOST_TEST(app.license == "GPL-3.0-or-later");
  auto outside = header({name, {1014, 6, ""}});
  outside.replace(8 + 16 + 8, 4, big(1U << 30U, 4));
  for (const auto& blob :
       {header({name}), header({name, {1014, 4, big(3, 4)}}), header({name, {1014, 6, "GPL"}}), outside}) {
    const auto odd = application_in(blob);
    BOOST_TEST(odd.name == "bash");
    BOOST_TEST(odd.publisher.empty());
    BOOST_TEST(odd.license.empty());
  }
  // It would have to be read for its own sake.
  const auto late =
      header({name, {1028, 4, std::string(1U << 20U, '\1'), 1U << 18U}, {1014, 6, text("GPL")}});
  const auto needed = rpm_header(late, late.size()).bytes_needed();
  BOOST_TEST(needed < 100U);
  BOOST_TEST(rpm_header(late.substr(0, needed), late.size()).application().license.empty());
}

BOOST_AUTO_TEST_CASE(a_damaged_header_is_a_doubt_wherever_it_is_cut_or_changed) {
  const auto blob = header({{1000, 6, text("bash")}, {1003, 4, big(3, 4)}, {1004, 9, text("x")}});
  for (std::size_t size = 0; size < blob.size(); ++size)
    BOOST_TEST(doubt_in([&] { application_in(blob.substr(0, size)); }) != "", size);
  for (std::size_t at = 0; at < blob.size(); ++at) {
    auto changed = blob;
    changed[at] = '\xff';
    doubt_in([&] {
      if (rpm_header(changed, changed.size()).bytes_needed() <= changed.size()) application_in(changed);
    });
  }
  BOOST_TEST(doubt_in([&] { application_in(header({{1001, 6, text("1")}})); }) == "a header without a name");
  BOOST_TEST(doubt_in([&] {
               application_in(header({{1000, 4, big(1, 4)}}));
             }) == "a header with a text of another type");
  BOOST_TEST(doubt_in([&] {
               application_in(header({{1000, 6, "bash"}}));
             }) == "a header with a text without an end");
  BOOST_TEST(doubt_in([&] {
               application_in(header({{1000, 6, text("a")}, {1003, 6, text("b")}}));
             }) == "a header with an odd epoch");
  BOOST_TEST(doubt_in([&] {
               application_in(big(1, 4) + big(1, 4) + big(1000, 4) + big(6, 4) + big(5, 4) + big(1, 4) +
                              '\0');
             }) == "a header whose values lie outside of it");
  const auto endless = header({{1000, 6, std::string(9 << 20U, 'x')}});
  BOOST_TEST(
      has(doubt_in([&] { rpm_header(endless, endless.size()).bytes_needed(); }), "more than the 8388608"));
}

// Regression: a thousand headers of 65535 tags, each sorted several times, took a processor for 20 s.
BOOST_AUTO_TEST_CASE(a_header_of_many_tags_was_sorted_for_nothing) {
  std::vector<tag> tags(4096, {1028, 4, big(1, 4)});
  tags[0] = {1000, 6, text("bash")};
  BOOST_TEST(application_in(header(tags)).name == "bash");
  tags.push_back(tags.back());
  BOOST_TEST(doubt_in([&] { application_in(header(tags)); }) == "a header of 4097 tags");
}

// Reading in part.

BOOST_AUTO_TEST_CASE(a_file_is_fetched_in_growing_pieces_and_single_places_in_small_ones) {
  std::vector<std::pair<std::uint64_t, std::size_t>> fetched;
  const auto fetch = [&](std::uint64_t at, std::size_t count) {
    fetched.emplace_back(at, count);
    return std::string(count, static_cast<char>(at >> 20U));
  };
  constexpr std::uint64_t mega = 1U << 20U;
  partial_file whole(60 * mega, 1U << 30U, fetch);
  for (std::uint64_t at = 0; at < whole.size(); at += mega / 8)
    BOOST_TEST(whole.bytes(at, 5000).size() == 5000U);
  BOOST_TEST(fetched.size() < 40U);
  BOOST_TEST(fetched.back().first + fetched.back().second == 60 * mega);

  fetched.clear();
  partial_file apart(60 * mega, 1U << 30U, fetch);
  for (std::uint64_t at = 0; at < 60; at += 2)
    BOOST_TEST(apart.bytes(at * mega, 1)[0] == static_cast<char>(at));
  BOOST_TEST(fetched.size() == 30U);
  for (const auto& [at, count] : fetched) BOOST_TEST(count <= mega / 8);
}

BOOST_AUTO_TEST_CASE(no_more_is_read_than_there_is_or_than_is_allowed) {
  partial_file file(10'000, 1000, [](std::uint64_t, std::size_t count) { return std::string(count, 'x'); });
  BOOST_TEST(doubt_in([&] { file.bytes(9'999, 2); }) == "content beyond the end of the file");
  BOOST_TEST(doubt_in([&] { file.bytes(UINT64_MAX, 1); }) == "content beyond the end of the file");
  BOOST_TEST(has(doubt_in([&] { file.bytes(0, 1); }), "more content than the 1000 bytes"));
  partial_file shrunk(100, 1000, [](std::uint64_t, std::size_t) { return std::string(); });
  BOOST_TEST(doubt_in([&] { shrunk.bytes(0, 1); }) == "less content than its size tells");
}

// SQLite.

BOOST_AUTO_TEST_CASE(packages_of_one_name_come_in_the_reverse_of_the_order_of_rpm) {
  const auto list = packages_in('s', sqlite(leaf({row(1, package("kernel", "5")), row(2, package("bash")),
                                                  row(300, package("kernel", "6"))})));
  BOOST_TEST(names_in(list) == "bash-1 kernel-6 kernel-5 ");
  BOOST_TEST(list.left_out == 0U, list.reason);
}

BOOST_AUTO_TEST_CASE(a_damaged_row_costs_itself) {
  const auto list = packages_in('s', sqlite(leaf({row(1, "no header"), row(2, package("bash"))})));
  BOOST_TEST(names_in(list) == "bash-1 ");
  BOOST_TEST(list.left_out == 1U);
  BOOST_TEST(list.reason.starts_with("package 1 has a header of"), list.reason);
}

BOOST_AUTO_TEST_CASE(only_a_table_called_packages_has_packages) {
  const auto page = leaf({row(1, package("bash"))});
  for (const auto& other : {schema_row(1, "view", "Packages", 2), schema_row(1, "table", "packages", 2),
                            schema_row(1, "table", "Packages", 0)})
    BOOST_TEST(doubt_in([&] { packages_in('s', sqlite({other}, page)); }) == "no table of packages");
  BOOST_TEST(doubt_in([&] { packages_in('s', "SQLite format 3"); }) == "no header of SQLite");
  auto odd = sqlite(page);
  odd[16] = '\7';
  BOOST_TEST(doubt_in([&] { packages_in('s', odd); }) == "pages of 1792 bytes");
}

BOOST_AUTO_TEST_CASE(a_row_that_a_page_names_again_and_again_filled_the_memory) {
  const auto cell = row(1, package("same"));
  constexpr std::size_t count = 100;
  std::string pointers;
  for (std::size_t i = 0; i < count; ++i) pointers += big(512 - cell.size(), 2);
  const auto start = '\x0d' + big(0, 2) + big(count, 2) + big(0, 2) + '\0' + pointers;
  const auto list = packages_in('s', sqlite(start + at_end(cell, 512 - start.size())));
  BOOST_TEST(list.packages.size() < 512 / cell.size() + 1);
  BOOST_TEST(list.left_out == 1U);
  BOOST_TEST(list.reason.find("rows that overlap") != std::string::npos, list.reason);
}

BOOST_AUTO_TEST_CASE(texts_that_many_packages_share_filled_the_memory) {
  constexpr std::size_t size = std::size_t{1} << 20U, count = 100;
  std::string index;
  for (const std::uint32_t tag : {1000U, 1001U, 1002U, 1004U, 1005U, 1020U, 1022U})
    index += big(tag, 4) + big(6, 4) + big(0, 4) + big(1, 4);
  const auto blob = big(7, 4) + big(size + 1, 4) + index + std::string(size, 'x') + '\0';
  rpm_packages all;
  for (std::size_t i = 0; i < count; ++i)
    all.add({.order = static_cast<std::int64_t>(i), .size = blob.size(), .start = [&](std::size_t wanted) {
               return blob.substr(0, wanted);
             }});
  const auto list = all.sorted();
  BOOST_TEST(list.packages.size() < count / 4);
  BOOST_TEST(list.packages.size() + list.left_out == count);
}

BOOST_AUTO_TEST_CASE(a_tree_that_links_to_itself_has_an_end) {
  const auto inner = '\x05' + big(0, 2) + big(1, 2) + big(0, 2) + '\0' + big(3, 4) + big(500, 2);
  const auto to_itself = inner + at_end(big(2, 4) + '\1', 512 - inner.size());
  const auto list = packages_in('s', sqlite(to_itself + leaf({row(1, package("bash"))})));
  BOOST_TEST(names_in(list) == "bash-1 ");
  BOOST_TEST(list.left_out == 1U);
}

BOOST_AUTO_TEST_CASE(a_chain_of_pages_that_goes_round_ends_with_its_row) {
  const std::string blob = big(1, 4) + big(2'000'000'000, 4);
  const auto type = varint(12 + 2 * std::uint64_t{3'000'000'000});
  const auto record = varint(2 + type.size()) + '\0' + type + blob;
  auto cell = varint(3'000'000'007) + varint(1) + record;
  const std::uint64_t least = (512 - 12) * 32 / 255 - 23, rest = (3'000'000'007 - least) % 508;
  const auto here = least + rest <= 477 ? least + rest : least;
  cell = padded(cell, cell.size() - record.size() + here) + big(3, 4);
  const auto round = padded(big(3, 4), 512);
  const auto list = packages_in('s', sqlite(leaf({cell}) + round));
  BOOST_TEST(list.packages.empty());
  BOOST_TEST(list.left_out == 1U);
}

BOOST_AUTO_TEST_CASE(what_a_log_has_committed_counts_and_what_it_has_not_does_not) {
  const auto database = sqlite(leaf({row(1, package("old"))}), 2);
  const frame first{2, leaf({row(1, package("new"))})}, begun{2, leaf({row(1, package("begun"))}), false};
  BOOST_TEST(names_in(packages_in('s', database, log_of({first, begun}))) == "new-1 ");
  BOOST_TEST(names_in(packages_in('s', database, log_of({begun, first, begun}))) == "new-1 ");
  BOOST_TEST(names_in(packages_in('s', database, log_of({begun}))) == "old-1 ");
  auto damaged = log_of({first});
  damaged.back() = '\xff';
  BOOST_TEST(names_in(packages_in('s', database, damaged)) == "old-1 ");
  for (const auto size : {0U, 31U, 32U, 300U})
    BOOST_TEST(names_in(packages_in('s', database, damaged.substr(0, size))) == "old-1 ");
  // A database that does not use a log ignores what is left of one.
  BOOST_TEST(names_in(packages_in('s', sqlite(leaf({row(1, package("old"))})), log_of({first}))) == "old-1 ");
}

// ndb.

BOOST_AUTO_TEST_CASE(a_damaged_blob_costs_itself) {
  auto database = ndb({package("a"), package("b"), package("c"), package("d")});
  BOOST_TEST(names_in(packages_in('n', database)) == "a-1 b-1 c-1 d-1 ");
  database.replace(4096 + 96 + 12, 4, little(1 << 30U, 4));  // the size of the second
  const auto list = packages_in('n', database);
  BOOST_TEST(names_in(list) == "a-1 c-1 d-1 ");
  BOOST_TEST(list.reason == "package 2 has a blob that is cut off");
  BOOST_TEST(names_in(packages_in('n', database.substr(0, database.size() - 96))) == "a-1 c-1 ");
  database[32] = 'x';
  BOOST_TEST(doubt_in([&] { packages_in('n', database); }) == "a damaged slot");
  database[12] = '\0';
  BOOST_TEST(doubt_in([&] { packages_in('n', database); }) == "0 pages of slots");
  BOOST_TEST(doubt_in([&] { packages_in('n', "RpmP"); }) == "no header of ndb");
}

// Berkeley DB.

BOOST_AUTO_TEST_CASE(small_headers_lie_among_the_keys_and_large_ones_apart) {
  const auto large = package("large", std::string(600, '5'));
  const auto items = bdb_items({bdb_key(0), '\x01' + little(2, 4), bdb_key(1), '\x01' + package("small"),
                                bdb_key(2), bdb_elsewhere(2, large.size())});
  const auto first = bdb_page(3, 1, 486, 7, large.substr(0, 486)), rest = large.substr(486);
  const auto last = bdb_page(0, 1, static_cast<std::uint16_t>(rest.size()), 7, rest);
  const auto list = packages_in('b', bdb(items + first + last));
  BOOST_TEST(list.left_out == 0U, list.reason);
  BOOST_TEST(names_in(list) == "large-" + std::string(600, '5') + " small-1 ");
}

BOOST_AUTO_TEST_CASE(a_chain_of_a_hash_that_goes_round_has_an_end) {
  const auto items =
      bdb_items({bdb_key(1), '\x01' + package("a"), bdb_key(2), bdb_elsewhere(2, 5'000'000)}, 1);
  const auto round = bdb_page(2, 1, 486, 7, big(1, 4) + big(4'000'000, 4));
  const auto list = packages_in('b', bdb(items + round));
  BOOST_TEST(names_in(list) == "a-1 ");
  BOOST_TEST(list.left_out == 2U);
  BOOST_TEST(list.reason == "bucket 0 has a page that is linked twice");
  const auto empty = bdb_page(2, 1, 0, 7, "");
  BOOST_TEST(packages_in('b', bdb(items + empty)).left_out == 2U);
}

BOOST_AUTO_TEST_CASE(a_hash_of_another_kind_is_none_of_rpm) {
  const auto page = bdb_items({bdb_key(1), '\x01' + package("a")});
  BOOST_TEST(doubt_in([&] { packages_in('b', "short"); }) == "no header of Berkeley DB's hash");
  auto database = bdb(page);
  database[24] = 1;
  BOOST_TEST(has(doubt_in([&] { packages_in('b', database); }), "checksums"));
  database[24] = 0;
  database[75] = 1;
  BOOST_TEST(doubt_in([&] { packages_in('b', database); }) == "more buckets than pages");
  BOOST_TEST(packages_in('b', bdb(bdb_items({'\x01' + little(1, 7), '\x01' + package("a")}))).reason ==
             "bucket 0 has a key that is no number");
}

// The packages of a guest.

struct guest_with_rpm : pretended_files {
  std::string path = "/var/lib/rpm/rpmdb.sqlite";
  InspectedSystem system{.root = "/dev/sda1", .type = "linux", .package_format = "rpm"};
  string_list corrections = {};

  void read(const std::optional<std::string>& of_libguestfs) {
    system.applications.clear();
    system.failures.clear();
    corrections.clear();
    add_applications({*this}, system, of_libguestfs, corrections);
  }
};

BOOST_FIXTURE_TEST_CASE(packages_of_rpm_need_neither_rpm_nor_libguestfs, guest_with_rpm) {
  add({{path, '-' + sqlite(leaf({row(1, package("bash"))}), 2)}});
  for (const auto& of_libguestfs : {std::optional<std::string>(), std::optional<std::string>("unknown")}) {
    read(of_libguestfs);
    BOOST_TEST(system.applications_complete);
    BOOST_REQUIRE_EQUAL(system.applications.size(), 1U);
    BOOST_TEST(system.applications[0].name == "bash");
    BOOST_TEST(corrections.empty());
  }
}

// Regression: nothing looked for the end while the packages came from pages that had been fetched before.
BOOST_AUTO_TEST_CASE(a_cancelled_call_read_on_in_what_it_had_of_a_database, PATIENCE) {
  struct : guest_with_rpm {
    buffer pread(const std::string& name, int count, std::int64_t offset) override {
      g.cancel();
      return guest_with_rpm::pread(name, count, offset);
    }
  } guest;
  guest.add({{guest.path, '-' + sqlite(leaf({row(1, package("bash"))}), 2)}});
  const call_scope whole(guest.state(), "inspect");
  BOOST_CHECK_EXCEPTION(guest.read(std::nullopt), Error,
                        [](const Error& error) { return error.error_number() == EINTR; });
}

BOOST_FIXTURE_TEST_CASE(where_libguestfs_fails_its_packages_are_read_all_the_same, guest_with_rpm) {
  add({{path, '-' + sqlite(leaf({row(1, package("bash"))}))}});
  read("rpm");  // there is no appliance
  BOOST_TEST(system.applications.size() == 1U);
  BOOST_TEST(system.applications_complete);
  BOOST_REQUIRE_EQUAL(corrections.size(), 1U);
  BOOST_TEST(has(corrections[0], "applications: libguestfs failed: "), corrections[0]);
  add({{"/usr/lib/rpm/macros", "p"}});
  read("rpm");
  BOOST_TEST(system.applications.size() == 1U);
  BOOST_REQUIRE_EQUAL(corrections.size(), 1U);
  BOOST_TEST(corrections[0] ==
             "applications: libguestfs was not asked: librpm would find no end, since "
             "/usr/lib/rpm/macros is a FIFO");
}

BOOST_FIXTURE_TEST_CASE(a_database_that_nobody_can_read_says_both_reasons, guest_with_rpm) {
  add({{path, "-this is no database"}});
  BOOST_TEST(doubt_in([&] { read(std::nullopt); }) == "packages of the format rpm: no header of SQLite");
  read("unknown");
  BOOST_TEST(support::text(system.failures) ==
             "applications: the package database /var/lib/rpm/rpmdb.sqlite has no header of SQLite\n");
  read("rpm");
  const auto told = support::text(system.failures);
  BOOST_TEST(has(told, "has no header of SQLite; libguestfs failed: "), told);
  BOOST_TEST(!system.applications_complete);
}

BOOST_FIXTURE_TEST_CASE(what_lies_beside_a_database_may_be_anything, guest_with_rpm) {
  add({{path, '-' + sqlite(leaf({row(1, package("bash"))}), 2)}, {path + "-wal", "p"}});
  BOOST_TEST(has(doubt_in([&] { read(std::nullopt); }), "rpmdb.sqlite-wal is a FIFO"));
  files[path + "-wal"] = '-' + log_of({{2, leaf({row(1, package("zsh"))})}});
  read(std::nullopt);
  BOOST_TEST(system.applications.at(0).name == "zsh");
  files[path + "-wal"] = "-";
  files[path + "-journal"] = "-x";
  BOOST_TEST(has(doubt_in([&] { read(std::nullopt); }), "a transaction that was not finished"));
  files.erase(path);
  add({{"/usr/lib/sysimage/rpm/Index.db", "-"}});
  BOOST_TEST(has(doubt_in([&] { read(std::nullopt); }), "an index alone"));
}
