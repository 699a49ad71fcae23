#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/files/partial_file.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/inspect/package_rules.hpp"
#include "guestkit/detail/inspect/packages.hpp"
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
  for (; i < names.size() && i < most_packages && all.packages.size() < most_packages &&
         bytes <= most_bytes_of("pacman");
       ++i) {
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
  partial_guest_file database(g, path, found.size, most);
  if (path.ends_with(".sqlite")) {
    if (size_beside("-journal") > 0) throw doubt{"a transaction that was not finished"};
    std::optional<partial_guest_file> log;
    if (const auto size = size_beside("-wal")) log.emplace(g, path + "-wal", size, most);
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
      error_of([&] { own = own_packages(g, found); },
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
    const auto error = error_of([&] {
      check_names_of(files_.g, files_.path(directory));
      listing_limits limits("readdir", printable(files_.path(directory)), 128U << 10U,
                            std::size_t{64} << 20U);
      entries = list_directory(files_.g, files_.path(directory), limits);
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

/// What one way of listing packages gives.
struct package_answer {
  std::vector<InspectedApplication> packages = {};
  string_list gaps = {};         ///< why packages may be missing; empty if all are there
  string_list corrections = {};  ///< what guestkit reads although libguestfs, when it was asked, did not
};

inline package_answer incomplete(std::string why) {
  return {.gaps = {std::move(why)}};
}

inline void add_left_out(const package_list& list, package_answer& answer) {
  if (list.left_out != 0)
    answer.gaps.push_back("packages were left out (" + std::to_string(list.left_out) + "): " + list.reason);
}

inline std::vector<InspectedApplication> listed_by_libguestfs(guest_actions& g, const std::string& root) {
  std::vector<InspectedApplication> all;
  for (const auto& app : g.inspect_list_applications2(root)) all.push_back(application(app));
  return all;
}

/// @param of_libguestfs  see add_applications
inline package_answer windows_programs(guest_actions& g, const InspectedSystem& system,
                                       const std::optional<std::string>& of_libguestfs) {
  const auto hive = system.windows ? system.windows->software_hive : std::string();
  // libguestfs opens it from outside the guest.
  if (const auto fault = hive.empty() ? std::nullopt : fault_of_path(g, hive, FileKind::regular))
    return incomplete(fault->why);
  if (of_libguestfs == "registry") return {.packages = listed_by_libguestfs(g, system.root)};
  if (hive.empty()) return incomplete("there is no hive that lists the programs");
  try {
    return {.packages = windows_applications(g, hive)};
  } catch (const doubt& reason) {
    if (!of_libguestfs) throw;
    return incomplete(told_damage(hive, reason.reason, "the programs"));
  }
}

/// Why there is no database that anybody here reads.
inline std::string why_no_database(const guest_tree& files, const std::optional<found_database>& found) {
  if (found) return "the package database cannot be read: " + found->obstacle;
  for (const auto& other : other_databases)
    if (const std::string path(other.path); files.has_directory(path))
      return "nobody here reads packages of the format " + std::string(other.format) + ", which are in " +
             printable(files.path(path));
  return "there is no package database: none of dpkg, apk, pacman or rpm";
}

/// Has libguestfs list the packages. Of rpm, it may give none; then the gap says why.
inline package_answer packages_by_libguestfs(const guest_tree& files, const std::string& root,
                                             std::string_view format) {
  package_answer answer;
  const auto ask = [&] { answer.packages = listed_by_libguestfs(files.g, root); };
  if (format != "rpm") {
    ask();
  } else if (const auto why = rpm_obstacle(files); !why.empty()) {
    answer.gaps = {"libguestfs was not asked: librpm would find no end, since " + why};
  } else if (const auto error = error_of(ask)) {
    answer.gaps = {"libguestfs failed: " + printable(one_line(error->message()))};
  } else if (answer.packages.empty()) {
    answer.gaps = {"libguestfs found none"};
  }
  return answer;
}

/// Completes libguestfs' packages from the database. Of rpm, it leaves out none.
inline package_answer completed(guest_actions& g, const found_database& found, package_answer answer) {
  const auto [rest, fault] = add_what_libguestfs_leaves_out(g, found, answer.packages);
  if (found.database.format == "rpm") return answer;
  answer.packages.insert(answer.packages.end(), rest.packages.begin(), rest.packages.end());
  sort_by_name(answer.packages);
  if (!rest.packages.empty())
    answer.corrections = {"applications: libguestfs leaves out the last one if no empty line follows it"};
  if (!fault.empty()) answer.gaps.push_back("libguestfs may have left out packages: " + fault);
  add_left_out(rest, answer);
  return answer;
}

/// @param is_last  whether nobody else will be asked: then a doubt is a gap
/// @param no_answer  why libguestfs, which was asked before, lists none; empty if it was not asked
inline package_answer packages_by_guestkit(guest_actions& g, const found_database& found, bool is_last,
                                           const std::string& no_answer) {
  const auto told = [&](const std::string& what) {
    return "the package database " + printable(found.path) + what +
           (no_answer.empty() ? "" : "; " + no_answer);
  };
  package_answer answer;
  try {
    auto list = own_packages(g, found);
    answer.packages = std::move(list.packages);
    add_left_out(list, answer);
  } catch (const doubt& reason) {
    if (is_last) return incomplete(told(" has " + reason.reason));
    if (found.database.format == "rpm") throw doubt{"packages of the format rpm: " + reason.reason};
    throw;
  }
  if (!answer.packages.empty() && !no_answer.empty()) answer.corrections = {"applications: " + no_answer};
  if (answer.packages.empty() && answer.gaps.empty())
    answer.gaps = {told(" is there, but no package could be read from it")};
  return answer;
}

GUESTKIT_INLINE void add_applications(const guest_tree& files, InspectedSystem& system,
                                      const std::optional<std::string>& of_libguestfs,
                                      string_list& corrections) {
  const auto take = [&](package_answer answer) {
    system.applications = std::move(answer.packages);
    system.applications_complete = answer.gaps.empty();
    for (auto& why : answer.gaps)
      system.failures.push_back({.part = "applications", .message = std::move(why)});
    std::ranges::move(answer.corrections, std::back_inserter(corrections));
  };
  if (system.type == "windows") return take(windows_programs(files.g, system, of_libguestfs));
  const auto found = find_database(files, system.package_format);
  if (!found || !found->obstacle.empty()) return take(incomplete(why_no_database(files, found)));
  const auto& database = found->database;
  const bool is_listed = database.format == "rpm" || (database.format != "pacman" && is_usual(database));
  std::string no_answer;  // of libguestfs, and why
  if (database.format == of_libguestfs && is_listed) {
    auto answer = packages_by_libguestfs(files, system.root, database.format);
    if (answer.gaps.empty()) {
      take(answer);  // stays if the time ends before the list is complete
      return take(completed(files.g, *found, std::move(answer)));
    }
    no_answer = answer.gaps.front();
  }
  take(packages_by_guestkit(files.g, *found, of_libguestfs.has_value(), no_answer));
}

GUESTKIT_INLINE bool package_total::has_room_for(InspectedSystem& system) const {
  if (bytes_ <= most_) return true;
  system.failures.push_back({.part = "applications",
                             .message = "not read: those of the systems before take more than " +
                                        std::to_string(most_ >> 20U) + " MiB"});
  return false;
}

GUESTKIT_INLINE void package_total::add(const InspectedSystem& system) noexcept {
  for (const auto& app : system.applications) {
    bytes_ += sizeof app;
    InspectedApplication::each([&](const char*, auto member) {
      if constexpr (requires { (app.*member).size(); }) bytes_ += (app.*member).size();
    });
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
