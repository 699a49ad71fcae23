// The size of a disk's sectors. Only VHDX states it; for other formats the partition table shows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Reads that many bytes as the guest sees them, with zeros beyond the end; nothing if they cannot be
/// determined.
using guest_reader = std::function<std::optional<std::string>(std::uint64_t offset, std::size_t size)>;

/// 4096 if the partition table is for such sectors, otherwise 512; nothing if the disk cannot be read.
/// @param disk  its size in bytes
std::optional<int> sector_size(std::uint64_t disk, const guest_reader& read);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/sectors.ipp"
#endif
