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
class untrusted_bytes : public with_numbers<untrusted_bytes> {
 public:
  explicit untrusted_bytes(std::string bytes) : bytes_(std::move(bytes)) {}

  std::size_t size() const noexcept { return bytes_.size(); }
  std::string_view bytes(std::size_t at, std::size_t count) const;

 private:
  friend class with_numbers<untrusted_bytes>;
  std::string_view exactly(std::size_t at, std::size_t count) const { return bytes(at, count); }

  std::string bytes_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/untrusted_bytes.ipp"
#endif
