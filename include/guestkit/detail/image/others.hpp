// Formats of QEMU's that guestkit does not read.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A format of QEMU's that is refused by name: taken for raw it would be read as garbage, and QEMU, where it
/// guesses the format itself, would follow the references that some of them have.
inline std::string unread_format(const image_block& start) {
  using std::string_view_literals::operator""sv;
  constexpr std::array<std::pair<std::string_view, const char*>, 5> magics{{
      {"QED\0"sv, "qed"},
      {"WithoutFreeSpace"sv, "parallels"},
      {"WithouFreSpacExt"sv, "parallels"},
      {"Bochs Virtual HD Image"sv, "bochs"},
      {"#!/bin/sh\n#V2.0 Format\nmodprobe cloop"sv, "cloop"},
  }};
  for (const auto& [magic, format] : magics)
    if (start.begins_with(magic)) return format;
  return "";
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
