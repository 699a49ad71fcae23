// appliance.hpp and appliance_fault.hpp: which appliance a launch uses, and which ones it must refuse.
#define BOOST_TEST_MODULE appliance
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <guestkit/detail/launch/appliance.hpp>
#include <guestkit/detail/launch/kept_verdicts.hpp>
#include <guestkit/detail/launch/private_directory.hpp>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

using namespace guestkit::detail;
using guestkit::ApplianceMode;

namespace {

namespace fs = std::filesystem;

/// A cache with one appliance, whose files are a few bytes each.
struct Cache : private support::temporary_folder {
  const fs::path& cache = path;
  fs::path folder, input;

  Cache() {
    folder = cache / "lean-0123";
    input = cache / "qemu";
    fs::create_directory(folder);
    ::chmod(folder.c_str(), 0700);
    std::ofstream(input) << "program";
    std::string rows = row("input", input, input.string());
    for (const char* file : {"kernel", "initrd", "root", "README.fixed"}) {
      std::ofstream(folder / file) << "content";
      ::chmod((folder / file).c_str(), 0600);
      rows += row("file", folder / file, file);
    }
    manifest("guestkit-appliance 2\n" + rows);
  }

  static std::string row(const std::string& kind, const fs::path& file, const std::string& name) {
    struct stat s {};
    ::stat(file.c_str(), &s);
    return kind + ' ' + std::to_string(s.st_size) + ' ' + std::to_string(s.st_mtim.tv_sec) + ' ' + name +
           '\n';
  }
  void manifest(const std::string& text) const {
    std::ofstream(folder / "manifest") << text;
    ::chmod((folder / "manifest").c_str(), 0600);
  }

