// The size of a disk's sectors. Of all formats only VHDX states it: else the partition table shows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Reads what the guest sees: that many bytes, zeros behind the end; nothing where they cannot be told.
using guest_reader = std::function<std::optional<std::string>(std::uint64_t offset, std::size_t size)>;

/// 4096 where the partition table is one for such sectors, else 512; nothing if the disk cannot be read.
/// @param disk  its size in bytes
std::optional<int> sector_size(std::uint64_t disk, const guest_reader& read);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/sectors.ipp"
#endif
