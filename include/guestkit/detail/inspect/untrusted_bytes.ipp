#pragma once

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string_view untrusted_bytes::bytes(std::size_t at, std::size_t count) const {
  if (at > bytes_.size() || count > bytes_.size() - at) throw doubt{"a structure that ends too early"};
  return std::string_view(bytes_).substr(at, count);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
