#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <utility>

#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/inspect/lvm_metadata.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A section of the text, such as physical_volumes. A value is a list; most have one element.
struct lvm_section {
  std::map<std::string, string_list, std::less<>> values = {};
  std::map<std::string, lvm_section, std::less<>> sections = {};

  const string_list& list(std::string_view name) const {
    static const string_list none;
    const auto found = values.find(name);
    return found == values.end() ? none : found->second;
  }
  std::string text(std::string_view name) const {
    const auto& all = list(name);
    return all.size() == 1 ? all.front() : std::string();
  }
  const lvm_section& section(std::string_view name) const {
    static const lvm_section none;
    const auto found = sections.find(name);
    return found == sections.end() ? none : found->second;
  }
};

inline bool is_lvm_letter(char c) noexcept {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '_' || c == '.' || c == '-';
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

  string_list value() {
    auto first = token();
    if (first != "[") return {element(std::move(first))};
    string_list all;
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

inline std::string without_dashes(std::string text) {
  std::erase(text, '-');
  return text;
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

inline void check_logical_volume(const lvm_section& volume) {
  check_lvm_state(volume, {"READ", "WRITE", "VISIBLE", "FIXED_MINOR"});
  if (std::ranges::find(volume.list("status"), "VISIBLE") == volume.list("status").end() ||
      volume.sections.empty())
    throw doubt{"a hidden LVM volume"};
  for (const auto& [name, segment] : volume.sections)
    if (const auto type = segment.text("type"); type != "striped" && type != "linear")
      throw doubt{"an LVM volume of the type " + type};
}

GUESTKIT_INLINE volume_group volume_group_in(std::string_view text) {
  const auto whole = lvm_parser(text).run();
  if (whole.text("contents") != "Text Format Volume Group" || whole.sections.size() != 1)
    throw doubt{"LVM metadata of an unusual form"};
  const auto& [name, section] = *whole.sections.begin();
  check_lvm_state(section, {"RESIZEABLE", "READ", "WRITE"});
  const auto lock = section.text("lock_type");
  if (!section.text("system_id").empty() || (!lock.empty() && lock != "none"))
    throw doubt{"an LVM volume group of another host"};
  volume_group group{.name = name,
                     .uuid = without_dashes(section.text("id")),
                     .version = number_of(section.text("seqno")).value_or(0)};
  if (!is_lvm_name(name) || group.uuid.empty()) throw doubt{"LVM metadata of an unusual form"};
  for (const auto& [key, member] : section.section("physical_volumes").sections) {
    check_lvm_state(member, {"ALLOCATABLE"});
    group.members.push_back(without_dashes(member.text("id")));
  }
  for (const auto& [key, volume] : section.section("logical_volumes").sections) {
    if (!is_lvm_name(key)) throw doubt{"LVM metadata of an unusual form"};
    check_logical_volume(volume);
    group.volumes.push_back(key);
  }
  return group;
}

GUESTKIT_INLINE std::uint32_t lvm_checksum(std::string_view text) noexcept {
  std::uint32_t sum = 0xf597a6cfU;
  for (const char c : text) {
    sum ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1U) ^ ((sum & 1U) != 0 ? 0xedb88320U : 0U);
  }
  return sum;
}

/// The text on a physical volume; nothing if it has none. Throws doubt if it is not found where it usually
/// is.
inline std::optional<std::string> lvm_text_on(guest_actions& g, const std::string& device) {
  constexpr std::size_t start_size = 8192, sector = 512, header_at = 4096;
  constexpr std::uint64_t most_area = std::uint64_t{4} << 20U, most_text = std::uint64_t{512} << 10U;
  const auto read = [&](std::uint64_t at, std::uint64_t size) {
    const buffer bytes = g.pread_device(device, static_cast<int>(size), static_cast<std::int64_t>(at));
    if (bytes.view().size() != size) throw doubt{"a physical volume that ends early"};
    return std::string(bytes.view());
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
  // UUID and size; then come the places of its data, and those of its metadata, each list with a zero behind.
  constexpr std::size_t places = sector + 32 + 32 + 8, place_size = 16;
  std::size_t at = places;
  while (start.little(at, 8) != 0) at += place_size;
  at += place_size;
  if (start.le32(sector + 20) != 32 || start.little(at, 8) != header_at || start.little(at + 8, 8) != area ||
      start.little(at + place_size, 8) != 0 || start.le32(header_at + 60) != 0)
    throw doubt{"a physical volume of an unusual form"};
  const auto offset = start.little(header_at + 40, 8), size = start.little(header_at + 48, 8);
  if (offset == 0) return std::nullopt;
  if (area > most_area || size > most_text || offset < sector || offset >= area || size > area - sector)
    throw doubt{"a physical volume of an unusual form"};
  // The area is a ring behind its header.
  const auto first = std::min(size, area - offset);
  auto text = read(header_at + offset, first);
  if (first < size) text += read(header_at + sector, size - first);
  if (lvm_checksum(text) != start.le32(header_at + 56)) throw doubt{"damaged LVM metadata"};
  return text;
}

GUESTKIT_INLINE std::optional<std::vector<volume_group>> read_volume_groups(guest_actions& g,
                                                                            const string_list& devices,
                                                                            const string_list& uuids) {
  std::map<std::string, volume_group> by_name;
  std::set<std::string> here;
  try {
    for (const auto& uuid : uuids)
      if (!here.insert(without_dashes(uuid)).second) return std::nullopt;
    for (const auto& device : devices) {
      const auto text = lvm_text_on(g, device);
      if (!text) continue;
      auto group = volume_group_in(*text);
      auto& known = by_name.emplace(group.name, group).first->second;
      const bool is_same = known.members == group.members && known.volumes == group.volumes;
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
    for (const auto& member : group.members)
      if (!here.contains(member) || !taken.insert(member).second) return std::nullopt;
    all.push_back(std::move(group));
  }
  return all;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
