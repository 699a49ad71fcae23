// A fuzzer of the reader of Windows' registry, for clang's libFuzzer.
//
// An input is a letter, then for h the root's place (32 bits, little endian) and a hive without its header,
// which is made here, for else no checksum would be right; for p the first bytes of a program.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <guestkit/detail/files/partial_file.hpp>
#include <guestkit/detail/inspect/registry_hive.hpp>
#include <guestkit/detail/inspect/rules.hpp>
#include <guestkit/detail/inspect/windows_rules.hpp>
#include <string>

#include "../cpp/hive_maker.hpp"

namespace detail = guestkit::detail;

namespace {

void read_all(detail::registry_hive& hive, const detail::registry_key& key) {
  for (const auto& value : hive.values(key)) {
    if (hive.text(value) && hive.number(value)) std::abort();
    const auto data = hive.data(value);
    if (data.size() >= 24 && detail::guid_in_mounted_device(data).size() != 36) std::abort();
  }
}

void read_hive(const std::string& input) {
  const auto pages = input.substr(4);
  auto header = "regf" + std::string(16, '\0') + support::little_endian(1, 4) + std::string(12, '\0') +
                input.substr(0, 4) + support::little_endian(pages.size(), 4);
  header.resize(4096);
  const auto bytes = support::hive_maker::with_checksum(header + pages);
  detail::partial_file file(bytes.size(), 1U << 22U, [&](std::uint64_t at, std::size_t count) {
    return bytes.substr(static_cast<std::size_t>(at), count);
  });
  detail::registry_hive hive(file);
  read_all(hive, hive.root());
  hive.each_child(hive.root(), [&](const auto& key) { read_all(hive, key); });
  if (const auto key = hive.find({"ControlSet002", "Services", "Tcpip", "Parameters"})) read_all(hive, *key);
  for (const auto& app : detail::windows_applications(hive, {1, 60, 1}))
    if (app.name.find('\0') != std::string::npos || app.version.find('\0') != std::string::npos) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 5) return 0;
  const std::string input(reinterpret_cast<const char*>(data), size);
  try {
    if (input[0] == 'p') {
      const auto arch = detail::pe_architecture(input.substr(1));
      if (arch != "i386" && arch != "x86_64") std::abort();
    } else if (input[0] == 'h') {
      read_hive(input.substr(1));
    }
  } catch (const detail::doubt& reason) {
    if (reason.reason.empty()) std::abort();
  }
  return 0;
}
