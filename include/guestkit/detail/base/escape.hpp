// Makes text written by a guest or an image safe for a terminal, a log or a message. Such text is hostile:
// its escape sequences could change what the terminal shows.
#pragma once

#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// The text with every byte that is not printable ASCII written as \xNN.
/// @param breaks  whether to keep line breaks
std::string printable(std::string_view text, bool breaks = false);

namespace detail {

/// A guest's text for a message: quoted, printable, cut off after 120 bytes.
std::string excerpt(std::string_view text);

/// The text with what is not visible in a terminal or turns the direction of writing, and with bytes that are
/// no UTF-8, as \xNN.
/// @param latin  whether to keep bytes that are no UTF-8, but would be visible as Latin-1
std::string visible(std::string_view text, bool latin = false);

/// A name or text from an image's header for a message: quoted, on one line, cut off after 200 bytes. UTF-8
/// stays readable, because these are names of files on the host; what is not visible or turns the direction
/// of writing, and bytes that are no UTF-8, become \xNN.
std::string in_quotes(std::string_view text);

/// The name of a file on the host for a message. It is quoted only if something in it has to be escaped: an
/// image's header may have named it.
std::string shown(const std::string& path);

}  // namespace detail

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/escape.ipp"
#endif
