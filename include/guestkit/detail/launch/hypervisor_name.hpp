// The hypervisor's name as libguestfs must be given it.
#pragma once

#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Works around a buffer overflow in libguestfs. To run the hypervisor, libguestfs builds a shell command
/// line in a buffer of 256 bytes, then 512 and so on, but before it appends a piece it only checks that there
/// is room for one more character. A long piece can thus be written past the end of the buffer. The
/// hypervisor's name is appended one character at a time and is always checked correctly, so the name itself
/// must make the buffer grow: extra slashes, which do not change the file, pad it until the rest is sure to
/// fit.
std::string harmless_name(std::string path);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/hypervisor_name.ipp"
#endif
