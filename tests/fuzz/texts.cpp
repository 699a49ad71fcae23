// A fuzzer of the small readers of texts and structures, for clang's libFuzzer.
//
// An input is a letter that chooses the reader, then what it reads; see `readers` at the end.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <guestkit/detail/base/doubt.hpp>
#include <guestkit/detail/base/escape.hpp>
#include <guestkit/detail/base/text.hpp>
#include <guestkit/detail/inspect/blkid.hpp>
#include <guestkit/detail/inspect/configuration.hpp>
#include <guestkit/detail/inspect/device_names.hpp>
#include <guestkit/detail/inspect/fstab.hpp>
#include <guestkit/detail/inspect/layout_description.hpp>
#include <guestkit/detail/inspect/package_rules.hpp>
#include <guestkit/detail/inspect/rules.hpp>
#include <guestkit/detail/state/console.hpp>
#include <guestkit/launch_error.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "../../appliance/command.hpp"
#include "../../appliance/storage.hpp"

namespace detail = guestkit::detail;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

/// What reaches a report or a terminal.
void require_harmless(std::string_view text) {
  require(std::ranges::none_of(text, [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; }));
}

std::size_t size_of(const guestkit::InspectedInterface& one) {
  std::size_t size = one.name.size() + one.method.size() + one.gateway.size() + one.mac.size();
  for (const auto& address : one.addresses) size += address.size();
  for (const auto& server : one.dns) size += server.size();
  return size;
}

// ---- the readers

void os_release(std::string_view text) {
  const auto facts = detail::os_release_of(text);
  require(facts.id.size() + facts.pretty_name.size() + facts.version_id.size() <= text.size());
  detail::distro_of(facts.id);
  if (const auto version = detail::version_in(facts.version_id)) {
    require(version->major >= 0 && version->minor >= 0);
    if (const auto* known = detail::distribution_of(facts.id))
      require(!detail::package_management_of(*known, version->major, true).empty());
  }
}

void release_file(std::string_view text) {
  if (const auto host = detail::hostname_in(text)) require(host->size() <= text.size() && !host->empty());
  const auto version = detail::release_version(text, "CentOS");
  require(version.major >= 0 && version.minor >= 0);
}

/// Escapes every byte as mount(8) and udev write it; the readers must give back the bytes.
void round_trips(std::string_view text) {
  std::string octal, hex;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    for (const unsigned shift : {6U, 3U, 0U})
      (octal += shift == 6U ? "\\" : "") += static_cast<char>('0' + (byte >> shift & 7U));
    (hex += "\\x") += "0123456789abcdef"[byte >> 4U];
    hex += "0123456789abcdef"[byte & 15U];
  }
  require(detail::without_octal_escapes(octal) == text);
  require(detail::without_hex_escapes(hex) == text);
}

void fstab(std::string_view text) {
  for (const bool whole : {true, false}) {
    const auto lines = detail::fstab_of(text, whole);
    require(lines.entries.size() <= detail::most_fstab_entries);
    std::size_t told = 0;
    for (const auto& failure : lines.failures) {
      require_harmless(failure.message);
      told += failure.message.size();
    }
    require(told <= 16384);
    for (const auto& entry : lines.entries) {
      require(entry.line > 0 && entry.spec.size() + entry.file.size() + entry.options.size() <= text.size());
      detail::is_ignored(entry);
      detail::option_of(entry.options, "subvol");
      if (const auto name = detail::bus_name_of(entry.spec))
        require(entry.spec == name->disk + name->partition || entry.spec.starts_with(name->disk));
      if (const auto path = detail::plain_path(entry.file))
        require(path->starts_with('/') && path->find("//") == std::string::npos &&
                (*path + '/').find("/../") == std::string::npos);
    }
  }
  detail::crypttab_of(text);
  round_trips(text.substr(0, 512));
}

void packages(const std::vector<guestkit::InspectedApplication>& all, std::string_view text) {
  std::size_t size = 0;
  for (const auto& app : all) {
    require(app.epoch >= 0);
    size += app.name.size() + app.version.size() + app.release.size() + app.arch.size() + app.url.size() +
            app.summary.size() + app.description.size() + app.source_package.size() +
            app.source_version.size() + app.publisher.size() + app.license.size();
  }
  require(size <= 6 * text.size());  // pacman's licences get " AND " between them
  require(std::ranges::is_sorted(all, {}, &guestkit::InspectedApplication::name));
}

void network(std::string_view text) {
  const std::string source = "/etc/sysconfig/network-scripts/ifcfg-eth0";
  for (const auto& one : detail::ifupdown(text, source)) require(size_of(one) <= text.size());
  // A prefix is appended to each of three addresses.
  require(size_of(detail::ifcfg(text, source)) <= 4 * text.size() + 4);
  require(size_of(detail::networkd(text, source)) <= text.size() + 6);
  require(size_of(detail::network_manager(text, source)) <= text.size() + 6);
  detail::zone_of_link(text);
  for (const auto& user : detail::users_of(text)) require(!user.name.empty());
}

