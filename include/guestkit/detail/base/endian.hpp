// Numbers in the structures of disks and files, of up to 8 bytes.
#pragma once

#include <cstddef>
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

/// Gives Bytes, which derives from it, the numbers in them by their offset. Bytes::exactly(at, count) returns
/// that many bytes, or throws.
template <class Bytes>
class with_numbers {
 public:
  std::uint8_t u8(std::size_t at) const { return static_cast<std::uint8_t>(big(at, 1)); }
  std::uint16_t be16(std::size_t at) const { return static_cast<std::uint16_t>(big(at, 2)); }
  std::uint32_t be32(std::size_t at) const { return static_cast<std::uint32_t>(big(at, 4)); }
  std::uint64_t be64(std::size_t at) const { return big(at, 8); }
  std::uint16_t le16(std::size_t at) const { return static_cast<std::uint16_t>(little(at, 2)); }
  std::uint32_t le32(std::size_t at) const { return static_cast<std::uint32_t>(little(at, 4)); }
  std::uint64_t le64(std::size_t at) const { return little(at, 8); }
  std::uint64_t big(std::size_t at, std::size_t count) const { return big_endian(self().exactly(at, count)); }
  std::uint64_t little(std::size_t at, std::size_t count) const {
    return little_endian(self().exactly(at, count));
  }

 private:
  const Bytes& self() const noexcept { return static_cast<const Bytes&>(*this); }
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
