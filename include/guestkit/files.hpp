// A guest's files: small ones by one cheap message each instead of a transfer, trees as values, and copies on
// the host that stay where they were put.
//
// The guest's symlinks are resolved inside the guest, as its own kernel would. The filesystems must be
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

/// The content of a file, or why there is none.
struct FileContent {
  std::optional<std::string> bytes = {};
  std::string message = {};
  int error_number = 0;
};

struct WalkOptions {
  std::size_t max_entries = 1'000'000;  ///< more is an Error with EFBIG
  int max_depth = 256;                  ///< of directories below the one to begin with; 0: its entries alone
};

struct ExtractOptions {
  /// Of all files together; more is an Error with EFBIG: sparse files cost the guest nothing.
  std::uint64_t max_bytes = std::uint64_t{16} << 30U;
  std::size_t max_entries = 1'000'000;  ///< likewise

  /// Called now and then on the calling thread, with the file and the bytes copied so far.
  std::function<void(const GuestFile&, std::uint64_t)> progress = {};
};

/// The content of a small file, by a message instead of a transfer: some hundred times faster than
/// read_file(). Throws Error for what is no regular file (EINVAL) or larger than the limit (EFBIG).
/// @param limit  in bytes
std::string read_small(Guestfs& g, const std::string& path, std::size_t limit = std::size_t{2} << 20U);

/// The contents of small files, or why one cannot be had, by path.
/// @param limit  of each, in bytes
std::map<std::string, FileContent> read_files(Guestfs& g, const string_list& paths,
                                              std::size_t limit = std::size_t{2} << 20U);

/// Every file below a directory, without following symlinks; a directory stands before what it holds.
std::vector<GuestFile> walk(Guestfs& g, const std::string& directory, const WalkOptions& options = {});

/// Copy a file or a tree of the guest into a directory of the host, under its own name.
///
/// Nothing is written outside that directory, whatever the guest's names and symlinks are: symlinks that
/// point outside are skipped, as are devices, FIFOs and sockets; files lose their set-id bits. What is there
/// already is an Error with EEXIST.
Extracted extract(Guestfs& g, const std::string& path, const std::string& host_directory,
                  const ExtractOptions& options = {});

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/files.ipp"
#endif