void blkid(std::string_view text) {
  require(detail::without_backslashes(text).size() <= text.size());
  const auto name = detail::partition_name(text);
  require(name.size() <= text.size());
  if (!detail::is_ambiguous(text) && text.find('\\') == std::string_view::npos)
    require(name == text && detail::without_backslashes(text) == text);
}

void structures(std::string_view bytes) {
  if (const auto array = detail::md_superblock_in(bytes))
    require(array->name.size() <= 32 && (array->level == "linear" || array->level.starts_with("raid")));
  require(!detail::elf_architecture(bytes).empty());
}

void messages(std::string_view text) {
  const auto is_ascii = [](char c) { return c >= ' ' && c <= '~'; };
  require(std::ranges::all_of(guestkit::printable(text), is_ascii));
  for (const auto& told : {detail::excerpt(text), detail::in_quotes(text), detail::shown(std::string(text))})
    require_harmless(told);
  require(detail::excerpt(text).size() <= 600);
  detail::console_ring console;
  console.hide("secret");
  for (auto rest = text; !rest.empty();) {  // as it comes, in pieces
    const auto piece = rest.substr(0, 1 + static_cast<unsigned char>(rest.front()));
    console.add(piece);
    rest.remove_prefix(piece.size());
  }
  const auto lines = console.lines();
  require(lines.size() <= detail::console_ring::most_lines);
  for (const auto& line : lines)
    require(line.size() <= detail::console_ring::longest_line + 16 &&
            line.find("secret") == std::string::npos);
  const guestkit::LaunchError error("launch", "guestfs_launch failed", 0, lines);
  require(!error.message().empty());
}

/// QEMU's command line, its words each with a NUL behind: first that of a template, and after an empty word
/// that of a launch.
void commands(std::string_view text) {
  appliance::Words recorded, given;
  bool is_recorded = true;
  while (!text.empty()) {
    const std::string word(detail::take_until(text, '\0'));
    if (word.empty())
      is_recorded = false;
    else
      (is_recorded ? recorded : given).push_back(word);
  }
  const auto machine = appliance::options(recorded), launch = appliance::options(given);
  appliance::Words again;
  for (const auto& option : launch) {
    again.push_back(option.name);
    if (option.value) again.push_back(*option.value);
    const appliance::Parameters parameters(option.value.value_or(""));
    const auto value = option.value.value_or("");
    require(appliance::Parameters("key=" + appliance::escaped(value))["key"] == value);
  }
  require(again == given);
  const auto is_disk = [](const auto& option) { return appliance::is_disk(option); };
  if (std::ranges::none_of(launch, is_disk)) require(appliance::difference(launch, launch).empty());
  if (!appliance::difference(machine, launch).empty()) return;
  const auto words = appliance::restored_command(
      machine, launch, {.root = "/r", .memory = "/proc/self/fd/9", .shared = false, .qmp = 7, .port = 8});
  // A launch brings nothing into the restored machine but its disks, its channel and its name.
  for (const auto& option : launch)
    if (is_disk(option))
      require(std::ranges::count(words, *option.value) >= 1 && appliance::is_known_disk(option));
  appliance::memory_size(machine);
}

/// The two ends of a device: how large it is (8 bytes, little endian), how long its start is (2 bytes).
void storage(std::string_view bytes) {
  if (bytes.size() < 10) return;
  std::uint64_t size = 0, start = 0;
  for (unsigned i = 8; i-- > 0;) size = size << 8U | static_cast<unsigned char>(bytes[i]);
  for (unsigned i = 2; i-- > 0;) start = start << 8U | static_cast<unsigned char>(bytes[8 + i]);
  bytes.remove_prefix(10);
  const auto begin = bytes.substr(0, start), end = bytes.substr(begin.size());
  const auto found = appliance::contents_in(begin, end, size);
  if (begin.empty() && end.empty()) require(!found.md && !found.lvm && !found.btrfs && !found.table);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0]) {
      case 'o':
        os_release(text);
        break;
      case 'r':
        release_file(text);
        break;
      case 'f':
        fstab(text);
        break;
      case 'd':
        packages(detail::dpkg_applications(text).packages, text);
        break;
      case 'a':
        packages(detail::apk_applications(text).packages, text);
        break;
      case 'p':
        packages(detail::pacman_applications(text).packages, text);
        break;
      case 'n':
        network(text);
        break;
      case 'b':
        blkid(text);
        break;
      case 's':
        structures(text);
        break;
      case 'm':
        messages(text);
        break;
      case 'q':
        commands(text);
        break;
      case 'e':
        storage(text);
        break;
      default:
        break;
    }
  } catch (const detail::doubt& reason) {
    require(!reason.reason.empty());
  }
  return 0;
}
