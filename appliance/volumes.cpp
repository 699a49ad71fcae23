// LVM's groups, mapped by the kernel's device mapper without LVM's programs, which take a second.
//
// udev sleeps meanwhile, so the links that its rules make are made here.
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <guestkit/detail/inspect/lvm_metadata.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "storage.hpp"
#include "system.hpp"

namespace appliance {

namespace {

using guestkit::detail::device_reader;
using guestkit::detail::lvm_segment;
using guestkit::detail::lvm_volume;
using guestkit::detail::volume_group;
using guestkit::detail::with_double_dashes;

struct Device {
  std::string number;  ///< MAJOR:MINOR
  std::int64_t sectors = 0;
};

/// A line of the mapper's table.
struct Target {
  std::uint64_t first_sector = 0;
  std::uint64_t sectors = 0;
  std::string type;
  std::string parameters;
};

struct Mapping {
  std::string name;
  std::string uuid;
  std::string group;
  std::string volume;
  bool is_writable = true;
  std::vector<Target> table;
};

std::optional<Target> target_of(const lvm_segment& segment, const volume_group& group,
                                const std::vector<Device>& devices) {
  Target target{.first_sector = static_cast<std::uint64_t>(segment.first_extent * group.extent_sectors),
                .sectors = static_cast<std::uint64_t>(segment.extents * group.extent_sectors),
                .type = "linear",
                .parameters = {}};
  const auto count = static_cast<std::int64_t>(segment.stripes.size());
  if (count > 1) {
    if (segment.stripe_sectors <= 0 || segment.extents % count != 0) return std::nullopt;
    target.type = "striped";
    target.parameters = std::to_string(count) + ' ' + std::to_string(segment.stripe_sectors) + ' ';
  }
  for (const auto& stripe : segment.stripes) {
    const auto member = std::ranges::find(group.members, stripe.member, &guestkit::detail::lvm_member::name);
    if (member == group.members.end() || stripe.extent < 0 ||
        stripe.extent > member->extents - segment.extents / count)
      return std::nullopt;
    target.parameters += devices[member->device].number + ' ' +
                         std::to_string(member->first_sector + stripe.extent * group.extent_sectors) + ' ';
  }
  return target;
}

/// Numbers so large that sectors could overflow are none of an ordinary group.
constexpr std::int64_t most = std::int64_t{1} << 31;

bool is_sound(const volume_group& group, const std::vector<Device>& devices) {
  const auto fits = [](std::int64_t number) { return number > 0 && number < most; };
  return fits(group.extent_sectors) && std::ranges::all_of(group.members, [&](const auto& member) {
           return fits(member.first_sector) && fits(member.extents) &&
                  member.first_sector + member.extents * group.extent_sectors <=
                      devices[member.device].sectors;
         });
}

/// Whether two volumes, or two parts of one, lie on the same extents, which LVM refuses.
/// @param group  whose volumes can all be mapped, so that the numbers are small
bool has_shared_extents(const volume_group& group) {
  // A member, its first extent, and the one behind its last.
  std::vector<std::tuple<std::string, std::int64_t, std::int64_t>> spans;
  for (const auto& volume : group.volumes)
    for (const auto& segment : volume.segments) {
      const auto count = segment.extents / static_cast<std::int64_t>(segment.stripes.size());
      for (const auto& stripe : segment.stripes)
        spans.emplace_back(stripe.member, stripe.extent, stripe.extent + count);
    }
  std::ranges::sort(spans);
  const auto overlaps = [](const auto& one, const auto& next) {
    return std::get<0>(one) == std::get<0>(next) && std::get<2>(one) > std::get<1>(next);
  };
  return std::ranges::adjacent_find(spans, overlaps) != spans.end();
}

std::optional<Mapping> mapping_of(const lvm_volume& volume, const volume_group& group,
                                  const std::vector<Device>& devices) {
  Mapping mapping{.name = with_double_dashes(group.name) + '-' + with_double_dashes(volume.name),
                  .uuid = "LVM-" + group.uuid + volume.uuid,
                  .group = group.name,
                  .volume = volume.name,
                  .is_writable = volume.is_writable,
                  .table = {}};
  if (mapping.name.size() >= DM_NAME_LEN || mapping.uuid.size() != 4 + 64) return std::nullopt;
  std::int64_t next = 0;
  for (const auto& segment : volume.segments) {
    if (segment.first_extent != next || segment.extents <= 0 || segment.extents >= most) return std::nullopt;
    next += segment.extents;
    const auto target = target_of(segment, group, devices);
    if (!target) return std::nullopt;
    mapping.table.push_back(*target);
  }
  return mapping;
}

/// The kernel's device mapper: ioctl(2) with a header, and lines of a table behind it.
class Mapper {
 public:
  Mapper() : fd_(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC)) {}
  Mapper(const Mapper&) = delete;
  Mapper& operator=(const Mapper&) = delete;
  ~Mapper() { ::close(fd_); }

