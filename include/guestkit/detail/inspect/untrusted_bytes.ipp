#pragma once

#include "guestkit/detail/inspect/doubt.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string_view untrusted_bytes::bytes(std::size_t at, std::size_t count) const {
  if (at > bytes_.size() || count > bytes_.size() - at) throw doubt{"a structure that ends too early"};
  return std::string_view(bytes_).substr(at, count);
}

GUESTKIT_INLINE std::uint64_t untrusted_bytes::big(std::size_t at, std::size_t count) const {
  std::uint64_t value = 0;
  for (const char byte : bytes(at, count)) value = value << 8U | static_cast<std::uint8_t>(byte);
  return value;
}

GUESTKIT_INLINE std::uint64_t untrusted_bytes::little(std::size_t at, std::size_t count) const {
  std::uint64_t value = 0;
  const auto all = bytes(at, count);
  for (auto byte = all.rbegin(); byte != all.rend(); ++byte)
    value = value << 8U | static_cast<std::uint8_t>(*byte);
  return value;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