  ApplianceChoice found() const { return find_appliance(cache.string()); }
  bool refused(const std::string& why) const {
    const auto choice = found();
    BOOST_TEST_MESSAGE(choice.reason);
    return choice.mode == ApplianceMode::system && choice.directory.empty() &&
           choice.reason.find(why) != std::string::npos;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_good_appliance_is_found, Cache) {
  const auto choice = found();
  BOOST_TEST(choice.reason == "");
  BOOST_TEST(choice.directory == folder.string());
  BOOST_TEST((choice.mode == ApplianceMode::lean));
}

BOOST_FIXTURE_TEST_CASE(an_empty_or_missing_cache_is_libguestfs_own_appliance, Cache) {
  fs::remove_all(folder);
  BOOST_TEST(refused("no appliance has been built"));
  fs::remove_all(cache);
  BOOST_TEST(refused("no appliance has been built"));
}

BOOST_FIXTURE_TEST_CASE(a_truncated_file_is_refused, Cache) {
  fs::resize_file(folder / "root", 3);
  BOOST_TEST(refused("root has changed"));
}

BOOST_FIXTURE_TEST_CASE(another_qemu_makes_it_stale, Cache) {
  std::ofstream(input) << "another program";
  BOOST_TEST(refused("qemu has changed"));
}

BOOST_FIXTURE_TEST_CASE(what_others_can_write_is_refused, Cache) {
  ::chmod((folder / "kernel").c_str(), 0666);
  BOOST_TEST(refused("only this user can write"));
  ::chmod((folder / "kernel").c_str(), 0600);
  ::chmod(folder.c_str(), 0777);
  BOOST_TEST(refused("of this user alone"));
  ::chmod(folder.c_str(), 0700);
  ::chmod(cache.c_str(), 0777);
  BOOST_TEST(refused(cache.string() + " can be written by other users (chmod go-w repairs its mode)"));
}

// Regression: the first launch made the user's cache for all in the group, and the build then refused it.
BOOST_FIXTURE_TEST_CASE(a_launch_made_the_users_cache_as_the_umask_would_have_it, support::temporary_folder) {
  const auto cache = path / ".cache", place = cache / "guestkit" / "appliance";
  const mode_t before = ::umask(002);
  kept_verdicts(place).keep("kvm-works", "key", "yes");
  ::umask(before);
  BOOST_TEST(kept_verdicts(place).find("kvm-works", "key") == "yes");
  for (const auto& directory : {cache, cache / "guestkit", place})
    BOOST_TEST((fs::status(directory).permissions() == fs::perms::owner_all), directory);
  BOOST_TEST(make_private_directory(place, 0700) == "");
}

// Regression: after `sudo -E`, a user could no longer make what is to be in ~/.cache.
BOOST_FIXTURE_TEST_CASE(a_launch_by_root_left_directories_in_the_users_home, support::temporary_folder,
                        WHERE_ROOT) {
  BOOST_REQUIRE(::chown(path.c_str(), 12345, 12345) == 0);
  const auto place = path / ".cache" / "guestkit" / "appliance";
  kept_verdicts(place).keep("kvm-works", "key", "yes");
  BOOST_TEST(fs::is_empty(path));
  for (const auto make : {make_directory, make_private_directory})
    BOOST_TEST(make(place, 0700) == path.string() + " belongs to another user");
  BOOST_TEST(fs::is_empty(path));
}

BOOST_FIXTURE_TEST_CASE(what_was_made_for_a_directory_that_others_can_replace_is_removed,
                        support::temporary_folder) {
  ::chmod(path.c_str(), 0770);
  BOOST_TEST(make_private_directory(path / "a" / "b", 0700).starts_with(path.string() + " can be written"));
  BOOST_TEST(fs::is_empty(path));
  std::ofstream(path / "file") << "content";
  BOOST_TEST(make_directory(path / "file" / "b", 0700) ==
             (path / "file" / "b").string() + " cannot be made: File exists");
}

namespace {

/// What another user sees, from a child that becomes that user. Only root can do that.
std::string as_another_user(const std::function<std::string()>& look) {
  return support::in_child([&] { return ::setuid(12345) == 0 ? look() : "setuid failed"; });
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(what_root_lets_others_read_is_used_by_them_unless_they_can_write_it, Cache,
                        WHERE_ROOT) {
  ::chmod(cache.c_str(), 0755);
  for (const char* file : {"kernel", "initrd", "root", "README.fixed", "manifest"})
    ::chmod((folder / file).c_str(), 0644);
  const auto look = [&] { return found().directory + found().reason; };
  BOOST_TEST(as_another_user(look) != folder.string());  // 0700
  ::chmod(folder.c_str(), 0755);
  BOOST_TEST(as_another_user(look) == folder.string());
  BOOST_TEST(look() == folder.string());  // root uses it, too
  ::chmod((folder / "kernel").c_str(), 0664);
  BOOST_TEST(as_another_user(look).ends_with("kernel is not a file that only root can write"));
  ::chmod((folder / "kernel").c_str(), 0644);
  ::chmod(folder.c_str(), 0775);
  BOOST_TEST(as_another_user(look).ends_with("is not a directory of root that only root can write"));
  ::chmod(folder.c_str(), 0755);
  BOOST_REQUIRE(::chown(folder.c_str(), 54321, 54321) == 0);
  BOOST_TEST(as_another_user(look).find("is not a directory of this user alone") != std::string::npos);
}

namespace {

/// Sets the environment variables that say where appliances are kept; restores them at the end.
struct Environment {
  std::map<std::string, std::optional<std::string>> before;

  Environment() {
    for (const char* name : {"GUESTKIT_CACHEDIR", "XDG_CACHE_HOME", "HOME"}) {
      const char* value = std::getenv(name);
      before.emplace(name, value == nullptr ? std::nullopt : std::optional<std::string>(value));
      ::unsetenv(name);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (const auto& [name, value] : before)
      value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
  }
  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
};

using Places = std::vector<std::string>;
const std::string everybodys = "/var/cache/guestkit/appliance";

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_given_cache_is_the_only_place, Environment) {
  set("HOME", "/");
  set("XDG_CACHE_HOME", "/xdg");
  set("GUESTKIT_CACHEDIR", "/given");
  BOOST_TEST(appliance_caches() == Places{"/given"}, boost::test_tools::per_element());
  set("GUESTKIT_CACHEDIR", "given");
  BOOST_TEST(cache_directory() == fs::current_path().string() + "/given");
}

BOOST_FIXTURE_TEST_CASE(the_user_s_place_comes_before_that_of_the_system, Environment) {
  const support::temporary_folder home;
  set("GUESTKIT_CACHEDIR", "");
  set("XDG_CACHE_HOME", "relative, and so not valid");
  set("HOME", home.path);
  const Places below_home{home.path.string() + "/.cache/guestkit/appliance", everybodys};
  BOOST_TEST(appliance_caches() == below_home, boost::test_tools::per_element());
  set("XDG_CACHE_HOME", "/xdg");
  const Places below_xdg{"/xdg/guestkit/appliance", everybodys};
  BOOST_TEST(appliance_caches() == below_xdg, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(without_home_the_user_database_says_where_it_is, Environment) {
  const passwd* user = ::getpwuid(::geteuid());
  BOOST_REQUIRE(user != nullptr);
  const std::string place = std::string(user->pw_dir) + "/.cache/guestkit/appliance";
  BOOST_TEST(cache_directory() == place);
  set("HOME", "");
  BOOST_TEST(cache_directory() == place);
}

// HOME may still be root's: after su -p, or in containers that run as another user.
BOOST_FIXTURE_TEST_CASE(a_home_that_the_user_cannot_enter_is_as_none, Environment, WHERE_ROOT) {
  const support::temporary_folder home;  // 0700
  set("HOME", home.path);
  BOOST_TEST(!cache_directory().empty());
  BOOST_TEST(as_another_user([] { return cache_directory().empty() ? "none" : "some"; }) == "none");
}

BOOST_FIXTURE_TEST_CASE(a_user_whose_home_is_not_there_has_only_the_system_s_place, Environment) {
  for (const char* home : {"/nonexistent", "/dev/null", "relative"}) {
    set("HOME", home);
    BOOST_TEST(cache_directory() == "");
    BOOST_TEST(appliance_caches() == Places{everybodys}, boost::test_tools::per_element());
  }
}

BOOST_FIXTURE_TEST_CASE(a_link_in_place_of_a_file_is_refused, Cache) {
  fs::rename(folder / "root", cache / "root");
  fs::create_symlink(cache / "root", folder / "root");
  BOOST_TEST(refused("root"));
}

// Regression: an appliance in a container's image was never used, since layers keep times in seconds.
BOOST_FIXTURE_TEST_CASE(times_may_have_lost_their_fractions, Cache) {
  for (const auto& file : {folder / "kernel", input}) {
    const auto time = fs::last_write_time(file);
    fs::last_write_time(file, std::chrono::floor<std::chrono::seconds>(time));
    BOOST_TEST((found().mode == ApplianceMode::lean));
    fs::last_write_time(file, time - std::chrono::seconds(1));
    BOOST_TEST(refused("has changed since the appliance was built"));
    fs::last_write_time(file, time);
  }
}

BOOST_FIXTURE_TEST_CASE(every_launch_hung_on_a_manifest_that_is_a_fifo, Cache) {
  const auto file = folder / "manifest";
  fs::remove(file);
  BOOST_REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
  BOOST_TEST(refused("manifest is not a file that only this user can write"));
}

BOOST_FIXTURE_TEST_CASE(a_manifest_that_another_user_can_write_or_put_there_was_believed, Cache) {
  const auto file = folder / "manifest";
  ::chmod(file.c_str(), 0666);
  BOOST_TEST(refused("manifest is not a file that only this user can write"));
  ::chmod(file.c_str(), 0600);
  fs::rename(file, cache / "manifest");
  fs::create_symlink(cache / "manifest", file);
  BOOST_TEST(refused("manifest is not a file that only this user can write"));
}

BOOST_FIXTURE_TEST_CASE(a_damaged_manifest_is_refused, Cache) {
  manifest("guestkit-appliance 2\nfile x\n");
  BOOST_TEST(refused("manifest is damaged"));
  manifest("guestkit-appliance 2\n");
  BOOST_TEST(refused("manifest lacks"));
  for (const char* other : {"0", "3", "20"}) {
    manifest("guestkit-appliance " + std::string(other) + "\n");
    BOOST_TEST(refused("another version"));
  }
}

BOOST_AUTO_TEST_CASE(kernel_arguments_are_for_emulation_and_acpi_off_for_the_machine_pc) {
  BOOST_TEST(tuning_arguments("x86_64", false, true, 2596128) == "");
  BOOST_TEST(tuning_arguments("x86_64", true, true, 2596128) ==
             "acpi=off pci=nomsi norandmaps clearcpuid=297,580 init_on_alloc=0 tsc_early_khz=2596128");
  BOOST_TEST(tuning_arguments("x86_64", true, false, 0) == "norandmaps clearcpuid=297,580 init_on_alloc=0");
}

#ifdef __x86_64__
BOOST_AUTO_TEST_CASE(a_guest_that_measured_the_counter_on_a_busy_host_had_a_wrong_clock) {
  std::atomic<bool> done = false;
  std::vector<std::thread> busy;
  for (unsigned n = 0; n < 2 * std::thread::hardware_concurrency(); ++n)
    busy.emplace_back([&] {
      while (!done) {
      }
    });
  const auto begin = std::chrono::steady_clock::now();
  const auto counted = __builtin_ia32_rdtsc();
  std::vector<long> found;
  for (int n = 0; n < 20; ++n) found.push_back(counter_khz());
  const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - begin;
  const double right = static_cast<double>(__builtin_ia32_rdtsc() - counted) / passed.count();
  done = true;
  for (auto& each : busy) each.join();
  for (const long each : found) BOOST_TEST(std::abs(static_cast<double>(each) / right - 1) < 0.005);
}
#endif

BOOST_AUTO_TEST_CASE(arguments_for_x86_are_given_to_no_other_kernel) {
  for (const char* other : {"aarch64", "ppc64le", "s390x", "riscv64", ""})
    BOOST_TEST(tuning_arguments(other, true, true, 1000000) == "");
}

namespace {

/// A lean appliance with one template, whose files are a few bytes each.
struct Template : Cache {
  fs::path place;

  Template() {
    place = folder / "warm-1";
    fs::create_directory(place);
    ::chmod(place.c_str(), 0700);
    std::string rows;
    for (const char* file : {"command", "hypervisor", "mem", "root", "state"}) {
      std::ofstream(place / file) << "content";
      ::chmod((place / file).c_str(), 0700);
      rows += row("file", place / file, file);
    }
    std::ofstream(place / "manifest") << "guestkit-appliance 2\n" + rows;
  }

  bool refused(const std::string& why) const {
    const auto choice = find_template(folder.string());
    BOOST_TEST_MESSAGE(choice.reason);
    return choice.mode == ApplianceMode::lean && choice.directory == folder.string() &&
           choice.hypervisor.empty() && choice.reason.find(why) != std::string::npos;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_good_template_is_found, Template) {
  const auto choice = find_template(folder.string());
  BOOST_TEST(choice.reason == "");
  BOOST_TEST((choice.mode == ApplianceMode::warm));
  BOOST_TEST(choice.directory == folder.string());
  BOOST_TEST(choice.hypervisor == (place / "hypervisor").string());
}

BOOST_FIXTURE_TEST_CASE(a_template_that_is_not_good_leaves_the_lean_appliance, Template) {
  const auto day = std::chrono::hours(25);
  fs::last_write_time(place / "manifest", fs::file_time_type::clock::now() - day);
  BOOST_TEST(refused("older than a day"));
  fs::last_write_time(place / "manifest", fs::file_time_type::clock::now() + day);
  BOOST_TEST(refused("made later than now: the clock was set back"));
  ::chmod((place / "hypervisor").c_str(), 0600);
  BOOST_TEST(refused("nothing can be executed"));
  fs::resize_file(place / "mem", 3);
  BOOST_TEST(refused("mem has changed"));
  fs::remove_all(place);
  BOOST_TEST(refused("no template has been built"));
}

BOOST_FIXTURE_TEST_CASE(a_template_named_with_a_slash_or_from_where_it_lies_was_its_own_lean_appliance,
                        Template) {
  std::ofstream(folder / "cage") << "program";
  ::chmod((folder / "cage").c_str(), 0700);
  fs::create_symlink(place, cache / "link");
  const auto before = fs::current_path();
  fs::current_path(folder);
  for (const auto& name : {place.string(), place.string() + "/", place.string() + "//", std::string("warm-1"),
                           std::string("./warm-1/"), (cache / "link").string()}) {
    const auto choice = given_appliance(name);
    BOOST_TEST(choice.directory == folder.string(), name);
    BOOST_TEST(choice.hypervisor == (place / "hypervisor").string(), name);
    BOOST_TEST(cage_program(name) == (folder / "cage").string(), name);
  }
  fs::current_path(before);
}

BOOST_FIXTURE_TEST_CASE(an_appliance_of_guestkits_that_was_a_day_old_was_to_be_made_by_libguestfs, Template) {
  fs::last_write_time(place / "manifest", fs::file_time_type::clock::now() - std::chrono::hours(25));
  const auto refusal = [](const fs::path& directory) {
    try {
      given_appliance(directory.string());
    } catch (const guestkit::LaunchError& e) {
      BOOST_TEST(to_string(e.cause()) == std::string("appliance_damaged"));
      return std::string(e.what());
    }
    return std::string("none");
  };
  BOOST_TEST(refusal(place) == "launch: the appliance " + place.string() +
                                   " cannot be used: older than a day; build a new one: guestkit appliance "
                                   "build");
  BOOST_TEST(refusal(folder) == "none");
  BOOST_TEST(refusal(cache).starts_with("launch: " + cache.string() + " is no fixed appliance"));
}

BOOST_FIXTURE_TEST_CASE(why_no_template_could_be_built_stood_in_a_log_that_nobody_reads, Template) {
  std::ofstream(folder / template_failure) << "QEMU has no such option";
  BOOST_TEST(find_template(folder.string()).reason == "");  // there is one meanwhile
  fs::remove_all(place);
  BOOST_TEST(refused("the warm appliance could not be built: QEMU has no such option"));
}

namespace {

/// A directory that looks like a fixed appliance.
struct FixedAppliance : private support::temporary_folder {
  const std::filesystem::path& folder = path;

  FixedAppliance() { support::write_appliance(folder); }

  void write(const char* file, const char* content) const { std::ofstream(folder / file) << content; }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_whole_fixed_appliance_is_not_complained_about, FixedAppliance) {
  BOOST_TEST(damaged_appliance(folder.string()) == "");
  BOOST_TEST(damaged_appliance("/nonexistent:" + folder.string()) == "");
}

BOOST_FIXTURE_TEST_CASE(an_empty_or_missing_file_of_a_fixed_appliance_is_named, FixedAppliance) {
  write("root", "");
  const std::string root = (folder / "root").string();
  BOOST_TEST(damaged_appliance(folder.string()) == root + " is empty");
  BOOST_TEST(damaged_appliance("/nonexistent:" + folder.string() + ":/x") == root + " is empty");
  write("root", "something else");
  BOOST_TEST(damaged_appliance(folder.string()) == root + " is not an ext2, ext3 or ext4 file system");
  std::filesystem::remove(root);
  BOOST_TEST(damaged_appliance(folder.string()) == root + ": No such file or directory");
}

BOOST_FIXTURE_TEST_CASE(an_appliance_that_libguestfs_builds_comes_first, FixedAppliance) {
  write("root", "");
  std::filesystem::create_directory(folder / "supermin.d");
  BOOST_TEST(damaged_appliance(folder.string()) == "");
}
