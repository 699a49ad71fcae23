#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/image/qcow.hpp"
#include "guestkit/detail/image/sectors.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

namespace qcow2 {

inline constexpr auto format = "qcow2";
inline constexpr std::uint64_t offset_mask = 0x00FF'FFFF'FFFF'FE00;  // in an entry of either table
inline constexpr std::uint64_t compressed = 1ULL << 62U;
inline constexpr std::uint64_t reads_zero = 1;
inline constexpr std::size_t max_l1_bytes = 32U << 20U;  // QEMU's limit
inline constexpr std::size_t max_l2_bytes = 64U << 20U;  // to look through: those of a disk of 512 GB
inline constexpr std::uint32_t max_snapshots = 65536;    // QEMU's limit
inline constexpr std::uint64_t max_snapshot_bytes = 1024ULL * max_snapshots;  // QEMU's limit for all of them
inline constexpr std::uint64_t max_name = 1023;  // QEMU's limit for names of files
enum incompatible : std::uint64_t {
  dirty = 1,
  corrupt = 2,
  data_file = 4,
  compression = 8,
  extended_l2 = 16
};

/// The header fields that guestkit needs, whatever the version.
struct header {
  std::uint32_t version, cluster_bits, crypt, l1_entries, snapshots, length;
  std::uint64_t backing_offset, backing_size, size, l1_offset, snapshots_offset;
  std::uint64_t incompatible = 0, compatible = 0, autoclear = 0;
  std::uint64_t cluster() const noexcept { return 1ULL << cluster_bits; }
};

/// What is the same in all versions, and for version 3 the feature bits.
inline header fields_of(const image_block& h, std::uint32_t version) {
  header head{.version = version,
              .cluster_bits = h.be32(20),
              .crypt = h.be32(32),
              .l1_entries = h.be32(36),
              .snapshots = h.be32(60),
              .length = version == 2 ? 72 : h.be32(100),
              .backing_offset = h.be64(8),
              .backing_size = h.be32(16),
              .size = h.be64(24),
              .l1_offset = h.be64(40),
              .snapshots_offset = h.be64(64)};
  if (version == 3) {
    head.incompatible = h.be64(72);
    head.compatible = h.be64(80);
    head.autoclear = h.be64(88);
  }
  return head;
}

inline bool has(const header& head, incompatible feature) noexcept {
  return (head.incompatible & feature) != 0;
}

inline void check_header(const image_file& file, const image_block& h, const header& head) {
  const header_check check(file, format);
  check(head.cluster_bits >= 9 && head.cluster_bits <= 21,
        must_be("cluster_bits", head.cluster_bits, "9 to 21"), 20);
  check(head.crypt <= 2, must_be("crypt_method", head.crypt, "0 (none), 1 (AES) or 2 (LUKS)"), 32);
  check(head.size <= INT64_MAX, must_be("size", head.size, "below 2^63"), 24);
  if (head.version == 3) {
    check(head.incompatible < 32,
          must_be("incompatible_features", head.incompatible, "below 32: the rest is unknown"), 72);
    check(h.be32(96) <= 6, must_be("refcount_order", h.be32(96), "0 to 6"), 96);
    check(head.length >= 104 && head.length <= head.cluster(),
          must_be("header_length", head.length, "104 to the size of a cluster"), 100);
  }
  check(h.be64(48) % head.cluster() == 0,
        must_be("refcount_table_offset", h.be64(48), "a multiple of the cluster size"), 48);
  check(h.be32(56) != 0, "refcount_table_clusters is 0: there is no reference count table", 56);
  check(8ULL * head.l1_entries <= max_l1_bytes, must_be("l1_size", head.l1_entries, "at most 4194304"), 36);
  check(head.l1_offset % head.cluster() == 0,
        must_be("l1_table_offset", head.l1_offset, "a multiple of the cluster size"), 40);
  const std::uint64_t l2_reach = head.cluster() / (has(head, extended_l2) ? 16 : 8) * head.cluster();
  const std::uint64_t needed = head.size / l2_reach + (head.size % l2_reach != 0 ? 1 : 0);
  check(head.l1_entries >= needed,
        must_be("l1_size", head.l1_entries, std::to_string(needed) + " or more for a disk of this size"), 36);
  check(head.snapshots <= max_snapshots, must_be("nb_snapshots", head.snapshots, "at most 65536"), 60);
  check(head.snapshots == 0 || (head.snapshots_offset != 0 && head.snapshots_offset % head.cluster() == 0),
        must_be("snapshots_offset", head.snapshots_offset, "a multiple of the cluster size"), 64);
}

inline const char* read_compression(const image_file& file, const header& head) {
  const auto type = head.length > 104 ? file.read(104, 1, format, "the header").u8(0) : 0U;
  require(type <= 1, file, format, must_be("compression_type", type, "0 (zlib) or 1 (zstd)"), 104);
  require((type != 0) == has(head, compression), file, format,
          "compression_type contradicts the incompatible feature bit 3", 104);
  return type == 0 ? "zlib" : "zstd";
}

inline header read_header(const image_file& file, ImageInfo& info) {
  const auto version = file.read(0, 8, format, "the header").be32(4);
  require(version == 2 || version == 3, file, format, must_be("version", version, "2 or 3"), 4);
  const auto h = file.read(0, version == 2 ? 72 : 104, format, "the header");
  const auto head = fields_of(h, version);
  check_header(file, h, head);
  constexpr std::array encryption{"", "aes", "luks"};
  info.version = static_cast<int>(version);
  info.subformat = version == 2 ? "0.10" : "1.1";  // QEMU's option compat
  info.virtual_size = head.size;
  info.cluster_size = head.cluster();
  info.encryption = encryption.at(head.crypt);
  info.dirty = has(head, dirty);
  info.corrupt = has(head, corrupt);
  info.extended_l2 = has(head, extended_l2);
  info.lazy_refcounts = (head.compatible & 1U) != 0;
  info.data_file_raw = (head.autoclear & 2U) != 0;
  info.compression = read_compression(file, head);
  return head;
}

GUESTKIT_INLINE bool needs_data_file(const image_file& file) {
  const auto h = file.read(0, 80, format, "the header");
  return h.be32(4) >= 3 && (h.be64(72) & data_file) != 0;
}

/// Text that QEMU treats as a C string.
inline std::string name_in(const image_file& file, const image_block& block, const char* what) {
  require(block.bytes().find('\0') == std::string_view::npos, file, format,
          std::string(what) + " holds a NUL byte", block.offset());
  return std::string(block.bytes());
}

inline void read_extensions(const image_file& file, const header& head, ImageInfo& info) {
  constexpr std::uint32_t end_mark = 0, backing_format = 0xE279'2ACA, data_file_name = 0x4441'5441;
  const std::uint64_t end = head.backing_offset != 0 ? head.backing_offset : head.cluster();
  const auto once = [&](const std::optional<std::string>& known, std::uint64_t at) {
    require(!known, file, format, "a header extension of this type was there before", at);
  };
  for (std::uint64_t at = head.length; at + 8 <= end;) {
    const auto extension = file.read(at, 8, format, "a header extension");
    const std::uint32_t type = extension.be32(0), size = extension.be32(4);
    if (type == end_mark) return;
    require(size <= end - at - 8, file, format,
            "a header extension of " + std::to_string(size) + " bytes reaches behind the header", at + 4);
    if (type == backing_format || type == data_file_name) {
      const bool is_data = type == data_file_name;
      auto& field = is_data ? info.data_file : info.backing_format;
      once(field, at);
      require(size <= (is_data ? max_name : 15), file, format,
              must_be(is_data ? "the length of the data file's name" : "the length of the backing format",
                      size, is_data ? "at most 1023" : "at most 15"),
              at + 4);
      field = name_in(file, file.read(at + 8, size, format, "a header extension"),
                      is_data ? "the data file's name" : "the backing format");
    }
    at += 8 + (size + 7ULL) / 8 * 8;
  }
}

inline void read_names(const image_file& file, const header& head, ImageInfo& info) {
  if (head.backing_offset != 0) {
    require(head.backing_offset >= head.length && head.backing_offset <= head.cluster(), file, format,
            must_be("backing_file_offset", head.backing_offset, "behind the header and in the first cluster"),
            8);
    require(head.backing_size <= std::min(max_name, head.cluster() - head.backing_offset), file, format,
            must_be("backing_file_size", head.backing_size, "at most 1023 and in the first cluster"), 16);
  }
  read_extensions(file, head, info);
  if (head.backing_offset != 0 && head.backing_size != 0) {
    const auto size = static_cast<std::size_t>(head.backing_size);
    const auto block = file.read(head.backing_offset, size, format, "the backing file's name");
    info.backing_file = name_in(file, block, "the backing file's name");
    info.references.push_back({"backing", *info.backing_file, info.backing_format});
  }
  require(!has(head, data_file) || info.data_file, file, format,
          "the data is in another file (incompatible feature bit 2), which is not named", 72);
  if (info.data_file) info.references.push_back({"data", *info.data_file, "raw"});
}

inline void read_snapshots(const image_file& file, const header& head, ImageInfo& info) {
  std::uint64_t at = head.snapshots_offset;
  for (std::uint32_t i = 0; i < head.snapshots; ++i) {
    const auto s = file.read(at, 40, format, "a snapshot");
    const std::size_t id_size = s.be16(12), name_size = s.be16(14), extra_size = s.be32(36);
    const std::uint64_t before = at - head.snapshots_offset;
    require(extra_size <= 1024, file, format, must_be("extra_data_size", extra_size, "at most 1024"),
            at + 36);
    require(s.be32(8) <= max_l1_bytes / 8, file, format,
            must_be("the snapshot's l1_size", s.be32(8), "at most 4194304"), at + 8);
    require(before + 40 + extra_size + id_size + name_size <= max_snapshot_bytes, file, format,
            "the snapshot table is longer than 64 MiB", at);
    const auto rest = file.read(at + 40, extra_size + id_size + name_size, format, "a snapshot");
    ImageSnapshot snapshot{.id = std::string(rest.bytes(extra_size, id_size)),
                           .name = std::string(rest.bytes(extra_size + id_size, name_size)),
                           .virtual_size = extra_size >= 16 ? rest.be64(8) : head.size,
                           .vm_state_size = extra_size >= 8 ? rest.be64(0) : s.be32(32),
                           .seconds = s.be32(16)};
    info.snapshots.push_back(std::move(snapshot));
    at += (40 + rest.size() + 7) / 8 * 8;
  }
}

/// Whether the tables refer to anything beyond the end of the file, where QEMU reads zeros.
inline bool is_truncated(const image_file& file, const header& head) {
  const std::size_t l1_bytes = 8ULL * head.l1_entries;
  if (head.l1_offset > file.size() || l1_bytes > file.size() - head.l1_offset) return true;
  const auto l1 = file.read(head.l1_offset, l1_bytes, format, "the L1 table");
  std::vector<std::uint64_t> l2_offsets;
  for (std::size_t i = 0; i < l1_bytes; i += 8)
    if (const auto offset = l1.be64(i) & offset_mask; offset != 0) l2_offsets.push_back(offset);
  std::sort(l2_offsets.begin(), l2_offsets.end());
  l2_offsets.erase(std::unique(l2_offsets.begin(), l2_offsets.end()), l2_offsets.end());
  if (!l2_offsets.empty() && l2_offsets.back() + head.cluster() > file.size()) return true;
  if (has(head, data_file) || has(head, extended_l2)) return false;
  const std::uint64_t compressed_mask = (1ULL << (62 - (head.cluster_bits - 8))) - 1;
  std::size_t left = max_l2_bytes / head.cluster();
  for (const auto l2_offset : l2_offsets) {
    if (left-- == 0) break;
    const auto l2 = file.read(l2_offset, head.cluster(), format, "an L2 table");
    for (std::size_t i = 0; i < l2.size(); i += 8) {
      const auto entry = l2.be64(i);
      const bool packed = (entry & compressed) != 0;
      if ((entry & (packed ? compressed_mask : offset_mask)) >= file.size() &&
          (packed || (entry & reads_zero) == 0))
        return true;
    }
  }
  return false;
}

/// The disk's content as the guest sees it; nothing if these bytes are compressed, encrypted or in another
/// file.
inline std::optional<std::string> read_guest(const image_file& file, const header& head, std::uint64_t offset,
                                             std::size_t size) {
  if (head.crypt != 0 || has(head, data_file) || has(head, extended_l2)) return std::nullopt;
  const std::uint64_t entries = head.cluster() / 8;
  std::string bytes;
  while (bytes.size() < size) {
    const std::uint64_t at = offset + bytes.size(), cluster = at / head.cluster(),
                        within = at % head.cluster();
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(size - bytes.size(), head.cluster() - within));
    const auto begin = bytes.size();
    bytes.resize(begin + count);  // zeros
    if (at >= head.size || cluster / entries >= head.l1_entries) continue;
    const auto entry = [&](std::uint64_t place) {
      const auto block = file.read_some(place, 8);
      return block.size() == 8 ? block.be64(0) : 0;
    };
    const auto table = entry(head.l1_offset + 8 * (cluster / entries)) & offset_mask;
    const auto place = table == 0 ? 0 : entry(table + 8 * (cluster % entries));
    if ((place & reads_zero) != 0 && (place & compressed) == 0) continue;
    if ((place & compressed) != 0) return std::nullopt;
    if ((place & offset_mask) == 0) {
      if (head.backing_offset != 0) return std::nullopt;
      continue;
    }
    const auto data = file.read_some((place & offset_mask) + within, count);
    bytes.replace(begin, data.size(), data.bytes());
  }
  return bytes;
}

}  // namespace qcow2

