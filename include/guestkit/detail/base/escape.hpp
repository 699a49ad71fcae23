// Text that a guest or an image wrote, made fit for a terminal, a log or a message. Such text is hostile: its
// escape sequences could rewrite what the terminal shows.
#pragma once

#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// The text with every byte that is not printable ASCII written as \xNN.
/// @param breaks  whether line breaks stay as they are
std::string printable(std::string_view text, bool breaks = false);

namespace detail {

/// A guest's text for a message: in quotation marks, printable, at most 120 bytes of it.
std::string excerpt(std::string_view text);

/// A name or a text from an image's header for a message: in quotation marks and on one line, at most 200
/// bytes of it. UTF-8 stays readable: these name files of the host.
std::string in_quotes(std::string_view text);

/// The name of a file of the host for a message: in quotation marks only if it holds control characters,
/// since an image's header may have named it.
std::string shown(const std::string& path);

}  // namespace detail

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/escape.ipp"
#endif
