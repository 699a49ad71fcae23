// guestkit's own inspection: what inspect_os would say, from a few cheap calls, for guests that it recognises
// with certainty. Anything else, and any doubt, is libguestfs' to decide.
//
// What makes it certain: of all the ways in which libguestfs recognises a root, a filesystem whose top
// directory has none of the names that these ways need can be none; exactly one filesystem has them, and it
// is a Linux of a distribution, and with files, for which rules.hpp says what libguestfs does.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../files.hpp"
#include "layout.hpp"
#include "rules.hpp"
#include "system.hpp"

namespace guestkit::detail {

/// Whether this libguestfs' rules are those that the differential test has compared with ours.
inline bool has_known_rules(const std::string& libguestfs) {
  return libguestfs == "1.48.6";
}

template <class Guest>
class fast_inspection {
 public:
  fast_inspection(Guest& g, layout<Guest>& layout) : g_(g), layout_(layout) {}

  /// The only operating system; throws doubt. Its root is left mounted if nothing else is to be.
  InspectedSystem run() {
    for (const auto& device : layout_.candidates()) check_type(device);
    for (const auto& disk : layout_.disks())
      if (!layout_.is_partitioned(disk)) throw doubt{"a disk without partitions"};
    find_root();
    mount_root();
    read_root();
    return std::move(system_);
  }

  /// The packages; throws doubt. The guest is mounted.
  void add_applications(InspectedSystem& system) {
    const auto databases = package_databases(system.package_format);
    if (system.package_format != "deb" && system.package_format != "apk")
      throw doubt{"packages of the format " + system.package_format};
    const auto text = text_of(databases.front(), std::size_t{32} << 20U);
    if (!text) throw doubt{"no package database"};
    system.applications = system.package_format == "deb" ? dpkg_applications(*text) : apk_applications(*text);
    if (system.applications.empty()) throw doubt{"no package in the database"};
    system.applications_complete = true;
  }

 private:
  void check_type(const std::string& device) {
    constexpr std::array known{"ext2", "ext3", "ext4", "xfs", "vfat", "swap", "LVM2_member", "crypto_LUKS"};
    const auto type = layout_.fact(device, "TYPE");
    if (std::find(known.begin(), known.end(), type) == known.end())
      throw doubt{"a " + (type.empty() ? std::string("device of unknown content") : type + " filesystem")};
    if (device.starts_with("/dev/md") || device.starts_with("/dev/mapper/") || device.starts_with("/dev/dm-"))
      throw doubt{"an array or an opened device"};
    if (type == "LVM2_member" || type == "crypto_LUKS" || type == "swap") return;
    const auto scheme = layout_.fact(device, "PART_ENTRY_SCHEME");
    if (scheme != "gpt" && scheme != "dos" && !scheme.empty())
      throw doubt{"partitions of the scheme " + scheme};
    filesystems_.push_back(device);
  }

  /// Mounts each filesystem and looks for the one that can be a root.
  void find_root() {
    for (const auto& device : filesystems_) {
      g_.umount_all();
      if (attempt([&] { g_.mount_ro(device, "/"); })) throw doubt{"a filesystem that cannot be mounted"};
      mounted_ = device;
      layout_.measure_mounted(device, "/");
      std::set<std::string> names;
      for (const auto& name : names_in(g_, "/")) {
        std::string folded;
        for (const char c : name) folded += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        if (folded != name && is_signature(folded)) throw doubt{"a name in capitals"};
        names.insert(folded);
      }
      if (std::none_of(names.begin(), names.end(), is_signature)) continue;
      if (!root_.empty()) throw doubt{"two filesystems that look like roots"};
      for (const auto* other :
           {"hurd", "service", "netbsd", "bsd", "grub", "grub2", "windows", "winnt", "win32", "win",
            "reactos", "boot.ini", "fdos", "dos", "system volume information"})
        if (names.contains(other)) throw doubt{"the root has a " + std::string(other)};
      root_ = device;
    }
    if (root_.empty()) throw doubt{"no filesystem that looks like a root"};
  }

  /// The names of which every way to be a root or a /usr needs one, or more.
  static bool is_signature(const std::string& name) {
    constexpr std::array all{"etc", "bin",     "hurd",     "windows", "winnt", "win32",
                             "win", "reactos", "boot.ini", "fdos",    "dos"};
    return std::find(all.begin(), all.end(), name) != all.end();
  }

  void mount_root() {
    if (mounted_ == root_) return;
    g_.umount_all();
    g_.mount_ro(root_, "/");
    mounted_ = root_;
  }

  FileKind kind(const std::string& directory, const std::string& name) {
    const auto found = g_.lstatnslist(directory, string_list{name});
    if (found.empty() || found.front().st_ino == -1) return FileKind::unknown;
    return kind_of(found.front().st_mode);
  }

