// A guest's files: small ones read with one cheap message each instead of a transfer, trees as values, and
// copies on the host that never leave their directory.
//
// The guest's symlinks are resolved inside the guest, as its own kernel would do. The filesystems must be
// mounted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/guest_files.hpp"
#include "guestkit/guestfs.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// The content of a file, or why it could not be read.
struct FileContent {
  std::optional<std::string> bytes = {};
  std::string message = {};
  int error_number = 0;
};

struct WalkOptions {
  /// More entries are an Error with EFBIG, and so is a directory whose size promises many more.
  std::size_t max_entries = 1'000'000;
  int max_depth = 256;  ///< levels of directories below the starting one; 0: only its own entries
  /// For all paths and targets of symlinks together, which a guest can make long; more is an Error with
  /// EFBIG.
  std::size_t max_path_bytes = std::size_t{512} << 20U;
};

struct ExtractOptions {
  /// For all files together; more is an Error with EFBIG. The bound matters because sparse files cost the
  /// guest nothing.
  std::uint64_t max_bytes = std::uint64_t{16} << 30U;
  /// More entries are an Error with EFBIG; a directory whose size alone promises many more is skipped.
  std::size_t max_entries = WalkOptions().max_entries;
  std::size_t max_path_bytes = WalkOptions().max_path_bytes;  ///< as in WalkOptions

  /// Called from time to time on the calling thread, with the current file and the bytes copied so far.
  std::function<void(const GuestFile&, std::uint64_t)> progress = {};
};

/// The content of a small file, read with a message instead of a transfer: about a hundred times faster than
/// read_file(). Throws Error if the file is not a regular file (EINVAL) or is larger than the limit (EFBIG).
/// @param limit  in bytes
std::string read_small(Guestfs& g, const std::string& path, std::size_t limit = std::size_t{2} << 20U);

/// The contents of small files by path, or why one could not be read.
/// @param limit  for each file, in bytes
std::map<std::string, FileContent> read_files(Guestfs& g, const string_list& paths,
                                              std::size_t limit = std::size_t{2} << 20U);

/// Every file below a directory, without following symlinks. A directory comes before its contents. One that
/// lies deeper than max_depth is marked as not entered.
std::vector<GuestFile> walk(Guestfs& g, const std::string& directory, const WalkOptions& options = {});

/// Copies a file or a tree from the guest into a directory on the host, under its own name.
///
/// Nothing is written outside that directory, whatever names and symlinks the guest has: symlinks that point
/// out of the copied tree are skipped, as are devices, FIFOs and sockets, directories whose size promises
/// many more than max_entries, and what the host cannot make, such as a name that is too long; files lose
/// their set-id bits. A target that already exists is an Error with EEXIST; for "/", each file in it is a
/// target.
Extracted extract(Guestfs& g, const std::string& path, const std::string& host_directory,
                  const ExtractOptions& options = {});

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/files/files.ipp"
#endif
