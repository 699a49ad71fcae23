#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/inspect/rpm_database.hpp"
#include "guestkit/detail/inspect/sqlite_log.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The tables of an SQLite database, as far as rpm's packages need them: https://sqlite.org/fileformat2.html.
class rpm_sqlite {
 public:
  rpm_sqlite(partial_file& file, partial_file* log, rpm_packages& all) : file_(file), log_(log), all_(all) {
    using std::string_view_literals::operator""sv;
    constexpr std::uint64_t head_size = 100;
    const untrusted_bytes head(file_.bytes(0, std::min(head_size, file_.size())));
    if (head.size() < head_size || head.bytes(0, 16) != "SQLite format 3\0"sv)
      throw doubt{"no header of SQLite"};
    page_size_ = head.be16(16) == 1 ? 65536 : head.be16(16);
    usable_ = page_size_ - head.u8(20);
    if (!std::has_single_bit(page_size_) || page_size_ < 512 || usable_ < 480)
      throw doubt{"pages of " + std::to_string(page_size_) + " bytes"};
    const bool has_log = head.u8(18) == 2;
    if (has_log && log_ != nullptr) logged_ = pages_in_log(*log_, page_size_);
    const bool is_utf8 = untrusted_bytes(page(1)).be32(56) <= 1;
    if (!is_utf8) throw doubt{"text that is not UTF-8"};
  }

  void read() {
    std::uint32_t root = 0;
    for_each_leaf(1, [&](const untrusted_bytes& leaf, std::size_t head) {
      for_each_row(leaf, head, [&](const row& one) { root = std::max(root, root_of_packages(one)); });
    });
    if (root == 0) throw doubt{"no table of packages"};
    seen_.clear();
    for_each_leaf(root, [&](const untrusted_bytes& leaf, std::size_t head) {
      for_each_row(leaf, head, [&](const row& one) { add(one); });
    });
  }

 private:
  /// A row: a record, of which the beginning lies in its page.
  struct row {
    std::int64_t number = 0;
    std::uint64_t size = 0;
    std::string start = {};
    std::uint32_t rest = 0;  ///< the page on which it goes on
  };

  /// A value in a record.
  struct column {
    std::uint64_t type = 0, at = 0, size = 0;
  };

  std::string page(std::uint32_t number) {
    const auto logged = logged_.find(number);
    if (logged != logged_.end()) return log_->bytes(logged->second, page_size_);
    if (number == 0) throw doubt{"a link to no page"};
    return file_.bytes(std::uint64_t{page_size_} * (number - 1), page_size_);
  }

