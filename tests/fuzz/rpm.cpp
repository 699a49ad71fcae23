// A fuzzer of the readers of rpm's databases, for clang's libFuzzer.
//
// An input is a letter for the format (s, n or b as of packages_in(); h: a header alone; l: SQLite with a
// log, which begins after as many bytes as the next two say, little endian), then the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <guestkit/detail/inspect/rpm_header.hpp>
#include <guestkit/detail/inspect/rules.hpp>
#include <optional>
#include <string>

#include "rpm_packages.hpp"

namespace detail = guestkit::detail;

namespace {

void check(const detail::package_list& list) {
  if (list.packages.size() > detail::most_packages || (list.left_out == 0) != list.reason.empty())
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::string input(reinterpret_cast<const char*>(data), size);
  const auto format = input[0];
  try {
    if (format == 'h') {
      const auto blob = input.substr(1);
      const detail::rpm_header header(blob, blob.size());
      // More than there is must have been refused: a database never asks for bytes behind a header.
      if (header.bytes_needed() > blob.size()) std::abort();
      header.application();
    } else if (format == 'l') {
      const auto end = 3U + data[1] + 256U * data[2];
      if (end <= size) check(support::packages_in('s', input.substr(3, end - 3), input.substr(end)));
    } else {
      check(support::packages_in(format, input.substr(1)));
    }
  } catch (const detail::doubt& reason) {
    if (reason.reason.empty()) std::abort();
  }
  return 0;
}
