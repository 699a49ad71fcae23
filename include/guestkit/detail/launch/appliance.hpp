// The fast appliance: finding the one that guestkit.appliance has built, and not trusting a spoilt one.
#pragma once

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/posix.hpp"
#include "guestkit/generated/launch_info.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// What to tell libguestfs for a fast launch.
struct ApplianceChoice {
  ApplianceMode mode = ApplianceMode::system;
  std::string directory = {};   ///< for set_path; empty: leave it
  std::string hypervisor = {};  ///< for set_hv; empty: leave it
  std::string cache = {};       ///< for set_cachedir; empty: leave it
  std::string append = {};      ///< kernel arguments for set_append
  std::string reason = {};      ///< why nothing faster
  bool buildable = false;       ///< whether `guestkit appliance build` would make something faster
};

/// Kernel arguments that make an emulated appliance faster; empty where there is nothing to gain.
///
/// Under TCG only: norandmaps weakens address randomisation of the programs inside the appliance. 297 and 580
/// are the rep-string instructions (ERMS, FSRM), slow when emulated. acpi=off suits the machine pc alone, and
/// hides all processors but one.
inline std::string tuning_arguments(bool emulated, bool machine_pc) {
#if defined(__x86_64__)
  if (!emulated) return "";
  return std::string(machine_pc ? "acpi=off pci=nomsi " : "") +
         "norandmaps clearcpuid=297,580 init_on_alloc=0";
#else
  (void)emulated, (void)machine_pc;
  return "";
#endif
}

/// Where root may keep appliances for every user of the host.
inline constexpr std::string_view system_appliance_cache = "/var/cache/guestkit/appliance";

namespace detail {

inline std::string environment_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The user's home directory: $HOME, else what the user database says; empty if that is no directory
/// that this user can enter: $HOME may be left from root.
inline std::string home_directory() {
  std::string home = environment_variable("HOME");
  if (home.empty()) {
    std::string text(16384, '\0');
    passwd entry{};
    passwd* found = nullptr;
    if (::getpwuid_r(::geteuid(), &entry, text.data(), text.size(), &found) == 0 && found != nullptr)
      home = entry.pw_dir;
  }
  struct stat s {};
  const bool is_there = home.starts_with('/') && ::stat(home.c_str(), &s) == 0 && S_ISDIR(s.st_mode) &&
                        ::faccessat(AT_FDCWD, home.c_str(), X_OK, AT_EACCESS) == 0;
  return is_there ? home : "";
}

/// $GUESTKIT_CACHEDIR, as an absolute path; empty if it is not set.
inline std::string given_appliance_cache() {
  std::string given = environment_variable("GUESTKIT_CACHEDIR");
  if (given.empty() || given.starts_with('/')) return given;
  char* const here = ::getcwd(nullptr, 0);
  if (here == nullptr) return given;
  given.insert(0, std::string(here) + '/');
  std::free(here);
  return given;
}

}  // namespace detail

/// Where the user's appliances are kept: $GUESTKIT_CACHEDIR, else guestkit/appliance in $XDG_CACHE_HOME or in
/// .cache of the home directory. Empty if the user has no home directory and the environment names no other
/// place.
inline std::string appliance_cache() {
  if (auto given = detail::given_appliance_cache(); !given.empty()) return given;
  if (const auto base = detail::environment_variable("XDG_CACHE_HOME"); base.starts_with('/'))
    return base + "/guestkit/appliance";
  const auto home = detail::home_directory();
  return home.empty() ? "" : home + "/.cache/guestkit/appliance";
}

/// Where a launch looks for appliances, in this order: $GUESTKIT_CACHEDIR alone if it is set, else the user's
/// place and that of the whole system.
template <class Places = std::vector<std::string>>
Places appliance_caches() {
  Places places;
  if (auto own = appliance_cache(); !own.empty()) places.push_back(std::move(own));
  if (detail::given_appliance_cache().empty()) places.emplace_back(system_appliance_cache);
  return places;
}