  /// Reads a number of at most 9 bytes, and moves behind it.
  static std::uint64_t varint(const untrusted_bytes& bytes, std::size_t& at) {
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) {
      const auto byte = bytes.u8(at++);
      value = value << 7U | (byte & 0x7fU);
      if (byte < 0x80) return value;
    }
    return value << 8U | bytes.u8(at++);
  }

  /// Goes through the tree, level by level and each level as it lies in the file.
  template <class F>
  void for_each_leaf(std::uint32_t root, F&& visit) {
    constexpr int deepest = 20;  // SQLite's own limit
    std::vector<std::uint32_t> level{root};
    for (int depth = 0; !level.empty(); ++depth) {
      if (depth > deepest) throw doubt{"a tree that is too deep"};
      std::ranges::sort(level);
      std::vector<std::uint32_t> below;
      for (const auto number : level) {
        if (all_.is_full()) return;
        all_.read("page " + std::to_string(number), [&] {
          if (!seen_.insert(number).second) throw doubt{"two links to it"};
          const untrusted_bytes here(page(number));
          const std::size_t head = number == 1 ? 100 : 0;
          switch (here.u8(head)) {
            case 5:
              add_children(here, head, below);
              break;
            case 13:
              visit(here, head);
              break;
            default:
              throw doubt{"another type than a table's pages"};
          }
        });
      }
      level = std::move(below);
    }
  }

  void add_children(const untrusted_bytes& here, std::size_t head, std::vector<std::uint32_t>& all) const {
    const std::size_t cells = here.be16(head + 3);
    if (all.size() + cells > file_.size() / page_size_ + logged_.size())
      throw doubt{"more links than there are pages"};
    for (std::size_t i = 0; i < cells; ++i) all.push_back(here.be32(here.be16(head + 12 + 2 * i)));
    all.push_back(here.be32(head + 8));
  }

  template <class F>
  void for_each_row(const untrusted_bytes& leaf, std::size_t head, F&& visit) {
    const std::size_t cells = leaf.be16(head + 3);
    std::size_t together = 0;
    for (std::size_t i = 0; i < cells && !all_.is_full(); ++i) {
      std::size_t at = leaf.be16(head + 8 + 2 * i);
      row one;
      one.size = varint(leaf, at);
      one.number = static_cast<std::int64_t>(varint(leaf, at));
      const auto here = size_in_leaf(one.size);
      together += here;
      if (together > page_size_) throw doubt{"rows that overlap"};
      one.start = leaf.bytes(at, here);
      if (here < one.size) one.rest = leaf.be32(at + here);
      all_.read("row " + std::to_string(one.number), [&] { visit(one); });
    }
  }

  /// How much of a row is in its leaf.
  std::size_t size_in_leaf(std::uint64_t size) const {
    const std::uint64_t most = usable_ - 35, least = (usable_ - 12) * 32 / 255 - 23;
    if (size <= most) return static_cast<std::size_t>(size);
    const auto whole_pages = least + (size - least) % (usable_ - 4);
    return static_cast<std::size_t>(whole_pages <= most ? whole_pages : least);
  }

  /// The first bytes of a row's record, or all of it.
  std::string start_of(const row& one, std::size_t count) {
    auto bytes = one.start.substr(0, count);
    for (auto next = one.rest; bytes.size() < std::min<std::uint64_t>(count, one.size);) {
      const untrusted_bytes here(page(next));
      bytes += here.bytes(4, std::min<std::size_t>(usable_ - 4, count - bytes.size()));
      next = here.be32(0);
    }
    return bytes;
  }

  /// The values of a record.
  std::vector<column> columns_of(const row& one) {
    constexpr std::size_t most = 512;  // both tables have at most five columns
    const untrusted_bytes record(start_of(one, most));
    std::size_t at = 0;
    const auto head = varint(record, at);
    std::vector<column> all;
    for (auto value_at = head; at < head; value_at += all.back().size) {
      constexpr std::uint64_t numbers[]{0, 1, 2, 3, 4, 6, 8, 8, 0, 0};
      const auto type = varint(record, at);
      if (type == 10 || type == 11) throw doubt{"a row with a value of no type"};
      const auto size = type < 10 ? numbers[type] : (type - 12) / 2;
      if (value_at > one.size || size > one.size - value_at) throw doubt{"a row that is cut off"};
      all.push_back({.type = type, .at = value_at, .size = size});
    }
    return all;
  }

  /// The first page of the table of packages, if this row of the schema is about it; otherwise 0.
  std::uint32_t root_of_packages(const row& one) {
    const auto columns = columns_of(one);
    if (columns.size() < 4) throw doubt{"too few columns for a schema"};
    const auto &type = columns[0], &name = columns[1], &root = columns[3];
    constexpr std::uint64_t longest = 256;
    if (root.at > longest || root.type == 0 || root.type > 4) return 0;
    const untrusted_bytes record(start_of(one, longest + 4));
    const auto is = [&](const column& which, std::string_view text) {
      return which.type == 13 + 2 * text.size() &&
             record.bytes(static_cast<std::size_t>(which.at), text.size()) == text;
    };
    if (!is(type, "table") || !is(name, "Packages")) return 0;
    return static_cast<std::uint32_t>(
        record.big(static_cast<std::size_t>(root.at), static_cast<std::size_t>(root.size)));
  }

  /// A row of the table of packages: its number, which is stored as NULL, and the header.
  void add(const row& one) {
    const auto columns = columns_of(one);
    const bool is_package =
        columns.size() == 2 && columns[0].type == 0 && columns[1].type >= 12 && columns[1].type % 2 == 0;
    if (!is_package) throw doubt{"a row that is no package"};
    const auto& blob = columns[1];
    all_.add({.order = one.number, .size = blob.size, .start = [&](std::size_t count) {
                const auto wanted = std::min<std::uint64_t>(count, blob.size);
                auto record = start_of(one, static_cast<std::size_t>(blob.at + wanted));
                return record.erase(0, static_cast<std::size_t>(blob.at));
              }});
  }

  partial_file& file_;
  partial_file* log_;
  rpm_packages& all_;
  std::uint32_t page_size_ = 0, usable_ = 0;
  std::map<std::uint32_t, std::uint64_t> logged_;
  std::set<std::uint32_t> seen_;
};

GUESTKIT_INLINE void read_rpm_sqlite(partial_file& file, partial_file* log, rpm_packages& all) {
  rpm_sqlite(file, log, all).read();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
