#pragma once

#include "guestkit/detail/call/call.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/files/trees.hpp"
#include "guestkit/files.hpp"

namespace guestkit::inline GUESTKIT_FORM {

GUESTKIT_INLINE std::string read_small(Guestfs& g, const std::string& path, std::size_t limit) {
  detail::guest_actions guest(state_of(g));
  const detail::call_scope scope(guest.state(), "read_small");
  return detail::read_small(guest, path, limit);
}

GUESTKIT_INLINE std::map<std::string, FileContent> read_files(Guestfs& g, const string_list& paths,
                                                              std::size_t limit) {
  detail::guest_actions guest(state_of(g));
  const detail::call_scope scope(guest.state(), "read_files");
  return detail::read_files(guest, paths, limit);
}

GUESTKIT_INLINE std::vector<GuestFile> walk(Guestfs& g, const std::string& directory,
                                            const WalkOptions& options) {
  detail::guest_actions guest(state_of(g));
  const detail::call_scope scope(guest.state(), "walk");
  return detail::walk(guest, directory, options);
}

GUESTKIT_INLINE Extracted extract(Guestfs& g, const std::string& path, const std::string& host_directory,
                                  const ExtractOptions& options) {
  detail::guest_actions guest(state_of(g));
  const detail::call_scope scope(guest.state(), "extract");
  return detail::extract(guest, path, host_directory, options);
}

}  // namespace guestkit::inline GUESTKIT_FORM