namespace detail {

/// The names in a directory, sorted.
template <class Names = std::vector<std::string>>
Names names_in(const std::string& directory) {
  Names names;
  each_name(directory, [&](std::string_view name) {
    auto place = names.begin();
    while (place != names.end() && *place < name) ++place;
    names.insert(place, std::string(name));
  });
  return names;
}

/// Why what lies in a directory must not be trusted; empty if it may. It is of this user alone, or of root
/// and then perhaps for others to read, and no other user can put something else in its place.
inline std::string private_directory_fault(const std::string& path) {
  struct stat s {};
  if (::lstat(path.c_str(), &s) != 0) return path + ": " + std::strerror(errno);
  const bool own = s.st_uid == ::geteuid();
  const mode_t forbidden = s.st_uid == 0 ? 022 : 077;
  if (!S_ISDIR(s.st_mode) || (!own && s.st_uid != 0) || (s.st_mode & forbidden) != 0)
    return path + (s.st_uid == 0 && !own
                       ? " is not a directory of root that only root can write"
                       : " is not a directory of this user alone (chmod 700 mends its mode)");
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return path + ": " + std::strerror(errno);
  std::string parent = resolved;
  std::free(resolved);
  while (parent.size() > 1) {
    const auto slash = parent.rfind('/');
    parent.resize(slash == 0 ? 1 : slash);
    if (::stat(parent.c_str(), &s) != 0) return parent + ": " + std::strerror(errno);
    if ((s.st_uid != 0 && s.st_uid != ::geteuid()) || ((s.st_mode & 022) != 0 && (s.st_mode & S_ISVTX) == 0))
      return parent + " can be written by other users";
  }
  return "";
}

/// Whether a directory that may be trusted holds what its manifest says, made from what is still installed.
/// @param needed  the files that it must have
inline std::string manifest_fault(const std::string& directory,
                                  std::initializer_list<std::string_view> needed) {
  if (auto fault = private_directory_fault(directory); !fault.empty()) return fault;
  struct stat folder {};
  if (::lstat(directory.c_str(), &folder) != 0) return directory + ": " + std::strerror(errno);
  const uid_t owner = folder.st_uid;
  const std::string file = directory + "/manifest";
  if (::access(file.c_str(), R_OK) != 0) return file + " cannot be read";
  const std::string text = read_text(file);
  std::string_view rows = text;
  if (take_until(rows, '\n') != "guestkit-appliance 1") return "made by another version of guestkit";
  unsigned missing = (1U << needed.size()) - 1;  // a bit for each of the needed
  while (!rows.empty()) {
    auto row = take_until(rows, '\n');
    const bool own = take_word(row) == "file";
    std::uint64_t size = 0, changed = 0;
    if (!read_number(take_word(row), size) || !read_number(take_word(row), changed) || row.size() < 2 ||
        row.front() != ' ')
      return "its manifest is damaged";
    const auto name = row.substr(1);
    const std::string path = own ? (directory + '/').append(name) : std::string(name);
    struct stat s {};
    if ((own ? ::lstat(path.c_str(), &s) : ::stat(path.c_str(), &s)) != 0)
      return path + ": " + std::strerror(errno);
    if (static_cast<std::uint64_t>(s.st_size) != size ||
        static_cast<std::uint64_t>(s.st_mtim.tv_sec * 1000000000LL + s.st_mtim.tv_nsec) != changed)
      return path + " has changed since the appliance was built";
    if (!own) continue;
    unsigned bit = 1;
    for (const auto each : needed) {
      if (each == name) missing &= ~bit;
      bit <<= 1U;
    }
    if (!S_ISREG(s.st_mode) || s.st_uid != owner || (s.st_mode & 022) != 0)
      return path + " is not a file that only " + (owner == ::geteuid() ? "this user" : "root") +
             " can write";
  }
  for (const auto each : needed) {
    if ((missing & 1U) != 0) return "its manifest lacks " + std::string(each);
    missing >>= 1U;
  }
  return "";
}

}  // namespace detail

namespace detail::warm {

/// How long a template is used: all that are restored from it have the same addresses of the kernel.
inline constexpr long long most_seconds = 86400;

/// What the hypervisor of a template says of itself, in the log of the appliance, begins with it.
inline constexpr std::string_view verdict_prefix = "guestkit: ";
inline constexpr std::string_view restoring = "restoring";
inline constexpr std::string_view normal_boot = "normal boot: ";

}  // namespace detail::warm

/// Why nothing must be restored from a template; empty if it may.
inline std::string template_fault(const std::string& directory) {
  auto fault = detail::manifest_fault(directory, {"command", "hypervisor", "root", "state"});
  if (!fault.empty()) return fault;
  if (::access((directory + "/hypervisor").c_str(), X_OK) != 0)
    return "nothing can be executed in " + directory;
  struct stat s {};
  if (::stat((directory + "/manifest").c_str(), &s) != 0) return directory + "/manifest cannot be read";
  const auto age = std::time(nullptr) - s.st_mtim.tv_sec;
  return age < detail::warm::most_seconds ? "" : "older than a day: guestkit appliance build";
}

/// Why an appliance must not be used; empty if it may. It is as its manifest says, of this user or root, and
/// what it was made from is still what is installed. Costs some 30 stat calls.
inline std::string appliance_fault(const std::string& directory) {
  if (::access((directory + "/hypervisor").c_str(), F_OK) == 0) return template_fault(directory);
  return detail::manifest_fault(directory, {"README.fixed", "initrd", "kernel", "root"});
}

/// A template, which lies in the directory of its lean appliance: what it does not fit boots that one.
inline ApplianceChoice template_in(const std::string& directory) {
  const std::string probes = directory + "/probes";  // what libguestfs has found out about the hypervisor
  return {.mode = ApplianceMode::warm,
          .directory = directory.substr(0, directory.rfind('/')),
          .hypervisor = directory + "/hypervisor",
          .cache = ::access(probes.c_str(), W_OK) == 0 ? probes : ""};
}

/// The newest good template of a lean appliance; that itself, and why, if there is none.
template <class = void>
ApplianceChoice find_template(const std::string& lean) {
  ApplianceChoice choice{
      .mode = ApplianceMode::lean, .directory = lean, .reason = "no template has been built"};
  const auto names = detail::names_in(lean);
  for (auto i = names.size(); i-- > 0;) {
    const auto& name = names[i];
    if (!name.starts_with("warm-")) continue;
    const auto fault = template_fault(lean + '/' + name);
    if (fault.empty()) return template_in(lean + '/' + name);
    choice.reason = name + ": " + fault;
  }
  return choice;
}

/// The best appliance in a cache directory; libguestfs' own, and why, if none is good.
template <class = void>
ApplianceChoice find_appliance(const std::string& cache) {
  ApplianceChoice choice{.reason = "no appliance has been built in " + cache, .buildable = true};
  for (const auto& name : detail::names_in(cache)) {
    if (!name.starts_with("lean-")) continue;
    const std::string directory = cache + '/' + name;
    auto fault = appliance_fault(directory);
    if (fault.empty()) return {.mode = ApplianceMode::lean, .directory = directory};
    choice.reason = name + ": " + fault;
  }
  return choice;
}

}  // namespace guestkit::inline GUESTKIT_FORM
