// An empty qcow2 image over another image: docs/interop/qcow2.txt in QEMU.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A file described by its few pieces that are not zeros.
struct sparse_file {
  std::uint64_t size = 0;
  std::vector<std::pair<std::uint64_t, std::string>> pieces;  // by offset
};

/// Writes it into an empty file; throws std::system_error.
void write_sparse(int fd, const sparse_file& content);

/// The longest name of a backing file that QEMU accepts.
inline constexpr std::size_t max_backing_name = 1023;

/// The largest disk that an overlay can have: QEMU reads no L1 table of more than 32 MiB. guestkit opens no
/// larger one, whether it needs an overlay or not.
inline constexpr std::uint64_t max_overlay_size = std::uint64_t{1} << 51U;

/// An overlay to which nothing has been written yet.
/// @param virtual_size  at most max_overlay_size
/// @param backing  in QEMU's syntax, at most max_backing_name bytes
/// @param format   of backing, at most 8 bytes
sparse_file make_overlay(std::uint64_t virtual_size, std::string_view backing, std::string_view format);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/overlay.ipp"
#endif
