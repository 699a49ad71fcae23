// appliance/storage.hpp: what the lean /init finds on block devices, by the places that the programs use.
#define BOOST_TEST_MODULE storage
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "../../appliance/storage.hpp"

namespace {

using appliance::Contents;

constexpr std::uint64_t megabytes_8 = 8 << 20;

/// What is found on a device that has these bytes there, and is otherwise empty.
Contents found(std::uint64_t at, std::string_view bytes, std::uint64_t size = megabytes_8) {
  std::string device(size, '\0');
  device.replace(at, bytes.size(), bytes);
  constexpr std::size_t start = 72 << 10, end = 192 << 10;
  return appliance::contents_in(std::string_view(device).substr(0, start),
                                std::string_view(device).substr(device.size() - std::min(device.size(), end)),
                                size);
}

constexpr std::string_view md("\xfc\x4e\x2b\xa9", 4);

}  // namespace

BOOST_AUTO_TEST_CASE(a_label_of_lvm_may_be_in_each_of_four_sectors) {
  for (const std::uint64_t at : {0U, 512U, 1024U, 1536U}) BOOST_TEST(found(at, "LABELONE").lvm, at);
  BOOST_TEST(!found(2048, "LABELONE").lvm);
  BOOST_TEST(!found(256, "LABELONE").lvm);
}

BOOST_AUTO_TEST_CASE(each_version_of_md_has_its_place) {
  // md(4): 1.1 and 1.2; 1.0 is 8 to 12 kilobytes, and 0.90 64 to 128 before the end.
  for (const std::uint64_t size : {megabytes_8, megabytes_8 + 512, megabytes_8 + 65536 + 1024}) {
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{4096}, (size / 512 - 16) / 8 * 8 * 512,
                                   size / 65536 * 65536 - 65536})
      BOOST_TEST(found(at, md, size).md, size << " bytes, at " << at);
    BOOST_TEST(!found(8192, md, size).md);
  }
  BOOST_TEST(found(megabytes_8 - 65536, "\xa9\x2b\x4e\xfc").md);
}

BOOST_AUTO_TEST_CASE(arrays_of_firmware_are_found_at_the_end) {
  BOOST_TEST(found(megabytes_8 - 512, "\xde\x11\xde\x11").md);
  BOOST_TEST(found(megabytes_8 - 257 * 512, "\xde\x11\xde\x11").md);
  for (const std::uint64_t sector : {512U, 4096U})
    BOOST_TEST(found(megabytes_8 - 2 * sector, "Intel Raid ISM Cfg Sig. 1.3.00").md);
}

BOOST_AUTO_TEST_CASE(a_table_of_partitions_is_known_by_its_entries) {
  std::string table(512, '\0');
  table.replace(510, 2, "\x55\xaa");
  BOOST_TEST(!found(0, table).table);
  table[446 + 48 + 4] = '\x83';
  BOOST_TEST(found(0, table).table);
}

BOOST_AUTO_TEST_CASE(dynamic_disks_are_known_by_their_partitions) {
  for (const std::uint64_t entry : {0U, 1U, 2U, 3U}) {
    std::string table(512, '\0');
    table.replace(446 + 16 * entry + 4, 1, "\x42");
    BOOST_TEST(!found(0, table).ldm);
    table.replace(510, 2, "\x55\xaa");
    BOOST_TEST(found(0, table).ldm, entry);
  }
  constexpr std::string_view metadata("\xaa\xc8\x08\x58\x8f\x7e\xe0\x42\x85\xd2\xe1\xe9\x04\x34\xcf\xb3", 16);
  for (const std::uint64_t sector : {512U, 4096U}) BOOST_TEST(found(2 * sector + 128, metadata).ldm, sector);
}

BOOST_AUTO_TEST_CASE(a_device_of_any_size_is_never_read_beyond) {
  for (const std::uint64_t size :
       {0U, 1U, 511U, 512U, 4096U, 65535U, 65536U, 65537U, 65600U, 73728U, 131072U, 196608U}) {
    const Contents none = found(0, "", size);
    BOOST_TEST((!none.lvm && !none.md && !none.ldm && !none.btrfs), size);
    BOOST_TEST(appliance::contents_in("", "", size).md == false, size);
  }
}
