#pragma once

#include <algorithm>
#include <cstddef>
#include <set>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/inspect/linux_rules.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"
#include "guestkit/detail/inspect/mounts.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/detail/inspect/system.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Reads the Linux on the filesystem mounted at /.
class linux_reader {
 public:
  linux_reader(guest_actions& g, layout& layout)
      : g_(g), layout_(layout), libguestfs_(numbers_of(g.version())) {}

  linux_description read(const std::string& root, const string_list& usr_like);
  std::optional<linux_description> read_alone(const std::string& root, bool readonly);
  void correct(InspectedSystem& theirs, std::vector<std::string>& corrections);

 private:
  /// The kind of a file; unknown if it does not exist or cannot be examined.
  FileKind kind(const std::string& directory, const std::string& name);

  bool is_link_to(const std::string& name, const std::string& target);

  /// The text of a regular file, following links; nothing if there is none; a doubt if it is too large.
  std::optional<std::string> text_of(const std::string& path, std::size_t limit = 64000);

  bool is_file(const std::string& path);

  /// Why the filesystem at / is not the root of a Linux; nothing if it is.
  std::optional<std::string> no_linux_root();

  /// Mounts the filesystems in fstab, and records what libguestfs reads differently.
  void mount_others(bool readonly);

  /// Checks that the mounts explain every filesystem that looks like a /usr.
  void check_others(const string_list& usr_like);

  void read_release();

  /// Throws doubt if there are files that libguestfs would prefer to this one.
  void refuse_earlier(std::string_view file);

  /// Takes product and version from the file that has the exact version.
  void read_release_file(const distribution& distro, version_number& version);
  void read_architecture();
  void read_hostname();

  guest_actions& g_;
  layout& layout_;
  libguestfs_version libguestfs_;
  std::set<std::string> etc_;  // the names in /etc
  linux_description found_;
};

GUESTKIT_INLINE linux_description linux_reader::read(const std::string& root, const string_list& usr_like) {
  if (const auto reason = no_linux_root()) throw doubt{*reason};
  if (etc_.empty()) throw doubt{"an /etc that cannot be read"};
  for (const auto* other : {"freebsd-update.conf", "release"})
    if (etc_.contains(other)) throw doubt{"/etc/" + std::string(other)};
  found_.system = {.root = root, .type = "linux", .product_variant = "unknown"};
  mount_others(true);
  check_others(usr_like);
  read_release();
  read_architecture();
  read_hostname();
  return std::move(found_);
}

GUESTKIT_INLINE std::optional<linux_description> linux_reader::read_alone(const std::string& root,
                                                                          bool readonly) {
  if (no_linux_root()) return std::nullopt;
  found_.system = {.root = root, .type = "linux"};
  set_unknown(found_.system);
  mount_others(readonly);
  const auto as_far_as_possible = [&](const char* part, auto&& read) {
    const auto error = error_of(read, [&](const std::string& reason) {
      found_.system.failures.push_back({.part = part, .message = reason});
    });
    if (error) found_.system.failures.push_back(failure(part, *error));
  };
  as_far_as_possible("os_release", [&] { read_release(); });
  as_far_as_possible("arch", [&] { read_architecture(); });
  as_far_as_possible("hostname", [&] { read_hostname(); });
  if (found_.system.distro.empty()) found_.system.distro = "unknown";
  return std::move(found_);
}

GUESTKIT_INLINE void linux_reader::correct(InspectedSystem& theirs, std::vector<std::string>& corrections) {
  const bool apart = std::any_of(theirs.mountpoints.begin(), theirs.mountpoints.end(),
                                 [](const auto& place) { return place.first == "/usr"; });
  found_.system = theirs;
  try {
    if (!apart) {
      const auto text = text_of("/etc/os-release");
      if (!text || !os_release_of(*text).has_carriage_returns) return;
    }
    for (auto& name : names_in(g_, "/etc")) etc_.insert(std::move(name));
    read_release();
    read_architecture();
  } catch (const doubt&) {  // libguestfs may know better
    return;
  }
  for (auto& fact : facts_that_differ(found_.system, theirs)) corrections.push_back(std::move(fact));
  theirs = std::move(found_.system);
}

GUESTKIT_INLINE FileKind linux_reader::kind(const std::string& directory, const std::string& name) {
  std::vector<StatNS> found;
  error_of([&] { found = g_.lstatnslist(directory, string_list{name}); });
  if (found.empty() || found.front().st_ino == -1) return FileKind::unknown;
  return kind_of(found.front().st_mode);
}

GUESTKIT_INLINE bool linux_reader::is_link_to(const std::string& name, const std::string& target) {
  string_list found;
  error_of([&] { found = g_.readlinklist("/", string_list{name}); });
  return found == string_list{target};
}

GUESTKIT_INLINE std::optional<std::string> linux_reader::text_of(const std::string& path, std::size_t limit) {
  if (!is_file(path)) return std::nullopt;
  std::string text;
  if (error_of([&] { text = read_small(g_, path, limit); })) throw doubt{"a file that cannot be read"};
  if (text.find('\0') != std::string::npos) throw doubt{"a file with NUL bytes"};
  return text;
}

GUESTKIT_INLINE bool linux_reader::is_file(const std::string& path) {
  bool regular = false;
  error_of([&] { regular = kind_of(g_.statns(path).st_mode) == FileKind::regular; });
  return regular;
}

