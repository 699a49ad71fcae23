// Files that are clearly not disks: archives, web pages and texts with a disk's name.
#pragma once

#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The kind of a file that is not a disk.
struct foreign_kind {
  /// a_disk: another program presents the disk that is in it.
  enum class holds { itself, something_packed, several_files, a_disk };

  std::string_view content;  ///< as in ImageInfo::content
  std::string_view name;     ///< for a sentence
  std::string_view remedy;
  holds what = holds::itself;
};

/// The kind for this content; nullptr if it is the content of a disk.
const foreign_kind* foreign_kind_of(std::string_view content);

/// What the file is if it is clearly not a disk; "" if it may be one.
/// @param start  the file's first 8 KiB
std::string_view foreign_content(const image_file& file, const image_block& start);

/// "an HTML page, \"404 Not Found\"": the kind and, for a text, its title or first line.
std::string described(const foreign_kind& kind, const image_block& start);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/foreign.ipp"
#endif
