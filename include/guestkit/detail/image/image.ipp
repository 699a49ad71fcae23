#pragma once

#include "guestkit/detail/image/in_use.hpp"
#include "guestkit/detail/image/missing.hpp"
#include "guestkit/detail/image/read.hpp"
#include "guestkit/image.hpp"

namespace guestkit::inline GUESTKIT_FORM {

GUESTKIT_INLINE ImageInfo probe(const std::filesystem::path& path, std::optional<std::string_view> format) {
  const auto file = detail::open_named("probe", path.native());
  auto info = detail::read_image(file, format);
  info.in_use = info.in_use || detail::is_claimed_by_host(file.descriptor());
  return info;
}

}  // namespace guestkit::inline GUESTKIT_FORM
