// A hive of Windows' registry as hivex reads it, but from parts of the file: hivex walks over all of it, and
// those of a real Windows have up to 100 MB.
//
// Like hivex, this ignores the log beside a hive that Windows has not written completely.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/partial_file.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How many bytes of a hive may be fetched.
inline constexpr std::uint64_t most_of_hive = std::uint64_t{64} << 20U;

/// How many bytes are fetched at once: a key's values are near it, other keys are not.
inline constexpr std::size_t part_of_hive = std::size_t{16} << 10U;

/// A value's type and where its data are.
struct registry_value {
  static constexpr std::uint32_t text = 1, expandable_text = 2, binary = 3, number = 4, big_endian_number = 5,
                                 link = 6;

  std::string name;  ///< in UTF-8; empty: the key's default value
  std::uint32_t type = 0;
  std::uint32_t size = 0;   ///< with the highest bit: the data are in the place itself
  std::uint32_t place = 0;  ///< the cell with the data
};

/// A key: its name, and where its subkeys and values are.
struct registry_key {
  std::string name;  ///< in UTF-8
  std::uint32_t subkeys = 0;
  std::uint32_t subkey_list = 0;
  std::uint32_t values = 0;
  std::uint32_t value_list = 0;
};

/// Everything throws doubt at what hivex would refuse, and at structures larger than real ones.
class registry_hive {
 public:
  explicit registry_hive(partial_file& file);

  const registry_key& root() const noexcept { return root_; }

  /// The subkey of that name, in which capitals do not matter; nothing if there is none.
  std::optional<registry_key> child(const registry_key& parent, std::string_view name);

  /// The key below the root; nothing if there is none.
  std::optional<registry_key> find(std::initializer_list<std::string_view> path);

  /// Visits the subkeys in the order in which the hive lists them. What belongs to a key is near it in the
  /// file.
  void each_child(const registry_key& parent, const std::function<void(const registry_key& child)>& visit);

  /// The values, in the order in which the hive lists them.
  std::vector<registry_value> values(const registry_key& key);

  std::string data(const registry_value& value);

  /// A text in UTF-8; nothing if the value has another type or is no UTF-16.
  std::optional<std::string> text(const registry_value& value);

  /// A number of 32 bits; nothing if the value has another type.
  std::optional<std::uint32_t> number(const registry_value& value);

 private:
  /// What a key's list of subkeys tells of one.
  struct listed_key {
    std::uint32_t place = 0;
    std::uint32_t hint = 0;
    char kind = 0;  ///< 'h': the hint is a hash of the name; 'f': its first letters; 'i': there is none
  };

  /// A page: its end, and where its cells begin.
  struct page {
    std::uint64_t end = 0;
    std::vector<std::uint32_t> cells = {};
  };

  /// The page around a cell: a cell is one only if those before it in the page lead to it.
  const page& page_of(std::uint32_t place);
  page page_at(std::uint32_t place);

  /// A part of the hive that is in use, with the four bytes of its size.
  untrusted_bytes cell(std::uint32_t place);
  registry_key key_at(std::uint32_t place);
  std::vector<listed_key> listed(const registry_key& parent);
  void add_listed(const untrusted_bytes& list, std::vector<listed_key>& all, std::size_t most);

  /// Whether the hint says that a key may have that name.
  static bool may_be(const listed_key& key, std::string_view name);

  partial_file& file_;
  std::uint64_t end_ = 0;
  std::map<std::uint32_t, page> pages_ = {};  // by where they begin
  registry_key root_;
};

/// The first of these values with that name; null if there is none.
/// @param ignore_case  whether capitals do not matter
const registry_value* value_named(const std::vector<registry_value>& values, std::string_view name,
                                  bool ignore_case = false);

/// Whether two names are the same for hivex: only ASCII letters have capitals.
bool is_same_name(std::string_view one, std::string_view other) noexcept;

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/registry_hive.ipp"
#endif
