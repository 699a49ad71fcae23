#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/inspect/rpm_database.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Berkeley DB's hash of packages: the keys are numbers, the values headers.
class rpm_bdb {
 public:
  rpm_bdb(partial_file& file, rpm_packages& all) : file_(file), all_(all) {
    constexpr std::uint32_t magic = 0x061561;
    constexpr std::uint64_t meta_size = 512;
    const untrusted_bytes meta(file_.bytes(0, std::min(meta_size, file_.size())));
    is_little_ = meta.size() == meta_size && meta.le32(12) == magic;
    if (!is_little_ && (meta.size() < meta_size || meta.be32(12) != magic))
      throw doubt{"no header of Berkeley DB's hash"};
    page_size_ = number(meta, 20);
    if (!std::has_single_bit(page_size_) || page_size_ < 512 || page_size_ > 65536)
      throw doubt{"pages of " + std::to_string(page_size_) + " bytes"};
    const bool is_encrypted = meta.u8(24) != 0, has_checksums = (meta.u8(26) & 1U) != 0;
    if (is_encrypted || has_checksums) throw doubt{"pages with checksums, which rpm does not make"};
    last_bucket_ = number(meta, 72);
    if (last_bucket_ >= file_.size() / page_size_) throw doubt{"more buckets than pages"};
    for (std::size_t i = 0; i < 32; ++i) spares_.push_back(number(meta, 96 + 4 * i));
  }

  void read() {
    for (std::uint32_t bucket = 0; bucket <= last_bucket_ && !all_.is_full(); ++bucket) {
      const auto group = static_cast<std::size_t>(std::bit_width(bucket));
      all_.read("bucket " + std::to_string(bucket), [&] { read_chain(bucket + spares_.at(group)); });
    }
    std::ranges::stable_sort(headers_, {}, &header::page);
    for (const auto& one : headers_) add(one);
  }

 private:
  static constexpr std::size_t page_head = 26;
  enum page_type : std::uint8_t { unsorted_hash = 2, overflow = 7, hash = 13 };
  enum item_type : std::uint8_t { on_page = 1, off_page = 3 };

  /// A header on pages of its own or, if it is small, on one with others.
  struct header {
    std::uint32_t page = 0;
    std::uint64_t size = 0;
    std::int64_t order = 0;
    std::size_t at = 0;  ///< where it begins on the page with others; 0: it has pages of its own
  };

  std::uint32_t number(const untrusted_bytes& bytes, std::size_t at) const {
    return is_little_ ? bytes.le32(at) : bytes.be32(at);
  }
  std::uint16_t short_number(const untrusted_bytes& bytes, std::size_t at) const {
    return is_little_ ? bytes.le16(at) : bytes.be16(at);
  }

  untrusted_bytes page(std::uint32_t number) {
    return untrusted_bytes(file_.bytes(std::uint64_t{number} * page_size_, page_size_));
  }

  /// The pages of a bucket.
  void read_chain(std::uint32_t number_of_page) {
    while (number_of_page != 0) {
      if (!seen_.insert(number_of_page).second) throw doubt{"a page that is linked twice"};
      const auto here = page(number_of_page);
      const auto type = here.u8(25);
      if (type != hash && type != unsorted_hash) throw doubt{"a page of the type " + std::to_string(type)};
      read_items(here, number_of_page);
      number_of_page = number(here, 16);
    }
  }

  /// Keys and values by turns, each behind the next in the page, which fills from its end.
  void read_items(const untrusted_bytes& here, std::uint32_t number_of_page) {
    const std::size_t count = short_number(here, 20);
    std::size_t end = page_size_;
    std::uint32_t key = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = short_number(here, page_head + 2 * i);
      if (at >= end) throw doubt{"items that overlap"};
      const auto type = here.u8(at);
      if (i % 2 == 0) {
        if (type != on_page || end - at != 5) throw doubt{"a key that is no number"};
        key = number(here, at + 1);
      } else if (key != 0) {  // 0 has the highest number
        header one{.order = next_++};
        if (type == off_page) {
          one.page = number(here, at + 4);
          one.size = number(here, at + 8);
        } else {
          if (type != on_page) throw doubt{"an item of the type " + std::to_string(type)};
          one.page = number_of_page;
          one.at = at + 1;
          one.size = end - one.at;
        }
        if (headers_.size() > most_packages) throw doubt{"packages beyond the number that is read"};
        headers_.push_back(one);
      }
      end = at;
    }
  }

  void add(const header& one) {
    all_.add({.order = one.order, .size = one.size, .start = [&](std::size_t count) {
                count = static_cast<std::size_t>(std::min<std::uint64_t>(count, one.size));
                return one.at == 0 ? overflowing(one.page, count)
                                   : file_.bytes(std::uint64_t{page_size_} * one.page + one.at, count);
              }});
  }

  std::string overflowing(std::uint32_t first, std::size_t count) {
    std::string all;
    for (auto next = first; all.size() < count;) {
      const auto here = page(next);
      const std::size_t size = short_number(here, 22);
      if (here.u8(25) != overflow || size == 0) throw doubt{"a header whose pages are damaged"};
      all += here.bytes(page_head, std::min(size, count - all.size()));
      next = number(here, 16);
    }
    return all;
  }

  partial_file& file_;
  rpm_packages& all_;
  bool is_little_ = true;
  std::uint32_t page_size_ = 0, last_bucket_ = 0;
  std::vector<std::uint32_t> spares_;
  std::set<std::uint32_t> seen_;
  std::vector<header> headers_;
  std::int64_t next_ = 0;
};

GUESTKIT_INLINE void read_rpm_bdb(partial_file& file, rpm_packages& all) {
  rpm_bdb(file, all).read();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
