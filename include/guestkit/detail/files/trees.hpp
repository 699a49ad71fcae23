// Many files of a guest at once: small ones, trees as values, and copies on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/generated/guest_files.hpp"

namespace guestkit::inline GUESTKIT_FORM {
struct FileContent;
struct WalkOptions;
struct ExtractOptions;
}  // namespace guestkit::inline GUESTKIT_FORM

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The contents of small files by path, or why one could not be read.
std::map<std::string, FileContent> read_files(guest_actions& g, const string_list& paths, std::size_t limit);

/// Every file below a directory, without following symlinks. A directory comes before its contents.
/// @param size_of_top  in bytes; nothing: another message asks for it
std::vector<GuestFile> walk(guest_actions& g, const std::string& top, const WalkOptions& options,
                            std::optional<std::uint64_t> size_of_top = {});

/// Whether a symlink may be made in a copied tree: it must stay inside when followed from its own directory.
/// Leading ".." climb real directories of ours, but one after a name could climb out through another link.
bool stays_inside(std::string_view target, std::size_t depth);

/// Copies a file or a tree from the guest into a directory on the host, under its own name.
Extracted extract(guest_actions& g, const std::string& path, const std::string& host_directory,
                  const ExtractOptions& options);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/files/trees.ipp"
#endif
