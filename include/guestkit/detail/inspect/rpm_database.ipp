#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/inspect/rpm_database.hpp"
#include "guestkit/detail/inspect/rpm_header.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE void rpm_packages::add(const rpm_blob& blob) {
  constexpr std::size_t usual = 8192;                             // is enough for nearly all
  constexpr std::uint64_t most_text = std::uint64_t{128} << 20U;  // several times that of a large system
  if (found_.size() >= most_packages)
    return list_.leave_out("the database has more than " + std::to_string(most_packages) + " packages");
  if (text_ > most_text)
    return list_.leave_out("the packages' texts take more than " + std::to_string(most_text) + " bytes");
  read("package " + std::to_string(blob.order), [&] {
    std::optional<rpm_header> header;
    std::size_t wanted = usual;
    while (true) {
      auto start = blob.start(wanted);
      const auto count = start.size();
      if (header && count < wanted) throw doubt{"a header that is cut off"};
      header.emplace(std::move(start), blob.size);
      wanted = header->bytes_needed();
      if (count >= wanted) break;
    }
    auto package = header->application();
    for (const auto* text :
         {&package.name, &package.version, &package.release, &package.arch, &package.publisher, &package.url,
          &package.summary, &package.description, &package.license})
      text_ += text->size();
    found_.push_back({.order = blob.order, .package = std::move(package)});
  });
}

GUESTKIT_INLINE void rpm_packages::read(const std::string& name, const std::function<void()>& body) {
  const auto error =
      error_of(body, [&](const std::string& reason) { list_.leave_out(name + " has " + reason); });
  if (error) list_.leave_out(name + " cannot be read: " + printable(error->message()));
}

GUESTKIT_INLINE package_list rpm_packages::sorted() {
  std::ranges::stable_sort(found_, std::ranges::greater{}, &found::order);
  list_.packages.reserve(found_.size());
  for (auto& one : found_) list_.packages.push_back(std::move(one.package));
  found_.clear();
  sort_by_name(list_.packages);
  return std::move(list_);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
