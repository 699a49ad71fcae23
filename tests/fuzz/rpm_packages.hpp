// A database of rpm in memory, read as an inspection reads a guest's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <guestkit/detail/inspect/rpm_database.hpp>
#include <optional>
#include <string>

namespace support {

/// @param format  's' for sqlite, 'n' for ndb, 'b' for Berkeley DB
/// @param log  of sqlite
inline guestkit::detail::package_list packages_in(char format, const std::string& database,
                                                  const std::optional<std::string>& log = std::nullopt) {
  using namespace guestkit::detail;
  constexpr std::uint64_t most = std::uint64_t{256} << 20U;
  const auto fetching = [](const std::string& bytes) {
    return [&bytes](std::uint64_t at, std::size_t count) {
      return bytes.substr(static_cast<std::size_t>(at), count);
    };
  };
  partial_file file(database.size(), most, fetching(database));
  std::optional<partial_file> log_file;
  if (log) log_file.emplace(log->size(), most, fetching(*log));
  rpm_packages all;
  if (format == 's') read_rpm_sqlite(file, log ? &*log_file : nullptr, all);
  if (format == 'n') read_rpm_ndb(file, all);
  if (format == 'b') read_rpm_bdb(file, all);
  return all.sorted();
}

}  // namespace support
