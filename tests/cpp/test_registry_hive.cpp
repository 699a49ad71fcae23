// Windows' registry from hives in memory, and what is concluded from it. tests/images has whole guests.
#define BOOST_TEST_MODULE registry_hive
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <functional>
#include <guestkit/detail/files/partial_file.hpp>
#include <guestkit/detail/inspect/fast.hpp>
#include <guestkit/detail/inspect/inspection.hpp>
#include <guestkit/detail/inspect/layout.hpp>
#include <guestkit/detail/inspect/mount_plan.hpp>
#include <guestkit/detail/inspect/registry_hive.hpp>
#include <guestkit/detail/inspect/rules.hpp>
#include <guestkit/detail/inspect/windows_rules.hpp>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "doubts.hpp"
#include "hive_maker.hpp"
#include "pretended_files.hpp"
#include "support.hpp"

using namespace guestkit;
using namespace guestkit::detail;
using namespace support;

namespace {

constexpr libguestfs_version older{1, 48, 6}, newer{1, 54, 1}, newest{1, 60, 1};

/// A hive in memory, and how often something was fetched from it.
struct opened_hive {
  explicit opened_hive(std::string content) : bytes(std::move(content)) {}

  std::string bytes;
  int fetches = 0;
  partial_file file{bytes.size(), most_of_hive,
                    [this](std::uint64_t at, std::size_t count) {
                      ++fetches;
                      return bytes.substr(static_cast<std::size_t>(at), count);
                    },
                    part_of_hive};
  registry_hive hive{file};
};

std::string software(const std::vector<std::pair<std::string, std::string>>& version,
                     const std::map<std::string, std::string>& programs = {}) {
  hive_maker m;
  std::vector<std::uint32_t> values, keys;
  for (const auto& [name, content] : version) values.push_back(m.text(name, content));
  for (const auto& [name, shown] : programs) keys.push_back(m.key(name, {m.text("DISPLAYNAME", shown)}));
  const auto uninstall = m.parent("Uninstall", keys);
  const auto windows = m.parent("Windows", {m.parent("CurrentVersion", {uninstall})});
  const auto nt = m.parent("Windows NT", {m.key("CurrentVersion", values)});
  return m.hive(m.parent("ROOT", {m.parent("Microsoft", {windows, nt})}));
}

const std::vector<std::pair<std::string, std::string>> windows_7{{"ProductName", "Windows 7"},
                                                                 {"CurrentVersion", "6.1"},
                                                                 {"InstallationType", "Client"},
                                                                 {"CurrentBuildNumber", "7601"}};

std::string settings(const std::string& drive_data) {
  hive_maker m;
  const auto drives =
      m.key("MountedDevices",
            {m.value("\\DosDevices\\C:", 3, drive_data), m.value("\\DosDevices\\D", 3, drive_data),
             m.value("\\DosDevices\\1:", 3, drive_data), m.value("\\DosDevices\\F:", 1, drive_data),
             m.value("\\dosdevices\\g:rest", 3, std::string(12, 'x'))});
  const auto select = m.key("Select", {m.value("current", 4, little_endian(1, 4))});
  const auto parameters = m.key("Parameters", {m.text("hostname", "WRONG"), m.text("Hostname", "PC")});
  const auto set = m.parent("ControlSet001", {m.parent("Services", {m.parent("Tcpip", {parameters})})});
  return m.hive(m.parent("ROOT", {set, drives, select}));
}

std::string windows_program(std::uint16_t magic) {
  auto bytes = std::string("MZ") + std::string(22, '\0') + little_endian(64, 2);
  bytes.resize(60);
  bytes += little_endian(64, 4) + std::string("PE\0\0", 4) + std::string(20, '\0') + little_endian(magic, 2);
  return bytes + std::string(500, '\0');
}

/// A Windows on the second partition of a disk with an MBR.
struct pretended_windows : pretended_files {
  pretended_windows() {
    add({{"/Windows/System32/config/SOFTWARE", "-" + software(windows_7)},
         {"/Windows/System32/config/SYSTEM", "-" + settings("SIGN" + little_endian(2048 * 512, 8))},
         {"/Windows/System32/cmd.exe", "-" + windows_program(0x20B)}});
  }
  std::string scheme = "dos", first_sector = "63";
  string_list list_devices() override { return {"/dev/sda"}; }
  string_list list_partitions() override { return {"/dev/sda1", "/dev/sda2"}; }
  hashtable blkid(const std::string& device) override {
    const bool is_first = device == "/dev/sda1";
    return {{"PART_ENTRY_SCHEME", scheme},
            {"PART_ENTRY_OFFSET", is_first ? first_sector : "2048"},
            {"PART_ENTRY_UUID", is_first ? "04030201-0605-0807-090a-0b0c0d0e0f10" : "other"}};
  }
  buffer pread_device(const std::string&, int, std::int64_t) override {
    files["/signature"] = "-SIGN";
    return pread("/signature", 4, 0);
  }
};

/// The same with a filesystem on the first partition, too: what is mounted is what `files` has.
struct pretended_disk : pretended_windows {
  using tree = std::map<std::string, std::string>;

