#pragma once

#include <algorithm>
#include <utility>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/inspect/rpm_header.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE rpm_header::rpm_header(std::string start, std::uint64_t size) : bytes_(std::move(start)) {
  constexpr std::uint32_t most_tags = 4096;  // real packages have fewer than 200
  const auto tags = bytes_.be32(0), data = bytes_.be32(4);
  if (tags == 0 || tags > most_tags) throw doubt{"a header of " + std::to_string(tags) + " tags"};
  data_ = 8 + std::size_t{16} * tags;
  end_ = data_ + data;
  if (end_ > size) throw doubt{"a header that is cut off"};
  if (bytes_.size() >= data_) read_index();
}

GUESTKIT_INLINE std::size_t rpm_header::bytes_needed() const {
  constexpr std::size_t most = std::size_t{8} << 20U;
  auto end = data_;
  for (const auto& one : values_)
    if (one.is_needed()) end = std::max(end, one.end);
  if (end > most)
    throw doubt{"a header that needs " + std::to_string(end) + " bytes, more than the " +
                std::to_string(most) + " that are read"};
  return end;
}

GUESTKIT_INLINE InspectedApplication rpm_header::application() const {
  if (values_.empty()) throw doubt{"a header that is cut off"};
  InspectedApplication app;
  app.name = text_of(rpm_tag::name);
  app.version = text_of(rpm_tag::version);
  app.release = text_of(rpm_tag::release);
  app.arch = text_of(rpm_tag::arch);
  app.url = text_of(rpm_tag::url);
  app.summary = text_of(rpm_tag::summary);
  app.description = text_of(rpm_tag::description);
  app.publisher = text_if_read(rpm_tag::vendor);
  app.license = text_if_read(rpm_tag::license);
  if (find(rpm_tag::name) == nullptr) throw doubt{"a header without a name"};
  if (const auto* epoch = find(rpm_tag::epoch)) {
    if (epoch->type != int32) throw doubt{"a header with an odd epoch"};
    app.epoch = static_cast<std::int32_t>(bytes_.be32(epoch->start));
  }
  return app;
}

GUESTKIT_INLINE bool rpm_header::value::is_needed() const noexcept {
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

GUESTKIT_INLINE void rpm_header::read_index() {
  for (std::size_t at = 8; at < data_; at += 16) {
    const auto start = data_ + std::min<std::size_t>(bytes_.be32(at + 8), end_ - data_);
    values_.push_back({.tag = bytes_.be32(at), .type = bytes_.be32(at + 4), .start = start, .end = end_});
  }
  // The order of the index is another one: tags may be added to a finished header.
  std::ranges::stable_sort(values_, {}, &value::start);
  for (auto i = values_.size() - 1; i > 0; --i)
    values_[i - 1].end = values_[i].start > values_[i - 1].start ? values_[i].start : values_[i].end;
  for (const auto& one : values_)
    if (one.is_needed() && one.start == end_) throw doubt{"a header whose values lie outside of it"};
}

GUESTKIT_INLINE const rpm_header::value* rpm_header::find(rpm_tag tag) const {
  const auto found = std::find_if(values_.rbegin(), values_.rend(), [tag](const auto& one) {
    return one.tag == static_cast<std::uint32_t>(tag);
  });
  return found == values_.rend() ? nullptr : &*found;
}

GUESTKIT_INLINE std::string rpm_header::text_of(rpm_tag tag) const {
  const auto* one = find(tag);
  if (one == nullptr) return "(none)";
  if (one->type != string && one->type != string_array && one->type != i18n_string)
    throw doubt{"a header with a text of another type"};
  const auto text = bytes_.bytes(one->start, one->end - one->start);
  const auto end = text.find('\0');
  if (end == std::string_view::npos) throw doubt{"a header with a text without an end"};
  return std::string(text.substr(0, end));
}

GUESTKIT_INLINE std::string rpm_header::text_if_read(rpm_tag tag) const {
  const auto* one = find(tag);
  if (one == nullptr || one->type != string || one->end > bytes_.size()) return "";
  const auto text = bytes_.bytes(one->start, one->end - one->start);
  const auto end = text.find('\0');
  return end == std::string_view::npos ? "" : std::string(text.substr(0, end));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
