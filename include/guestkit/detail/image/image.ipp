#pragma once

#include "guestkit/detail/image/missing.hpp"
#include "guestkit/detail/image/read.hpp"
#include "guestkit/image.hpp"

namespace guestkit::inline GUESTKIT_FORM {

GUESTKIT_INLINE ImageInfo probe(const std::filesystem::path& path, std::optional<std::string_view> format) {
  return detail::read_image(detail::open_named("probe", path.native()), format);
}

}  // namespace guestkit::inline GUESTKIT_FORM