  explicit pretended_disk(std::initializer_list<std::pair<const std::string, std::string>> first) {
    trees["/dev/sda2"] = files;
    files = {{"/", "d"}};
    add(first);
    trees["/dev/sda1"] = std::exchange(files, tree());
  }
  std::map<std::string, tree> trees = {};
  Version version() override { return {.major = 1, .minor = 54, .release = 1, .extra = ""}; }
  string_list list_md_devices() override { return {}; }
  string_list list_dm_devices() override { return {}; }
  hashtable blkid(const std::string& device) override {
    auto facts = pretended_windows::blkid(device);
    facts["TYPE"] = "ntfs";
    return facts;
  }
  void umount_all() override {}
  void mount_ro(const std::string& device, const std::string&) override { files = trees.at(device); }
  StatVFS statvfs(const std::string&) override { return {}; }

  /// What guestkit's own rules find.
  std::string roots() {
    layout devices(*this);
    fast_inspection fast(*this, devices);
    std::string found;
    const auto why = doubt_in([&] {
      for (const auto& root : fast.find_roots()) {
        const auto system = fast.read(root);
        found += root + ": " + system->product_name + " " + system->windows->systemroot;
      }
    });
    return why.empty() ? found : why;
  }
};

InspectedSystem read_from(pretended_windows& g, const libguestfs_version& version = newer) {
  layout devices(g);
  const auto place = find_windows(g, {"windows"});
  BOOST_REQUIRE(place);
  return read_windows(g, devices, "/dev/sda2", *place, version);
}

}  // namespace

BOOST_AUTO_TEST_CASE(keys_are_found_by_their_names_in_any_case_and_in_every_kind_of_list) {
  for (const std::string form : {"lf", "lh", "li"}) {
    hive_maker m;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> listed;
    for (const auto* name : {"Alpha", "ALSO", "be", "Beta"}) listed.emplace_back(m.key(name), 0x1234U);
    listed[3].second = form == "lf" ? 0x41544542U : 66U * 50653U + 69U * 1369U + 84U * 37U + 65U;
    const auto one = m.list(form, {listed[0], listed[1]}), other = m.list(form, {listed[2], listed[3]});
    const auto below = m.key("below", {}, 4, m.list("ri", {{one, 0}, {other, 0}}));
    opened_hive opened(m.hive(m.parent("ROOT", {below})));
    auto& hive = opened.hive;
    BOOST_TEST(hive.root().name == "ROOT");
    BOOST_TEST(hive.find({"BELOW", "beta"}).value().name == "Beta");
    BOOST_TEST(hive.find({"below", "alpha"}).value().name == "Alpha");  // its hint is wrong
    BOOST_TEST(hive.find({"below", "BE"}).value().name == "be");
    BOOST_TEST(!hive.find({"below", "bet"}));
    BOOST_TEST(!hive.find({"nothing", "below"}));
    std::string names;
    hive.each_child(*hive.find({"below"}), [&](const registry_key& key) { names += key.name + ' '; });
    BOOST_TEST(names == "Alpha ALSO be Beta ");
  }
}

