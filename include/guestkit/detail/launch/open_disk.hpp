// Adds a disk that was checked to the machine, and keeps open what it is made of.
#pragma once

#include <memory>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/state/handle_state.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM {
struct OpenDiskOptions;
}

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What Guestfs::open_disk() does.
/// @param state  by value: the call's callbacks may destroy the handle that the caller has it from
ImageInfo open_disk(std::shared_ptr<handle_state> state, const std::string& path,
                    const OpenDiskOptions& options);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/open_disk.ipp"
#endif
