#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/inspect/attempt.hpp"
#include "guestkit/detail/inspect/package_rules.hpp"
#include "guestkit/detail/inspect/packages.hpp"
#include "guestkit/detail/inspect/partial_file.hpp"
#include "guestkit/detail/inspect/reading.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/inspect/rpm_database.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/detail/inspect/windows_rules.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The databases that guestkit or libguestfs reads. Of each format, libguestfs reads the first one.
inline constexpr std::array<package_database, 15> package_databases{
    {{"deb", "/var/lib/dpkg/status"},
     {"deb", "/var/lib/dpkg/status.d", FileKind::directory},
     {"apk", "/lib/apk/db/installed"},
     {"apk", "/usr/lib/apk/db/installed"},
     {"pacman", "/var/lib/pacman/local", FileKind::directory},
     {"rpm", "/var/lib/rpm/rpmdb.sqlite"},
     {"rpm", "/var/lib/rpm/Packages.db"},
     {"rpm", "/var/lib/rpm/Packages"},
     {"rpm", "/usr/lib/sysimage/rpm/rpmdb.sqlite"},
     {"rpm", "/usr/lib/sysimage/rpm/Packages.db"},
     {"rpm", "/usr/lib/sysimage/rpm/Packages"},
     {"rpm", "/usr/share/rpm/rpmdb.sqlite"},
     {"rpm", "/usr/share/rpm/Packages.db"},
     {"rpm", "/usr/share/rpm/Packages"},
     {"rpm", "/usr/lib/sysimage/rpm/Index.db"}}};

/// The databases that neither reads.
inline constexpr std::array<package_database, 5> other_databases{
    {{"ebuild", "/var/db/pkg", FileKind::directory},
     {"xbps", "/var/db/xbps", FileKind::directory},
     {"nix", "/nix/var/nix/db", FileKind::directory},
     {"pkgtools", "/var/lib/pkgtools/packages", FileKind::directory},
     {"pkgtools", "/var/log/packages", FileKind::directory}}};

GUESTKIT_INLINE std::uint64_t most_bytes_of(std::string_view format) noexcept {
  return format == "rpm" ? std::uint64_t{4} << 30U : 50'000'000;
}

GUESTKIT_INLINE std::optional<found_database> find_database(const guest_tree& files,
                                                            std::string_view format) {
  for (const bool own : {true, false})
    for (const auto& database : package_databases) {
      if ((database.format == format) != own) continue;
      const std::string path(database.path);
      auto found = files.look(path, most_bytes_of(database.format), database.kind);
      if (found.there)
        return found_database{database, files.path(path), found.size, std::move(found.obstacle)};
    }
  return std::nullopt;
}

/// Whether libguestfs reads it too.
inline bool is_usual(const package_database& database) {
  const auto* first = std::ranges::find(package_databases, database.format, &package_database::format);
  return first->path == database.path;
}

GUESTKIT_INLINE package_list packages_below(const guest_tree& files, const std::string& end,
                                            const std::function<package_list(const std::string&)>& read) {
  constexpr std::uint64_t most_bytes = std::uint64_t{1} << 20U;
  package_list all;
  const auto names = files.names("");
  std::size_t i = 0;
  std::uint64_t bytes = 0;  // links to one file can multiply a few bytes on the disk
  for (; i < std::min(names.size(), most_packages) && bytes <= most_bytes_of("pacman"); ++i) {
    const auto file = "/" + names[i] + end;
    if (file.ends_with(".md5sums")) continue;
    const auto found = files.look(file, most_bytes);
    if (!found.there) continue;
    if (!found.obstacle.empty()) {
      all.leave_out(found.obstacle);
      continue;
    }
    try {
      const auto text = read_small(files.g, files.path(file));
      bytes += text.size();
      auto part = read(text);
      for (auto& app : part.packages) all.packages.push_back(std::move(app));
      if (part.left_out != 0) all.leave_out(printable(files.path(file)) + ": " + part.reason);
    } catch (const doubt& reason) {
      all.leave_out(printable(files.path(file)) + " has " + reason.reason);
    }
  }
  if (i < names.size()) {
    all.left_out += names.size() - i;
    if (all.reason.empty())
      all.reason = "the database has more than " + std::to_string(most_packages) + " packages or " +
                   std::to_string(most_bytes_of("pacman")) + " bytes";
  }
  sort_by_name(all.packages);
  return all;
}

