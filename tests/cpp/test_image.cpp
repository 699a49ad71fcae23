// image.hpp: truncated, contradictory or absurd headers. tests/python/test_images.py compares the reading of
// valid ones with qemu-img.
#define BOOST_TEST_MODULE image
#include <sys/mman.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <ctime>
#include <functional>
#include <guestkit/detail/image/read.hpp>
#include <guestkit/detail/image/vhd.hpp>
#include <guestkit/detail/image/vhdx.hpp>
#include <guestkit/image.hpp>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using guestkit::Error;
using guestkit::ImageInfo;
using guestkit::detail::image_block;
using guestkit::detail::image_file;
using guestkit::detail::unique_fd;
namespace detail = guestkit::detail;

namespace {

/// The bytes of an image, for a test to damage.
struct image {
  std::string bytes;

  image& put(std::size_t at, std::string_view text) {
    if (bytes.size() < at + text.size()) bytes.resize(at + text.size());
    bytes.replace(at, text.size(), text);
    return *this;
  }
  image& be(std::size_t at, std::size_t size, std::uint64_t value) {
    std::string number(size, '\0');
    for (std::size_t i = 0; i < size; ++i) number[size - 1 - i] = static_cast<char>(value >> (8 * i) & 255U);
    return put(at, number);
  }
  image& le(std::size_t at, std::size_t size, std::uint64_t value) {
    std::string number(size, '\0');
    for (std::size_t i = 0; i < size; ++i) number[i] = static_cast<char>(value >> (8 * i) & 255U);
    return put(at, number);
  }
  image& cut(std::size_t size) {
    bytes.resize(size);
    return *this;
  }
};

ImageInfo probe(const image& given, std::optional<std::string_view> format = {}) {
  unique_fd fd(::memfd_create("image", MFD_CLOEXEC));
  BOOST_REQUIRE(::write(fd.get(), given.bytes.data(), given.bytes.size()) ==
                static_cast<ssize_t>(given.bytes.size()));
  return detail::read_image(image_file("probe", std::move(fd), "disk"), format);
}

/// The message of the refusal; empty if there is none.
std::string refusal(const image& given, std::optional<std::string_view> format = {}) {
  try {
    probe(given, format);
  } catch (const Error& e) {
    BOOST_TEST(e.op() == "probe");
    BOOST_TEST(e.error_number() == EINVAL);
    BOOST_TEST(e.message().starts_with("disk: "));
    return e.message().substr(6);
  }
  return "";
}

/// A way to damage a good image, and the error expected for it.
struct fault {
  std::function<void(image&)> spoil;
  std::string said;
};

void check(const std::function<image()>& good, const std::vector<fault>& faults) {
  BOOST_TEST(refusal(good()) == "");
  for (const auto& fault : faults) {
    image bad = good();
    fault.spoil(bad);
    BOOST_TEST(refusal(bad) == fault.said);
  }
}

std::string invalid(std::string_view format, std::string_view what) {
  return "is no valid " + std::string(format) + " image: " + std::string(what);
}
std::string truncated(std::string_view format, std::string_view what) {
  return "is a truncated " + std::string(format) +
         " image: part of the file is missing: " + std::string(what);
}

constexpr std::size_t cluster = 65536;

/// Version 3, 64 MiB, clusters of 64 KiB, one entry in the L1 table.
image qcow2() {
  image i;
  i.put(0, "QFI\xfb").be(4, 4, 3).be(20, 4, 16).be(24, 8, 64U << 20U).be(36, 4, 1).be(40, 8, 3 * cluster);
  i.be(48, 8, cluster).be(56, 4, 1).be(96, 4, 4).be(100, 4, 104);
  return i.be(4 * cluster - 1, 1, 0);
}

image qcow1() {
  image i;
  i.put(0, "QFI\xfb").be(4, 4, 1).be(24, 8, 1U << 20U).be(32, 1, 12).be(33, 1, 9).be(40, 8, 48);
  return i.be(511, 1, 0);
}

image with_backing(const std::string& name) {
  return qcow2().be(8, 8, 512).be(16, 4, name.size()).put(512, name);
}

image descriptor(const std::string& lines) {
  return image().put(0, "# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\n" + lines);
}

image sparse_vmdk() {
  image i;
  i.put(0, "KDMV").le(4, 4, 1).le(12, 8, 2048).le(20, 8, 128).le(28, 8, 1).le(36, 8, 20).le(44, 4, 512);
  i.le(56, 8, 21).le(64, 8, 128).put(512, "# Disk DescriptorFile\ncreateType=\"monolithicSparse\"\n");
  return i.le(65535, 1, 0);
}

image vdi() {
  image i;
  i.le(64, 4, 0xbeda107f).le(68, 4, 0x10001).le(76, 4, 1).le(340, 4, 512).le(344, 4, 1024).le(360, 4, 512);
  return i.le(368, 8, 1U << 20U).le(376, 4, 1U << 20U).le(384, 4, 1).le(1023, 1, 0);
}

image& sum(image& i, std::size_t at, std::size_t size, std::size_t place) {
  const auto value = detail::vhd::checksum({i.bytes.substr(at, size), at}, place);
  return i.be(at + place, 4, value);
}

image vhd() {
  image i;
  i.put(0, "conectix").be(12, 4, 0x10000).be(16, 8, 512).put(28, "win ").be(48, 8, 1U << 20U).be(60, 4, 3);
  i.be(511, 1, 0).put(512, "cxsparse").be(528, 8, 1536).be(540, 4, 1).be(544, 4, 2U << 20U).be(2047, 1, 0);
  sum(i, 512, 1024, 36);
  return sum(i, 0, 512, 64);
}

image& crc(image& i, std::size_t at, std::size_t size) {
  return i.le(at + 4, 4, detail::vhdx::checksum({i.bytes.substr(at, size), at}));
}

constexpr std::size_t kib = 1024, mib = 1024 * kib;

image vhdx() {
  image i;
  i.put(0, "vhdxfile").le(3 * mib - 1, 1, 0);
  i.put(64 * kib, "head").le(64 * kib + 8, 8, 7).le(64 * kib + 66, 2, 1);
  i.put(192 * kib, "regi").le(192 * kib + 8, 4, 2);
  i.put(192 * kib + 16, detail::vhdx::metadata_region).le(192 * kib + 32, 8, mib).le(192 * kib + 40, 4, mib);
  i.put(192 * kib + 48, detail::vhdx::table_region).le(192 * kib + 64, 8, 2 * mib).le(192 * kib + 72, 4, mib);
  i.put(mib, "metadata").le(mib + 10, 2, 4);
  std::size_t at = mib + 32, offset = 64 * kib;
  using namespace detail::vhdx;
  for (const auto& guid : {parameters_item, size_item, sector_item, parent_item}) {
    i.put(at, guid).le(at + 16, 4, offset).le(at + 20, 4, guid == parent_item ? 64 : 8);
    at += 32;
    offset += 64;
  }
  i.le(mib + 64 * kib, 4, 32 * mib).le(mib + 64 * kib + 64, 8, 64 * mib).le(mib + 64 * kib + 128, 4, 512);
  crc(i, 64 * kib, 4 * kib);
  return crc(i, 192 * kib, 64 * kib);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_qcow2_with_a_bad_header) {
  check(qcow2,
        {{[](image& i) { i.be(4, 4, 9); }, invalid("qcow2", "version is 9, must be 2 or 3 (at offset 4)")},
         {[](image& i) { i.be(20, 4, 40); },
          invalid("qcow2", "cluster_bits is 40, must be 9 to 21 (at offset 20)")},
         {[](image& i) { i.be(24, 8, ~0ULL); },
          invalid("qcow2", "size is 18446744073709551615, must be below 2^63 (at offset 24)")},
         {[](image& i) { i.be(24, 8, 1ULL << 40U); },
          invalid("qcow2", "l1_size is 1, must be 2048 or more for a disk of this size (at offset 36)")},
         {[](image& i) { i.be(32, 4, 3); },
          invalid("qcow2", "crypt_method is 3, must be 0 (none), 1 (AES) or 2 (LUKS) (at offset 32)")},
         {[](image& i) { i.be(36, 4, ~0U); },
          invalid("qcow2", "l1_size is 4294967295, must be at most 4194304 (at offset 36)")},
         {[](image& i) { i.be(40, 8, 100); },
          invalid("qcow2", "l1_table_offset is 100, must be a multiple of the cluster size (at offset 40)")},
         {[](image& i) { i.be(56, 4, 0); },
          invalid("qcow2", "refcount_table_clusters is 0: there is no reference count table (at offset 56)")},
         {[](image& i) { i.be(60, 4, ~0U); },
          invalid("qcow2", "nb_snapshots is 4294967295, must be at most 65536 (at offset 60)")},
         {[](image& i) { i.be(60, 4, 1); },
          invalid("qcow2", "snapshots_offset is 0, must be a multiple of the cluster size (at offset 64)")},
         {[](image& i) { i.be(72, 8, 128); },
          invalid("qcow2",
                  "incompatible_features is 128, must be below 32: the rest is unknown (at offset 72)")},
         {[](image& i) { i.be(72, 8, 4); },
          invalid(
              "qcow2",
              "the data is in another file (incompatible feature bit 2), which is not named (at offset 72)")},
         {[](image& i) { i.be(72, 8, 8); },
          invalid("qcow2", "compression_type contradicts the incompatible feature bit 3 (at offset 104)")},
         {[](image& i) { i.be(96, 4, 7); },
          invalid("qcow2", "refcount_order is 7, must be 0 to 6 (at offset 96)")},
         {[](image& i) { i.be(100, 4, 1U << 31U); },
          invalid("qcow2",
                  "header_length is 2147483648, must be 104 to the size of a cluster (at offset 100)")},
         {[](image& i) { i.cut(20); },
          truncated("qcow2", "the header takes 104 bytes at offset 0, the file ends at offset 20")},
         {[](image& i) { i.cut(6); }, truncated("qcow2", "the file ends at offset 6")}});
}

BOOST_AUTO_TEST_CASE(names_in_a_qcow2) {
  const auto good = [] { return with_backing("/etc/passwd"); };
  const auto info = probe(good());
  BOOST_REQUIRE(info.references.size() == 1U);
  BOOST_TEST(info.references[0].name == "/etc/passwd");
  check(good,
        {{[](image& i) { i.be(8, 8, 1ULL << 40U); },
          invalid(
              "qcow2",
              "backing_file_offset is 1099511627776, must be behind the header and in the first cluster (at "
              "offset 8)")},
         {[](image& i) { i.be(16, 4, 1024); },
          invalid("qcow2",
                  "backing_file_size is 1024, must be at most 1023 and in the first cluster (at offset 16)")},
         {[](image& i) { i.put(515, std::string(1, '\0')); },
          invalid("qcow2", "the backing file's name holds a NUL byte (at offset 512)")},
         {[](image& i) { i.be(104, 4, 0xE2792ACA).be(108, 4, 401); },
          invalid("qcow2", "a header extension of 401 bytes reaches behind the header (at offset 108)")},
         {[](image& i) { i.be(104, 4, 0xE2792ACA).be(108, 4, 16); },
          invalid("qcow2", "the length of the backing format is 16, must be at most 15 (at offset 108)")},
         {[](image& i) {
            for (const std::size_t at : {104U, 120U})
              i.be(at, 4, 0x44415441).be(at + 4, 4, 4).put(at + 8, "data");
          },
          invalid("qcow2", "a header extension of this type was there before (at offset 120)")}});
  // A data file counts as a reference even if the feature bits do not announce it.
  const auto both = probe(good().be(104, 4, 0x44415441).be(108, 4, 4).put(112, "data"));
  BOOST_REQUIRE(both.references.size() == 2U);
  BOOST_TEST(both.references[1].name == "data");
}

BOOST_AUTO_TEST_CASE(snapshots_and_tables_behind_the_end_of_the_file) {
  const auto snapshot = [] { return qcow2().be(60, 4, 1).be(64, 8, 2 * cluster); };
  check(snapshot,
        {{[](image& i) { i.be(2 * cluster + 36, 4, 4096); },
          invalid("qcow2", "extra_data_size is 4096, must be at most 1024 (at offset 131108)")},
         {[](image& i) { i.be(64, 8, 1ULL << 40U); },
          truncated("qcow2",
                    "a snapshot takes 40 bytes at offset 1099511627776, the file ends at offset 262144")}});
  BOOST_TEST(!probe(qcow2()).truncated);
  BOOST_TEST(probe(qcow2().be(40, 8, 1ULL << 62U)).truncated);
  BOOST_TEST(probe(qcow2().be(3 * cluster, 8, 1ULL << 63U | 9 * cluster)).truncated);
}

// 65536 snapshots may each have an ID and a name of 65535 bytes.
BOOST_AUTO_TEST_CASE(eight_gigabytes_of_snapshots_were_all_read) {
  constexpr std::size_t table = 2 * cluster, each = 40 + 65535 + 65535 + 2;
  const auto with = [&](std::size_t snapshots) {
    image i = qcow2().be(60, 4, snapshots).be(64, 8, table);
    for (std::size_t at = table; snapshots-- > 0; at += each) i.be(at + 12, 4, ~0U).be(at + each - 1, 1, 0);
    return i;
  };
  BOOST_TEST(probe(with(511)).snapshots.size() == 511U);
  BOOST_TEST(refusal(with(512)) ==
             invalid("qcow2", "the snapshot table is longer than 64 MiB (at offset 67129304)"));
}

BOOST_AUTO_TEST_CASE(a_qcow_with_a_bad_header) {
  check(
      qcow1,
      {{[](image& i) { i.be(24, 8, 1); }, invalid("qcow", "size is 1, must be 2 to 2^63 - 1 (at offset 24)")},
       {[](image& i) { i.be(24, 8, INT64_MAX); },
        invalid(
            "qcow",
            "size is 9223372036854775807, must be smaller: the L1 table would be too long (at offset 24)")},
       {[](image& i) { i.be(32, 1, 30); },
        invalid("qcow", "cluster_bits is 30, must be 9 to 16 (at offset 32)")},
       {[](image& i) { i.be(33, 1, 60); }, invalid("qcow", "l2_bits is 60, must be 6 to 13 (at offset 33)")},
       {[](image& i) { i.be(36, 4, 2); },
        invalid("qcow", "crypt_method is 2, must be 0 (none) or 1 (AES) (at offset 36)")},
       {[](image& i) { i.be(8, 8, 100).be(16, 4, 5000); },
        invalid("qcow", "backing_file_size is 5000, must be at most 1023 (at offset 16)")},
       {[](image& i) { i.be(8, 8, 1U << 30U).be(16, 4, 9); },
        truncated("qcow",
                  "the backing file's name takes 9 bytes at offset 1073741824, the file ends at offset 512")},
       {[](image& i) { i.cut(40); },
        truncated("qcow", "the header takes 48 bytes at offset 0, the file ends at offset 40")}});
}

BOOST_AUTO_TEST_CASE(a_vmdk_with_a_bad_header) {
  check(sparse_vmdk,
        {{[](image& i) { i.le(4, 4, 9); }, invalid("vmdk", "version is 9, must be 1 to 3 (at offset 4)")},
         {[](image& i) { i.le(12, 8, ~0ULL); },
          invalid("vmdk", "capacity is 18446744073709551615, must be 1 to 2^54 (at offset 12)")},
         {[](image& i) { i.le(20, 8, 3); },
          invalid("vmdk", "grainSize is 3, must be a power of two up to 131072 (at offset 20)")},
         {[](image& i) { i.le(28, 8, ~0ULL); },
          invalid("vmdk",
                  "descriptorOffset is 18446744073709551615, must be a sector's number (at offset 28)")},
         {[](image& i) { i.le(44, 4, 0); },
          invalid("vmdk", "numGTEsPerGT is 0, must be 1 to 512 (at offset 44)")},
         {[](image& i) { i.le(77, 2, 9); },
          invalid("vmdk", "compressAlgorithm is 9, must be 0 (none) or 1 (deflate) (at offset 77)")},
         {[](image& i) { i.le(56, 8, ~0ULL); }, truncated("vmdk", "there is no footer at offset 64512")},
         {[](image& i) { i.cut(100); },
          truncated("vmdk", "the header takes 512 bytes at offset 0, the file ends at offset 100")}});
  BOOST_TEST(probe(sparse_vmdk().le(64, 8, 1U << 20U)).truncated);
}

BOOST_AUTO_TEST_CASE(a_vmdk_descriptor_names_every_file_that_qemu_would_open) {
  const auto names = [](const image& i, std::optional<std::string_view> format = {}) {
    std::vector<std::string> found;
    for (const auto& reference : probe(i, format).references) found.push_back(reference.name);
    return found;
  };
  using Names = std::vector<std::string>;
  const auto is = [&](const std::string& lines, const Names& wanted) {
    BOOST_TEST(names(descriptor(lines)) == wanted, boost::test_tools::per_element());
  };
  is("RW 10 FLAT \"/etc/passwd\" 0\n", {"/etc/passwd"});
  is("RW 10 SPARSE \"a\"\nRDONLY 10 SPARSE \"b\"\n", {"a", "b"});
  is("  RW\t+10  VMFS  \"nbd:host:1\"", {"nbd:host:1"});
  is("RW\n10\nFLAT\n\"a\" 0", {"a"});                 // to scanf, a newline is a space
  is("RW 10 FLAT \"never closed", {"never closed"});  // nor does it mind a missing closing quote
  is("RW 10 FLAT \"a\" 0\nparentFileNameHint=\"up\"\n", {"up", "a"});
  is("RW 10 FLAT \"a\" 0\n#parentFileNameHint=\"up\"\n", {"up", "a"});
  // The whole descriptor may hide in a sparse file, if its header states a capacity of 0.
  auto hidden = sparse_vmdk().le(12, 8, 0).put(512, descriptor("RW 10 FLAT \"/etc/passwd\" 0\n").bytes);
  BOOST_TEST(names(hidden) == Names{"/etc/passwd"}, boost::test_tools::per_element());
  // QEMU reads the parent's name after the header, whatever the header says.
  auto parent = sparse_vmdk().le(28, 8, 40).put(512, "parentFileNameHint=\"/etc/passwd\"\n");
  BOOST_TEST(names(parent) == Names{"/etc/passwd"}, boost::test_tools::per_element());
  // A stated format needs no magic number.
  auto bare = image().put(0, "createType=\"vmfs\"\nRW 1 VMFS \"x\"\n");
  BOOST_TEST(names(bare, "vmdk") == Names{"x"}, boost::test_tools::per_element());
  BOOST_TEST(
      probe(image().put(0, "\r\n# a comment\nversion=1\ncreateType=\"vmfs\"\nRW 1 VMFS \"x\"\n")).format ==
      "vmdk");
}

// QEMU skips line ends in search of an extent, from each line anew.
BOOST_AUTO_TEST_CASE(empty_lines_in_a_vmdk_descriptor_took_minutes) {
  const std::string lines(1'000'000, '\n'), digits(500'000, '0');
  const auto begin = std::clock();
  const auto half = lines.substr(0, 500'000);
  for (const auto& text : {lines, half + "RW " + digits, "RW" + half + "RW" + half})
    BOOST_TEST(refusal(descriptor(text)) == invalid("vmdk", "the descriptor names no extent (at offset 0)"));
  const auto seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  BOOST_TEST(seconds < 10);
}

BOOST_AUTO_TEST_CASE(empty_lines_in_a_vmdk_descriptor_multiply_an_extent_as_in_qemu) {
  const auto info = probe(descriptor("\n\nRW 2048 FLAT \"a\" 0\nRW 2048 FLAT \"b\" 0\n"));
  BOOST_TEST(info.virtual_size == 4 * mib);  // what qemu-img info says
  BOOST_REQUIRE(info.extents.size() == 4U);
  BOOST_TEST((info.extents[2].name == "a" && info.extents[3].name == "b"));
  BOOST_TEST(info.references.size() == 4U);
  const auto line = "RW 1 FLAT \"" + std::string(511, 'a') + "\" 0\n";
  BOOST_TEST(refusal(descriptor(std::string(1'000'000, '\n') + line)) ==
             invalid("vmdk", "the descriptor names more than 32768 extents (at offset 32828)"));
}

BOOST_AUTO_TEST_CASE(a_bad_vmdk_descriptor) {
  BOOST_TEST(refusal(descriptor("")) == invalid("vmdk", "the descriptor names no extent (at offset 0)"));
  BOOST_TEST(refusal(image().put(0, "# Disk DescriptorFile\n")) ==
             invalid("vmdk", "the descriptor has no createType (at offset 0)"));
  BOOST_TEST(refusal(descriptor("RW 99999999999999999999999 FLAT \"a\" 0\n")) ==
             invalid("vmdk", "an extent is longer than 2^63 bytes (at offset 60)"));
  BOOST_TEST(refusal(descriptor("RW 1 FLAT \"" + std::string(600, 'a') + "\" 0\n")) ==
             invalid("vmdk", "an extent's name is longer than 511 bytes (at offset 60)"));
  BOOST_TEST(refusal(descriptor("parentFileNameHint=\"" + std::string(2000, 'a'))) ==
             invalid("vmdk", "parentFileNameHint is longer than 1023 bytes (at offset 0)"));
}

BOOST_AUTO_TEST_CASE(a_vdi_with_a_bad_header) {
  check(
      vdi,
      {{[](image& i) { i.le(68, 4, 1); }, invalid("vdi", "version is 1, must be 65537 (1.1) (at offset 68)")},
       {[](image& i) { i.le(76, 4, 3); },
        invalid("vdi",
                "image type is 3, must be 1 (dynamic), 2 (static) or 4 (differencing) (at offset 76)")},
       {[](image& i) { i.le(340, 4, 77); },
        invalid("vdi", "the block map's offset is 77, must be a multiple of 512 (at offset 340)")},
       {[](image& i) { i.le(344, 4, 0); },
        invalid("vdi", "the data's offset is 0, must be a multiple of 512 behind the map (at offset 344)")},
       {[](image& i) { i.le(360, 4, 4096); },
        invalid("vdi", "sector size is 4096, must be 512 (at offset 360)")},
       {[](image& i) { i.le(376, 4, 3); },
        invalid("vdi", "block size is 3, must be a power of two from 512 (at offset 376)")},
       {[](image& i) { i.le(368, 8, 1ULL << 40U); },
        invalid("vdi",
                "blocks in image is 1, must be 1048576 or more for a disk of this size (at offset 384)")},
       {[](image& i) { i.le(388, 4, 2); },
        invalid("vdi", "blocks allocated is 2, must be at most 1 (at offset 388)")},
       {[](image& i) { i.cut(300); },
        truncated("vdi", "the header takes 512 bytes at offset 0, the file ends at offset 300")}});
  BOOST_TEST(probe(vdi().le(388, 4, 1)).truncated);
  const auto child = probe(vdi().le(76, 4, 4).le(440, 4, 0x11223344));
  BOOST_TEST(child.subformat == "differencing");
  BOOST_REQUIRE(child.references.size() == 1U);
  BOOST_TEST(child.references[0].name == "uuid:44332211000000000000000000000000");
}

BOOST_AUTO_TEST_CASE(a_vhd_with_a_bad_header) {
  check(
      vhd,
      {{[](image& i) { i.be(100, 4, 1); }, invalid("vpc", "the footer's checksum is wrong (at offset 64)")},
       {[](image& i) { sum(i.be(60, 4, 9), 0, 512, 64); },
        invalid("vpc", "disk type is 9, must be 2 (fixed), 3 (dynamic) or 4 (differencing) (at offset 60)")},
       {[](image& i) { sum(i.be(60, 4, 2), 0, 512, 64); },
        invalid("vpc", "a fixed disk has its footer at the end only (at offset 60)")},
       {[](image& i) { sum(i.be(16, 8, 8), 0, 512, 64); },
        invalid("vpc", "data offset is 8, must be behind the footer's copy (at offset 16)")},
       {[](image& i) { i.put(512, "nothing "); },
        invalid("vpc", "there is no dynamic disk header (at offset 512)")},
       {[](image& i) { i.be(600, 4, 1); },
        invalid("vpc", "the dynamic disk header's checksum is wrong (at offset 548)")},
       {[](image& i) { sum(i.be(544, 4, 7), 512, 1024, 36); },
        invalid("vpc", "block size is 7, must be a power of two from 512 (at offset 544)")},
       {[](image& i) { sum(i.be(540, 4, 0), 512, 1024, 36); },
        invalid("vpc", "max table entries is 0, must be 0 or more (at offset 540)")},
       {[](image& i) { i.cut(1000); },
        truncated("vpc",
                  "the dynamic disk header takes 1024 bytes at offset 512, the file ends at offset 1000")}});
  image child = vhd().be(60, 4, 4).be(576, 2, 'u').be(578, 2, 0xe9).be(580, 2, 'p');
  sum(child, 512, 1024, 36);
  const auto info = probe(sum(child, 0, 512, 64));
  BOOST_TEST(info.subformat == "differencing");
  BOOST_REQUIRE(info.references.size() == 1U);
  BOOST_TEST(info.references[0].name == "u\xc3\xa9p");
}

BOOST_AUTO_TEST_CASE(the_name_of_a_vhd_s_parent_was_no_utf8) {
  const auto named = [](std::initializer_list<std::uint16_t> units) {
    image child = vhd().be(60, 4, 4);
    std::size_t at = 576;
    for (const auto unit : units) child.be(at, 2, unit), at += 2;
    sum(child, 512, 1024, 36);
    return sum(child, 0, 512, 64);
  };
  BOOST_TEST(probe(named({0xd83d, 0xde00, 0, 0xd83d})).backing_file.value() == "\xf0\x9f\x98\x80");
  BOOST_TEST(refusal(named({'u', 0xd83d, 'p'})) ==
             invalid("vpc", "the parent's name is no UTF-16 (at offset 576)"));
}

BOOST_AUTO_TEST_CASE(a_vhdx_with_a_bad_header) {
  check(vhdx,
        {{[](image& i) { i.put(64 * kib, "xxxx"); },
          invalid("vhdx", "neither header has its signature and its checksum (at offset 65536)")},
         {[](image& i) { i.le(64 * kib + 100, 4, 1); },
          invalid("vhdx", "neither header has its signature and its checksum (at offset 65536)")},
         {[](image& i) { crc(i.le(64 * kib + 66, 2, 2), 64 * kib, 4 * kib); },
          invalid("vhdx", "version is 2, must be 1 (at offset 65602)")},
         {[](image& i) { i.le(192 * kib + 8, 4, 1); },
          invalid("vhdx", "neither region table has its signature and its checksum (at offset 196608)")},
         {[](image& i) { crc(i.le(192 * kib + 8, 4, 4000), 192 * kib, 64 * kib); },
          invalid("vhdx", "the number of regions is 4000, must be at most 2047 (at offset 196616)")},
         {[](image& i) { crc(i.le(192 * kib + 8, 4, 1), 192 * kib, 64 * kib); },
          invalid("vhdx", "there is no block allocation table (at offset 196608)")},
         {[](image& i) { crc(i.le(192 * kib + 32, 8, 5), 192 * kib, 64 * kib); },
          invalid("vhdx", "a region's offset is 5, must be 1 MiB or more (at offset 196640)")},
         {[](image& i) { i.put(mib, "nothing "); },
          invalid("vhdx", "there is no metadata table (at offset 1048576)")},
         {[](image& i) { i.le(mib + 10, 2, 4000); },
          invalid("vhdx", "the number of metadata items is 4000, must be at most 2047 (at offset 1048586)")},
         {[](image& i) { i.le(mib + 10, 2, 0); },
          invalid("vhdx", "the metadata lack the file parameters (at offset 1048576)")},
         {[](image& i) { i.le(mib + 48, 4, 5); },
          invalid("vhdx", "a metadata item lies in the table or is longer than 1 MiB (at offset 1048624)")},
         {[](image& i) { i.le(mib + 48, 4, 2 * mib); },
          invalid("vhdx", "a metadata item reaches behind its region (at offset 1048624)")},
         {[](image& i) { i.le(mib + 64 * kib, 4, 5); },
          invalid("vhdx", "block size is 5, must be a power of two from 1 to 256 MiB (at offset 1114112)")},
         {[](image& i) { i.le(mib + 64 * kib + 128, 4, 5); },
          invalid("vhdx", "logical sector size is 5, must be 512 or 4096 (at offset 1114240)")},
         {[](image& i) { i.cut(100 * kib); },
          truncated("vhdx", "a header takes 4096 bytes at offset 131072, the file ends at offset 102400")}});
  BOOST_TEST(!probe(vhdx()).dirty);
  image logged = vhdx().put(64 * kib + 48, "a log");
  BOOST_TEST(probe(crc(logged, 64 * kib, 4 * kib)).dirty);
  BOOST_TEST(probe(vhdx().cut(2 * mib + 5)).truncated);
}

BOOST_AUTO_TEST_CASE(a_differencing_vhdx_names_its_parent) {
  constexpr std::size_t locator = mib + 64 * kib + 192;
  const auto wide = [](std::string_view text) {
    std::string units;
    for (const char c : text) units += {c, '\0'};
    return units;
  };
  const auto key = wide("relative_path"), name = wide("up");
  const auto child = [&] {
    image i = vhdx().le(mib + 64 * kib + 4, 4, 2).le(mib + 32 + 96 + 20, 4, 512).le(locator + 18, 2, 1);
    i.le(locator + 20, 4, 64).le(locator + 24, 4, 128).le(locator + 28, 2, key.size());
    return i.le(locator + 30, 2, name.size()).put(locator + 64, key).put(locator + 128, name);
  };
  const auto info = probe(child());
  BOOST_TEST(info.subformat == "differencing");
  BOOST_REQUIRE(info.references.size() == 1U);
  BOOST_TEST((info.references[0].kind == "parent" && info.references[0].name == "up"));
  BOOST_TEST(probe(child().le(locator + 64, 2, 0xde00)).references.at(0).name.empty());  // an unknown key
  check(child, {{[&](image& i) { i.le(locator + 18, 2, 2).le(locator + 32, 4, ~0U); },
                 invalid("vhdx", "the parent locator reaches behind its end (at offset 1114336)")},
                {[&](image& i) { i.le(locator + 128, 2, 0xde00); },
                 invalid("vhdx", "the parent's name is no UTF-16 (at offset 1114432)")},
                {[&](image& i) { i.le(locator + 24, 4, ~0U); },
                 invalid("vhdx", "the parent locator reaches behind its end (at offset 1114324)")}});
}

// All of them may point at the same key and the same value.
BOOST_AUTO_TEST_CASE(three_megabytes_of_vhdx_named_six_gigabytes_of_parents) {
  constexpr std::size_t locator = mib + 64 * kib + 192, size = 900 * kib;
  constexpr std::size_t key_at = 800 * kib, value_at = 801 * kib;
  const auto child = [&](std::size_t entries, std::size_t value_size) {
    image i =
        vhdx().le(mib + 64 * kib + 4, 4, 2).le(mib + 32 + 96 + 20, 4, size).le(locator + 18, 2, entries);
    const std::string_view key("v\0o\0l\0u\0m\0e\0_\0p\0a\0t\0h\0", 22);
    i.put(locator + key_at, key).put(locator + value_at, std::string(value_size, '\x41'));
    for (std::size_t at = locator + 20; entries-- > 0; at += 12)
      i.le(at, 4, key_at).le(at + 4, 4, value_at).le(at + 8, 2, key.size()).le(at + 10, 2, value_size);
    return i;
  };
  BOOST_TEST(refusal(child(65535, 65534)) ==
             invalid("vhdx",
                     "the number of entries in the parent locator is 65535, must be at most 16 (at "
                     "offset 1114322)"));
  BOOST_TEST(refusal(child(2, 100)) ==
             invalid("vhdx", "a key of the parent locator is there twice (at offset 1114336)"));
  BOOST_TEST(refusal(child(1, 65534)) ==
             invalid("vhdx", "the parent's name is longer than 4095 bytes (at offset 1114328)"));
  const auto info = probe(child(1, 2 * 1365));  // a name of 4095 bytes
  BOOST_REQUIRE(info.references.size() == 1U);
  BOOST_TEST(info.references[0].name.size() == 4095U);
}

BOOST_AUTO_TEST_CASE(a_short_file_is_raw) {
  for (const std::size_t size : {1U, 3U, 4U, 66U, 300U, 511U, 513U}) {
    const auto info = probe(image().put(0, std::string(size, 'x')));
    BOOST_TEST(info.format == "raw");
    BOOST_TEST(info.virtual_size == size);
  }
}