GUESTKIT_INLINE void read_qcow2(const image_file& file, ImageInfo& info) {
  const auto head = qcow2::read_header(file, info);
  qcow2::read_names(file, head, info);
  qcow2::read_snapshots(file, head, info);
  info.truncated = qcow2::is_truncated(file, head);
  info.blocksize = sector_size(head.size, [&](std::uint64_t offset, std::size_t size) {
    return qcow2::read_guest(file, head, offset, size);
  });
}

GUESTKIT_INLINE void read_qcow(const image_file& file, ImageInfo& info) {
  constexpr auto format = "qcow";
  const auto h = file.read(0, 48, format, "the header");
  const header_check check(file, format);
  check(h.be32(4) == 1, must_be("version", h.be32(4), "1"), 4);
  const auto size = h.be64(24);
  const auto cluster_bits = h.u8(32), l2_bits = h.u8(33);
  const auto crypt = h.be32(36);
  const auto name_offset = h.be64(8);
  const auto name_size = h.be32(16);
  check(size > 1 && size <= INT64_MAX, must_be("size", size, "2 to 2^63 - 1"), 24);
  check(cluster_bits >= 9 && cluster_bits <= 16, must_be("cluster_bits", cluster_bits, "9 to 16"), 32);
  check(l2_bits >= 6 && l2_bits <= 13, must_be("l2_bits", l2_bits, "6 to 13"), 33);
  check(crypt <= 1, must_be("crypt_method", crypt, "0 (none) or 1 (AES)"), 36);
  info.version = 1;
  info.virtual_size = size;
  info.cluster_size = 1ULL << cluster_bits;
  info.encryption = crypt == 0 ? "" : "aes";
  info.compression = "zlib";
  const std::uint64_t reach = 1ULL << (cluster_bits + l2_bits);
  const std::uint64_t entries = size / reach + (size % reach != 0 ? 1 : 0);
  check(entries <= INT32_MAX / 8, must_be("size", size, "smaller: the L1 table would be too long"), 24);
  const auto l1_offset = h.be64(40);
  info.truncated = l1_offset > file.size() || 8 * entries > file.size() - l1_offset;
  if (name_offset == 0 || name_size == 0) return;
  check(name_size <= 1023, must_be("backing_file_size", name_size, "at most 1023"), 16);
  info.backing_file = qcow2::name_in(
      file, file.read(name_offset, name_size, format, "the backing file's name"), "the backing file's name");
  info.references.push_back({"backing", *info.backing_file, std::nullopt});
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
