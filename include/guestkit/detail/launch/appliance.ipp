#pragma once

#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/launch_error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

#ifdef __x86_64__
struct Moment {
  long long counter;
  long long nanoseconds;
};

/// The counter and the clock at one moment: of some attempts, the one that was interrupted least.
inline Moment this_moment() {
  Moment best{};
  long long shortest = std::numeric_limits<long long>::max();
  for (int attempt = 0; attempt < 8; ++attempt) {
    timespec clock{};
    const auto before = static_cast<long long>(__builtin_ia32_rdtsc());
    ::clock_gettime(CLOCK_MONOTONIC_RAW, &clock);
    const auto took = static_cast<long long>(__builtin_ia32_rdtsc()) - before;
    if (took >= shortest) continue;
    shortest = took;
    best = {before + took / 2, clock.tv_sec * 1'000'000'000LL + clock.tv_nsec};
  }
  return best;
}
#endif

GUESTKIT_INLINE long counter_khz() {
#ifdef __x86_64__
  constexpr timespec pause{0, 2'000'000};
  const auto begin = this_moment();
  Moment end{};
  do {  // a signal ends the pause early
    ::nanosleep(&pause, nullptr);
    end = this_moment();
  } while (end.nanoseconds - begin.nanoseconds < pause.tv_nsec);
  return static_cast<long>((end.counter - begin.counter) * 1'000'000 / (end.nanoseconds - begin.nanoseconds));
#else
  return 0;
#endif
}

/// Only for x86 under TCG, because norandmaps weakens address randomisation for the programs inside the
/// appliance. 297 and 580 are the rep-string instructions (ERMS, FSRM), which are slow when emulated.
/// acpi=off is only for the machine type pc, and hides all processors but one. The emulated counter is the
/// host's. A kernel that boots on a busy host measures it wrongly, and its clock then runs too fast or slow.
GUESTKIT_INLINE std::string tuning_arguments(std::string_view architecture, bool emulated, bool machine_pc,
                                             long counter) {
  if (architecture != "x86_64" || !emulated) return "";
  return std::string(machine_pc ? "acpi=off pci=nomsi " : "") +
         "norandmaps clearcpuid=297,580 init_on_alloc=0" +
         (counter > 0 ? " tsc_early_khz=" + std::to_string(counter) : "");
}

inline std::string environment_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The user's home directory: $HOME, otherwise the one in the user database. Empty if this user cannot enter
/// it, as when $HOME is still root's.
inline std::string home_directory() {
  std::string home = environment_variable("HOME");
  if (home.empty()) {
    std::string text(16384, '\0');
    passwd entry{};
    passwd* found = nullptr;
    if (::getpwuid_r(::geteuid(), &entry, text.data(), text.size(), &found) == 0 && found != nullptr)
      home = entry.pw_dir;
  }
  std::error_code error;
  const bool is_there = home.starts_with('/') && std::filesystem::is_directory(home, error) &&
                        ::faccessat(AT_FDCWD, home.c_str(), X_OK, AT_EACCESS) == 0;
  return is_there ? home : "";
}

/// $GUESTKIT_CACHEDIR, as an absolute path; empty if it is not set.
inline std::string given_cache_directory() {
  std::string given = environment_variable("GUESTKIT_CACHEDIR");
  if (given.empty()) return given;
  std::error_code error;
  const auto absolute = std::filesystem::absolute(given, error);
  return error ? given : absolute.native();
}

GUESTKIT_INLINE std::string cache_directory() {
  if (auto given = given_cache_directory(); !given.empty()) return given;
  if (const auto base = environment_variable("XDG_CACHE_HOME"); base.starts_with('/'))
    return base + "/guestkit/appliance";
  const auto home = home_directory();
  return home.empty() ? "" : home + "/.cache/guestkit/appliance";
}

GUESTKIT_INLINE std::vector<std::string> appliance_caches() {
  std::vector<std::string> places;
  if (auto own = cache_directory(); !own.empty()) places.push_back(std::move(own));
  if (given_cache_directory().empty()) places.emplace_back(system_appliance_cache);
  return places;
}

GUESTKIT_INLINE ApplianceChoice template_in(const std::string& directory) {
  const std::string probes = directory + "/probes";  // what libguestfs has found out about the hypervisor
  return {.mode = ApplianceMode::warm,
          .directory = directory.substr(0, directory.rfind('/')),
          .hypervisor = directory + "/hypervisor",
          .cache = ::access(probes.c_str(), W_OK) == 0 ? probes : ""};
}

GUESTKIT_INLINE ApplianceChoice find_template(const std::string& lean) {
  ApplianceChoice choice{
      .mode = ApplianceMode::lean, .directory = lean, .reason = "no template has been built"};
  for (const auto& name : host_names_in(lean)) {  // the newest last
    if (!name.starts_with("warm-")) continue;
    const auto directory = lean + '/' + name, fault = template_fault(directory);
    if (fault.empty())
      choice = template_in(directory);
    else if (choice.mode == ApplianceMode::lean)
      choice.reason = name + ": " + fault + ": guestkit appliance build";
  }
  if (choice.mode == ApplianceMode::warm) return choice;
  if (const auto failure = read_text(lean + '/' + std::string(template_failure)); !failure.empty())
    choice.reason = "the warm appliance could not be built: " + failure;
  return choice;
}

GUESTKIT_INLINE ApplianceChoice find_appliance(const std::string& cache) {
  ApplianceChoice choice{.reason = "no appliance has been built in " + cache, .buildable = true};
  for (const auto& name : host_names_in(cache)) {
    if (!name.starts_with("lean-")) continue;
    const std::string directory = cache + '/' + name;
    const auto fault = appliance_fault(directory);
    if (fault.empty()) return {.mode = ApplianceMode::lean, .directory = directory};
    choice.reason = name + ": " + fault;
  }
  return choice;
}

/// The directory as an absolute path without links, since a template's lean appliance is the directory above
/// it; as it was given if there is none.
inline std::string whole_path(const std::string& directory) {
  std::error_code error;
  auto path = std::filesystem::canonical(directory, error);
  return error ? directory : path.native();
}

/// An appliance that guestkit has built.
inline ApplianceChoice built_appliance(const std::string& directory) {
  const bool warm = ::access((directory + "/hypervisor").c_str(), F_OK) == 0;
  return warm ? template_in(directory) : ApplianceChoice{.mode = ApplianceMode::lean, .directory = directory};
}

GUESTKIT_INLINE ApplianceChoice given_appliance(const std::string& given) {
  const auto directory = whole_path(given);
  const auto refuse = [](const std::string& why, const char* hint) {
    throw LaunchError("launch", why, 0, {Cause::appliance_damaged, hint});
  };
  ApplianceChoice choice{.mode = ApplianceMode::fixed, .directory = directory};
  if (::access((directory + "/manifest").c_str(), F_OK) == 0) {
    if (const auto fault = appliance_fault(directory); !fault.empty())
      refuse("the appliance " + directory + " cannot be used: " + fault,
             "build a new one: guestkit appliance build");
    choice = built_appliance(directory);
  } else if (::access((directory + "/README.fixed").c_str(), F_OK) != 0) {
    refuse(directory + " is no fixed appliance: it has no README.fixed",
           "make one with libguestfs-make-fixed-appliance, or leave the choice to guestkit (appliance=auto)");
  } else if (const auto fault = damaged_appliance(directory); !fault.empty()) {
    refuse("the fixed appliance is damaged: " + fault, "make it again with libguestfs-make-fixed-appliance");
  }
  choice.reason = asked_for;
  return choice;
}

GUESTKIT_INLINE std::string cage_program(const std::string& appliance) {
  std::string lean;
  if (appliance == "auto" || appliance == "inspection") {
    for (const auto& cache : appliance_caches())
      if (lean.empty()) lean = find_appliance(cache).directory;
  } else if (const auto directory = whole_path(appliance);
             appliance != "system" && appliance_fault(directory).empty()) {
    lean = built_appliance(directory).directory;
  }
  const std::string program = lean + "/cage";
  return !lean.empty() && ::access(program.c_str(), X_OK) == 0 ? program : "";
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
