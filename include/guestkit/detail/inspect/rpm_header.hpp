// The header of an rpm package, as databases have it: an index, and the values that it points to. All numbers
// are big-endian. What a report needs lies at the beginning, before the lists of files and changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The tags that a report needs, by rpm's numbers.
enum class rpm_tag : std::uint32_t {
  name = 1000,
  version = 1001,
  release = 1002,
  epoch = 1003,
  summary = 1004,
  description = 1005,
  vendor = 1011,
  license = 1014,
  url = 1020,
  arch = 1022,
};

/// A header of which the first bytes are known.
class rpm_header {
 public:
  /// @param start  the first bytes; at least 8
  /// @param size  of the whole header
  rpm_header(std::string start, std::uint64_t size);

  /// How many of its first bytes the package needs. If that is more than there are here, it may be even more
  /// once these are known.
  std::size_t bytes_needed() const;

  /// The package, with the values that librpm prints for libguestfs: "(none)" for a missing one, and of
  /// translated ones the first. Vendor and licence, which libguestfs leaves out, are empty if they are
  /// missing.
  InspectedApplication application() const;

 private:
  static constexpr std::uint32_t int32 = 4, string = 6, string_array = 8, i18n_string = 9;

  struct value {
    std::uint32_t tag, type;
    std::size_t start, end;  ///< the end is where the next value begins

    bool is_needed() const noexcept;
  };

  void read_index();

  /// Of several with the same tag, the one that was added last counts.
  const value* find(rpm_tag tag) const;

  std::string text_of(rpm_tag tag) const;
  /// Of a value that costs nothing if it is missing or odd. It lies among those that are needed.
  std::string text_if_read(rpm_tag tag) const;

  untrusted_bytes bytes_;
  std::size_t data_ = 0, end_ = 0;
  std::vector<value> values_ = {};  // by where they lie; none if the index is not all there
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/rpm_header.ipp"
#endif
