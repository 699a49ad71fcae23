// qemu-img, for what guestkit does not do itself.
#pragma once

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

struct qemu_img_result {
  bool succeeded = false;
  std::string output;  ///< what it wrote last, at most 1000 bytes
};

/// Runs qemu-img and waits for it. Throws Error if it cannot be started.
/// @param op  the call that needs it
qemu_img_result run_qemu_img(const char* op, std::vector<std::string> arguments);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/qemu_img.ipp"
#endif
