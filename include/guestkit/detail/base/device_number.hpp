// The numbers of devices, without <sys/sysmacros.h>: its macros major, minor and makedev would reach all that
// includes guestkit, and there change what a user's own functions of these names mean.
#pragma once

#include <sys/types.h>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

constexpr unsigned major_number(dev_t device) noexcept {
  return static_cast<unsigned>((device >> 8U & 0xfffU) | (device >> 32U & 0xfffff000U));
}

constexpr unsigned minor_number(dev_t device) noexcept {
  return static_cast<unsigned>((device & 0xffU) | (device >> 12U & 0xffffff00U));
}

constexpr dev_t device_number(unsigned major, unsigned minor) noexcept {
  const dev_t high = major, low = minor;
  return (high & 0xfffU) << 8U | (high & 0xfffff000U) << 32U | (low & 0xffU) | (low & 0xffffff00U) << 12U;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
