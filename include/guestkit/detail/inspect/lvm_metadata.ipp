#pragma once

#include <algorithm>
#include <initializer_list>
#include <map>
#include <set>
#include <utility>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/inspect/lvm_metadata.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A section of the text, such as physical_volumes. A value is a list; most have one element.
struct lvm_section {
  using words = std::vector<std::string>;

  std::map<std::string, words, std::less<>> values = {};
  std::map<std::string, lvm_section, std::less<>> sections = {};

  words list(std::string_view name) const {
    const auto found = values.find(name);
    return found == values.end() ? words() : found->second;
  }
  std::string text(std::string_view name) const {
    const auto found = values.find(name);
    return found == values.end() || found->second.size() != 1 ? "" : found->second.front();
  }
  std::int64_t number(std::string_view name) const { return number_of(text(name)).value_or(0); }
  lvm_section section(std::string_view name) const {
    const auto found = sections.find(name);
    return found == sections.end() ? lvm_section() : found->second;
  }
};

inline bool is_lvm_letter(char c) noexcept {
  return is_ascii_alnum(c) || c == '+' || c == '_' || c == '.' || c == '-';
}

/// Parses LVM's text format: NAME { … }, NAME = VALUE, NAME = [VALUE, …], and # for comments.
class lvm_parser {
 public:
  explicit lvm_parser(std::string_view text) : rest_(text) {}

  lvm_section run() { return section(0); }

 private:
  [[noreturn]] static void refuse() { throw doubt{"LVM metadata of an unusual form"}; }

  lvm_section section(int depth) {
    constexpr int deepest = 8;
    if (depth > deepest) refuse();
    lvm_section read;
    for (auto name = token(); name != (depth == 0 ? "" : "}"); name = token()) {
      if (!is_name(name)) refuse();
      const auto sign = token();
      const bool is_new = sign == "{"   ? read.sections.emplace(name, section(depth + 1)).second
                          : sign == "=" ? read.values.emplace(name, value()).second
                                        : false;
      if (!is_new) refuse();
    }
    return read;
  }

  lvm_section::words value() {
    auto first = token();
    if (first != "[") return {element(std::move(first))};
    lvm_section::words all;
    for (auto next = token(); next != "]"; next = token())
      if (next != ",") all.push_back(element(std::move(next)));
    return all;
  }

  static std::string element(std::string token) {
    if (token.starts_with('"')) return token.substr(1);
    if (!is_name(token)) refuse();
    return token;
  }

  static bool is_name(std::string_view token) {
    return !token.empty() && std::ranges::all_of(token, is_lvm_letter);
  }

  /// The next word, sign, or text with a quote before it; empty at the end.
  std::string token() {
    skip_blanks();
    if (rest_.empty()) return {};
    std::string read(1, rest_.front());
    rest_.remove_prefix(1);
    if (read == "\"") return read + quoted();
    if (!is_lvm_letter(read[0])) return read;
    for (; !rest_.empty() && is_lvm_letter(rest_.front()); rest_.remove_prefix(1)) read += rest_.front();
    return read;
  }

  void skip_blanks() {
    constexpr std::string_view blanks(" \t\n\r\0", 5);  // a NUL ends the text
    while (!rest_.empty()) {
      if (rest_.front() == '#')
        take_until(rest_, '\n');
      else if (blanks.find(rest_.front()) != std::string_view::npos)
        rest_.remove_prefix(1);
      else
        return;
    }
  }

  std::string quoted() {
    std::string read;
    while (!rest_.empty() && rest_.front() != '"') {
      if (rest_.front() == '\\') rest_.remove_prefix(1);
      if (rest_.empty()) break;
      read += rest_.front();
      rest_.remove_prefix(1);
    }
    if (rest_.empty()) refuse();
    rest_.remove_prefix(1);
    return read;
  }

  std::string_view rest_;
};

/// Throws doubt if a letter is none of LVM's, which takes no such group.
inline std::string without_dashes(std::string uuid) {
  std::erase(uuid, '-');
  const auto is_usual = [](char c) { return is_ascii_alnum(c) || c == '!' || c == '#'; };
  if (!std::ranges::all_of(uuid, is_usual)) throw doubt{"a UUID of LVM with other letters"};
  return uuid;
}

