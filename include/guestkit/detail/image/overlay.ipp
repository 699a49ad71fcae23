#pragma once

#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "guestkit/detail/image/overlay.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE void write_sparse(int fd, const sparse_file& content) {
  const auto fail = [] { throw std::system_error(errno, std::generic_category(), "a private file"); };
  if (::ftruncate(fd, static_cast<off_t>(content.size)) != 0) fail();
  for (const auto& [offset, bytes] : content.pieces)
    for (std::size_t done = 0; done < bytes.size();) {
      const auto count =
          ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) fail();
      done += static_cast<std::size_t>(count);
    }
}

inline void append_be(std::string& bytes, std::uint64_t value, unsigned size) {
  for (unsigned i = size; i > 0; --i) bytes += static_cast<char>(value >> (8 * (i - 1)) & 255U);
}

GUESTKIT_INLINE sparse_file make_overlay(std::uint64_t virtual_size, std::string_view backing,
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
