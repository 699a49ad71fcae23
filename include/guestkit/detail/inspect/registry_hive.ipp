#pragma once

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/base/utf16.hpp"
#include "guestkit/detail/inspect/registry_hive.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline constexpr std::uint64_t hive_header_size = 4096;

GUESTKIT_INLINE bool is_same_name(std::string_view one, std::string_view other) noexcept {
  return std::ranges::equal(one, other, {}, lower_case, lower_case);
}

/// The name of a key or value up to its first NUL.
/// @param is_narrow  whether it is Latin-1 instead of UTF-16
inline std::string registry_name(std::string_view bytes, bool is_narrow) {
  std::optional<std::string> name;
  if (is_narrow) {
    name.emplace();
    for (const char byte : bytes) append_utf8(*name, static_cast<std::uint8_t>(byte));
  } else {
    name = utf8_of_utf16(bytes);
  }
  if (!name) throw doubt{"a registry with a name that is no UTF-16"};
  return name->substr(0, name->find('\0'));
}

GUESTKIT_INLINE registry_hive::registry_hive(partial_file& file) : file_(file) {
  constexpr std::size_t checksum_at = 508;
  if (file_.size() < 2 * hive_header_size) throw doubt{"a registry that is too small"};
  const untrusted_bytes header(file_.bytes(0, checksum_at + 4));
  if (header.bytes(0, 4) != "regf" || header.le32(20) != 1) throw doubt{"a registry of an unknown form"};
  std::uint32_t sum = 0;
  for (std::size_t at = 0; at < checksum_at; at += 4) sum ^= header.le32(at);
  if (sum != header.le32(checksum_at)) throw doubt{"a registry with a wrong checksum"};
  end_ = std::min(file_.size(), hive_header_size + header.le32(40));
  root_ = key_at(header.le32(36));
}

GUESTKIT_INLINE const registry_hive::page& registry_hive::page_of(std::uint32_t place) {
  constexpr std::size_t most_pages = 1024;
  if (const auto after = pages_.upper_bound(place); after != pages_.begin()) {
    const auto before = std::prev(after);
    if (place < before->second.end) return before->second;
  }
  if (pages_.size() >= most_pages) pages_.clear();
  constexpr std::uint32_t unit = 4096, farthest = std::uint32_t{2} << 20U;
  for (auto begin = place - place % unit; place - begin < farthest; begin -= unit) {
    const untrusted_bytes head(file_.bytes(hive_header_size + begin, 8));
    if (head.bytes(0, 4) == "hbin" && head.le32(4) == begin)
      return pages_.insert_or_assign(begin, page_at(begin)).first->second;
    if (begin == 0) break;
  }
  throw doubt{"a registry with a damaged page"};
}

GUESTKIT_INLINE registry_hive::page registry_hive::page_at(std::uint32_t place) {
  constexpr std::uint32_t unit = 4096, head = 32, largest = std::uint32_t{4} << 20U;
  const auto at = hive_header_size + place;
  const auto size = untrusted_bytes(file_.bytes(at, head)).le32(8);
  if (size == 0 || size % unit != 0 || size > largest || size > file_.size() - at)
    throw doubt{"a registry with a page of " + std::to_string(size) + " bytes"};
  page found{.end = std::uint64_t{place} + size};
  for (std::uint32_t here = head, length = 0; here < size; here += length) {
    found.cells.push_back(place + here);
    length = untrusted_bytes(file_.bytes(at + here, 4)).le32(0);
    if (length >= 0x80000000U) length = 0U - length;
    if (length <= 4 || length % 4 != 0 || length > size - here) break;
  }
  return found;
}

GUESTKIT_INLINE untrusted_bytes registry_hive::cell(std::uint32_t place) {
  constexpr std::uint32_t largest = std::uint32_t{1} << 20U;
  const auto at = hive_header_size + place;
  if (place % 4 != 0 || at > end_ || end_ - at < 8) throw doubt{"a registry with links that lead out of it"};
  if (const auto& cells = page_of(place).cells; !std::ranges::binary_search(cells, place))
    throw doubt{"a registry with links to what is no cell"};
  const auto used = untrusted_bytes(file_.bytes(at, 4)).le32(0);
  const auto size = 0U - used;  // the size of a cell in use is negative
  if (used < 0x80000000U) throw doubt{"a registry with links to unused space"};
  if (size < 8 || size % 4 != 0 || size > largest || size > end_ - at)
    throw doubt{"a registry with a cell of " + std::to_string(size) + " bytes"};
  return untrusted_bytes(file_.bytes(at, size));
}

GUESTKIT_INLINE registry_key registry_hive::key_at(std::uint32_t place) {
  constexpr std::uint16_t narrow_name = 0x20;
  const auto bytes = cell(place);
  if (bytes.bytes(4, 2) != "nk") throw doubt{"a registry with links to what is no key"};
  return {.name = registry_name(bytes.bytes(80, bytes.le16(76)), (bytes.le16(6) & narrow_name) != 0),
          .subkeys = bytes.le32(24),
          .subkey_list = bytes.le32(32),
          .values = bytes.le32(40),
          .value_list = bytes.le32(44)};
}

GUESTKIT_INLINE std::vector<registry_hive::listed_key> registry_hive::listed(const registry_key& parent) {
  constexpr std::size_t most = 65'536;
  std::vector<listed_key> all;
  if (parent.subkeys == 0) return all;
  if (parent.subkeys > most)
    throw doubt{"a registry with " + std::to_string(parent.subkeys) + " keys in one"};
  const auto list = cell(parent.subkey_list);
  if (list.bytes(4, 2) == "ri") {
    const std::size_t count = list.le16(6);
    for (std::size_t i = 0; i < count; ++i) add_listed(cell(list.le32(8 + 4 * i)), all, parent.subkeys);
  } else {
    add_listed(list, all, parent.subkeys);
  }
  if (all.size() != parent.subkeys) throw doubt{"a registry whose lists of keys have another length"};
  return all;
}