  /// The text of a regular file, links followed; nothing if it is none; a doubt if it is too large.
  std::optional<std::string> text_of(const std::string& path, std::size_t limit = 64000) {
    if (!is_file(path)) return std::nullopt;
    std::string text;
    if (attempt([&] { text = read_small(g_, path, limit); })) throw doubt{"a file that cannot be read"};
    if (text.find('\0') != std::string::npos) throw doubt{"a file with NUL bytes"};
    return text;
  }
  bool is_file(const std::string& path) {
    bool regular = false;
    attempt([&] { regular = kind_of(g_.statns(path).st_mode) == FileKind::regular; });
    return regular;
  }

  void read_root() {
    if (kind("/", "etc") != FileKind::directory) throw doubt{"/etc is no directory"};
    const auto bin = kind("/", "bin");
    if (bin != FileKind::directory &&
        (bin != FileKind::symlink || g_.readlinklist("/", string_list{"bin"}).at(0) != "usr/bin"))
      throw doubt{"/bin is neither a directory nor a link to usr/bin"};
    for (auto& name : names_in(g_, "/etc")) etc_.insert(std::move(name));
    for (const auto* other : {"freebsd-update.conf", "release", "mdadm.conf", "mdadm"})
      if (etc_.contains(other)) throw doubt{"/etc/" + std::string(other)};
    const auto fstab = kind("/etc", "fstab");
    if (fstab != FileKind::regular &&
        (fstab != FileKind::unknown || kind("/etc", "hosts") != FileKind::regular))
      throw doubt{"no regular /etc/fstab"};
    system_.root = root_;
    system_.type = "linux";
    system_.product_variant = "unknown";
    read_release();
    read_architecture();
    read_fstab();
    read_hostname();
  }

  void read_release() {
    const auto text = text_of("/etc/os-release");
    if (!text) throw doubt{"no os-release"};
    const auto release = os_release_of(*text);
    system_.distro = distro_of(release.id);
    if (system_.distro.empty()) throw doubt{"a distribution whose rules guestkit does not know"};
    if (release.pretty_name.empty()) throw doubt{"os-release without PRETTY_NAME"};
    if (release.version_id.starts_with('V')) throw doubt{"an odd VERSION_ID"};
    system_.product_name = release.pretty_name;
    auto version = version_in(release.version_id);
    if (!version && system_.distro == "archlinux") version.emplace();
    if (!version) throw doubt{"os-release without a version"};
    if (version->minor == 0) {
      if (system_.distro == "debian") read_debian_version(*version);
      if (system_.distro == "centos") read_release_file("centos-release", "CentOS", *version);
      if (system_.distro == "rocky") read_release_file("rocky-release", "Rocky Linux", *version);
    }
    system_.major_version = version->major;
    system_.minor_version = version->minor;
    system_.package_format = package_format_of(system_.distro);
    system_.package_management = package_management_of(system_.distro, version->major,
                                                       system_.distro == "fedora" && is_file("/usr/bin/dnf"));
    system_.osinfo = osinfo_of(system_.distro, *version);
  }

  /// The files that libguestfs would take before this one.
  void refuse_earlier(const std::string& file) {
    for (const auto* name : {"lsb-release", "openmandriva-release", "oracle-release", "centos-release",
                             "rocky-release", "altlinux-release", "redhat-release"}) {
      if (file == name) return;
      if (etc_.contains(name)) throw doubt{"/etc/" + std::string(name)};
    }
  }

  std::string first_line_of(const std::string& file) {
    refuse_earlier(file);
    const auto text = text_of("/etc/" + file);
    const auto line = text ? text->substr(0, text->find('\n')) : std::string();
    if (line.empty() || line.size() > 200) throw doubt{"no line in /etc/" + file};
    return line;
  }

  void read_debian_version(version_number& version) {
    system_.product_name = first_line_of("debian_version");
    if (const auto better = version_in(system_.product_name)) version = *better;
  }

  void read_release_file(const std::string& file, const char* product, version_number& version) {
    system_.product_name = first_line_of(file);
    version = release_version(system_.product_name, product);
  }

  void read_architecture() {
    system_.arch = "unknown";
    for (const auto* program : {"/bin/bash", "/bin/ls", "/bin/echo", "/bin/rm", "/bin/sh"}) {
      if (!is_file(program)) continue;
      const buffer header = g_.pread(program, 64, 0);
      system_.arch = elf_architecture(header.view());
      return;
    }
  }

  void read_hostname() {
    for (const auto* file : {"HOSTNAME", "hostname"}) {
      const auto text = text_of(std::string("/etc/") + file);
      if (!text) continue;
      if (const auto name = hostname_in(*text)) {
        system_.hostname = *name;
        return;
      }
    }
    if (is_file("/etc/sysconfig/network")) throw doubt{"the host name is in /etc/sysconfig/network"};
    system_.hostname = "unknown";
  }