GUESTKIT_INLINE std::optional<std::string> linux_reader::no_linux_root() {
  if (kind("/", "etc") != FileKind::directory) return "/etc is no directory";
  const auto bin = kind("/", "bin");
  if (bin != FileKind::directory && (bin != FileKind::symlink || !is_link_to("bin", "usr/bin")))
    return "/bin is neither a directory nor a link to usr/bin";
  for (auto& name : few_names_in(g_, "/etc")) etc_.insert(std::move(name));
  const auto fstab = kind("/etc", "fstab");
  if (fstab != FileKind::regular &&
      (fstab != FileKind::unknown || kind("/etc", "hosts") != FileKind::regular))
    return "no regular /etc/fstab";
  return std::nullopt;
}

GUESTKIT_INLINE void linux_reader::mount_others(bool readonly) {
  auto plan = plan_mounts(g_, layout_, found_.system.root);
  found_.system.mountpoints = std::move(plan.mountpoints);
  found_.system.filesystems = std::move(plan.filesystems);
  found_.system.failures = std::move(plan.failures);
  found_.corrections.insert(found_.corrections.end(), plan.corrections.begin(), plan.corrections.end());
  const auto planned = found_.system.mountpoints.size();
  found_.mounted = mount_behind_root(g_, found_.system.mountpoints, readonly, found_.system.failures);
  if (found_.system.mountpoints.size() != planned)
    found_.corrections.emplace_back("mountpoints: those on which nothing may be mounted are left out");
}

GUESTKIT_INLINE void linux_reader::check_others(const string_list& usr_like) {
  std::string usr;
  for (const auto& [mountpoint, device] : found_.system.mountpoints) {
    if (mountpoint == "/usr") usr = device;
    if (mountpoint == "/etc" || mountpoint.starts_with("/etc/"))
      throw doubt{printable(mountpoint) + " is a filesystem of its own"};
  }
  for (const auto& device : usr_like)
    if (device != usr) throw doubt{"a filesystem that looks like the /usr of another system"};
  if (!usr.empty())
    found_.corrections.emplace_back(
        "distro, version, arch: /usr is a filesystem of its own, without which"
        " libguestfs looks at the root");
}

GUESTKIT_INLINE void linux_reader::read_release() {
  const auto text = text_of("/etc/os-release");
  if (!text) throw doubt{"no os-release"};
  const auto release = os_release_of(*text);
  if (release.has_carriage_returns)
    found_.corrections.emplace_back("distro, version: the lines of os-release end in CRLF");
  const auto* distro = distribution_of(release.id);
  if (distro == nullptr || libguestfs_ < distro->since)
    throw doubt{"a distribution whose rules guestkit does not know"};
  found_.system.distro = distro->name;
  if (release.pretty_name.empty()) throw doubt{"os-release without PRETTY_NAME"};
  if (release.version_id.starts_with('V')) throw doubt{"an odd VERSION_ID"};
  found_.system.product_name = release.pretty_name;
  auto version = version_in(release.version_id);
  if (!version && found_.system.distro == "archlinux") version.emplace();
  if (!version) throw doubt{"os-release without a version"};
  if (version->minor == 0 && !distro->release_file.empty()) read_release_file(*distro, *version);
  found_.system.major_version = version->major;
  found_.system.minor_version = version->minor;
  found_.system.package_format = distro->package_format;
  found_.system.package_management =
      package_management_of(*distro, version->major, distro->name == "fedora" && is_file("/usr/bin/dnf"));
  found_.system.osinfo = osinfo_of(found_.system.distro, *version, libguestfs_);
}

GUESTKIT_INLINE void linux_reader::refuse_earlier(std::string_view file) {
  for (const auto& [name, since] : release_files) {
    if (file == name) return;
    if (libguestfs_ >= since && etc_.contains(std::string(name))) throw doubt{"/etc/" + std::string(name)};
  }
}

GUESTKIT_INLINE void linux_reader::read_release_file(const distribution& distro, version_number& version) {
  refuse_earlier(distro.release_file);
  const auto file = "/etc/" + std::string(distro.release_file);
  const auto text = text_of(file);
  auto line = text ? text->substr(0, text->find('\n')) : std::string();
  if (line.empty() || line.size() > 200) throw doubt{"no line in " + file};
  if (!distro.release_name.empty())
    version = release_version(line, distro.release_name);
  else if (const auto better = version_in(line))
    version = *better;
  found_.system.product_name = std::move(line);
}

GUESTKIT_INLINE void linux_reader::read_architecture() {
  found_.system.arch = "unknown";
  for (const auto* program : {"/bin/bash", "/bin/ls", "/bin/echo", "/bin/rm", "/bin/sh"}) {
    if (!is_file(program)) continue;
    buffer header;
    if (const auto error = error_of([&] { header = g_.pread(program, 64, 0); }))
      throw doubt{program + (" cannot be read: " + error->message())};
    found_.system.arch = elf_architecture(header.view());
    return;
  }
}

GUESTKIT_INLINE void linux_reader::read_hostname() {
  for (const auto* file : {"HOSTNAME", "hostname"}) {
    const auto text = text_of(std::string("/etc/") + file);
    if (!text) continue;
    if (const auto name = hostname_in(*text)) {
      found_.system.hostname = *name;
      return;
    }
  }
  if (is_file("/etc/sysconfig/network")) throw doubt{"the host name is in /etc/sysconfig/network"};
  found_.system.hostname = "unknown";
}

GUESTKIT_INLINE linux_description read_linux(guest_actions& g, layout& layout, const std::string& root,
                                             const string_list& usr_like) {
  return linux_reader(g, layout).read(root, usr_like);
}

GUESTKIT_INLINE std::optional<linux_description> read_linux_alone(guest_actions& g, layout& layout,
                                                                  const std::string& root, bool readonly) {
  return linux_reader(g, layout).read_alone(root, readonly);
}

GUESTKIT_INLINE void correct_linux(guest_actions& g, layout& layout, InspectedSystem& theirs,
                                   std::vector<std::string>& corrections) {
  linux_reader(g, layout).correct(theirs, corrections);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
