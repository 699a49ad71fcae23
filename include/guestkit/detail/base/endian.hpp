// Numbers in the structures of disks and files, of up to 8 bytes.
#pragma once

#include <cstdint>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

constexpr std::uint64_t big_endian(std::string_view bytes) noexcept {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8U | static_cast<std::uint8_t>(byte);
  return value;
}

constexpr std::uint64_t little_endian(std::string_view bytes) noexcept {
  std::uint64_t value = 0;
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte)
    value = value << 8U | static_cast<std::uint8_t>(*byte);
  return value;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