/// Whether LVM takes it for a name: it becomes part of a path below /dev.
inline bool is_lvm_name(std::string_view name) {
  return !name.empty() && name.size() < 128 && name.front() != '-' && name != "." && name != ".." &&
         std::ranges::all_of(name, is_lvm_letter);
}

/// Throws doubt if a group, a physical or a logical volume is in any but the usual state.
inline void check_lvm_state(const lvm_section& thing, std::initializer_list<std::string_view> usual) {
  const auto is_usual = [&](const auto& word) { return std::ranges::find(usual, word) != usual.end(); };
  if (!thing.list("flags").empty() || !std::ranges::all_of(thing.list("status"), is_usual))
    throw doubt{"LVM volumes in an unusual state"};
}

inline lvm_segment segment_in(const lvm_section& section) {
  if (const auto type = section.text("type"); type != "striped" && type != "linear")
    throw doubt{"an LVM volume of the type " + printable(type)};
  lvm_segment segment{.first_extent = section.number("start_extent"),
                      .extents = section.number("extent_count"),
                      .stripe_sectors = section.number("stripe_size")};
  const auto stripes = section.list("stripes");
  if (stripes.empty() || stripes.size() % 2 != 0) throw doubt{"LVM metadata of an unusual form"};
  for (std::size_t i = 0; i < stripes.size(); i += 2)
    segment.stripes.push_back({.member = stripes[i], .extent = number_of(stripes[i + 1]).value_or(-1)});
  return segment;
}

inline lvm_volume volume_in(const std::string& name, const lvm_section& section) {
  if (!is_lvm_name(name)) throw doubt{"LVM metadata of an unusual form"};
  check_lvm_state(section, {"READ", "WRITE", "VISIBLE"});
  const auto status = section.list("status");
  const auto is = [&](std::string_view state) { return std::ranges::find(status, state) != status.end(); };
  if (!is("VISIBLE") || section.sections.empty()) throw doubt{"a hidden LVM volume"};
  lvm_volume volume{
      .name = name, .uuid = without_dashes(section.text("id")), .is_writable = is("WRITE"), .segments = {}};
  for (const auto& [key, segment] : section.sections) volume.segments.push_back(segment_in(segment));
  std::ranges::sort(volume.segments, {}, &lvm_segment::first_extent);
  return volume;
}

GUESTKIT_INLINE volume_group volume_group_in(std::string_view text) {
  const auto whole = lvm_parser(text).run();
  if (whole.text("contents") != "Text Format Volume Group" || whole.sections.size() != 1)
    throw doubt{"LVM metadata of an unusual form"};
  const auto& [name, section] = *whole.sections.begin();
  check_lvm_state(section, {"RESIZEABLE", "READ", "WRITE"});
  const auto lock = section.text("lock_type");
  if (section.list("system_id").size() > 1 || !section.text("system_id").empty() ||
      (!lock.empty() && lock != "none"))
    throw doubt{"an LVM volume group of another host"};
  volume_group group{.name = name,
                     .uuid = without_dashes(section.text("id")),
                     .extent_sectors = section.number("extent_size"),
                     .version = section.number("seqno")};
  if (!is_lvm_name(name) || group.uuid.empty()) throw doubt{"LVM metadata of an unusual form"};
  const auto members = section.section("physical_volumes"), volumes = section.section("logical_volumes");
  for (const auto& [key, member] : members.sections) {
    check_lvm_state(member, {"ALLOCATABLE"});
    group.members.push_back({.uuid = without_dashes(member.text("id")),
                             .name = key,
                             .first_sector = member.number("pe_start"),
                             .extents = member.number("pe_count")});
  }
  for (const auto& [key, volume] : volumes.sections) group.volumes.push_back(volume_in(key, volume));
  return group;
}

GUESTKIT_INLINE std::string with_double_dashes(std::string_view name) {
  std::string doubled;
  for (const char c : name) doubled.append(c == '-' ? 2 : 1, c);
  return doubled;
}

GUESTKIT_INLINE std::uint32_t lvm_checksum(std::string_view text) noexcept {
  std::uint32_t sum = 0xf597a6cfU;
  for (const char c : text) {
    sum ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1U) ^ ((sum & 1U) != 0 ? 0xedb88320U : 0U);
  }
  return sum;
}

/// What a physical volume tells.
struct lvm_label {
  std::string uuid;                 ///< without dashes
  std::optional<std::string> text;  ///< the metadata; nothing if it belongs to no group
};

