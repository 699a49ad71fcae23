// Bytes of a structure in a guest, which may be damaged or hostile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/endian.hpp"
#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Every read beyond the end throws doubt.
class untrusted_bytes {
 public:
  explicit untrusted_bytes(std::string bytes) : bytes_(std::move(bytes)) {}

  std::size_t size() const noexcept { return bytes_.size(); }
  std::string_view bytes(std::size_t at, std::size_t count) const;

  std::uint8_t u8(std::size_t at) const { return static_cast<std::uint8_t>(big(at, 1)); }
  std::uint16_t be16(std::size_t at) const { return static_cast<std::uint16_t>(big(at, 2)); }
  std::uint32_t be32(std::size_t at) const { return static_cast<std::uint32_t>(big(at, 4)); }
  std::uint16_t le16(std::size_t at) const { return static_cast<std::uint16_t>(little(at, 2)); }
  std::uint32_t le32(std::size_t at) const { return static_cast<std::uint32_t>(little(at, 4)); }
  std::uint64_t big(std::size_t at, std::size_t count) const { return big_endian(bytes(at, count)); }
  std::uint64_t little(std::size_t at, std::size_t count) const { return little_endian(bytes(at, count)); }

 private:
  std::string bytes_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/untrusted_bytes.ipp"
#endif