GUESTKIT_INLINE void registry_hive::add_listed(const untrusted_bytes& list, std::vector<listed_key>& all,
                                               std::size_t most) {
  const auto form = list.bytes(4, 2);
  if (form != "lf" && form != "lh" && form != "li") throw doubt{"a registry with an unknown list of keys"};
  const char kind = form[1];
  const std::size_t count = list.le16(6), width = kind == 'i' ? 4 : 8;
  if (count > most - all.size()) throw doubt{"a registry whose lists of keys have another length"};
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = 8 + width * i;
    all.push_back({.place = list.le32(at), .hint = kind == 'i' ? 0 : list.le32(at + 4), .kind = kind});
  }
}

GUESTKIT_INLINE bool registry_hive::may_be(const listed_key& key, std::string_view name) {
  if (key.kind == 'i') return true;
  if (key.kind == 'f') {
    for (std::size_t i = 0; i < 4; ++i) {
      const auto letter = static_cast<char>(key.hint >> (8 * i) & 0xFFU);
      if (lower_case(letter) != (i < name.size() ? lower_case(name[i]) : '\0')) return false;
    }
    return true;
  }
  std::uint32_t hash = 0;
  for (const char c : name) {
    const auto folded = lower_case(c);
    const auto letter = folded >= 'a' && folded <= 'z' ? folded - 'a' + 'A' : folded;
    hash = 37 * hash + static_cast<std::uint8_t>(letter);
  }
  return key.hint == hash;
}

GUESTKIT_INLINE std::optional<registry_key> registry_hive::child(const registry_key& parent,
                                                                 std::string_view name) {
  const auto all = listed(parent);
  // hivex ignores the hints: where none fits, they may be wrong.
  for (const bool hinted : {true, false})
    for (const auto& one : all) {
      if (may_be(one, name) != hinted) continue;
      if (auto key = key_at(one.place); is_same_name(key.name, name)) return key;
    }
  return std::nullopt;
}

GUESTKIT_INLINE std::optional<registry_key> registry_hive::find(
    std::initializer_list<std::string_view> path) {
  std::optional<registry_key> key = root_;
  for (const auto name : path)
    if (key) key = child(*key, name);
  return key;
}

GUESTKIT_INLINE void registry_hive::each_child(const registry_key& parent,
                                               const std::function<void(const registry_key& child)>& visit) {
  for (const auto& one : listed(parent)) visit(key_at(one.place));
}

GUESTKIT_INLINE std::vector<registry_value> registry_hive::values(const registry_key& key) {
  constexpr std::size_t most = 65'536;
  constexpr std::uint16_t narrow_name = 1;
  std::vector<registry_value> all;
  if (key.values == 0) return all;
  if (key.values > most) throw doubt{"a registry with " + std::to_string(key.values) + " values in one key"};
  const auto list = cell(key.value_list);
  for (std::size_t i = 0; i < key.values; ++i) {
    const auto bytes = cell(list.le32(4 + 4 * i));
    if (bytes.bytes(4, 2) != "vk") throw doubt{"a registry with links to what is no value"};
    all.push_back({.name = registry_name(bytes.bytes(24, bytes.le16(6)), (bytes.le16(20) & narrow_name) != 0),
                   .type = bytes.le32(16),
                   .size = bytes.le32(8),
                   .place = bytes.le32(12)});
  }
  return all;
}

GUESTKIT_INLINE std::string registry_hive::data(const registry_value& value) {
  constexpr std::uint32_t in_place = 0x80000000U;
  const auto size = value.size & ~in_place;
  if ((value.size & in_place) != 0) {
    if (size > 4) throw doubt{"a registry with a value of " + std::to_string(size) + " bytes in four"};
    std::string bytes;
    for (std::uint32_t i = 0; i < size; ++i) bytes += static_cast<char>(value.place >> (8 * i) & 0xFFU);
    return bytes;
  }
  const auto bytes = cell(value.place);
  if (size > bytes.size() - 4) throw doubt{"a registry with a value in several parts"};
  return std::string(bytes.bytes(4, size));
}

GUESTKIT_INLINE std::optional<std::string> registry_hive::text(const registry_value& value) {
  constexpr std::array types{registry_value::text, registry_value::expandable_text, registry_value::link};
  if (std::ranges::find(types, value.type) == types.end()) return std::nullopt;
  return utf8_of_utf16(utf16_before_nul(data(value)));
}

GUESTKIT_INLINE std::optional<std::uint32_t> registry_hive::number(const registry_value& value) {
  const bool is_big = value.type == registry_value::big_endian_number;
  if (!is_big && value.type != registry_value::number) return std::nullopt;
  const untrusted_bytes bytes(data(value));
  if (bytes.size() < 4) return std::nullopt;
  return is_big ? bytes.be32(0) : bytes.le32(0);
}

GUESTKIT_INLINE const registry_value* value_named(const std::vector<registry_value>& values,
                                                  std::string_view name, bool ignore_case) {
  const auto found = std::ranges::find_if(values, [&](const auto& value) {
    return value.name == name || (ignore_case && is_same_name(value.name, name));
  });
  return found == values.end() ? nullptr : &*found;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