BOOST_AUTO_TEST_CASE(texts_end_where_hivex_ends_them) {
  hive_maker m;
  const std::vector<std::pair<std::string, std::string>> texts{
      {wide("whole"), "whole"},
      {std::string("a\0b\0", 4),
       "a"
       "b"},
      {std::string("a\0b\0c", 5), "ab"},
      {std::string("a\0\0\0\0\xd8", 6), "a"},
      {"", ""},
      {std::string("\xe9\0\x3a\x26\x3d\xd8\xe6\xdc", 8), "\u00e9\u263a\U0001f4e6"}};
  std::vector<std::uint32_t> values;
  for (const auto& [data, content] : texts) values.push_back(m.value("v", 1, data));
  const std::vector<std::pair<std::uint32_t, std::string>> bad{{1, std::string("a\0\0\xd8", 4)},
                                                               {1, std::string("\0\xdc", 2)},
                                                               {2, std::string("\0\xd8z\0", 4)},
                                                               {3, wide("x")},
                                                               {4, wide("x")},
                                                               {7, wide("x")}};
  for (const auto& [type, data] : bad) values.push_back(m.value("v", type, data));
  opened_hive opened(m.hive(m.key("ROOT", values)));
  const auto found = opened.hive.values(opened.hive.root());
  BOOST_REQUIRE(found.size() == texts.size() + bad.size());
  for (std::size_t i = 0; i < texts.size(); ++i)
    BOOST_TEST(opened.hive.text(found[i]).value() == texts[i].second);
  for (std::size_t i = texts.size(); i < found.size(); ++i) BOOST_TEST(!opened.hive.text(found[i]));
}

BOOST_AUTO_TEST_CASE(numbers_have_both_orders_of_bytes) {
  hive_maker m;
  opened_hive opened(m.hive(m.key(
      "ROOT",
      {m.value("little", 4, little_endian(10, 4)), m.value("big", 5, std::string("\0\0\1\2", 4)),
       m.value("long", 4, little_endian(7, 8)), m.value("short", 4, "\1"), m.value("other", 3, "1234")})));
  const auto values = opened.hive.values(opened.hive.root());
  const auto number = [&](const char* name) { return opened.hive.number(*value_named(values, name)); };
  BOOST_TEST(number("little").value() == 10U);
  BOOST_TEST(number("big").value() == 258U);
  BOOST_TEST(number("long").value() == 7U);
  BOOST_TEST(!number("short"));
  BOOST_TEST(!number("other"));
  BOOST_TEST(value_named(values, "LITTLE") == nullptr);
  BOOST_TEST(value_named(values, "LITTLE", true) == &values[0]);
}

