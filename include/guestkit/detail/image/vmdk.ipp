#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string_view>

#include "guestkit/detail/image/vmdk.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

namespace vmdk {

inline constexpr auto format = "vmdk";
inline constexpr std::string_view sparse_magic = "KDMV", cowd_magic = "COWD";
inline constexpr std::string_view sesparse_magic("\xbe\xba\xfe\xca\0\0\0\0", 8);
inline constexpr std::size_t max_descriptor = (1U << 20U) - 1;  // QEMU's limit
inline constexpr std::size_t max_extents = 32768;  // VMware's largest disk, 62 TB in files of 2 GB, has 31744
inline constexpr std::uint64_t max_sectors = std::numeric_limits<std::int64_t>::max() / sector;

/// What scanf treats as white space.
inline constexpr std::string_view space = " \t\n\v\f\r";

inline bool is_space(char c) noexcept {
  return space.find(c) != std::string_view::npos;
}

/// Reads a descriptor as scanf would: words and numbers separated by white space or line ends.
class scanner {
 public:
  explicit scanner(std::string_view text) : text_(text) {}

  std::string word(std::size_t most) {
    skip();
    std::size_t size = 0;
    while (size < most && size < text_.size() && !is_space(text_[size])) ++size;
    return std::string(take(size));
  }
  std::optional<std::uint64_t> number() {
    skip();
    if (!text_.empty() && text_.front() == '+') take(1);
    std::size_t size = 0;
    std::uint64_t value = 0;
    for (; size < text_.size() && text_[size] >= '0' && text_[size] <= '9'; ++size) {
      if (value > max_sectors) continue;  // too large anyway: it will be refused
      value = value * 10 + static_cast<std::uint64_t>(text_[size] - '0');
    }
    if (size == 0) return std::nullopt;
    take(size);
    return value;
  }
  /// The text between quotation marks; QEMU accepts a missing closing one.
  std::optional<std::string> name() {
    skip();
    if (text_.empty() || text_.front() != '"') return std::nullopt;
    take(1);
    const auto name = take(std::min(text_.find_first_of("\"\r\n"), text_.size()));
    if (!text_.empty() && text_.front() == '"') take(1);
    return std::string(name);
  }

