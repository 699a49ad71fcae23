// SQLite's write-ahead log: the pages of a database that were written after its file was, each with the
// transaction that it belongs to.
#pragma once

#include <cstdint>
#include <map>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/partial_file.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Where the log has the newest committed version of each page, by the page's number. What follows the last
/// whole transaction, or is left of an earlier log, does not count, as SQLite has it.
std::map<std::uint32_t, std::uint64_t> pages_in_log(partial_file& log, std::uint32_t page_size);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/sqlite_log.ipp"
#endif