/// The packages of rpm. Throws Error, and doubt if it is no such database.
inline package_list own_rpm_packages(guest_actions& g, const found_database& found) {
  constexpr std::uint64_t most = std::uint64_t{1} << 30U;  // a quarter of the largest database
  const auto& path = found.path;
  const auto size_beside = [&](const char* end) {
    const auto file = guest_tree{g}.look(path + end, most_bytes_of("rpm"));
    if (!file.obstacle.empty()) throw doubt{"a file beside it that cannot be read: " + file.obstacle};
    return file.size;
  };
  rpm_packages all;
  partial_file database(found.size, most, fetcher_of(g, path));
  if (path.ends_with(".sqlite")) {
    if (size_beside("-journal") > 0) throw doubt{"a transaction that was not finished"};
    std::optional<partial_file> log;
    if (const auto size = size_beside("-wal")) log.emplace(size, most, fetcher_of(g, path + "-wal"));
    read_rpm_sqlite(database, log ? &*log : nullptr, all);
  } else if (path.ends_with("/Packages.db")) {
    read_rpm_ndb(database, all);
  } else if (path.ends_with("/Packages")) {
    read_rpm_bdb(database, all);
  } else {
    throw doubt{"an index alone, without the packages"};
  }
  return all.sorted();
}

/// The packages as read by guestkit itself. Throws Error, and doubt if libguestfs might read a file
/// differently.
inline package_list own_packages(guest_actions& g, const found_database& found) {
  const guest_tree below{g, found.path};
  const auto& format = found.database.format;
  if (format == "rpm") return own_rpm_packages(g, found);
  if (format == "pacman") return packages_below(below, "/desc", pacman_applications);
  if (found.database.kind == FileKind::directory)  // Debian without dpkg: a stanza in each file
    return packages_below(below, "", [](const std::string& text) {
      return dpkg_applications("Status: installed\n" + text + "\n\n");
    });
  const auto text = read_small(g, found.path, most_bytes_of(format));
  return format == "deb" ? dpkg_applications(text) : apk_applications(text);
}

inline InspectedApplication application(const Application2& app) {
  return {.name = app.app2_name,
          .display_name = app.app2_display_name,
          .epoch = app.app2_epoch,
          .version = app.app2_version,
          .release = app.app2_release,
          .arch = app.app2_arch,
          .install_path = app.app2_install_path,
          .publisher = app.app2_publisher,
          .url = app.app2_url,
          .source_package = app.app2_source_package,
          .summary = app.app2_summary,
          .description = app.app2_description};
}

/// What libguestfs' list lacks.
struct list_comparison {
  package_list rest = {};  ///< the packages that only guestkit found, and what guestkit left out
  std::string fault = {};  ///< why more may be missing; empty if libguestfs' packages and the rest are all
};