 private:
  void skip() {
    while (!text_.empty() && is_space(text_.front())) text_.remove_prefix(1);
  }
  std::string_view take(std::size_t size) {
    const auto taken = text_.substr(0, size);
    text_.remove_prefix(size);
    return taken;
  }
  std::string_view text_;
};

/// The value of KEY="VALUE", wherever the key is: QEMU searches for it the same way.
inline std::optional<std::string> value_of(std::string_view text, std::string_view key) {
  const auto found = text.find(key);
  if (found == std::string_view::npos) return std::nullopt;
  auto rest = text.substr(found + key.size());
  rest = rest.substr(std::min<std::size_t>(2, rest.size()));  // ="
  return std::string(rest.substr(0, rest.find('"')));
}

inline std::string_view c_string(std::string_view text) {
  return text.substr(0, text.find('\0'));
}

/// The offset of the descriptor of a VMDK with extents.
inline std::uint64_t descriptor_offset(const image_file& file) {
  const auto start = file.read_some(0, sector);
  return start.begins_with(sparse_magic) && start.size() == sector ? start.le64(28) * sector : 0;
}

GUESTKIT_INLINE std::string identity(const image_file& file) {
  const auto block = file.read_some(descriptor_offset(file), max_descriptor);
  std::string lines;
  for (const std::string key : {"CID=", "parentCID="}) {
    const auto text = c_string(block.bytes());
    const auto at = text.find(key);
    const auto value = at == std::string_view::npos ? "" : text.substr(at + key.size(), 8);
    const auto digits = std::min(value.find_first_not_of("0123456789abcdefABCDEF"), value.size());
    lines += key + (digits == 0 ? "ffffffff" : std::string(value.substr(0, digits))) + "\n";
  }
  return lines;
}

inline void add_parent(const image_file& file, std::string_view text, std::uint64_t offset, ImageInfo& info) {
  const auto parent = value_of(c_string(text), "parentFileNameHint");
  if (!parent || parent->empty()) return;
  require(parent->size() <= 1023, file, format, "parentFileNameHint is longer than 1023 bytes", offset);
  if (info.backing_file == parent) return;
  info.backing_file = parent;
  info.references.push_back({"backing", *parent, format});
}

/// The extent described by a line, if the line describes one.
inline std::optional<ImageExtent> read_extent(const image_file& file, std::string_view line,
                                              std::uint64_t offset) {
  scanner words(line);
  ImageExtent extent;
  extent.access = words.word(8);
  if (extent.access != "RW" && extent.access != "RDONLY" && extent.access != "NOACCESS") return std::nullopt;
  const auto sectors = words.number();
  if (!sectors) return std::nullopt;
  extent.kind = words.word(16);
  const auto name = words.name();
  if (!name) return std::nullopt;
  extent.name = *name;
  const auto from = words.number().value_or(0);
  require(*sectors <= max_sectors && from <= max_sectors, file, format, "an extent is longer than 2^63 bytes",
          offset);
  require(extent.name.size() <= 511, file, format, "an extent's name is longer than 511 bytes", offset);
  extent.size = *sectors * sector;
  extent.offset = from * sector;
  return extent;
}

GUESTKIT_INLINE bool is_read(const ImageExtent& extent) noexcept {
  constexpr std::array<std::string_view, 5> kinds{"FLAT", "SPARSE", "VMFS", "VMFSSPARSE", "SESPARSE"};
  return extent.access == "RW" && extent.size != 0 &&
         std::find(kinds.begin(), kinds.end(), extent.kind) != kinds.end();
}

GUESTKIT_INLINE ImageReference reference_to(const ImageExtent& extent) {
  const bool flat = extent.kind == "FLAT" || extent.kind == "VMFS";
  return {"extent", extent.name, flat ? "raw" : format};
}

/// A descriptor whose extents are other files.
inline void read_descriptor(const image_file& file, std::uint64_t at, ImageInfo& info) {
  const auto block = file.read_some(at, max_descriptor);
  const auto text = c_string(block.bytes());
  const auto type = value_of(text, "createType");
  require(type && text.find("createType=\"") != std::string_view::npos, file, format,
          "the descriptor has no createType", at);
  info.subformat = *type;
  info.virtual_size = 0;
  add_parent(file, text, at, info);
  // QEMU reads an extent at each line, and line ends are space to it. So at an empty line it reads the extent
  // behind it, and once more at that extent's own line. To read each only once keeps that from taking a time
  // that grows with the square of the number of empty lines.
  std::optional<ImageExtent> extent;
  std::optional<std::size_t> word;  // where it was read
  for (std::size_t start = 0; start < text.size();) {
    if (!word || *word < start) {
      word = std::min(text.find_first_not_of(space, start), text.size());
      extent = read_extent(file, text.substr(*word), at + *word);
    }
    if (extent) {
      require(info.extents.size() < max_extents, file, format, "the descriptor names more than 32768 extents",
              at + start);
      require(extent->size <= INT64_MAX - info.virtual_size, file, format, "the extents are too long",
              at + start);
      if (is_read(*extent)) info.virtual_size += extent->size;
      info.references.push_back(reference_to(*extent));
      info.extents.push_back(*extent);
    }
    const auto end = text.find('\n', start);
    if (end == std::string_view::npos) break;
    start = end + 1;
  }
  require(!info.extents.empty(), file, format, "the descriptor names no extent", at);
}

/// The fields that VMware and QEMU write into the first sector.
struct sparse_header {
  explicit sparse_header(const image_block& h)
      : version(h.le32(4)),
        flags(h.le32(8)),
        capacity(h.le64(12)),
        grain(h.le64(20)),
        descriptor(h.le64(28)),
        descriptor_size(h.le64(36)),
        entries(h.le32(44)),
        directory(h.le64(56)),
        overhead(h.le64(64)),
        compression(h.le16(77)),
        unclean(h.u8(72) != 0) {}
  std::uint32_t version, flags;
  std::uint64_t capacity, grain, descriptor, descriptor_size;
  std::uint32_t entries;
  std::uint64_t directory, overhead;
  std::uint16_t compression;
  bool unclean;
};

inline sparse_header header_at_end(const image_file& file) {
  // A marker, the header again, the end of the stream: a sector each.
  constexpr std::uint64_t size = 3 * sector;
  if (file.size() < size) file.truncated(format, "the footer is not there");
  const auto footer = file.read(file.size() / sector * sector - size, size, format, "the footer");
  if (footer.bytes(sector, 4) != sparse_magic)
    file.truncated(format, "there is no footer at offset " + std::to_string(footer.offset() + sector));
  return sparse_header(image_block(std::string(footer.bytes(sector, sector)), footer.offset() + sector));
}

inline void read_sparse(const image_file& file, ImageInfo& info) {
  constexpr std::uint64_t at_end = ~0ULL;
  const header_check check(file, format);
  sparse_header h(file.read(0, sector, format, "the header"));
  info.version = static_cast<int>(h.version);
  check(h.version >= 1 && h.version <= 3, must_be("version", h.version, "1 to 3"), 4);
  check(h.descriptor <= max_sectors, must_be("descriptorOffset", h.descriptor, "a sector's number"), 28);
  if (h.capacity == 0 && h.descriptor != 0) {  // a descriptor after the header of a sparse file
    read_descriptor(file, h.descriptor * sector, info);
    return;
  }
  const auto descriptor = h.descriptor;  // a footer need not repeat it
  if (h.directory == at_end) h = header_at_end(file);
  check(h.capacity > 0 && h.capacity <= max_sectors, must_be("capacity", h.capacity, "1 to 2^54"), 12);
  check(is_power_of_two(h.grain) && h.grain <= 0x20000,
        must_be("grainSize", h.grain, "a power of two up to 131072"), 20);
  check(h.entries > 0 && h.entries <= 512, must_be("numGTEsPerGT", h.entries, "1 to 512"), 44);
  check(h.compression <= 1, must_be("compressAlgorithm", h.compression, "0 (none) or 1 (deflate)"), 77);
  info.virtual_size = h.capacity * sector;
  info.cluster_size = h.grain * sector;
  info.compression = h.compression == 1 ? "deflate" : "";
  info.dirty = h.unclean;
  info.truncated = h.overhead > (file.size() + sector - 1) / sector ||
                   (h.directory != at_end && h.directory > file.size() / sector);
  info.subformat = "monolithicSparse";
  // QEMU searches for the parent after the first sector, wherever the header says that the descriptor is.
  const auto usual = file.read_some(sector, 20 * sector);
  add_parent(file, usual.bytes(), sector, info);
  if (descriptor == 0) return;
  const auto block = file.read_some(descriptor * sector, max_descriptor);
  const auto text = c_string(block.bytes());
  add_parent(file, text, block.offset(), info);
  if (const auto type = value_of(text, "createType"); type && type->size() <= 64) info.subformat = *type;
}

/// VMware's copy-on-write disks: version 3 of its products, and ESX.
inline void read_cowd(const image_file& file, ImageInfo& info) {
  const auto h = file.read(0, sector, format, "the header");
  const auto grain = h.le32(16);
  require(h.le32(4) == 1, file, format, must_be("version", h.le32(4), "1"), 4);
  require(grain > 0 && grain <= 0x20000, file, format, must_be("grain size", grain, "1 to 131072"), 16);
  info.version = 1;
  info.subformat = "vmfsSparse";
  info.virtual_size = h.le32(12) * sector;
  info.cluster_size = grain * sector;
  const auto usual = file.read_some(sector, 20 * sector);
  add_parent(file, usual.bytes(), sector, info);
}

inline void read_sesparse(const image_file& file, ImageInfo& info) {
  const auto h = file.read(0, sector, format, "the header");
  const auto capacity = h.le64(16), grain = h.le64(24);
  require(capacity > 0 && capacity <= max_sectors, file, format, must_be("capacity", capacity, "1 to 2^54"),
          16);
  require(grain > 0 && grain <= 0x20000, file, format, must_be("grain size", grain, "1 to 131072"), 24);
  info.version = 2;
  info.subformat = "seSparse";
  info.virtual_size = capacity * sector;
  info.cluster_size = grain * sector;
  const auto usual = file.read_some(sector, 20 * sector);
  add_parent(file, usual.bytes(), sector, info);
}

/// Whether QEMU would recognize the text as a descriptor: comments and empty lines, then a version.
inline bool is_descriptor(std::string_view start) {
  if (start.starts_with("# Disk DescriptorFile")) return true;
  while (!start.empty()) {
    const auto line = start.substr(0, start.find('\n'));
    const bool passed_over = line.starts_with('#') || line.find_first_not_of(" \r") == std::string_view::npos;
    if (!passed_over) return line.starts_with("version=");
    start.remove_prefix(std::min(line.size() + 1, start.size()));
  }
  return false;
}

}  // namespace vmdk

GUESTKIT_INLINE bool is_vmdk(const image_block& start) {
  return start.begins_with(vmdk::sparse_magic) || start.begins_with(vmdk::cowd_magic) ||
         start.begins_with(vmdk::sesparse_magic) || vmdk::is_descriptor(start.bytes());
}

GUESTKIT_INLINE void read_vmdk(const image_file& file, const image_block& start, ImageInfo& info) {
  if (start.begins_with(vmdk::sparse_magic))
    vmdk::read_sparse(file, info);
  else if (start.begins_with(vmdk::cowd_magic))
    vmdk::read_cowd(file, info);
  else if (start.begins_with(vmdk::sesparse_magic))
    vmdk::read_sesparse(file, info);
  else
    vmdk::read_descriptor(file, 0, info);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