  void read_fstab() {
    std::vector<std::pair<std::string, std::string>> entries;  // device, mountpoint
    if (const auto text = text_of("/etc/fstab"))
      for (const auto& entry : fstab_of(*text)) {
        if (is_ignored(entry)) continue;
        if (entry.type == "btrfs") throw doubt{"btrfs in fstab"};
        const auto device = device_of(entry.spec);
        if (!device.empty()) entries.emplace_back(device, entry.file);
      }
    if (entries.empty()) entries.emplace_back(root_, "/");
    hashtable mountpoints;
    for (const auto& [device, file] : entries) {
      system_.filesystems.push_back(device);
      if (!file.starts_with('/')) continue;
      if (file == "/usr") throw doubt{"/usr is a filesystem of its own"};
      if (file.find("//") != std::string::npos || (file.size() > 1 && file.ends_with('/')))
        throw doubt{"a mountpoint with spare slashes"};
      if (!mountpoints.emplace(file, device).second) throw doubt{"two filesystems on one mountpoint"};
    }
    std::reverse(system_.filesystems.begin(), system_.filesystems.end());  // as libguestfs returns them
    system_.mountpoints = in_mount_order(mountpoints);
  }

  /// The device of an entry; empty: none, as for tmpfs.
  std::string device_of(const std::string& spec) {
    if (spec.starts_with("UUID=")) return device_with("UUID", spec.substr(5));
    if (spec.starts_with("LABEL=")) return device_with("LABEL", spec.substr(6));
    if (spec == "/dev/root") return root_;
    if (!spec.starts_with("/dev/")) {
      if (spec.size() >= 18 && spec[16] == '.') throw doubt{"fstab may name a disk as OpenBSD does"};
      return {};
    }
    for (const auto& volume : layout_.volumes())
      if (spec == volume || spec == mapper_name(volume)) return volume;
    const auto disk = spec.size() > 8 ? spec.substr(6, 1) : "";
    const bool plain = spec.size() > 8 && std::string_view("hsv").find(spec[5]) != std::string_view::npos &&
                       disk == "d" && spec[7] >= 'a' && spec[7] <= 'z' &&
                       std::all_of(spec.begin() + 8, spec.end(), is_digit);
    if (!plain) throw doubt{"a device name in fstab that guestkit does not resolve"};
    const auto number = static_cast<std::size_t>(spec[7] - 'a');
    if (number < layout_.disks().size()) {
      const auto device = layout_.disks()[number] + spec.substr(8);
      const auto& all = layout_.partitions();
      if (std::find(all.begin(), all.end(), device) != all.end()) return device;
    }
    throw doubt{"a device in fstab that is not there"};
  }

  std::string device_with(const char* tag, const std::string& value) {
    std::string only;
    auto devices = layout_.candidates();
    for (const auto& device : devices)
      if (layout_.fact(device, tag) == value) {
        if (!only.empty()) throw doubt{"two devices with one UUID or label"};
        only = device;
      }
    if (only.empty()) throw doubt{"a UUID or label in fstab that is not there"};
    return only;
  }

  Guest& g_;
  layout<Guest>& layout_;
  std::vector<std::string> filesystems_;
  std::set<std::string> etc_;
  std::string root_, mounted_;
  InspectedSystem system_;
};

/// Where two answers differ, for people.
inline std::vector<std::string> differences(const InspectedSystem& fast, const InspectedSystem& theirs) {
  std::vector<std::string> all;
  const auto compare = [&](const char* name, const std::string& ours, const std::string& other) {
    if (ours != other) all.push_back(std::string(name) + ": " + ours + " instead of " + other);
  };
  const auto number = [](int n) { return std::to_string(n); };
  const auto joined_list = [](const auto& list) {
    std::string text;
    for (const auto& item : list) {
      if constexpr (requires { item.first; })
        text += item.first + "=" + item.second + " ";
      else
        text += item + " ";
    }
    return text;
  };
  compare("root", fast.root, theirs.root);
  compare("type", fast.type, theirs.type);
  compare("distro", fast.distro, theirs.distro);
  compare("product_name", fast.product_name, theirs.product_name);
  compare("product_variant", fast.product_variant, theirs.product_variant);
  compare("major_version", number(fast.major_version), number(theirs.major_version));
  compare("minor_version", number(fast.minor_version), number(theirs.minor_version));
  compare("arch", fast.arch, theirs.arch);
  compare("hostname", fast.hostname, theirs.hostname);
  compare("package_format", fast.package_format, theirs.package_format);
  compare("package_management", fast.package_management, theirs.package_management);
  compare("osinfo", fast.osinfo, theirs.osinfo);
  compare("mountpoints", joined_list(fast.mountpoints), joined_list(theirs.mountpoints));
  compare("filesystems", joined_list(fast.filesystems), joined_list(theirs.filesystems));
  compare("drive_mappings", joined_list(fast.drive_mappings), joined_list(theirs.drive_mappings));
  if (fast.applications != theirs.applications || fast.applications_complete != theirs.applications_complete)
    all.emplace_back("applications");
  if (fast.failures.size() != theirs.failures.size()) all.emplace_back("failures");
  return all;
}

}  // namespace guestkit::detail