  /// Returns the device's minor number.
  std::optional<unsigned> map(const Mapping& mapping) const {
    auto created = header(mapping, 0);
    std::memcpy(created.uuid, mapping.uuid.c_str(), mapping.uuid.size() + 1);
    if (!send(DM_DEV_CREATE, created, "")) return std::nullopt;
    const std::string lines = table(mapping);
    auto loaded = header(mapping, mapping.is_writable ? 0 : DM_READONLY_FLAG);
    loaded.target_count = static_cast<std::uint32_t>(mapping.table.size());
    auto resumed = header(mapping, 0);
    resumed.event_nr = cookie;
    if (send(DM_TABLE_LOAD, loaded, lines) && send(DM_DEV_SUSPEND, resumed, ""))
      return minor(static_cast<dev_t>(created.dev));
    unmap(mapping);
    return std::nullopt;
  }

  void unmap(const Mapping& mapping) const {
    auto removed = header(mapping, 0);
    send(DM_DEV_REMOVE, removed, "");
  }

 private:
  /// Tells udev's rules that the device is meant to be used: DM_UDEV_PRIMARY_SOURCE_FLAG of libdevmapper.
  /// No process waits for the lower half.
  static constexpr std::uint32_t cookie = 0x0040U << 16U | 0x0001U;

  static dm_ioctl header(const Mapping& mapping, std::uint32_t flags) {
    dm_ioctl request{};
    request.version[0] = DM_VERSION_MAJOR;
    request.flags = flags;
    std::memcpy(request.name, mapping.name.c_str(), mapping.name.size() + 1);
    return request;
  }

  static std::string table(const Mapping& mapping) {
    std::string lines;
    for (const auto& target : mapping.table) {
      std::string line(sizeof(dm_target_spec), '\0');
      line += target.parameters;
      line.append(8 - line.size() % 8, '\0');
      dm_target_spec spec{};
      spec.sector_start = target.first_sector;
      spec.length = target.sectors;
      spec.next = static_cast<std::uint32_t>(line.size());
      std::memcpy(spec.target_type, target.type.c_str(), target.type.size() + 1);
      std::memcpy(line.data(), &spec, sizeof spec);
      lines += line;
    }
    return lines;
  }

  bool send(unsigned long command, dm_ioctl& request, const std::string& lines) const {
    request.data_size = static_cast<std::uint32_t>(sizeof request + lines.size());
    request.data_start = sizeof request;
    std::string message(reinterpret_cast<const char*>(&request), sizeof request);
    message += lines;
    const bool done = ::ioctl(fd_, command, message.data()) == 0;
    std::memcpy(&request, message.data(), sizeof request);
    return done;
  }

  int fd_;
};

/// Maps all or nothing.
bool map_all(const std::vector<Mapping>& mappings) {
  const Mapper mapper;
  std::vector<unsigned> minors;
  for (const auto& mapping : mappings) {
    const auto number = mapper.map(mapping);
    if (!number) {
      for (std::size_t i = 0; i < minors.size(); ++i) mapper.unmap(mappings[i]);
      return false;
    }
    minors.push_back(*number);
  }
  for (std::size_t i = 0; i < mappings.size(); ++i) {
    const std::string node = "../dm-" + std::to_string(minors[i]);
    make_link(node, "/dev/mapper/" + mappings[i].name);
    make_directory("/dev/" + mappings[i].group);
    make_link(node, "/dev/" + mappings[i].group + '/' + mappings[i].volume);
  }
  return true;
}

device_reader reader_of(const std::string& name) {
  return [name](std::uint64_t at, std::size_t size) {
    std::string bytes(size, '\0');
    const int fd = ::open(("/dev/" + name).c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd < 0 ? -1 : ::pread(fd, bytes.data(), size, static_cast<off_t>(at));
    if (fd >= 0) ::close(fd);
    bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return bytes;
  };
}

}  // namespace

bool activate_ordinary_groups(const std::vector<std::string>& names) {
  std::vector<device_reader> readers;
  std::vector<Device> devices;
  for (const auto& name : names) {
    const std::string place = "/sys/class/block/" + name;
    readers.push_back(reader_of(name));
    devices.push_back({read_line(place + "/dev"), std::atoll(read_line(place + "/size").c_str())});
  }
  const auto groups = guestkit::detail::read_volume_groups(readers);
  if (!groups) return false;
  std::vector<Mapping> mappings;
  for (const auto& group : *groups) {
    if (!is_sound(group, devices) || exists("/dev/" + group.name)) return false;
    for (const auto& volume : group.volumes) {
      auto mapping = mapping_of(volume, group, devices);
      if (!mapping) return false;
      mappings.push_back(std::move(*mapping));
    }
    if (has_shared_extents(group)) return false;
  }
  return map_all(mappings);
}

}  // namespace appliance
