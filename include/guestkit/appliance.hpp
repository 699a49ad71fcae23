// The fast appliance: finding the one that guestkit.appliance has built, and not trusting a spoilt one.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace guestkit {

/// Which appliance a launch uses.
enum class ApplianceMode {
  system,  ///< libguestfs' own
  lean,    ///< guestkit's, booted
  warm,    ///< guestkit's, restored from a snapshot
  fixed,   ///< the user's: set_path(), LIBGUESTFS_PATH or HandleOptions::appliance
};

/// The mode's name as Python and the log have it.
constexpr const char* to_string(ApplianceMode mode) noexcept {
  constexpr std::array names{"system", "lean", "warm", "fixed"};
  return names.at(static_cast<std::size_t>(mode));
}

/// How a launch went. Since 0.3.
struct LaunchInfo {
  ApplianceMode mode = ApplianceMode::system;
  std::string accelerator = {};  ///< "kvm" or "tcg"; empty where another backend than direct decides
  double seconds = 0;
  std::string reason = {};  ///< why nothing faster was used; empty for the fastest
};

/// What to tell libguestfs for a fast launch. Since 0.3.
struct ApplianceChoice {
  ApplianceMode mode = ApplianceMode::system;
  std::string directory = {};   ///< for set_path; empty: leave it
  std::string hypervisor = {};  ///< for set_hv; empty: leave it
  std::string append = {};      ///< kernel arguments for set_append
  std::string reason = {};      ///< why nothing faster
};

/// Kernel arguments that make an emulated appliance faster; empty where there is nothing to gain. Since 0.3.
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

/// Where appliances are kept: $GUESTKIT_CACHEDIR, or guestkit/appliance in the user's cache; empty if there
/// is no place. Since 0.3.
inline std::string appliance_cache() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (auto own = variable("GUESTKIT_CACHEDIR"); !own.empty()) return own;
  if (const auto base = variable("XDG_CACHE_HOME"); base.starts_with('/'))
    return base + "/guestkit/appliance";
  const auto home = variable("HOME");
  return home.empty() ? "" : home + "/.cache/guestkit/appliance";
}

namespace detail {

inline std::string private_directory_fault(const std::string& path) {
  struct stat s {};
  if (::lstat(path.c_str(), &s) != 0) return path + ": " + std::strerror(errno);
  if (!S_ISDIR(s.st_mode) || s.st_uid != ::geteuid() || (s.st_mode & 077) != 0)
    return path + " is not a directory of this user alone (chmod 700 mends its mode)";
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return path + ": " + std::strerror(errno);
  std::string parent = resolved;
  std::free(resolved);
  while (parent.size() > 1) {
    parent.resize(std::max<std::size_t>(parent.rfind('/'), 1));
    if (::stat(parent.c_str(), &s) != 0) return parent + ": " + std::strerror(errno);
    if ((s.st_uid != 0 && s.st_uid != ::geteuid()) || ((s.st_mode & 022) != 0 && (s.st_mode & S_ISVTX) == 0))
      return parent + " can be written by other users";
  }
  return "";
}

}  // namespace detail

/// Why an appliance must not be used; empty if it may. It is as its manifest says, of this user, and what it
/// was made from is still what is installed. Costs some 30 stat calls. Since 0.3.
inline std::string appliance_fault(const std::string& directory) {
  if (auto fault = detail::private_directory_fault(directory); !fault.empty()) return fault;
  std::ifstream manifest(directory + "/manifest");
  std::string row;
  if (!manifest) return directory + "/manifest cannot be read";
  if (!std::getline(manifest, row) || row != "guestkit-appliance 1")
    return "made by another version of guestkit";
  std::set<std::string> missing{"README.fixed", "initrd", "kernel", "root"};
  while (std::getline(manifest, row)) {
    std::istringstream fields(row);
    std::string kind;
    std::string name;
    long long size = -1;
    long long changed = -1;
    fields >> kind >> size >> changed;
    if (!fields || fields.get() != ' ' || !std::getline(fields, name)) return "its manifest is damaged";
    const bool own = kind == "file";
    const std::string path = own ? directory + '/' + name : name;
    struct stat s {};
    if ((own ? ::lstat(path.c_str(), &s) : ::stat(path.c_str(), &s)) != 0)
      return path + ": " + std::strerror(errno);
    if (s.st_size != size || s.st_mtim.tv_sec * 1000000000LL + s.st_mtim.tv_nsec != changed)
      return path + " has changed since the appliance was built";
    if (!own) continue;
    missing.erase(name);
    if (!S_ISREG(s.st_mode) || s.st_uid != ::geteuid() || (s.st_mode & 022) != 0)
      return path + " is not a file that only this user can write";
  }
  return missing.empty() ? "" : "its manifest lacks " + *missing.begin();
}

/// The best appliance in a cache directory; libguestfs' own, and why, if none is good. Since 0.3.
inline ApplianceChoice find_appliance(const std::string& cache) {
  ApplianceChoice choice{.reason = "no appliance has been built in " + cache};
  std::vector<std::string> names;
  if (DIR* folder = ::opendir(cache.c_str())) {
    while (const dirent* entry = ::readdir(folder)) names.emplace_back(entry->d_name);
    ::closedir(folder);
  }
  std::sort(names.begin(), names.end());
  for (const auto& name : names) {
    if (!name.starts_with("lean-")) continue;
    const std::string directory = cache + '/' + name;
    auto fault = appliance_fault(directory);
    if (fault.empty()) return {.mode = ApplianceMode::lean, .directory = directory};
    choice.reason = name + ": " + fault;
  }
  return choice;
}

}  // namespace guestkit