BOOST_AUTO_TEST_CASE(a_damaged_hive_is_a_doubt) {
  const auto doubt_at = [](const std::function<std::uint32_t(hive_maker&)>& make) {
    hive_maker m;
    const auto root = make(m);
    return doubt_in([&] {
      opened_hive opened(m.hive(root));
      for (const auto& value : opened.hive.values(opened.hive.root())) opened.hive.data(value);
      opened.hive.each_child(opened.hive.root(), [](const registry_key&) {});
    });
  };
  BOOST_TEST(doubt_at([](auto& m) { return m.key("fine", {m.text("a", "long text")}); }).empty());
  BOOST_TEST(doubt_at([](auto& m) { return m.cell("vk"); }) == "a registry with links to what is no key");
  BOOST_TEST(doubt_at([](auto& m) { return m.key("x") + 0x10000U; }) ==
             "a registry with links that lead out of it");
  BOOST_TEST(doubt_at([](auto& m) { return m.key("x") + 2; }) == "a registry with links that lead out of it");
  BOOST_TEST(doubt_at([](auto& m) { return m.key("x", {0xFFFFFFF0U}); }) ==
             "a registry with links that lead out of it");
  BOOST_TEST(doubt_at([](auto& m) { return m.key("x") + 8; }) == "a registry with links to what is no cell");
  BOOST_TEST(doubt_at([](auto& m) { return m.key("x", {m.key("y")}); }) ==
             "a registry with links to what is no value");
  BOOST_TEST(doubt_at([](auto& m) {
               return m.key("x", {}, 2, m.list("lh", {{m.key("y"), 0}}));
             }) == "a registry whose lists of keys have another length");
  BOOST_TEST(doubt_at([](auto& m) { return m.key("x", {}, 1, m.key("y")); }) ==
             "a registry with an unknown list of keys");
  BOOST_TEST(doubt_at([](auto& m) {
               const auto list = m.list("lh", {{m.key("y"), 0}});
               return m.key("x", {}, 1, m.list("ri", {{m.list("ri", {{list, 0}}), 0}}));
             }) == "a registry with an unknown list of keys");
  BOOST_TEST(doubt_at([](auto& m) { return m.key("x", {}, 4'000'000'000U, m.list("lh", {})); }) ==
             "a registry with 4000000000 keys in one");
  BOOST_TEST(doubt_at([](auto& m) {
               return m.key("x", {m.cell("vk" + little_endian(0, 2) + little_endian(50'000, 4) +
                                         little_endian(m.cell("db"), 4) + std::string(8, '\0'))});
             }) == "a registry with a value in several parts");
  BOOST_TEST(doubt_at([](auto& m) {
               return m.key("x", {m.cell("vk" + little_endian(900, 2) + std::string(16, '\0'))});
             }) == "a structure that ends too early");
}

BOOST_AUTO_TEST_CASE(a_cell_to_which_those_before_it_do_not_lead_is_a_doubt) {
  hive_maker m;
  const auto before = m.cell("unused cell");
  const auto whole = m.hive(m.key("ROOT"));
  BOOST_TEST(doubt_in([&] { opened_hive opened(whole); }).empty());
  for (const std::uint32_t size : {0U, 7U, 8U, 0xFFFFFFE0U, 0x80000000U}) {
    auto changed = whole;
    changed.replace(4096 + before, 4, little_endian(size, 4));
    BOOST_TEST(doubt_in([&] { opened_hive opened(changed); }) == "a registry with links to what is no cell");
  }
  auto changed = whole;
  changed[4096] = 'x';
  BOOST_TEST(doubt_in([&] { opened_hive opened(changed); }) == "a registry with a damaged page");
  changed = whole;
  changed.replace(4096 + 8, 4, little_endian(1 << 20, 4));
  BOOST_TEST(doubt_in([&] { opened_hive opened(changed); }) == "a registry with a page of 1048576 bytes");
}

BOOST_AUTO_TEST_CASE(a_damaged_header_is_a_doubt) {
  const auto whole = software(windows_7);
  const auto doubt_of = [](const std::string& bytes) { return doubt_in([&] { opened_hive opened(bytes); }); };
  BOOST_TEST(doubt_of(whole).empty());
  BOOST_TEST(doubt_of(whole.substr(0, 5000)) == "a registry that is too small");
  auto changed = whole;
  changed[100] = 1;
  BOOST_TEST(doubt_of(changed) == "a registry with a wrong checksum");
  changed = whole;
  changed[20] = 2;
  BOOST_TEST(doubt_of(hive_maker::with_checksum(changed)) == "a registry of an unknown form");
}

BOOST_AUTO_TEST_CASE(no_change_of_a_hive_makes_its_reader_fail_otherwise_than_by_doubt) {
  const auto whole = software(windows_7, {{"one", "One"}, {"two", "Two"}});
  std::size_t read = 0, doubted = 0;
  for (std::size_t at = 0; at < whole.size(); at += 2) {
    if (at > 512 && at < 4096) continue;
    for (const std::string& word : {std::string(2, '\0'), std::string(2, '\xff'), std::string("\x20\x01")}) {
      auto changed = whole;
      changed.replace(at, 2, word);
      const auto why = doubt_in([&] {
        opened_hive opened(hive_maker::with_checksum(std::move(changed)));
        windows_applications(opened.hive, newer);
      });
      ++(why.empty() ? read : doubted);
    }
  }
  BOOST_TEST(read > 1000U);
  BOOST_TEST(doubted > 300U);
}

BOOST_AUTO_TEST_CASE(a_value_that_many_keys_share_is_not_read_without_end) {
  hive_maker m;
  const auto shared = m.value("DisplayName", 1, std::string(900'000, 'x'));
  std::vector<std::uint32_t> keys(9000, m.key("app", {shared}));
  const auto current = m.parent("CurrentVersion", {m.parent("Uninstall", keys)});
  opened_hive opened(m.hive(m.parent("ROOT", {m.parent("Microsoft", {m.parent("Windows", {current})})})));
  BOOST_TEST(has(doubt_in([&] { windows_applications(opened.hive, newer); }), "more content than the"));
}

BOOST_AUTO_TEST_CASE(a_large_hive_is_fetched_in_few_parts) {
  hive_maker m;
  std::vector<std::uint32_t> keys, others;
  for (int program = 0; program < 100; ++program) {
    std::vector<std::uint32_t> values;
    for (int i = 0; i < 9; ++i) values.push_back(m.text("Value" + std::to_string(i), "some text"));
    values.push_back(m.text("DisplayName", "Program " + std::to_string(program)));
    keys.push_back(m.key("program" + std::to_string(program), values));
    for (int i = 0; i < 30; ++i)
      others.push_back(m.key("other", {m.value("data", 3, std::string(16'000, 'x'))}));
  }
  const auto current = m.parent("CurrentVersion", {m.parent("Uninstall", keys), m.parent("Other", others)});
  opened_hive opened(m.hive(m.parent("ROOT", {m.parent("Microsoft", {m.parent("Windows", {current})})})));
  BOOST_TEST(windows_applications(opened.hive, newer).size() == 100U);
  BOOST_TEST(opened.fetches < 230);
  BOOST_TEST(opened.bytes.size() > 48'000'000U);
}

BOOST_AUTO_TEST_CASE(programs_are_listed_by_the_names_of_their_keys) {
  opened_hive opened(software(windows_7, {{"b", "First"}, {"a", "Second"}, {"B", "Third"}}));
  std::string all;
  for (const auto& app : windows_applications(opened.hive, newer))
    all += app.name + '=' + app.display_name + ' ';
  BOOST_TEST(all == "B=Third a=Second b=First ");
}

BOOST_AUTO_TEST_CASE(a_newer_libguestfs_lists_windows_own_antivirus_unless_it_is_off) {
  const auto listed = [](const libguestfs_version& version,
                         const std::function<std::vector<std::uint32_t>(hive_maker&)>& values) {
    hive_maker m;
    const auto programs = m.parent("Uninstall", {m.key("Zip", {m.text("DisplayName", "Z")}),
                                                 m.key("App", {m.text("DisplayName", "A")})});
    const auto windows = m.parent("Windows", {m.parent("CurrentVersion", {programs})});
    const auto defender = m.key("windows defender", values(m));
    opened_hive opened(m.hive(m.parent("ROOT", {m.parent("Microsoft", {windows, defender})})));
    std::string all;
    for (const auto& app : windows_applications(opened.hive, version))
      all += app.name + '=' + app.display_name + '/' + app.publisher + ' ';
    return all;
  };
  const auto with = [&](std::uint32_t type, const std::string& data) {
    return listed(newest, [&](auto& m) { return std::vector{m.value("disableantivirus", type, data)}; });
  };
  const auto none = [](auto&) { return std::vector<std::uint32_t>(); };
  const std::string without = "App=A/ Zip=Z/ ";
  const std::string there = "App=A/ WinDefend=Microsoft Defender Antivirus/Microsoft Corporation Zip=Z/ ";
  BOOST_TEST(listed(newer, none) == without);
  BOOST_TEST(listed(newest, none) == there);
  BOOST_TEST(with(4, little_endian(1, 4)) == without);
  BOOST_TEST(with(3, little_endian(1, 8)) == without);  // libguestfs looks at no type
  BOOST_TEST(with(4, little_endian(0, 4)) == there);
  BOOST_TEST(with(4, little_endian(257, 4)) == there);
  BOOST_TEST(with(3, little_endian(1, 3)) == there);
  opened_hive opened(software(windows_7, {{"Zip", "Z"}}));
  BOOST_TEST(windows_applications(opened.hive, newest).size() == 1U);
}

BOOST_AUTO_TEST_CASE(the_architecture_is_that_of_cmd_exe) {
  BOOST_TEST(pe_architecture(windows_program(0x10B)) == "i386");
  BOOST_TEST(pe_architecture(windows_program(0x20B)) == "x86_64");
  BOOST_TEST(!doubt_in([] { pe_architecture(windows_program(0x107)); }).empty());
  BOOST_TEST(!doubt_in([] { pe_architecture("MZ"); }).empty());
  auto far = windows_program(0x20B);
  far.replace(60, 4, "\xff\xff\xff\xff");
  BOOST_TEST(!doubt_in([&] { pe_architecture(far); }).empty());
  auto of_dos = windows_program(0x20B);
  of_dos[24] = 28;
  BOOST_TEST(!doubt_in([&] { pe_architecture(of_dos); }).empty());
}

BOOST_AUTO_TEST_CASE(osinfo_names_a_windows_as_the_installed_libguestfs_does) {
  const auto named = [](int major, int minor, const char* product, const char* variant, const char* build,
                        const libguestfs_version& version) {
    return windows_osinfo({.product_name = product,
                           .product_variant = variant,
                           .major_version = major,
                           .minor_version = minor,
                           .build_id = build},
                          version);
  };
  BOOST_TEST(named(5, 2, "Microsoft Windows XP", "unknown", "", older) == "winxp");
  BOOST_TEST(named(5, 2, "Microsoft Windows Server 2003", "unknown", "", older) == "win2k3");
  BOOST_TEST(named(6, 3, "Windows Server 2012 R2", "Server Core", "", older) == "win2k12r2");
  BOOST_TEST(named(10, 0, "Windows Server 2025", "Server", "26100", older) == "win2k16");
  BOOST_TEST(named(10, 0, "Windows Server 2025", "Server", "26100", newer) == "win2k25");
  BOOST_TEST(named(10, 0, "Windows 10 Pro", "Client", "22631", older) == "win10");
  BOOST_TEST(named(10, 0, "Windows 10 Pro", "Client", "22631", newer) == "win11");
  BOOST_TEST(named(10, 0, "Windows 10 Pro", "Client", "19045", newer) == "win10");
  BOOST_TEST(named(4, 0, "Windows NT", "unknown", "", older) == "unknown");
  BOOST_TEST(!doubt_in([&] { named(10, 0, "Windows 10", "Client", "unknown", newer); }).empty());
}

BOOST_AUTO_TEST_CASE(a_windows_is_read_from_its_registry) {
  pretended_windows g;
  auto found = read_from(g);
  BOOST_TEST((found.windows == InspectedWindows{"/Windows", "/Windows/System32/config/SOFTWARE",
                                                "/Windows/System32/config/SYSTEM", "ControlSet001"}));
  BOOST_TEST(found.product_name == "Windows 7");
  BOOST_TEST(found.product_variant == "Client");
  BOOST_TEST(found.osinfo == "win7");
  BOOST_TEST(found.arch == "x86_64");
  BOOST_TEST(found.hostname == "PC");
  BOOST_TEST(found.build_id == "7601");
  BOOST_TEST((found.drive_mappings == std::map<std::string, std::string>{{"C", "/dev/sda2"}}));
  BOOST_TEST(read_from(g, older).build_id.empty());
  g.scheme = "gpt";
  std::string blob = "DMIO:ID:";
  for (char byte = 1; byte <= 16; ++byte) blob += byte;
  g.files["/Windows/System32/config/SYSTEM"] = "-" + settings(blob);
  found = read_from(g);
  BOOST_TEST((found.drive_mappings == std::map<std::string, std::string>{{"C", "/dev/sda1"}}));
}

// Regression: its sector times 512 overflowed, to the number that the registry has.
BOOST_AUTO_TEST_CASE(a_partition_at_an_impossible_sector_got_the_letter_of_another) {
  pretended_windows g;
  for (const auto* sector : {"36028797018965", "36028797018966016", "-2048", "9223372036854775807"}) {
    g.first_sector = sector;
    BOOST_TEST((read_from(g).drive_mappings == std::map<std::string, std::string>{{"C", "/dev/sda2"}}),
               sector);
  }
}

// Before, parted fails on it, and so does inspect_os.
BOOST_AUTO_TEST_CASE(a_newer_libguestfs_passes_a_disk_without_partitions_when_it_looks_for_a_drive) {
  struct : pretended_windows {
    string_list list_devices() override { return {"/dev/sdb", "/dev/sda"}; }
    buffer pread_device(const std::string& disk, int count, std::int64_t offset) override {
      if (disk == "/dev/sda") return pretended_windows::pread_device(disk, count, offset);
      files["/blank"] = '-' + blank;
      return pread("/blank", 4, 0);
    }
    std::string blank = std::string(4, '\0');
  } g;
  const std::map<std::string, std::string> drives{{"C", "/dev/sda2"}};
  BOOST_TEST(has(doubt_in([&] { read_from(g, newer); }), "a disk without partitions"));
  BOOST_TEST((read_from(g, newest).drive_mappings == drives));
  g.blank = "SIGN";  // where libguestfs finds that disk, and no partition on it
  BOOST_TEST(has(doubt_in([&] { read_from(g, newest); }), "a disk without partitions"));
}

// Regression: nothing between two fetches looked for the end, and thousands of keys may share one page.
BOOST_AUTO_TEST_CASE(a_cancelled_call_read_on_in_what_it_had_of_a_registry, PATIENCE) {
  struct : pretended_windows {
    Version version() override { return {.major = 1, .minor = 54, .release = 1, .extra = ""}; }
    buffer pread(const std::string& path, int count, std::int64_t offset) override {
      g.cancel();
      return pretended_windows::pread(path, count, offset);
    }
  } guest;
  const call_scope whole(guest.state(), "inspect");
  BOOST_CHECK_EXCEPTION(windows_applications(guest, "/Windows/System32/config/SOFTWARE"), Error,
                        [](const Error& error) { return error.error_number() == EINTR; });
}

BOOST_AUTO_TEST_CASE(a_registry_without_what_libguestfs_needs_is_a_doubt) {
  const auto doubt_of = [](const std::string& hive) {
    pretended_windows g;
    g.files["/Windows/System32/config/SOFTWARE"] = hive;
    return doubt_in([&] { read_from(g); });
  };
  BOOST_TEST(has(doubt_of("-" + software({{"ProductName", "Windows"}})), "without a version"));
  BOOST_TEST(has(doubt_of("-" + software({{"CurrentVersion", "new"}})), "without a version"));
  BOOST_TEST(has(doubt_of("p"), "no regular file"));
  BOOST_TEST(has(doubt_of("d"), "no regular file"));
  BOOST_TEST(has(doubt_of("l/etc/passwd"), "no regular file"));
  BOOST_TEST(has(doubt_of("-short"), "too small"));
}

BOOST_AUTO_TEST_CASE(only_a_directory_with_a_system_is_the_root_of_a_windows) {
  pretended_windows g;
  const auto root_of = [&](const std::set<std::string>& names) {
    const auto place = find_windows(g, names);
    return place ? place->systemroot : "none";
  };
  BOOST_TEST(root_of({"windows", "boot.ini"}) == "/Windows");
  BOOST_TEST(root_of({"users"}) == "none");
  BOOST_TEST(has(doubt_in([&] { root_of({"boot.ini"}); }), "boot.ini"));
  g.add({{"/WINNT/old.log", "-"}});
  BOOST_TEST(root_of({"winnt"}) == "none");
  g.add({{"/reactos/system32", "l/Windows/System32"}});
  BOOST_TEST(has(doubt_in([&] { root_of({"reactos"}); }), "is a symlink"));
}

BOOST_AUTO_TEST_CASE(a_volume_of_windows_without_a_system_is_no_root) {
  const auto with = [](std::initializer_list<std::pair<const std::string, std::string>> files) {
    return pretended_disk(files).roots();
  };
  const std::string alone = "/dev/sda2: Windows 7 /Windows";
  BOOST_TEST(with({{"/System Volume Information/x", "-"}, {"/Program Files/app.exe", "-"}}) == alone);
  BOOST_TEST(with({{"/System Volume Information/x", "-"}, {"/WINDOWS/old.log", "-"}}) == alone);
  BOOST_TEST(with({{"/Boot/BCD", "-"}, {"/bootmgr", "-"}}) == alone);
  BOOST_TEST(with({{"/reactos/system32/config/software", "-"}}) == alone);
  BOOST_TEST(has(with({{"/boot.ini", "-"}}), "boot.ini"));
}

BOOST_AUTO_TEST_CASE(what_libguestfs_may_take_for_another_system_before_a_windows_is_a_doubt) {
  const auto with = [](const char* file) {
    return pretended_disk({{"/Windows/old.log", "-"}, {file, "-"}}).roots();
  };
  for (const auto* file : {"/etc/hosts", "/bin/ls", "/hurd/null"})
    BOOST_TEST_CONTEXT(file) BOOST_TEST(with(file) != "/dev/sda2: Windows 7 /Windows");
  BOOST_TEST(with("/grub/menu.lst") == "the root has a grub");
  BOOST_TEST(with("/FDOS/FREEDOS.BSS") == "a name in capitals");
  BOOST_TEST(with("/dos/COMMAND.COM") == "the root has a dos");
  pretended_disk var({{"/log/a", "-"}, {"/run/a", "-"}, {"/spool/a", "-"}, {"/win/a", "-"}});
  BOOST_TEST(var.roots() == "what may be a Windows among others");
}

BOOST_AUTO_TEST_CASE(two_hives_of_one_name_are_a_doubt) {
  pretended_windows g;
  g.add({{"/Windows/System32/config/software", "-" + software(windows_7)}});
  BOOST_TEST(doubt_in([&] { read_from(g); }) == "a Windows without one software");
  g.files.erase("/Windows/System32/config/software");
  BOOST_TEST(doubt_in([&] { read_from(g); }).empty());
  g.files.erase("/Windows/System32/config/SYSTEM");
  BOOST_TEST(doubt_in([&] { read_from(g); }) == "a Windows without one system");
}

// Regression: inspect_os fails on a damaged hive, and then no Windows was reported at all.
BOOST_AUTO_TEST_CASE(a_damaged_hive_cost_the_whole_windows) {
  const auto windows_with = [](std::initializer_list<std::pair<const std::string, std::string>> files) {
    pretended_disk g({{"/data", "d"}});
    for (const auto& [path, content] : files) g.trees["/dev/sda2"][path] = content;
    const auto found = detail::inspect(g, {});  // on the handle of this guest, inspect_os always fails
    BOOST_TEST(found.provenance.way == "rescue");
    BOOST_TEST(has(text(found.failures), "guestkit's own rules, which know Linux and Windows"));
    BOOST_REQUIRE_EQUAL(found.operating_systems.size(), 1U);
    const auto& system = found.operating_systems[0];
    BOOST_TEST(system.type == "windows");
    BOOST_TEST(system.root == "/dev/sda2");
    BOOST_TEST((system.mountpoints == mountpoint_list{{"/", "/dev/sda2"}}));
    BOOST_TEST(system.windows.value().systemroot == "/Windows");
    return system;
  };
  const std::string remedy = "; if Windows does not start either, restore the file from a backup\n",
                    config = "\"/Windows/System32/config/",
                    damage =
                        "\" is damaged or unusual (a registry with a wrong checksum), which costs what is"
                        " unknown here of ";
  auto torn = software(windows_7, {{"one", "One"}});
  torn[100] = 1;

  auto system = windows_with({{"/Windows/System32/config/SOFTWARE", "-" + torn}});
  BOOST_TEST(system.product_name == "unknown");
  BOOST_TEST(system.osinfo == "unknown");
  BOOST_TEST(system.arch == "x86_64");
  BOOST_TEST(system.hostname == "PC");
  BOOST_TEST((system.drive_mappings == std::map<std::string, std::string>{{"C", "/dev/sda2"}}));
  BOOST_TEST(!system.applications_complete);
  BOOST_TEST(text(system.failures) == "product_name: " + config + "SOFTWARE" + damage +
                                          "product and version" + remedy + "applications: " + config +
                                          "SOFTWARE" + damage + "the programs" + remedy);

  torn = settings("SIGN" + little_endian(2048 * 512, 8));
  torn[100] = 1;
  system = windows_with({{"/Windows/System32/config/SYSTEM", "-" + torn}});
  BOOST_TEST(system.product_name == "Windows 7");
  BOOST_TEST(system.osinfo == "win7");
  BOOST_TEST(system.hostname == "unknown");
  BOOST_TEST(system.applications_complete);
  BOOST_TEST(text(system.failures) ==
             "hostname: " + config + "SYSTEM" + damage + "host name and drive letters" + remedy);

  // One value, which costs itself.
  hive_maker m;
  const auto letter = m.value("\\DosDevices\\C:", 3, "SIGN" + little_endian(2048 * 512, 8));
  const auto parameters = m.parent("Tcpip", {m.key("Parameters", {m.text("Hostname", "PC")})});
  const auto twice =
      m.hive(m.parent("ROOT", {m.key("MountedDevices", {letter, letter}),
                               m.key("Select", {m.value("Current", 4, little_endian(1, 4))}),
                               m.parent("ControlSet001", {m.parent("Services", {parameters})})}));
  system = windows_with({{"/Windows/System32/config/SYSTEM", "-" + twice}});
  BOOST_TEST(system.hostname == "PC");
  BOOST_TEST(has(text(system.failures), "drive_mappings: " + config + "SYSTEM\""), text(system.failures));

  system = windows_with({{"/Windows/System32/config/SYSTEM", "p"},
                         {"/Windows/System32/config/software", "-"},
                         {"/Windows/System32/cmd.exe", "-MZ"}});
  BOOST_TEST(system.arch == "unknown");
  const auto told = text(system.failures);
  BOOST_TEST(has(told, "arch: \"/Windows/System32/cmd.exe\" is damaged or unusual (a structure that ends"),
             told);
  BOOST_TEST(has(told, "product_name: " + config + "software\" is damaged or unusual (a Windows without one"),
             told);
  BOOST_TEST(
      has(told, "hostname: " + config + "SYSTEM\" is damaged or unusual (a registry that is no regular"),
      told);
  BOOST_TEST(has(told, "applications: there is no hive that lists the programs"), told);
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_read_costs_what_it_has) {
  pretended_windows g;
  g.files["/Windows/System32/cmd.exe"] = "?";
  g.files["/Windows/System32/config/SOFTWARE"] = "?" + software(windows_7);
  layout devices(g);
  const auto system =
      read_windows_alone(g, devices, "/dev/sda2", find_windows(g, {"windows"}).value(), newer);
  BOOST_TEST(system.hostname == "PC");
  BOOST_TEST(has(text(system.failures),
                 "arch: \"/Windows/System32/cmd.exe\" is damaged or unusual ("
                 "/Windows/System32/cmd.exe: Input/output error), which"),
             text(system.failures));
  BOOST_TEST(system.failures.size() == 2U);
}