/// Adds to libguestfs' list what only the database tells, and compares the two. What cannot be read is left
/// as it is.
inline list_comparison add_what_libguestfs_leaves_out(guest_actions& g, const found_database& found,
                                                      std::vector<InspectedApplication>& list) {
  const auto identity = [](const InspectedApplication& app) {
    return std::tie(app.name, app.epoch, app.version, app.release, app.arch);
  };
  list_comparison result;
  package_list own;
  const auto error =
      attempt([&] { own = own_packages(g, found); },
              [&](const std::string& reason) { result.fault = printable(found.path) + " has " + reason; });
  if (error) result.fault = printable(one_line(error->message()));
  std::map<decltype(identity(list.front())), const InspectedApplication*> known;
  for (const auto& app : own.packages) known.emplace(identity(app), &app);
  std::set<decltype(identity(list.front()))> theirs;
  for (auto& app : list) {
    theirs.insert(identity(app));
    const auto same = known.find(identity(app));
    if (same == known.end()) continue;
    app.publisher = same->second->publisher;
    app.source_package = same->second->source_package;
    app.license = same->second->license;
    app.source_version = same->second->source_version;
  }
  auto& rest = result.rest;
  rest.left_out = own.left_out;
  rest.reason = own.reason;
  for (const auto& app : own.packages)
    if (!theirs.contains(identity(app))) rest.packages.push_back(app);
  if (rest.packages.size() + list.size() != own.packages.size()) {
    rest.packages.clear();
    if (result.fault.empty())
      result.fault = "not all of its " + std::to_string(list.size()) + " are among the " +
                     std::to_string(own.packages.size()) + " that guestkit finds";
  }
  return result;
}

class rpm_obstacles {
 public:
  explicit rpm_obstacles(const guest_tree& files) : files_(files) {}

  std::string find() {
    for (const auto* file : {"/etc/rpmrc", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/proc/cpuinfo",
                             "/proc/self/auxv"})
      look(file, most_bytes);
    // librpm runs as root, or as a user without a home.
    for (const std::string home : {"/root", ""})
      for (const auto* file : {"/.rpmrc", "/.rpmmacros"}) look(home + file, most_bytes);
    // Such as /usr/lib/rpm/platform/x86_64-linux/macros.
    for (const auto* directory : {"/usr/lib/rpm", "/etc/rpm"}) look_below(directory, 2, most_bytes);
    // The database has a limit of its own.
    for (const auto* directory : {"/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm"})
      look_below(directory, 0, most_bytes_of("rpm"));
    return found_;
  }

 private:
  /// A hundred times the size of real ones; the directories contain programs besides the macros.
  static constexpr std::uint64_t most_bytes = std::uint64_t{16} << 20U;
  static constexpr std::size_t most_directories = 500;

  /// Links are followed.
  FileKind look(const std::string& file, std::uint64_t most) {
    const auto seen = files_.look(file, most);
    switch (seen.kind) {
      case FileKind::regular:
      case FileKind::fifo:
      case FileKind::character_device:
      case FileKind::block_device:
        if (found_.empty()) found_ = seen.obstacle;
        break;
      default:  // opening anything else fails at once
        break;
    }
    return seen.kind;
  }

  void look_below(const std::string& directory, int depth, std::uint64_t most) {
    if (!found_.empty()) return;
    if (++directories_ > most_directories) {
      found_ = "there are more than " + std::to_string(most_directories) + " directories of its files";
      return;
    }
    std::vector<GuestFile> entries;
    const auto error = attempt([&] {
      check_names_of(files_.g, files_.path(directory));
      entries = list_directory(files_.g, files_.path(directory));
    });
    if (error && error->error_number() == EFBIG) found_ = error->message();
    for (const auto& entry : entries) {
      const auto file = joined(directory, entry.path.substr(entry.path.rfind('/') + 1));
      const bool is_usual =
          entry.kind == FileKind::directory || (entry.kind == FileKind::regular && entry.size <= most);
      const auto kind = is_usual ? entry.kind : look(file, most);
      if (kind == FileKind::directory && depth > 0) look_below(file, depth - 1, most);
    }
  }

  const guest_tree& files_;
  std::size_t directories_ = 0;
  std::string found_;
};

GUESTKIT_INLINE std::string rpm_obstacle(const guest_tree& files) {
  return rpm_obstacles(files).find();
}

