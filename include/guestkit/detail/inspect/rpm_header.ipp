#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/inspect/rpm_header.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The tags that a report needs, by rpm's numbers.
enum class rpm_tag : std::uint32_t {
  name = 1000,
  version = 1001,
  release = 1002,
  epoch = 1003,
  summary = 1004,
  description = 1005,
  vendor = 1011,
  license = 1014,
  url = 1020,
  arch = 1022,
};

class rpm_header {
 public:
  rpm_header(std::string_view start, std::uint64_t size) : bytes_(std::string(start)) {
    constexpr std::uint32_t most_tags = 0xffff;  // rpm's own limit
    const auto tags = bytes_.be32(0), data = bytes_.be32(4);
    if (tags == 0 || tags > most_tags) throw doubt{"a header of " + std::to_string(tags) + " tags"};
    data_ = 8 + std::size_t{16} * tags;
    end_ = data_ + data;
    if (end_ > size) throw doubt{"a header that is cut off"};
  }

  /// Without the values.
  std::size_t size_of_index() const noexcept { return data_; }

  std::size_t size_with_values() const {
    auto end = data_;
    for (const auto& one : values())
      if (one.is_needed()) end = std::max(end, one.end);
    return end;
  }

  InspectedApplication application() const {
    InspectedApplication app;
    const auto all = values();
    const auto text = [&](rpm_tag tag) { return text_of(find(all, tag)); };
    app.name = text(rpm_tag::name);
    app.version = text(rpm_tag::version);
    app.release = text(rpm_tag::release);
    app.arch = text(rpm_tag::arch);
    app.url = text(rpm_tag::url);
    app.summary = text(rpm_tag::summary);
    app.description = text(rpm_tag::description);
    app.publisher = text_if_read(find(all, rpm_tag::vendor));
    app.license = text_if_read(find(all, rpm_tag::license));
    if (find(all, rpm_tag::name) == nullptr) throw doubt{"a header without a name"};
    if (const auto* epoch = find(all, rpm_tag::epoch)) {
      if (epoch->type != int32) throw doubt{"a header with an odd epoch"};
      app.epoch = static_cast<std::int32_t>(bytes_.be32(epoch->start));
    }
    return app;
  }

 private:
  static constexpr std::uint32_t int32 = 4, string = 6, string_array = 8, i18n_string = 9;

  struct value {
    std::uint32_t tag, type;
    std::size_t start, end;  ///< the end is where the next value begins

    bool is_needed() const noexcept {
      switch (static_cast<rpm_tag>(tag)) {
        case rpm_tag::name:
        case rpm_tag::version:
        case rpm_tag::release:
        case rpm_tag::epoch:
        case rpm_tag::summary:
        case rpm_tag::description:
        case rpm_tag::url:
        case rpm_tag::arch:
          return true;
        default:
          return false;
      }
    }
  };

  /// By where they lie, which is not the order of the index: tags may be added to a finished header.
  std::vector<value> values() const {
    std::vector<value> all;
    for (std::size_t at = 8; at < data_; at += 16) {
      const auto start = data_ + std::min<std::size_t>(bytes_.be32(at + 8), end_ - data_);
      all.push_back({.tag = bytes_.be32(at), .type = bytes_.be32(at + 4), .start = start, .end = end_});
    }
    std::ranges::stable_sort(all, {}, &value::start);
    for (auto i = all.size() - 1; i > 0; --i)
      all[i - 1].end = all[i].start > all[i - 1].start ? all[i].start : all[i].end;
    for (const auto& one : all)
      if (one.is_needed() && one.start == end_) throw doubt{"a header whose values lie outside of it"};
    return all;
  }

  /// Of several with the same tag, the one that was added last counts.
  static const value* find(const std::vector<value>& all, rpm_tag tag) {
    const auto found = std::find_if(all.rbegin(), all.rend(), [tag](const auto& one) {
      return one.tag == static_cast<std::uint32_t>(tag);
    });
    return found == all.rend() ? nullptr : &*found;
  }

  std::string text_of(const value* one) const {
    if (one == nullptr) return "(none)";
    if (one->type != string && one->type != string_array && one->type != i18n_string)
      throw doubt{"a header with a text of another type"};
    const auto text = bytes_.bytes(one->start, one->end - one->start);
    const auto end = text.find('\0');
    if (end == std::string_view::npos) throw doubt{"a header with a text without an end"};
    return std::string(text.substr(0, end));
  }

  /// Of a value that costs nothing if it is missing or odd. It lies among those that are needed.
  std::string text_if_read(const value* one) const {
    if (one == nullptr || one->type != string || one->end > bytes_.size()) return "";
    const auto text = bytes_.bytes(one->start, one->end - one->start);
    const auto end = text.find('\0');
    return end == std::string_view::npos ? "" : std::string(text.substr(0, end));
  }

  untrusted_bytes bytes_;
  std::size_t data_ = 0, end_ = 0;
};

GUESTKIT_INLINE std::size_t rpm_bytes_needed(std::string_view start, std::uint64_t size) {
  constexpr std::size_t most = std::size_t{8} << 20U;
  const rpm_header header(start, size);
  if (start.size() < header.size_of_index()) return header.size_of_index();
  const auto needed = header.size_with_values();
  if (needed > most)
    throw doubt{"a header that needs " + std::to_string(needed) + " bytes, more than the " +
                std::to_string(most) + " that are read"};
  return needed;
}

GUESTKIT_INLINE InspectedApplication rpm_application(std::string_view start, std::uint64_t size) {
  return rpm_header(start, size).application();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
