// A fuzzer of the reader of LVM's metadata, for clang's libFuzzer.
//
// An input is a letter, then for t the text of a group; for g several texts, each with a NUL behind, of
// physical volumes that are made here; for v a physical volume without its holes: the sector of the label,
// that of the metadata's header, and what follows. The checksums are made here: the fuzzer would never guess
// them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <guestkit/detail/base/doubt.hpp>
#include <guestkit/detail/base/text.hpp>
#include <guestkit/detail/inspect/lvm_metadata.hpp>
#include <guestkit/detail/inspect/untrusted_bytes.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "../cpp/lvm_maker.hpp"

namespace detail = guestkit::detail;

namespace {

constexpr std::size_t sector = 512, header_at = 4096;

/// No name may lead elsewhere when it becomes part of a path below /dev.
void check(const detail::volume_group& group) {
  const auto is_bad = [](const std::string& name) {
    return name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos;
  };
  if (is_bad(group.name) || group.uuid.empty() || group.is_incomplete) std::abort();
  for (const auto& volume : group.volumes)
    if (is_bad(volume.name) || volume.segments.empty()) std::abort();
}

void read(const std::vector<std::string>& disks) {
  const auto groups = support::read_volumes(disks);
  if (!groups) return;
  for (const auto& group : *groups) {
    check(group);
    for (const auto& member : group.members)
      if (disks.at(member.device).substr(sector + 32, 32) != member.uuid) std::abort();
  }
}

/// The disk with these parts of it, and with all checksums right.
std::string physical_volume(std::string_view parts) {
  const auto start = std::min(parts.size(), 2 * sector);
  std::string disk(header_at + sector, '\0');
  disk.replace(sector, std::min(start, sector), parts.substr(0, sector));
  if (start > sector) disk.replace(header_at, start - sector, parts.substr(sector, sector));
  disk += parts.substr(start);
  disk.resize(std::max(disk.size(), 2 * header_at));
  const detail::untrusted_bytes header(disk.substr(header_at, sector));
  const auto area = header.little(32, 8), offset = header.little(40, 8), size = header.little(48, 8);
  const auto there = disk.size() - header_at;
  if (offset >= sector && offset < there && size <= there) {
    auto text = disk.substr(header_at + offset, std::min(size, area - offset));
    if (text.size() < size) text += disk.substr(header_at + sector, size - text.size());
    disk.replace(header_at + 56, 4, support::little_endian(detail::lvm_checksum(text), 4));
  }
  return support::with_lvm_checksums(std::move(disk));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t most_disks = 4;
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  auto rest = input.substr(1);
  try {
    if (input[0] == 't') {
      check(detail::volume_group_in(rest));
    } else if (input[0] == 'v') {
      read({physical_volume(rest)});
    } else if (input[0] == 'g') {
      std::vector<std::string> disks;
      while (!rest.empty() && disks.size() < most_disks) {
        const std::string uuid(32, static_cast<char>('0' + disks.size()));
        disks.push_back(support::physical_volume(std::string(detail::take_until(rest, '\0')), sector, uuid));
      }
      read(disks);
    }
  } catch (const detail::doubt& reason) {
    if (reason.reason.empty()) std::abort();
  }
  return 0;
}