GUESTKIT_INLINE void add_applications(const guest_tree& files, InspectedSystem& system,
                                      const std::optional<std::string>& of_libguestfs,
                                      string_list& corrections) {
  auto& g = files.g;
  const auto incomplete = [&](const std::string& why) {
    system.applications_complete = false;
    system.failures.push_back({.part = "applications", .message = why});
  };
  const auto ask_libguestfs = [&] {
    for (const auto& app : g.inspect_list_applications2(system.root))
      system.applications.push_back(application(app));
    system.applications_complete = true;
  };
  if (system.type == "windows") {
    const auto hive = system.windows ? system.windows->software_hive : std::string();
    // libguestfs opens it from outside the guest.
    if (const auto fault = hive.empty() ? std::nullopt : fault_of_path(g, hive, FileKind::regular))
      return incomplete(fault->why);
    if (of_libguestfs == "registry") return ask_libguestfs();
    if (hive.empty()) return incomplete("there is no hive that lists the programs");
    try {
      system.applications = windows_applications(g, hive);
      system.applications_complete = true;
    } catch (const doubt& reason) {
      if (!of_libguestfs) throw;
      incomplete(told_damage(hive, reason.reason, "the programs"));
    }
    return;
  }
  const auto found = find_database(files, system.package_format);
  if (!found) {
    for (const auto& other : other_databases)
      if (const std::string path(other.path); files.has_directory(path))
        return incomplete("nobody here reads packages of the format " + std::string(other.format) +
                          ", which are in " + printable(files.path(path)));
    return incomplete("there is no package database: none of dpkg, apk, pacman or rpm");
  }
  if (!found->obstacle.empty()) return incomplete("the package database cannot be read: " + found->obstacle);
  const auto& format = found->database.format;
  const bool is_theirs = of_libguestfs && format == *of_libguestfs && format != "pacman";
  const auto tell_left_out = [&](const package_list& list) {
    if (list.left_out != 0)
      incomplete("packages were left out (" + std::to_string(list.left_out) + "): " + list.reason);
  };
  std::string no_answer;  // of libguestfs, and why
  if (is_theirs && format == "rpm") {
    if (const auto why = rpm_obstacle(files); !why.empty()) {
      no_answer = "libguestfs was not asked: librpm would find no end, since " + why;
    } else if (const auto error = attempt(ask_libguestfs)) {
      no_answer = "libguestfs failed: " + printable(one_line(error->message()));
    } else if (system.applications.empty()) {
      no_answer = "libguestfs found none";
    } else {
      add_what_libguestfs_leaves_out(g, *found, system.applications);
      return;
    }
  } else if (is_theirs && is_usual(found->database)) {
    ask_libguestfs();
    const auto [rest, fault] = add_what_libguestfs_leaves_out(g, *found, system.applications);
    for (const auto& app : rest.packages) system.applications.push_back(app);
    sort_by_name(system.applications);
    if (!rest.packages.empty())
      corrections.emplace_back(
          "applications: libguestfs leaves out the last one if no empty line follows it");
    if (!fault.empty()) incomplete("libguestfs may have left out packages: " + fault);
    return tell_left_out(rest);
  }
  const auto with_theirs = [&](const std::string& why) {
    return no_answer.empty() ? why : why + "; " + no_answer;
  };
  try {
    auto list = own_packages(g, *found);
    system.applications = std::move(list.packages);
    system.applications_complete = list.left_out == 0;
    if (!no_answer.empty() && !system.applications.empty())
      corrections.push_back("applications: " + no_answer);
    if (list.left_out != 0) return tell_left_out(list);
  } catch (const doubt& reason) {
    if (!of_libguestfs && format == "rpm") throw doubt{"packages of the format rpm: " + reason.reason};
    if (!of_libguestfs) throw;
    return incomplete(
        with_theirs("the package database " + printable(found->path) + " has " + reason.reason));
  }
  if (system.applications.empty())
    incomplete(with_theirs("the package database " + printable(found->path) +
                           " is there, but no package could be read from it"));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
