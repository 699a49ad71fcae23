#include "storage.hpp"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "system.hpp"

namespace appliance {

namespace {

constexpr std::uint64_t sector = 512;

/// The two ends of a device.
class Ends {
 public:
  Ends(std::string_view start, std::string_view end, std::uint64_t size)
      : start_(start), end_(end), size_(size) {}

  bool has(std::uint64_t at, std::string_view signature) const {
    if (at < start_.size()) return start_.substr(at).starts_with(signature);
    const std::uint64_t end_at = size_ - end_.size();
    return at >= end_at && at < size_ && end_.substr(at - end_at).starts_with(signature);
  }
  bool has_before_end(std::uint64_t distance, std::string_view signature) const {
    return distance <= size_ && has(size_ - distance, signature);
  }

 private:
  std::string_view start_;
  std::string_view end_;
  std::uint64_t size_;
};

bool is_physical_volume(const Ends& device) {
  for (std::uint64_t at = 0; at < 4 * sector; at += sector)
    if (device.has(at, "LABELONE")) return true;
  return false;
}

bool is_array_member(const Ends& device, std::uint64_t size) {
  constexpr std::string_view little("\xfc\x4e\x2b\xa9", 4), big("\xa9\x2b\x4e\xfc", 4);
  constexpr std::uint64_t kilobytes_64 = 64 << 10;
  // md(4): version 1.1, 1.2, 1.0 and 0.90, which has the byte order of its host
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{4096}, (size / sector - 16) / 8 * 8 * sector,
                                 size / kilobytes_64 * kilobytes_64 - kilobytes_64})
    if (device.has(at, little) || device.has(at, big)) return true;
  const std::string_view ddf("\xde\x11\xde\x11", 4), intel("Intel Raid ISM Cfg Sig. ");
  return device.has_before_end(sector, ddf) || device.has_before_end(257 * sector, ddf) ||
         device.has_before_end(2 * sector, intel) || device.has_before_end(std::uint64_t{2} * 4096, intel);
}

/// Whether there is an MBR that has an entry of such a type.
template <class Predicate>
bool has_entry(std::string_view start, Predicate is_wanted) {
  constexpr std::size_t first_entry = 446, entry_size = 16, type_at = 4, signature_at = 510;
  if (start.size() < sector || start.substr(signature_at, 2) != "\x55\xaa") return false;
  for (std::size_t at = first_entry; at < signature_at; at += entry_size)
    if (is_wanted(start[at + type_at])) return true;
  return false;
}

bool is_dynamic_disk(std::string_view start) {
  if (has_entry(start, [](char type) { return type == '\x42'; })) return true;
  constexpr std::size_t table_size = std::size_t{6} * 4096;  // of GPT, for the largest sectors
  constexpr std::string_view data("\xa0\x60\x9b\xaf\x31\x14\x62\x4f\xbc\x68\x33\x11\x71\x4a\x69\xad", 16),
      metadata("\xaa\xc8\x08\x58\x8f\x7e\xe0\x42\x85\xd2\xe1\xe9\x04\x34\xcf\xb3", 16);
  const auto table = start.substr(0, table_size);
  return table.find(data) != std::string_view::npos || table.find(metadata) != std::string_view::npos;
}

Contents contents_of(const std::string& name) {
  constexpr std::size_t start_size = 72 << 10, end_size = 192 << 10;
  const int fd = ::open(("/dev/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const off_t size = ::lseek(fd, 0, SEEK_END);
  const auto read = [&](off_t at, std::size_t count) {
    std::string bytes(count, '\0');
    const ssize_t got = ::pread(fd, bytes.data(), count, at);
    bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return bytes;
  };
  const std::string start = read(0, start_size);
  const off_t end_at = size < static_cast<off_t>(end_size) ? 0 : size - static_cast<off_t>(end_size);
  std::string end = read(end_at, static_cast<std::size_t>(size - end_at));
  ::close(fd);
  if (end_at + static_cast<off_t>(end.size()) != size) end.clear();  // its places are counted from the end
  return contents_in(start, end, static_cast<std::uint64_t>(size));
}

}  // namespace

Contents contents_in(std::string_view start, std::string_view end, std::uint64_t size) {
  constexpr std::uint64_t smallest = 64 << 10;
  if (size < smallest || end.size() > size) return {};
  const Ends device(start, end, size);
  constexpr std::uint64_t superblock = (64 << 10) + 64;
  return {.md = is_array_member(device, size),
          .lvm = is_physical_volume(device),
          .ldm = is_dynamic_disk(start),
          .btrfs = device.has(superblock, "_BHRfS_M"),
          .table = has_entry(start, [](char type) { return type != 0; })};
}

std::vector<BlockDevice> block_devices() {
  std::vector<BlockDevice> all;
  for (const auto& name : entries("/sys/class/block"))
    if (!name.starts_with("loop") && !name.starts_with("ram")) {
      all.push_back({name, contents_of(name)});
      if (all.back().contents.md && is_assembled(all.back())) all.back().contents = {.md = true};
    }
  return all;
}

bool is_assembled(const BlockDevice& member) {
  return !entries("/sys/class/block/" + member.name + "/holders").empty();
}

void register_btrfs(const std::string& name) {
  const int fd = ::open("/dev/btrfs-control", O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  btrfs_ioctl_vol_args device{};
  std::snprintf(device.name, sizeof device.name, "/dev/%s", name.c_str());
  if (::ioctl(fd, BTRFS_IOC_SCAN_DEV, &device) != 0) std::perror("init: btrfs");
  ::close(fd);
}

}  // namespace appliance
