// The headers of qcow and qcow2 (its version 3 is called qcow3): docs/interop/qcow2.txt of QEMU.
#pragma once

#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The first bytes of both.
inline constexpr std::string_view qcow_magic = "QFI\xfb";

/// The first version.
void read_qcow(const image_file& file, ImageInfo& info);

void read_qcow2(const image_file& file, ImageInfo& info);

namespace qcow2 {

/// Whether QEMU opens the data file that a valid header names.
bool needs_data_file(const image_file& file);

}  // namespace qcow2

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/qcow.ipp"
#endif