/// Throws doubt if something is not found where it usually is.
inline lvm_label label_of(const device_reader& read_part) {
  constexpr std::size_t start_size = 8192, sector = 512, header_at = 4096;
  constexpr std::uint64_t most_area = std::uint64_t{4} << 20U, most_text = std::uint64_t{512} << 10U;
  const auto read = [&](std::uint64_t at, std::uint64_t size) {
    auto bytes = read_part(at, static_cast<std::size_t>(size));
    if (bytes.size() != size) throw doubt{"a physical volume that ends early"};
    return bytes;
  };
  const untrusted_bytes start(read(0, start_size));
  if (start.bytes(sector, 8) != "LABELONE" || start.bytes(sector + 24, 8) != "LVM2 001" ||
      start.bytes(header_at + 4, 16) != std::string_view(" LVM2 x[5A%r0N*>") ||
      start.little(header_at + 24, 8) != header_at)
    throw doubt{"a physical volume of an unusual form"};
  if (lvm_checksum(start.bytes(sector + 20, sector - 20)) != start.le32(sector + 16) ||
      lvm_checksum(start.bytes(header_at + 4, sector - 4)) != start.le32(header_at))
    throw doubt{"damaged LVM metadata"};
  for (const std::size_t other : {std::size_t{0}, std::size_t{2}, std::size_t{3}})
    if (start.bytes(other * sector, 8) == "LABELONE") throw doubt{"a physical volume with several labels"};
  const auto area = start.little(header_at + 32, 8);
  // The one area must be where the physical volume says that it is, and in use. What it says begins with its
  // UUID and size; then come the areas of its data, and those of its metadata, each list with a zero behind.
  constexpr std::size_t areas = sector + 32 + 32 + 8, area_size = 16;
  std::size_t at = areas;
  while (start.little(at, 8) != 0) at += area_size;
  at += area_size;
  if (start.le32(sector + 20) != 32 || start.little(at, 8) != header_at || start.little(at + 8, 8) != area ||
      start.little(at + area_size, 8) != 0 || start.le32(header_at + 60) != 0)
    throw doubt{"a physical volume of an unusual form"};
  const auto offset = start.little(header_at + 40, 8), size = start.little(header_at + 48, 8);
  lvm_label label{.uuid = std::string(start.bytes(sector + 32, 32)), .text = std::nullopt};
  if (offset == 0) return label;
  if (area > most_area || size > most_text || offset < sector || offset >= area || size > area - sector)
    throw doubt{"a physical volume of an unusual form"};
  // The area is a ring behind its header.
  const auto first = std::min(size, area - offset);
  auto text = read(header_at + offset, first);
  if (first < size) text += read(header_at + sector, size - first);
  if (lvm_checksum(text) != start.le32(header_at + 56)) throw doubt{"damaged LVM metadata"};
  label.text = std::move(text);
  return label;
}

GUESTKIT_INLINE std::optional<std::vector<volume_group>> read_volume_groups(
    const std::vector<device_reader>& devices) {
  std::map<std::string, volume_group> by_name;
  std::map<std::string, std::size_t> here;  // UUID and device
  try {
    for (std::size_t i = 0; i < devices.size(); ++i) {
      const auto label = label_of(devices[i]);
      if (!here.emplace(label.uuid, i).second) return std::nullopt;
      if (!label.text) continue;
      auto group = volume_group_in(*label.text);
      auto& known = by_name.emplace(group.name, group).first->second;
      const bool is_same = known.members == group.members && known.volumes == group.volumes &&
                           known.extent_sectors == group.extent_sectors;
      if (known.uuid != group.uuid || (known.version == group.version && !is_same)) return std::nullopt;
      if (known.version < group.version) known = std::move(group);
    }
  } catch (const doubt&) {
    return std::nullopt;
  }
  std::vector<volume_group> all;
  std::set<std::string> taken;  // the UUIDs of groups and members: an old name or an old member may remain
  for (auto& [name, group] : by_name) {
    if (!taken.insert(group.uuid).second) return std::nullopt;
    for (auto& member : group.members) {
      const auto device = here.find(member.uuid);
      if (device == here.end() || !taken.insert(member.uuid).second) return std::nullopt;
      member.device = device->second;
    }
    all.push_back(std::move(group));
  }
  return all;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
