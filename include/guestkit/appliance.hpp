// The fast appliance: finding the one that guestkit.appliance has built, and not trusting a spoilt one.
#pragma once

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
#include <vector>

#include "generated/launch_info.hpp"
#include "posix.hpp"

namespace guestkit {

/// What to tell libguestfs for a fast launch. Since 0.3.
struct ApplianceChoice {
  ApplianceMode mode = ApplianceMode::system;
  std::string directory = {};   ///< for set_path; empty: leave it
  std::string hypervisor = {};  ///< for set_hv; empty: leave it
  std::string cache = {};       ///< for set_cachedir; empty: leave it
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
    const auto slash = parent.rfind('/');
    parent.resize(slash == 0 ? 1 : slash);
    if (::stat(parent.c_str(), &s) != 0) return parent + ": " + std::strerror(errno);
    if ((s.st_uid != 0 && s.st_uid != ::geteuid()) || ((s.st_mode & 022) != 0 && (s.st_mode & S_ISVTX) == 0))
      return parent + " can be written by other users";
  }
  return "";
}

/// Whether a directory of this user alone holds what its manifest says, made from what is still installed.
/// @param needed  the files that it must have
inline std::string manifest_fault(const std::string& directory,
                                  std::initializer_list<std::string_view> needed) {
  if (auto fault = private_directory_fault(directory); !fault.empty()) return fault;
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
    if (!S_ISREG(s.st_mode) || s.st_uid != ::geteuid() || (s.st_mode & 022) != 0)
      return path + " is not a file that only this user can write";
  }
  for (const auto each : needed) {
    if ((missing & 1U) != 0) return "its manifest lacks " + std::string(each);
    missing >>= 1U;
  }
  return "";
}

}  // namespace detail

namespace warm {

/// How long a template is used: all that are restored from it have the same addresses of the kernel.
inline constexpr long long most_seconds = 86400;

/// What the hypervisor of a template says of itself, in the log of the appliance, begins with it.
inline constexpr std::string_view verdict_prefix = "guestkit: ";
inline constexpr std::string_view restoring = "restoring";
inline constexpr std::string_view normal_boot = "normal boot: ";

}  // namespace warm

/// Why nothing must be restored from a template; empty if it may. Since 0.3.
inline std::string template_fault(const std::string& directory) {
  auto fault = detail::manifest_fault(directory, {"command", "hypervisor", "root", "state"});
  if (!fault.empty()) return fault;
  if (::access((directory + "/hypervisor").c_str(), X_OK) != 0)
    return "nothing can be executed in " + directory;
  struct stat s {};
  if (::stat((directory + "/manifest").c_str(), &s) != 0) return directory + "/manifest cannot be read";
  const auto age = std::time(nullptr) - s.st_mtim.tv_sec;
  return age < warm::most_seconds ? "" : "older than a day: guestkit appliance build";
}

/// Why an appliance must not be used; empty if it may. It is as its manifest says, of this user, and what it
/// was made from is still what is installed. Costs some 30 stat calls. Since 0.3.
inline std::string appliance_fault(const std::string& directory) {
  if (::access((directory + "/hypervisor").c_str(), F_OK) == 0) return template_fault(directory);
  return detail::manifest_fault(directory, {"README.fixed", "initrd", "kernel", "root"});
}

/// A template, which lies in the directory of its lean appliance: what it does not fit boots that one.
inline ApplianceChoice template_in(const std::string& directory) {
  return {.mode = ApplianceMode::warm,
          .directory = directory.substr(0, directory.rfind('/')),
          .hypervisor = directory + "/hypervisor",
          .cache = directory + "/probes"};
}

/// The newest good template of a lean appliance; that itself, and why, if there is none. Since 0.3.
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

/// The best appliance in a cache directory; libguestfs' own, and why, if none is good. Since 0.3.
template <class = void>
ApplianceChoice find_appliance(const std::string& cache) {
  ApplianceChoice choice{.reason = "no appliance has been built in " + cache};
  for (const auto& name : detail::names_in(cache)) {
    if (!name.starts_with("lean-")) continue;
    const std::string directory = cache + '/' + name;
    auto fault = appliance_fault(directory);
    if (fault.empty()) return {.mode = ApplianceMode::lean, .directory = directory};
    choice.reason = name + ": " + fault;
  }
  return choice;
}

}  // namespace guestkit
