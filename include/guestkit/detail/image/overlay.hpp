// An empty qcow2 image over another one: docs/interop/qcow2.txt of QEMU.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A file by its few pieces that are not zeros.
struct sparse_file {
  std::uint64_t size = 0;
  std::vector<std::pair<std::uint64_t, std::string>> pieces;  // by offset
};

/// The longest name of a backing file that QEMU takes.
inline constexpr std::size_t max_backing_name = 1023;

inline void append_be(std::string& bytes, std::uint64_t value, unsigned size) {
  for (unsigned i = size; i > 0; --i) bytes += static_cast<char>(value >> (8 * (i - 1)) & 255U);
}

/// An overlay of which nothing is written yet.
/// @param backing  as QEMU takes it, at most max_backing_name bytes
/// @param format   of backing, at most 8 bytes
inline sparse_file make_overlay(std::uint64_t virtual_size, std::string_view backing,
                                std::string_view format) {
  constexpr unsigned cluster_bits = 16;
  constexpr std::uint64_t cluster = 1U << cluster_bits, reach = cluster / 8 * cluster;  // of an L2 table
  constexpr std::uint64_t refcount_table = cluster, refcount_block = 2 * cluster, l1_table = 3 * cluster;
  const std::uint64_t size = (virtual_size + 511) / 512 * 512;
  const std::uint64_t l1_entries = (size + reach - 1) / reach;
  const std::uint64_t clusters = 3 + (l1_entries * 8 + cluster - 1) / cluster;
  constexpr std::uint64_t header_size = 104, name_offset = header_size + 16 + 8;

  std::string header("QFI\xfb");
  append_be(header, 3, 4);  // version
  append_be(header, name_offset, 8);
  append_be(header, backing.size(), 4);
  append_be(header, cluster_bits, 4);
  append_be(header, size, 8);
  append_be(header, 0, 4);  // not encrypted
  append_be(header, l1_entries, 4);
  append_be(header, l1_table, 8);
  append_be(header, refcount_table, 8);
  append_be(header, 1, 4);                          // clusters of the reference count table
  append_be(header, 0, 4);                          // no snapshots
  header.append(std::size_t{8 + 8 + 8 + 8}, '\0');  // no snapshots' offset, no features
  append_be(header, 4, 4);                          // reference counts of 2^4 bits
  append_be(header, header_size, 4);
  append_be(header, 0xE2792ACA, 4);  // the extension that states the backing file's format
  append_be(header, format.size(), 4);
  header += format;
  header.resize(name_offset, '\0');  // the extension's end, and the mark that there is no other one
  header += backing;

  std::string counts, block;
  for (std::uint64_t i = 0; i < clusters; ++i) append_be(counts, 1, 2);
  append_be(block, refcount_block, 8);
  return {clusters * cluster, {{0, header}, {refcount_table, block}, {refcount_block, counts}}};
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
