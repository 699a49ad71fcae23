#define BOOST_TEST_MODULE inspect
#include <boost/algorithm/string/predicate.hpp>
#include <boost/test/unit_test.hpp>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <guestkit/detail/files/partial_file.hpp>
#include <guestkit/detail/files/tree.hpp>
#include <guestkit/detail/files/trees.hpp>
#include <guestkit/detail/inspect/blkid.hpp>
#include <guestkit/detail/inspect/configuration.hpp>
#include <guestkit/detail/inspect/device_names.hpp>
#include <guestkit/detail/inspect/fast.hpp>
#include <guestkit/detail/inspect/guest_mounting.hpp>
#include <guestkit/detail/inspect/inspection.hpp>
#include <guestkit/detail/inspect/keys.hpp>
#include <guestkit/detail/inspect/layout.hpp>
#include <guestkit/detail/inspect/layout_description.hpp>
#include <guestkit/detail/inspect/linux_rules.hpp>
#include <guestkit/detail/inspect/mounts.hpp>
#include <guestkit/detail/inspect/ostree.hpp>
#include <guestkit/detail/inspect/own.hpp>
#include <guestkit/detail/inspect/package_rules.hpp>
#include <guestkit/detail/inspect/packages.hpp>
#include <guestkit/detail/inspect/part_runner.hpp>
#include <guestkit/detail/inspect/parts.hpp>
#include <guestkit/detail/inspect/registry_fault.hpp>
#include <guestkit/detail/inspect/release.hpp>
#include <guestkit/detail/inspect/report.hpp>
#include <guestkit/detail/inspect/rules.hpp>
#include <guestkit/detail/inspect/system.hpp>
#include <guestkit/files.hpp>
#include <guestkit/guest.hpp>
#include <guestkit/inspect.hpp>
#include <initializer_list>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pretended_files.hpp"
#include "support.hpp"

using namespace guestkit;
using namespace guestkit::detail;
using namespace support;

namespace {

template <class F>
bool doubts(F&& body) {
  try {
    body();
    return false;
  } catch (const doubt& reason) {
    return !reason.reason.empty();
  }
}

std::string elf_program(unsigned char width, unsigned char order, unsigned char type, unsigned char machine) {
  std::string header(64, '\0');
  header.replace(0, 4,
                 "\x7f"
                 "ELF");
  header[4] = static_cast<char>(width);
  header[5] = static_cast<char>(order);
  header[6] = 1;
  header[16] = static_cast<char>(type);
  header[18] = static_cast<char>(machine);
  return header;
}

/// A disk with a physical volume and a thin pool, in an appliance whose kernel names the disk sdb.
struct thin_volume : pretended_actions {
  string_list list_devices() override { return {"/dev/sda"}; }
  string_list list_partitions() override { return {"/dev/sda1"}; }
  string_list list_md_devices() override { return {}; }
  string_list list_dm_devices() override {
    return {"/dev/mapper/vg--a-pool_tdata", "/dev/mapper/vg--a-pool_tmeta"};
  }
  string_list vgs() override { return {"vg-a"}; }
  hashtable md_detail(const std::string& /*device*/) override { return {}; }
  string_list lvs() override { return {"/dev/vg-a/root"}; }
  hashtable blkid(const std::string& device) override {
    if (device == "/dev/sda1") return {{"TYPE", "LVM2_member"}, {"UUID", "B5dZqq-n9ae-53OM"}};
    if (device == "/dev/vg-a/root") return {{"TYPE", "swap"}};
    return {};
  }
  std::vector<VG> vgs_full() override {
    VG group;
    group.vg_name = "vg-a";
    group.vg_uuid = "NuyPg3";
    return {group};
  }
  string_list vgpvuuids(const std::string& /*group*/) override { return {"B5dZqqn9ae53OM"}; }
  void vg_activate(bool /*activate*/, const string_list& /*groups*/) override {}
  std::string vfs_label(const std::string& /*device*/) override { return {}; }
  buffer pread_device(const std::string& /*device*/, int /*count*/, std::int64_t /*offset*/) override {
    throw Error("pread_device", "none", ENODEV);
  }
  std::vector<BTRFSSubvolume> btrfs_subvolume_list(const std::string& /*device*/) override { return {}; }
  void mount_ro(const std::string& /*device*/, const std::string& /*mountpoint*/) override {}
  void umount_all() override {}
  StatVFS statvfs(const std::string& /*path*/) override { return {}; }
};

/// The same volume group with one of its two disks missing, so that LVM has activated nothing.
struct half_a_group : thin_volume {
  string_list lvs() override { return activated ? string_list{"/dev/vg-a/root"} : string_list{}; }
  hashtable blkid(const std::string& device) override {
    if (device == "/dev/vg-a/root") throw Error("blkid", "No such file or directory", ENOENT);
    return thin_volume::blkid(device);
  }
  std::vector<VG> vgs_full() override {
    auto groups = thin_volume::vgs_full();
    groups[0].vg_attr = "wz-pn-";
    return groups;
  }
  string_list vgpvuuids(const std::string& /*group*/) override {
    return {"B5dZqq-n9ae-53OM", "1QqrCs-eheq-6C2p"};
  }
  void vg_activate(bool /*activate*/, const string_list& groups) override {
    activated = groups == string_list{"vg-a"};
  }
  bool activated = false;
};

/// A disk whose partitions are reported with the escapes of blkid -o export.
struct escaped_disk : thin_volume {
  string_list list_partitions() override { return {"/dev/sda1", "/dev/sda2", "/dev/sda3"}; }
  string_list list_dm_devices() override { return {}; }
  hashtable blkid(const std::string& device) override {
    if (device == "/dev/sda1") return {{"TYPE", "ext4"}, {"LABEL", "data\\ disk\\$"}};
    if (device == "/dev/sda2")
      return {{"TYPE", "ext4"}, {"LABEL", "\\ M-CM-\\<"}, {"PART_ENTRY_NAME", "M-CM-\\<"}};
    return {{"PART_ENTRY_TYPE", "21686148-6449-6e6f-744e-656564454649"}};
  }
  std::string vfs_label(const std::string& /*device*/) override { return " ü"; }
};

/// The superblock of an array's member.
std::string md_superblock_bytes(std::uint8_t level, std::uint8_t devices, const std::string& name) {
  std::string bytes(256, '\0');
  bytes.replace(0, 4, "\xfc\x4e\x2b\xa9");
  bytes[4] = 1;
  bytes.replace(32, name.size(), name);
  bytes[72] = static_cast<char>(level);
  bytes[92] = static_cast<char>(devices);
  return bytes;
}

/// A guest with one or two filesystems, in memory. Other actions fail, as on a handle without an appliance.
struct pretended_guest : pretended_files {
  string_list parts{"/dev/sda1"};
  std::vector<std::string> mounted = {};  // "device mountpoint"
  bool is_dead = false;                   // actions on devices fail

  string_list list_devices() override {
    if (is_dead) throw Error("list_devices", "Input/output error", EIO);
    return {"/dev/sda"};
  }
  string_list list_partitions() override {
    if (is_dead) throw Error("list_partitions", "Input/output error", EIO);
    return parts;
  }
  std::int64_t blockdev_getsize64(const std::string& /*device*/) override { return 1 << 30; }
  hashtable blkid(const std::string& device) override {
    return {{"TYPE", "ext4"}, {"UUID", "uuid-of-" + device.substr(5)}};
  }
  void umount_all() override { mounted.clear(); }
  void mount_ro(const std::string& device, const std::string& mountpoint) override {
    mounted.push_back(device + ' ' + mountpoint);
  }
  void mount(const std::string& device, const std::string& mountpoint) override {
    mount_ro(device, mountpoint + " rw");
  }
  StatVFS statvfs(const std::string& /*path*/) override { return {}; }

  guest_tree tree() { return {*this}; }
  /// Why inspect_os must not be called.
  std::string fault() {
    layout known(*this);
    own_inspection own(*this, known);
    own.look_around();
    return own.fault();
  }
};

struct pretended {
  pretended_guest guest;
};

/// An appliance that a guest has taken over: it answers with more than was asked, or without an answer.
struct talkative : pretended_guest {
  buffer pread(const std::string& /*path*/, int count, std::int64_t /*offset*/) override {
    return buffer_of(std::string(static_cast<std::size_t>(count) + 4096, 'x'));
  }
  string_list readlinklist(const std::string& /*directory*/, const string_list& /*names*/) override {
    return {};
  }
};

/// Counts what a guest's names cost.
struct with_count : pretended_guest {
  string_list list_md_devices() override { return {}; }
  string_list list_dm_devices() override { return {}; }
  StatNS statns(const std::string& path) override {
    ++statuses;
    return pretended_guest::statns(path);
  }
  std::vector<Dirent> readdir(const std::string& directory) override {
    ++listed_directories;
    return pretended_guest::readdir(directory);
  }
  int statuses = 0, listed_directories = 0;
};

/// A partition that no key opens, since nothing is launched.
struct with_luks : pretended_guest {
  hashtable blkid(const std::string& /*device*/) override { return {{"TYPE", "crypto_LUKS"}, {"UUID", "u"}}; }
};

/// Partitions with the same UUID, which "right" opens. The map of the opened ones is the appliance's.
struct opened_luks : pretended_guest {
  string_list list_md_devices() override { return {}; }
  string_list list_dm_devices() override {
    string_list all;
    for (const auto& one : maps) all.push_back("/dev/mapper/" + one.first);
    return all;
  }
  hashtable blkid(const std::string& device) override {
    return {{"TYPE", device.starts_with("/dev/mapper/") ? "ext4" : "crypto_LUKS"}, {"UUID", uuid}};
  }
  void cryptsetup_open(const std::string& device, const std::string& key, const std::string& name) override {
    if (key != "right") throw Error("cryptsetup_open", "No key available with this passphrase.", 0);
    if (!maps.emplace(name, device).second)
      throw Error("cryptsetup_open", "/dev/mapper/" + name + ": device already exists", EEXIST);
  }
  std::string uuid = "u";
  std::map<std::string, std::string> maps = {};  // the device beneath, by the name
  const std::vector<InspectKey> keys{{.secret = "right"}};
};

/// A btrfs whose subvolume 1 is mounted by default; 2 has the same system, 3 another version of it.
struct with_snapshots : pretended_guest {
  explicit with_snapshots(std::int64_t minor) : minor_(minor) {}

  Version version() override { return {.major = 1, .minor = minor_, .release = 1, .extra = ""}; }
  string_list list_md_devices() override { return {}; }
  string_list list_dm_devices() override { return {}; }
  hashtable blkid(const std::string& device) override {
    return {{"TYPE", "btrfs"}, {"UUID", "u"}, {"PART_ENTRY_SCHEME", "gpt"}, {"DEVNAME", device}};
  }
  std::vector<BTRFSSubvolume> btrfs_subvolume_list(const std::string& /*path*/) override {
    std::vector<BTRFSSubvolume> all(3);
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i].btrfssubvolume_id = 256 + i;
      all[i].btrfssubvolume_path = std::to_string(i + 1);
    }
    return all;
  }
  std::int64_t btrfs_subvolume_get_default(const std::string& /*path*/) override { return 256; }
  void mount_options(const std::string& /*options*/, const std::string& /*device*/,
                     const std::string& /*mountpoint*/) override {
    files = {{"/", "d"}};
    for (const char number : {'1', '2', '3'}) add_system(std::string("/") + number, number);
  }
  void mount_ro(const std::string& device, const std::string& mountpoint) override {
    if (mountpoint != "/") return;
    files = {{"/", "d"}};
    add_system("", device.starts_with("btrfsvol:") ? device.back() : '1');
  }

  std::string roots() {
    layout known(*this);
    fast_inspection fast(*this, known);
    std::string all;
    for (const auto& root : fast.find_roots())
      if (const auto system = fast.read(root)) all += system->root + ' ';
    return all + std::to_string(fast.take_corrections().size());
  }

 private:
  void add_system(const std::string& top, char number) {
    const std::string release = number == '3' ? "15.6" : "15.5";
    add({{top + "/etc/os-release",
          "-ID=opensuse-leap\nPRETTY_NAME=\"openSUSE Leap\"\nVERSION_ID=" + release + "\n"},
         {top + "/etc/fstab", "-UUID=u / btrfs defaults 0 0\n"},
         {top + "/etc/hostname", "-host\n"},
         {top + "/bin/ls", '-' + elf_program(2, 1, 3, 62)}});
  }
  std::int64_t minor_;
};

/// A btrfs of many subvolumes, the first of which is the default one.
struct with_many_subvolumes : with_snapshots {
  with_many_subvolumes() : with_snapshots(60) {}

  std::vector<BTRFSSubvolume> btrfs_subvolume_list(const std::string& /*path*/) override {
    std::vector<BTRFSSubvolume> all(count);
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i].btrfssubvolume_id = 256 + i;
      all[i].btrfssubvolume_path = i == 1 ? with_comma : std::to_string(i + 1);
    }
    return all;
  }
  string_list inspect_os() override {
    if (!answers) throw Error("inspect_os", "no such luck", EIO);
    return {};
  }
  std::size_t count = 0;
  std::string with_comma = "2";  // the name of the second one
  bool answers = true;
};
const std::string few = "operating_systems: /dev/sda1: besides the default subvolume, 64 of ";

/// Where systems beside the known ones may be.
std::string possible_systems_beside(const std::vector<InspectedSystem>& known) {
  with_snapshots guest(60);
  layout devices(guest);
  own_inspection own(guest, devices);
  own.look_around();
  std::string all;
  for (const auto& one : own.possible_systems(known)) all += one.device + ' ';
  return all;
}

}  // namespace

// The output of blkid.

BOOST_AUTO_TEST_CASE(a_label_with_a_blank_came_back_with_a_backslash) {
  BOOST_TEST(without_backslashes("data\\ disk") == "data disk");
  BOOST_TEST(without_backslashes("do\\$\\`\\<\\>&") == "do$`<>&");
  BOOST_TEST(without_backslashes("back\\\\slash") == "back\\slash");
  BOOST_TEST(without_backslashes("end\\") == "end\\");
  BOOST_TEST(is_ambiguous("c^A^[x"));
  BOOST_TEST(is_ambiguous("M-C"));
  BOOST_TEST(!is_ambiguous("data\\ disk"));
}

BOOST_AUTO_TEST_CASE(the_name_of_a_partition_is_what_gpt_has) {
  BOOST_TEST(partition_name("EFI\\ System\\ Partition") == "EFI System Partition");
  BOOST_TEST(partition_name("M-CM-\\<nM-CM-/") == "ünï");
  BOOST_TEST(partition_name("M-bM-^BM-,") == "€");
  BOOST_TEST(partition_name("M-PM-4M-PM-8M-QM-^AM-PM-:") == "диск");
  for (const std::string text : {"M-1 disk", "LVM-", "M-", "^A", "M-C", "M-CM-C", "A^B"})
    BOOST_TEST(partition_name(text) == text);
  for (const char* hostile : {"\\", "M-\\", "M-^", "M-CM-", "M-~M-~M-~M-~"}) partition_name(hostile);
}

// Parsing texts like libguestfs.

BOOST_AUTO_TEST_CASE(a_version_is_the_first_two_numbers_with_a_dot_between) {
  BOOST_CHECK((version_in("12") == version_number{12, 0}));
  BOOST_CHECK((version_in("22.04.4 LTS") == version_number{22, 4}));
  BOOST_CHECK((version_in("7 then 8.3") == version_number{8, 3}));
  BOOST_CHECK((version_in("1. 2.") == version_number{1, 0}));
  BOOST_CHECK(!version_in("bookworm/sid"));
  BOOST_CHECK(doubts([] { version_in("99999999999"); }));
}

BOOST_AUTO_TEST_CASE(os_release_is_read_where_no_shell_would_have_to_think) {
  const auto facts = os_release_of("# comment\n\nID=debian\nPRETTY_NAME=\"Debian 12\"\nVERSION_ID='12'\n");
  BOOST_TEST(facts.id == "debian");
  BOOST_TEST(facts.pretty_name == "Debian 12");
  BOOST_TEST(facts.version_id == "12");
  BOOST_TEST(os_release_of("ID=debian\r\nVERSION_ID=\"12\"\r\n").version_id == "12");
  for (const auto* odd :
       {"ID=a\\b\n", "ID=\"a\"b\"\n", "ID=a b\n", "ID=a\nID=b\n", "no assignment\n", "ID=\"\n"})
    BOOST_TEST(doubts([&] { os_release_of(odd); }), odd);
}

// Regression: the rules were those of 1.48.6 alone, so that inspections on Debian 13 took four times as long.
BOOST_AUTO_TEST_CASE(the_rules_are_known_for_the_versions_that_were_compared) {
  const auto known = [](std::int64_t minor, std::int64_t release, const char* extra = "") {
    return unknown_rules({.major = 1, .minor = minor, .release = release, .extra = extra}).empty();
  };
  BOOST_TEST(known(48, 6));
  BOOST_TEST(known(54, 1));
  BOOST_TEST(known(54, 2));
  BOOST_TEST(!known(48, 5));
  BOOST_TEST(!known(49, 1));
  BOOST_TEST(!known(52, 0));
  BOOST_TEST(!known(54, 0));
  BOOST_TEST(!known(55, 1));
  BOOST_TEST(known(60, 1));
  BOOST_TEST(!known(60, 0));
  BOOST_TEST(!known(61, 1));
  BOOST_TEST(!known(54, 1, "rhel=10,release=1.el10"));
  BOOST_TEST(unknown_rules({.major = 1, .minor = 52, .release = 0, .extra = ""}) ==
             "guestkit's rules of inspection are those of libguestfs 1.48.6 to 1.48.x, 1.54.1 to 1.54.x, "
             "1.60.1 to 1.60.x, not of 1.52.0");
}

BOOST_AUTO_TEST_CASE(a_distribution_is_one_row) {
  const auto* suse = distribution_of("opensuse-tumbleweed");
  BOOST_REQUIRE(suse != nullptr);
  BOOST_TEST(package_management_of(*suse, 15, true) == "zypper");
  const auto* circle = distribution_of("circle");
  BOOST_REQUIRE(circle != nullptr);
  BOOST_TEST((circle->since > libguestfs_version{1, 48, 6}));
  BOOST_TEST(package_management_of(*circle, 7, true) == "yum");
  BOOST_TEST(osinfo_of("circle", {9, 3}, {1, 54, 1}) == "circle9");
  BOOST_TEST(distro_of("openEuler") == "openeuler");
  BOOST_TEST(distro_of("openeuler") == "");
  BOOST_TEST(distro_of("sles_sap") == "");
  const auto* tencent = distribution_of("tencentos");
  BOOST_REQUIRE(tencent != nullptr);
  BOOST_TEST((tencent->since > libguestfs_version{1, 54, 9}));
  BOOST_TEST(package_management_of(*tencent, 2, false) == "dnf");
  BOOST_TEST(osinfo_of("tencentos", {4, 0}, {1, 60, 1}) == "tencentos4.0");
}

// Regression: an inspection with libguestfs 1.60 said sles15sp5, where libguestfs says sle15sp5.
BOOST_AUTO_TEST_CASE(sles_has_osinfos_name_of_each_libguestfs) {
  BOOST_TEST(osinfo_of("sles", {15, 5}, {1, 54, 1}) == "sles15sp5");
  BOOST_TEST(osinfo_of("sles", {15, 5}, {1, 60, 1}) == "sle15sp5");
  BOOST_TEST(osinfo_of("sles", {16, 0}, {1, 60, 1}) == "sle16");
  BOOST_TEST(osinfo_of("sles", {12, 5}, {1, 60, 1}) == "sles12sp5");
}

BOOST_AUTO_TEST_CASE(a_newer_libguestfs_leaves_out_the_snapshots_of_a_root) {
  // Those whose fstab names another root than themselves are corrections.
  const std::string usual = "/dev/sda1 ", same = "btrfsvol:/dev/sda1/2 ", other = "btrfsvol:/dev/sda1/3 ";
  BOOST_TEST(with_snapshots(54).roots() == usual + same + other + "2");
  BOOST_TEST(with_snapshots(60).roots() == usual + other + "1");
}

// Regression: as soon as libguestfs knew any system, every subvolume counted as a part of it.
BOOST_AUTO_TEST_CASE(a_system_on_btrfs_was_dropped_in_silence_beside_another_one) {
  const InspectedSystem ubuntu{.root = "/dev/sdb1", .filesystems = {"/dev/sdb1"}};
  BOOST_TEST(possible_systems_beside({ubuntu}) == "/dev/sda1 btrfsvol:/dev/sda1/3 ");
  InspectedSystem suse{.root = "/dev/sda1", .filesystems = {"/dev/sda1"}};
  BOOST_TEST(possible_systems_beside({ubuntu, suse}) == "btrfsvol:/dev/sda1/3 ");
  suse.filesystems.push_back("btrfsvol:/dev/sda1//3");  // as some versions of libguestfs write it
  BOOST_TEST(possible_systems_beside({suse}) == "");
}

// Regression: a snapshot was told by the os-release that is read only once its system is mounted.
BOOST_AUTO_TEST_CASE(the_snapshots_of_a_system_that_could_not_be_mounted_became_systems) {
  for (const auto* root : {"/dev/sda1", "btrfsvol:/dev/sda1/2"})  // before its snapshot, and behind it
    BOOST_TEST(possible_systems_beside({{.root = root}}) == "btrfsvol:/dev/sda1/3 ", root);
}

// Regression: snapshots were compared with known systems only, never with each other.
BOOST_AUTO_TEST_CASE(each_snapshot_of_a_system_that_libguestfs_does_not_know_became_a_system) {
  BOOST_TEST(possible_systems_beside({}) == "/dev/sda1 btrfsvol:/dev/sda1/3 ");
}

BOOST_AUTO_TEST_CASE(subvolumes_beyond_the_sixty_fourth_were_dropped_in_silence) {
  with_many_subvolumes guest;
  for (const std::size_t more : {0U, 2U}) {
    guest.count = 65 + more;
    layout known(guest);
    std::vector<InspectFailure> left_out;
    BOOST_TEST(mountable_filesystems(known, left_out).size() == 65U);
    BOOST_TEST(text(left_out) == (more == 0 ? "" : few + "66 were looked at\n"));
  }
}

// Regression: one with a comma in its name counted as looked at, and each of a btrfs' devices told it again.
BOOST_AUTO_TEST_CASE(the_subvolumes_that_were_looked_at_were_counted_wrongly) {
  with_many_subvolumes guest;
  guest.count = 66;
  guest.with_comma = "2,3";
  guest.parts = {"/dev/sda1", "/dev/sdb1"};
  layout known(guest);
  std::vector<InspectFailure> left_out;
  BOOST_TEST(mountable_filesystems(known, left_out).size() == 2 * 65U);
  BOOST_TEST(text(left_out) == few + "65 were looked at\n");
}

// Regression: a comparison, or libguestfs alone, reported them too, though inspect_os looks at all.
BOOST_AUTO_TEST_CASE(subvolumes_that_libguestfs_had_looked_at_were_reported_as_left_out) {
  with_many_subvolumes guest;
  guest.count = 67;
  const auto failures = [&](const InspectOptions& options) {
    return text(detail::inspect(guest, options, {}).failures);
  };
  const InspectOptions verified{.verify = true}, theirs{.mode = InspectMode::libguestfs};
  for (const auto* options : {&verified, &theirs}) {
    guest.answers = true;
    BOOST_TEST(failures(*options) == "");
    guest.answers = false;
    const bool is_rescue = options == &theirs;
    const auto told = failures(*options);
    BOOST_TEST(has(told, few + "66 were looked at\n") == is_rescue, told);
    BOOST_TEST(has(told, "no such luck") == is_rescue, told);
  }
}

BOOST_AUTO_TEST_CASE(a_volume_has_its_dashes_doubled_below_dev_mapper) {
  BOOST_TEST(mapper_name("/dev/vg-0/root") == "/dev/mapper/vg--0-root");
}

BOOST_AUTO_TEST_CASE(the_architecture_comes_from_the_header_of_a_program) {
  BOOST_TEST(elf_architecture(elf_program(2, 1, 3, 62)) == "x86_64");
  BOOST_TEST(elf_architecture(elf_program(1, 1, 2, 3)) == "i386");
  BOOST_TEST(elf_architecture(elf_program(2, 1, 2, 183)) == "aarch64");
  for (const auto& odd : {std::string("#!/bin/sh\n"), std::string(), elf_program(2, 2, 2, 62),
                          elf_program(1, 1, 2, 62), elf_program(2, 1, 1, 62), elf_program(2, 1, 2, 8)})
    BOOST_TEST(doubts([&] { elf_architecture(odd); }));
}

BOOST_AUTO_TEST_CASE(a_release_file_has_its_version_behind_one_word) {
  BOOST_CHECK((release_version("CentOS Linux release 7.9.2009 (Core)", "CentOS") == version_number{7, 9}));
  BOOST_CHECK((release_version("CentOS Stream release 9", "CentOS") == version_number{9, 0}));
  for (const auto* odd :
       {"CentOS release 4 (Nahant Update 2)", "release 9", "CentOS release x", "CentOS release 1 release 2"})
    BOOST_TEST(doubts([&] { release_version(odd, "CentOS"); }), odd);
}

BOOST_AUTO_TEST_CASE(packages_of_dpkg) {
  const auto list = dpkg_applications(
      "Package: b\nStatus: purge ok not-installed\nVersion: 1:2-3-4\nSource: s (1-3)\nMaintainer: A B <a@b>\n"
      "Description: d\n one\n "
      ".\n"
      "Homepage: h\n\nPackage: a\nStatus: deinstall ok config-files\nVersion: 1\n\n"
      "Package: a\nVersion: 1\n\nPackage: n\nStatus: unknown ok not-installed\n\n");
  BOOST_TEST(list.left_out == 0U);
  const auto& apps = list.packages;
  BOOST_REQUIRE_EQUAL(apps.size(), 1U);
  BOOST_TEST(apps[0].name == "b");
  BOOST_TEST(apps[0].epoch == 1);
  BOOST_TEST(apps[0].version == "2");
  BOOST_TEST(apps[0].release == "3-4");
  BOOST_TEST(apps[0].source_package == "s");
  BOOST_TEST(apps[0].source_version == "1-3");
  BOOST_TEST(apps[0].publisher == "A B <a@b>");
  BOOST_TEST(apps[0].description == "one\n.");
  BOOST_CHECK(doubts([] { dpkg_applications("Version: x:1\n"); }));
}

// Regression: an SBOM lacked it, and called itself complete.
BOOST_AUTO_TEST_CASE(the_last_package_was_lost_if_no_empty_line_followed_it) {
  const std::string last = "Package: b\nStatus: install ok installed\nVersion: 2\nDescription: d\n more\n";
  const auto list = dpkg_applications("Package: a\nStatus: install ok installed\nVersion: 1\n\n" + last);
  BOOST_REQUIRE_EQUAL(list.packages.size(), 2U);
  BOOST_TEST(list.packages[1].name == "b");
  BOOST_TEST(list.packages[1].description == "more");
  BOOST_TEST(list.left_out == 0U);
  const auto removed = dpkg_applications("Package: a\nStatus: deinstall ok config-files\nVersion: 1\n");
  BOOST_TEST(removed.packages.size() + removed.left_out == 0U);
  const auto of_apk = apk_applications("P:a\nV:1-r0\n\nP:b\nV:2-r0\nF:bin\n");
  BOOST_REQUIRE_EQUAL(of_apk.packages.size(), 2U);
  BOOST_TEST(of_apk.packages[1].name == "b");
  BOOST_TEST(of_apk.left_out == 0U);
}

BOOST_AUTO_TEST_CASE(a_package_that_is_cut_off_was_not_missed) {
  const std::string whole = "Package: a\nStatus: install ok installed\nVersion: 1\n\n";
  const std::string cut = "Package: b\nStatus: install ok installed\nArchitecture: all\nVersion: 1.2.3\n";
  for (const std::size_t size : {4U, 11U, 15U, 40U, 60U, 71U})  // in and behind lines
    BOOST_TEST(dpkg_applications(whole + cut.substr(0, size)).left_out == 1U, size);
  const auto list = dpkg_applications(whole + cut.substr(0, cut.size() - 1));
  BOOST_TEST(list.packages.size() == 1U);
  BOOST_TEST(list.reason == "the last one in the database is cut off");
  for (const auto* text : {"P:a\nV:1-r0\n\nP:b\nV:2-r", "P:a\nV:1-r0\n\nP:b\n", "P:a\nV:1-r0\n\nP"}) {
    const auto of_apk = apk_applications(text);
    BOOST_TEST(of_apk.packages.size() == 1U, text);
    BOOST_TEST(of_apk.left_out == 1U, text);
  }
  BOOST_TEST(pacman_applications("%NAME%\nbash\n\n%VERSION%\n5.2-1\n\n%ARC").left_out == 1U);
}

BOOST_FIXTURE_TEST_CASE(a_list_of_packages_that_was_cut_off_was_called_complete, pretended) {
  const auto told = [&](const char* format, const std::string& path, const std::string& text) {
    guest.add({{path, "-" + text}});
    InspectedSystem system{.root = "/dev/sda1", .type = "linux", .package_format = format};
    string_list corrections;
    add_applications(guest.tree(), system, "unknown", corrections);
    BOOST_TEST(system.applications.size() == 1U);
    BOOST_TEST(system.applications_complete == system.failures.empty());
    return support::text(system.failures);
  };
  const std::string status = "/var/lib/dpkg/status";
  const std::string one = "Package: a\nStatus: install ok installed\nVersion: 1\n";
  BOOST_TEST(told("deb", status, one).empty());
  BOOST_TEST(told("deb", status, one + "\nPackage: b\nSta") ==
             "applications: packages were left out (1): the last one in the database is cut off\n");
  guest.sizes[status] = 60'000'000;
  InspectedSystem large{.root = "/dev/sda1", .type = "linux", .package_format = "deb"};
  string_list corrections;
  add_applications(guest.tree(), large, "unknown", corrections);
  BOOST_TEST(!large.applications_complete);
  BOOST_TEST(has(support::text(large.failures), "has 60000000 bytes, more than the 50000000 that are read"));
  const std::string local = "/var/lib/pacman/local/";
  guest.add({{local + "b/desc", "-%NAME%\nb\n"}});
  guest.files.erase(status);
  BOOST_TEST(has(told("pacman", local + "a/desc", "%NAME%\na\n\n%VERSION%\n1-1\n\n%ARCH%\nany\n"),
                 "/var/lib/pacman/local/b/desc: has no name, version or architecture"));
}

// Regression: only the packages of each system were bounded, of which there may be thousands.
BOOST_FIXTURE_TEST_CASE(subvolumes_that_share_a_database_took_gigabytes, pretended) {
  guest.add({{"/lib/apk/db/installed", "-P:a\nV:1-r0\nT:" + std::string(600'000, 'x') + "\n\n"}});
  package_total total(1U << 20U);
  std::size_t read = 0;
  for (int i = 0; i < 4; ++i) {
    InspectedSystem system{.root = "/dev/sda1", .type = "linux", .package_format = "apk"};
    string_list corrections;
    if (total.has_room_for(system)) add_applications(guest.tree(), system, "unknown", corrections);
    total.add(system);
    read += system.applications.size();
    BOOST_TEST(system.applications_complete == (i < 2));
    BOOST_TEST(text(system.failures) ==
               (i < 2 ? "" : "applications: not read: those of the systems before take more than 1 MiB\n"));
  }
  BOOST_TEST(read == 2U);
}

// Regression: libguestfs' list without the last package was called complete.
BOOST_AUTO_TEST_CASE(a_list_that_guestkit_could_not_compare_was_called_complete) {
  struct : pretended_guest {
    std::vector<Application2> inspect_list_applications2(const std::string& /*root*/) override {
      Application2 app;
      app.app2_name = "a";
      app.app2_version = "1";
      return {app};
    }
  } guest;
  const auto told = [&](const std::string& database) {
    guest.add({{"/var/lib/dpkg/status", database}});
    InspectedSystem system{.root = "/dev/sda1", .type = "linux", .package_format = "deb"};
    string_list corrections;
    add_applications(guest.tree(), system, "deb", corrections);
    BOOST_TEST(system.applications_complete == system.failures.empty());
    return std::to_string(system.applications.size()) + ' ' + support::text(system.failures);
  };
  const std::string a = "-Package: a\nStatus: install ok installed\nVersion: 1\n\n";
  const std::string last = "Package: b\nStatus: install ok installed\nVersion: ";
  BOOST_TEST(told(a + last + "2\n") == "2 ");
  BOOST_TEST(told(a + last + "x:2\n") ==
             "1 applications: libguestfs may have left out packages: /var/lib/dpkg/status has a package with "
             "an odd epoch\n");
  BOOST_TEST(has(told("-" + last + "1\n\n"), "not all of its 1 are among the 1 that guestkit finds"));
  BOOST_TEST(has(told("?" + a), "may have left out packages"));
}

BOOST_AUTO_TEST_CASE(a_long_line_of_dpkg_is_cut_as_libguestfs_cuts_it) {
  const auto cut = "Depends: " + std::string(1023 - 9, 'x');
  const auto apps =
      dpkg_applications("Package: a\nStatus: installed\nVersion: 1\n" + cut + "Package: evil\n\n");
  BOOST_TEST(apps.packages.at(0).name == "evil");
}

BOOST_AUTO_TEST_CASE(a_description_of_many_lines_took_dpkg_s_reader_hours) {
  std::string text = "Package: a\nStatus: installed\nVersion: 1\nDescription: d\n";
  constexpr std::size_t lines = 1'000'000;
  for (std::size_t i = 0; i < lines; ++i) text += " \n";
  const auto begin = std::clock();
  const auto apps = dpkg_applications(text + "\n");
  const auto seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  BOOST_TEST(apps.packages.at(0).description.size() == lines - 1);
  BOOST_TEST(seconds < 10);
}

BOOST_AUTO_TEST_CASE(alpine_packages) {
  const auto list = apk_applications(
      "P:musl\nV:1.2-r3\nA:x86_64\nT:c library\nU:u\nL:MIT\no:musl-src\nm:A <a@b>\n"
      "F:lib\n\nP:half\n\n");
  BOOST_TEST(list.left_out == 0U);
  const auto& apps = list.packages;
  BOOST_REQUIRE_EQUAL(apps.size(), 1U);
  BOOST_TEST(apps[0].release == "3");
  BOOST_TEST(apps[0].description == "c library");
  BOOST_TEST(apps[0].license == "MIT");
  BOOST_TEST(apps[0].source_package == "musl-src");
  BOOST_TEST(apps[0].publisher == "A <a@b>");
}

// Regression: the limit was that of rpm's and pacman's databases alone.
BOOST_FIXTURE_TEST_CASE(a_database_of_fifty_megabytes_took_gigabytes, pretended) {
  const auto repeated = [](const std::string& stanza, std::size_t count) {
    std::string all;
    for (std::size_t i = 0; i < count; ++i) all += stanza;
    return all;
  };
  const std::string of_dpkg = "Package: a\nStatus: installed\nVersion: 1\n\n";
  for (const auto& list : {apk_applications(repeated("P:a\nV:1\n\n", most_packages + 2)),
                           dpkg_applications(repeated(of_dpkg, most_packages + 2))}) {
    BOOST_TEST(list.packages.size() == most_packages);
    BOOST_TEST(list.left_out == 2U);
    BOOST_TEST(list.reason == "the database has more than 100000 packages");
  }
  for (int i = 0; i < 8; ++i)  // Debian without dpkg: several packages may be in one file
    guest.add({{"/var/lib/dpkg/status.d/" + std::to_string(i), "-" + repeated(of_dpkg, 20'000)}});
  const auto list = packages_below({guest, "/var/lib/dpkg/status.d"}, "", dpkg_applications);
  BOOST_TEST(list.packages.size() == most_packages);
  BOOST_TEST(list.left_out == 3U);
  BOOST_TEST(has(list.reason, "more than 100000 packages"), list.reason);
}

BOOST_AUTO_TEST_CASE(packages_of_pacman_are_a_file_each) {
  const auto read = [](const char* text) { return pacman_applications(text).packages; };
  const auto apps =
      read("%NAME%\nbash\n\n%VERSION%\n1:5.2-1\n\n%DESC%\nthe shell\n%URL%\n%ARCH%\n\n%ARCH%\nx86_64\n");
  BOOST_REQUIRE_EQUAL(apps.size(), 1U);
  BOOST_TEST(apps[0].name == "bash");
  BOOST_TEST(apps[0].epoch == 1);
  BOOST_TEST(apps[0].version == "5.2");
  BOOST_TEST(apps[0].release == "1");
  BOOST_TEST(apps[0].url == "%ARCH%");  // like libguestfs
  const auto more = read(
      "%NAME%\na\n\n%BASE%\nb\n\n%VERSION%\n1-1\n\n%ARCH%\nany\n\n%LICENSE%\nMIT\n%ZLIB%\n\n"
      "%PACKAGER%\nA <a@b>\n");
  BOOST_REQUIRE_EQUAL(more.size(), 1U);
  BOOST_TEST(more[0].license == "MIT AND %ZLIB%");
  BOOST_TEST(more[0].source_package == "b");
  BOOST_TEST(more[0].publisher == "A <a@b>");
  BOOST_TEST(read("%NAME%\na\n\n%VERSION%\n1\n\n%ARCH%\nany\n").empty());
  BOOST_TEST(read("").empty());
  BOOST_TEST(doubts([&] { read("%VERSION%\nx:1-1\n"); }));
}

// Parsing texts by guestkit's own rules.

BOOST_FIXTURE_TEST_CASE(what_os_release_says_is_reported_as_it_says_it, pretended) {
  InspectedSystem system{.distro = "unknown", .product_name = "unknown"};
  system.os_release = {{"ID", "photon"}, {"NAME", "VMware Photon OS"}, {"VERSION_ID", "4.0"}};
  take_release(guest.tree(), system);
  BOOST_TEST(system.distro == "photon");
  BOOST_TEST(system.product_name == "VMware Photon OS");
  BOOST_TEST(system.major_version == 4);
  system.os_release = {{"ID", "arch"}, {"PRETTY_NAME", "Arch Linux"}, {"VERSION_ID", "20240101123456"}};
  take_release(guest.tree(), system);
  BOOST_TEST(system.distro == "archlinux");
  BOOST_TEST(system.product_name == "Arch Linux");
}

BOOST_AUTO_TEST_CASE(a_boot_loaders_entry_names_the_deployment) {
  const auto entry = ostree_entry_in(
      "title Fedora\nversion 2\noptions root=UUID=1 ostree=/ostree/boot.1/fedora/abc/0 rw\nlinux /x\n");
  BOOST_REQUIRE(entry);
  BOOST_TEST(entry->version == 2);
  BOOST_TEST(entry->link == "/ostree/boot.1/fedora/abc/0");
  BOOST_TEST(!ostree_entry_in("version 1\noptions root=/dev/sda1 ostree=/etc/x\n").has_value());
  BOOST_TEST(!ostree_entry_in("options\n\n").has_value());
}

// Regression: an entry of 2 MiB was kept, and that of every subvolume, until the inspection ended.
BOOST_AUTO_TEST_CASE(boot_loaders_entries_of_megabytes_were_kept) {
  const std::string link = "/ostree/boot.1/fedora/abc/0";
  const auto linked = [](const std::string& to) { return ostree_entry_in("options ostree=" + to + "\n"); };
  BOOST_TEST(!linked(link + std::string(4096, '/')).has_value());
  BOOST_TEST(linked(link + std::string(4000, '/')).has_value());
  struct : with_count {
    buffer pread(const std::string& path, int count, std::int64_t offset) override {
      if (path.starts_with("/loader/")) opened.push_back(path);
      return with_count::pread(path, count, offset);
    }
    string_list opened = {};
  } guest;
  guest.add({{"/ostree/deploy/a/deploy/0/etc/os-release", "-ID=fedora\n"},
             {"/loader/entries/0.conf", "-" + std::string(64U << 10U, '\n')},
             {"/loader/entries/1.conf", "-" + std::string((64U << 10U) + 1, '\n')}});
  layout known(guest);
  BOOST_TEST(own_inspection(guest, known).read_chosen("/dev/sda1", true).has_value());
  BOOST_TEST(guest.opened == string_list{"/loader/entries/0.conf"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(users_are_whole_lines_of_passwd) {
  const auto users =
      users_of("root:x:0:0:root,,,:/root:/bin/sh\nshort:x:1\n#c:x:1:1:::\nx:x:one:1:::\n:x:1:1:::\n");
  BOOST_TEST(users.size() == 1U);
  BOOST_TEST(users[0].full_name == "root");
}

BOOST_AUTO_TEST_CASE(a_kernel_is_known_by_its_modules_or_its_image) {
  const auto kernels =
      kernels_of({"6.1"}, {"vmlinuz-6.1", "initrd.img-6.1", "vmlinuz-5.10", "config-6.1", "vmlinuz-"});
  BOOST_TEST(kernels.size() == 2U);
  BOOST_TEST(kernels[0].version == "5.10");
  BOOST_TEST(!kernels[0].modules);
  BOOST_TEST(kernels[1].initrd == "/boot/initrd.img-6.1");
}

BOOST_AUTO_TEST_CASE(alpine_s_kernel_had_no_initrd) {
  const auto kernels = kernels_of({"6.6.58-0-lts"}, {"vmlinuz-lts", "initramfs-lts", "config-6.6.58-0-lts"});
  BOOST_REQUIRE_EQUAL(kernels.size(), 2U);
  BOOST_TEST(kernels[1].version == "lts");
  BOOST_TEST(kernels[1].initrd == "/boot/initramfs-lts");
}

// Regression: each kernel's initrd was looked for in the whole list, 10^12 comparisons for a hostile guest.
BOOST_AUTO_TEST_CASE(a_million_names_in_boot_took_hours, PATIENCE) {
  std::vector<std::string> names;
  for (int i = 300'000; i-- > 0;) names.push_back("initrd-" + std::to_string(i));
  const auto kernels = kernels_of(names, names);
  BOOST_TEST(kernels.size() == names.size());
  BOOST_TEST(kernels_of({"7"}, names).front().initrd == "/boot/initrd-7");
}

BOOST_AUTO_TEST_CASE(network_files_of_every_kind) {
  const auto debian =
      ifupdown("auto lo\niface eth0 inet static\n address 1.2.3.4/24\n gateway 1.2.3.1\niface\n", "f");
  BOOST_TEST(debian.size() == 1U);
  BOOST_TEST(debian[0].gateway == "1.2.3.1");
  const auto red_hat =
      ifcfg("BOOTPROTO=none\nIPADDR=1.2.3.4\nPREFIX=24\nDNS1='9.9.9.9'\n", "/etc/ifcfg-eth1");
  BOOST_TEST(red_hat.name == "eth1");
  BOOST_TEST(red_hat.addresses.at(0) == "1.2.3.4/24");
  const auto systemd = networkd("[Match]\nName=en*\n[Network]\nDHCP=yes\nDNS=1.1.1.1 ::1\n", "f");
  BOOST_TEST(systemd.method == "dhcp");
  BOOST_TEST(systemd.dns.size() == 2U);
  const auto manager =
      network_manager("[ipv4]\nmethod=manual\naddress1=1.2.3.4/24,1.2.3.1\ndns=9.9.9.9;\n", "f");
  BOOST_TEST(manager.method == "static");
  BOOST_TEST(manager.gateway == "1.2.3.1");
  for (const std::string& hostile :
       {std::string("[\n]\n=\n"), std::string("\0\0=\xff\n", 5), std::string(10000, '[')}) {
    ifupdown(hostile, "");
    ifcfg(hostile, "");
    networkd(hostile, "");
    network_manager(hostile, "");
  }
}

// Regression: PREFIX was added to every address, and PREFIX0 to none.
BOOST_AUTO_TEST_CASE(an_address_of_red_hats_had_the_prefix_of_another) {
  const auto found = ifcfg(
      "IPADDR=10.0.0.1\nPREFIX=8\nIPADDR0=192.168.0.1\nPREFIX0=24\nIPADDR1=192.168.1.1\nIPADDR2=1.2.3.4/16\n"
      "PREFIX2=9\nIPADDRESS=5.5.5.5\nIPV6ADDR=fe80::1\nIPV6ADDR_SECONDARIES=\"fe80::2/64 fe80::3\"\n",
      "ifcfg-eth0");
  const string_list right{"10.0.0.1/8", "192.168.0.1/24", "192.168.1.1", "1.2.3.4/16",
                          "fe80::1",    "fe80::2/64",     "fe80::3"};
  BOOST_TEST(found.addresses == right, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(addresses_that_suse_names_were_dropped) {
  const auto found = ifcfg(
      "BOOTPROTO='static'\nIPADDR='192.168.0.1'\nPREFIXLEN='24'\nIPADDR_1='10.0.0.1'\nPREFIXLEN_1='8'\n"
      "IPADDR_vpn='10.1.0.1/16'\nPREFIXLEN_vpn='9'\nIPADDR_2='10.2.0.1'\nIPADDR_3=''\n"
      "IPADDR_START=10.3.0.1\nIPADDR_END=10.3.0.9\n",  // of Red Hat's ifcfg-eth0-range0
      "ifcfg-eth0");
  const string_list right{"192.168.0.1/24", "10.0.0.1/8", "10.2.0.1", "10.1.0.1/16"};
  BOOST_TEST(found.addresses == right, boost::test_tools::per_element());
}

// Regression: all but "no" and "false" was told as dhcp.
BOOST_AUTO_TEST_CASE(networkd_that_was_told_off_was_said_to_use_dhcp) {
  const auto method = [](const std::string& word) {
    return networkd("[Network]\nDHCP=" + word + "\n", "f").method;
  };
  for (const auto* word : {"", "no", "False", "off", "0", "n", "f", "none", "nonsense"})
    BOOST_TEST(method(word) == "static", word);
  for (const auto* word : {"yes", "True", "ON", "1", "y", "t", "ipv4", "ipv6", "both"})
    BOOST_TEST(method(word) == "dhcp", word);
}

// Regression: the first value counted, and a gateway in a route not at all.
BOOST_AUTO_TEST_CASE(networkd_has_its_last_value_but_all_it_matches_and_its_gateway_in_a_route) {
  const auto found = networkd(
      "[Match]\nName=lo\nName=\nName=eth*\nMACAddress=a\n[Match]\nName=wan lan\nMACAddress=b\n"
      "[Network]\nDHCP=yes\nDHCP=no\n[Route]\nDestination=10.0.0.0/8\n"
      "Gateway=1.2.3.2\n[Route]\nDestination=0.0.0.0/0\n[Route]\nGateway=1.2.3.1\n[Route]\nGateway=1.2.3.3\n"
      "[Address]\nAddress=1.2.3.4/24\nAddress=\n[Address]\nAddress=1.2.3.5/24\n",
      "f");
  BOOST_TEST(found.name == "eth* wan lan");
  BOOST_TEST(found.mac == "a b");
  BOOST_TEST(found.method == "static");
  BOOST_TEST(found.gateway == "1.2.3.1");
  BOOST_TEST(found.addresses == (string_list{"1.2.3.4/24", "1.2.3.5/24"}), boost::test_tools::per_element());
  for (const std::string route : {"0.0.0.0/0", "::/0"})
    BOOST_TEST(networkd("[Route]\nDestination=" + route + "\nGateway=a\n", "f").gateway == "a", route);
  BOOST_TEST(networkd("[Route]\nGateway=a\n[Network]\nGateway=b\n", "f").gateway == "b");
  BOOST_TEST(network_manager("[ipv4]\nmethod=auto\nmethod=manual\n[ipv4]\ngateway=a\n", "f").method ==
             "static");
}

// Keys and trees.

BOOST_AUTO_TEST_CASE(a_key_file_gives_its_first_line_and_must_be_a_file) {
  const auto path = std::filesystem::temp_directory_path() / ("key-" + std::to_string(::getpid()));
  std::ofstream(path) << "secret\nmore\n";
  BOOST_TEST(passphrase_of({"", path.string(), InspectKey::Kind::file}) == "secret");
  std::filesystem::remove(path);
  BOOST_CHECK_THROW(passphrase_of({"", path.string(), InspectKey::Kind::file}), Error);
  BOOST_CHECK_THROW(passphrase_of({"", "/dev/zero", InspectKey::Kind::file}), Error);
}

// Regression: what came after 8192 bytes was cut off in silence, and the rest was tried as a key.
BOOST_AUTO_TEST_CASE(a_long_line_of_a_key_file_was_cut) {
  const auto path = std::filesystem::temp_directory_path() / ("long-key-" + std::to_string(::getpid()));
  const InspectKey key{"", path.string(), InspectKey::Kind::file};
  for (const std::size_t size : {0U, 8192U, 8193U, 100'000U, 1U << 20U}) {
    const std::string line(size, 'k');
    std::ofstream(path) << line;
    BOOST_TEST((passphrase_of(key) == line), size);
    std::ofstream(path) << line << "\nmore\n";
    BOOST_TEST((passphrase_of(key) == line), size);
  }
  std::ofstream(path) << std::string((1U << 20U) + 1, 'k') << '\n';
  BOOST_CHECK_EXCEPTION(passphrase_of(key), Error, [](const Error& error) {
    return error.error_number() == EFBIG && has(error.message(), "first line is longer than 1048576 bytes");
  });
  std::filesystem::remove(path);
}

BOOST_FIXTURE_TEST_CASE(a_binary_key_file_ended_the_inspection, with_luks) {
  const auto path = std::filesystem::temp_directory_path() / ("binary-key-" + std::to_string(::getpid()));
  std::ofstream(path) << std::string("a\0b", 3);
  InspectOptions options;
  options.keys = {{"", path.string(), InspectKey::Kind::file},
                  {"", "/nonexistent/key", InspectKey::Kind::file},
                  {"", std::string("se\0cret", 7)},
                  {"", "good"}};
  const auto found = detail::inspect(*this, options, {});
  const std::string why =
      "it holds a NUL byte, and libguestfs hands on no such key: add a key of text to the device, with "
      "cryptsetup luksAddKey\n";
  BOOST_TEST(has(text(found.failures), "keys: the key file " + path.string() + " cannot be used: " + why +
                                           "keys: the key file /nonexistent/key cannot be used: No such file "
                                           "or directory\nkeys: a passphrase cannot be used: " +
                                           why),
             text(found.failures));
  BOOST_REQUIRE_EQUAL(found.unopened.size(), 1U);
  BOOST_TEST(has(found.unopened[0].message, "none of the keys that were tried opens it (1)"),
             found.unopened[0].message);
  for (const std::optional<std::string>& root : {std::optional<std::string>(), {"/dev/sda1"}})
    BOOST_CHECK_EXCEPTION(detail::mount_guest(*this, {.root = root, .keys = options.keys}), Error,
                          [&](const Error& error) { return has(error.message(), path.string()); });
  // Only the first line is the key.
  std::ofstream(path) << std::string("secret\n\0", 8);
  BOOST_TEST(passphrase_of(options.keys[0]) == "secret");
  std::filesystem::remove(path);
}

// Regression: the second inspection said that none of the keys opens it, and mount_guest() failed.
BOOST_FIXTURE_TEST_CASE(a_device_that_an_inspection_had_opened_was_shut_to_the_next, opened_luks) {
  for (const auto& now : std::vector<std::vector<InspectKey>>{keys, {{.secret = "wrong"}}, {}}) {
    const auto found = detail::inspect(*this, {.keys = now}, {});
    BOOST_TEST(found.unopened.empty());
    BOOST_REQUIRE_EQUAL(found.layers.size(), 1U);
    BOOST_TEST(found.layers[0].devices == string_list{"/dev/mapper/luks-u"},
               boost::test_tools::per_element());
  }
  detail::mount_guest(*this, {.keys = keys});
  BOOST_TEST(mounted == string_list{"/dev/mapper/luks-u /"}, boost::test_tools::per_element());
  maps.clear();  // by cryptsetup_close
  BOOST_TEST(detail::inspect(*this, {}, {}).unopened.size() == 1U);
  BOOST_TEST(detail::inspect(*this, {.keys = keys}, {}).unopened.empty());
}

// Regression: none of the keys opened it, said the report, because the first one had the name already.
BOOST_FIXTURE_TEST_CASE(the_snapshot_of_an_encrypted_volume_was_shut_beside_it, opened_luks) {
  parts = {"/dev/sda1", "/dev/sda2"};
  const auto found = detail::inspect(*this, {.keys = keys}, {});
  BOOST_TEST(found.unopened.empty());
  BOOST_TEST((maps == std::map<std::string, std::string>{{"luks-u", parts[0]}, {"luks-u-2", parts[1]}}));
}

// Regression: without a UUID, /dev/a/bc and /dev/ab/c had one name.
BOOST_FIXTURE_TEST_CASE(volumes_whose_names_differ_in_the_slash_alone_were_not_both_opened, opened_luks) {
  uuid.clear();
  parts = {"/dev/a/bc", "/dev/ab/c"};
  detail::inspect(*this, {.keys = keys}, {});
  BOOST_TEST(maps["cryptabc"] == parts[0]);
  BOOST_TEST(maps["cryptabc-2"] == parts[1]);
}

BOOST_AUTO_TEST_CASE(a_symlink_may_climb_only_the_directories_that_we_made) {
  BOOST_TEST(stays_inside("file", 0));
  BOOST_TEST(stays_inside("a/./b//c", 0));
  BOOST_TEST(stays_inside("../a", 1));
  BOOST_TEST(!stays_inside("../a", 0));
  BOOST_TEST(!stays_inside("/etc/passwd", 5));
  BOOST_TEST(!stays_inside("link/../../..", 1));
  BOOST_TEST(!stays_inside("", 1));
}

// Regression: all of its names were read before max_entries was looked at.
BOOST_FIXTURE_TEST_CASE(a_directory_of_millions_was_read_whole_for_a_walk_of_few, pretended) {
  guest.add({{"/data/many/name", "-"}});
  const auto is_refused = [](const Error& error) {
    return error.error_number() == EFBIG && has(error.message(), "its names take 300000000 bytes");
  };
  const std::vector<std::pair<std::string, std::string>> cases{
      {"/data/many", "/"}, {"/data/many", "/data"}, {"/", "/"}};
  for (const auto& [large, top] : cases) {
    guest.sizes = {{large, 300'000'000}};
    BOOST_CHECK_EXCEPTION(detail::walk(guest, top, {}), Error, is_refused);
  }
  BOOST_TEST(detail::walk(guest, "/data", {}).size() == 2U);
  // Directories do not shrink when their files are removed.
  guest.sizes = {{"/data/many", 1'000'000'000}};
  for (const int depth : {0, 1})  // one level alone was read whole
    BOOST_CHECK_EXCEPTION(detail::walk(guest, "/data/many", {.max_entries = 3, .max_depth = depth}), Error,
                          [](const Error& e) { return e.error_number() == EFBIG; });
  guest.sizes = {{"/data/many", 2'000'000}};
  BOOST_TEST(detail::walk(guest, "/", {.max_entries = 3}).size() == 3U);
}

// Regression: its limit was what the other directories had left of the whole tree's.
BOOST_FIXTURE_TEST_CASE(a_directory_that_once_was_large_ended_a_walk_behind_many_files, pretended) {
  for (int i = 0; i < 4000; ++i) guest.add({{"/data/a/" + std::to_string(i), "-"}});
  guest.add({{"/data/b/name", "-"}});
  guest.sizes = {{"/data/b", 2'400'000}};
  BOOST_TEST(detail::walk(guest, "/data", {.max_entries = 20'000}).size() == 4003U);
}

// Regression: after `cp -r DISK:/srv .` at home, the guest's /srv/key -> ../.ssh/id_rsa was the user's own.
BOOST_FIXTURE_TEST_CASE(a_symlink_of_a_copied_tree_led_to_what_lies_beside_it, pretended) {
  const support::temporary_folder host;
  guest.add({{"/srv/up", "l.."},
             {"/srv/key", "l../.ssh/id_rsa"},
             {"/srv/below/over", "l../../.ssh/id_rsa"},
             {"/srv/below/file", "l../file"},
             {"/srv/file", "-"}});
  const auto copied = detail::extract(guest, "/srv", host.path, {});
  std::set<std::string> skipped;
  for (const auto& each : copied.skipped) skipped.insert(each.path);
  BOOST_TEST(skipped == (std::set<std::string>{"/srv/up", "/srv/key", "/srv/below/over"}),
             boost::test_tools::per_element());
  BOOST_TEST(std::filesystem::exists(host.path / "srv" / "below" / "file"));
  BOOST_TEST(copied.symlinks == 1U);
  guest.add({{"/srv/..", "d"}});
  BOOST_CHECK_EXCEPTION(detail::extract(guest, "/srv/..", host.path, {}), Error,
                        [](const Error& e) { return e.error_number() == EINVAL; });
  // Copied by itself, a symlink is the whole tree.
  BOOST_TEST(detail::extract(guest, "/srv/below/file", host.path, {}).skipped.size() == 1U);
  BOOST_TEST(!std::filesystem::exists(std::filesystem::symlink_status(host.path / "file")));
  BOOST_CHECK_THROW(detail::extract(guest, "/srv", host.path, {.max_entries = 0}), Error);
}

// Regression: libguestfs' readdir tells nothing of such a directory, not even an error.
BOOST_FIXTURE_TEST_CASE(a_damaged_directory_was_an_empty_one, pretended) {
  guest.add({{"/srv/damaged", "d?"}, {"/srv/empty", "d"}});
  const auto says_so = [](const Error& e) {
    return e.error_number() == EIO && has(e.what(), "/srv/damaged: not even \".\" can be read");
  };
  BOOST_CHECK_EXCEPTION(detail::walk(guest, "/", {}), Error, says_so);
  const support::temporary_folder host;
  const auto skipped = detail::extract(guest, "/srv", host.path, {}).skipped;
  BOOST_REQUIRE(skipped.size() == 1U);
  BOOST_TEST(skipped[0].path == "/srv/damaged");
  BOOST_TEST(detail::walk(guest, "/srv/empty", {}).empty());
}

// Regression: whoever looked for files in all of the guest did not learn that some had been left out.
BOOST_FIXTURE_TEST_CASE(files_too_deep_for_a_walk_vanished_without_a_word, pretended) {
  guest.add({{"/a/b/c/file", "-"}, {"/d", "d"}});
  const auto left_out = [&](int depth) {
    std::string all;
    for (const auto& file : detail::walk(guest, "/", {.max_depth = depth}))
      if (file.not_entered) all += file.path + ' ';
    return all;
  };
  BOOST_TEST(left_out(0) == "/a /d ");
  BOOST_TEST(left_out(1) == "/a/b ");
  BOOST_TEST(left_out(2) == "/a/b/c ");
  BOOST_TEST(left_out(3) == "");
}

/// Directories without an end, with a symlink in each.
struct endless_directory : pretended_guest {
  std::vector<Dirent> readdir(const std::string& /*directory*/) override {
    std::vector<Dirent> all(2);
    all[0].name = std::string(255, 'd');
    all[1].name = "link";
    return all;
  }
  StatNS statns(const std::string& /*path*/) override { return {}; }
  std::vector<StatNS> lstatnslist(const std::string& /*directory*/, const string_list& /*names*/) override {
    std::vector<StatNS> all(2);
    all[0].st_mode = S_IFDIR;
    all[1].st_mode = S_IFLNK;
    return all;
  }
  string_list readlinklist(const std::string& /*directory*/, const string_list& names) override {
    return string_list(names.size(), target);
  }
  const std::string target = std::string(4095, 't');
};

// Regression: only the entries were counted, which have up to 8 KB each.
BOOST_AUTO_TEST_CASE(a_walk_took_gigabytes_for_long_paths_and_targets) {
  endless_directory guest;
  BOOST_TEST(detail::walk(guest, "/", {.max_depth = 9, .max_path_bytes = 100'000}).size() == 20U);
  BOOST_CHECK_EXCEPTION(detail::walk(guest, "/", {.max_path_bytes = 100'000}), Error, [](const auto& error) {
    return error.error_number() == EFBIG && has(error.message(), "/: the paths take more than 100000 bytes");
  });
}

/// One directory with very many symlinks, and a few files. Counts what it is asked for.
struct crowded_directory : pretended_guest {
  explicit crowded_directory(std::size_t links) : links_(links) { add({{"/data", "d"}}); }

  std::vector<Dirent> readdir(const std::string& /*directory*/) override {
    std::vector<Dirent> all(links_ + 3);
    all[0].name = ".";
    all[1].name = "file";
    all[2].name = "file2";
    for (std::size_t i = 0; i < links_; ++i) all[i + 3].name = "link" + std::to_string(i);
    return all;
  }
  std::vector<StatNS> lstatnslist(const std::string& directory, const string_list& names) override {
    if (directory == "/") return pretended_guest::lstatnslist(directory, names);
    examined += names.size();
    std::vector<StatNS> all(names.size());
    for (std::size_t i = 0; i < names.size(); ++i)
      all[i].st_mode = names[i].starts_with("link") ? S_IFLNK : S_IFREG;
    return all;
  }
  string_list readlinklist(const std::string& /*directory*/, const string_list& names) override {
    resolved.insert(names.begin(), names.end());
    return string_list(names.size(), "/" + std::string(4094, 't'));
  }
  buffer pread(const std::string& /*path*/, int /*count*/, std::int64_t /*offset*/) override {
    return buffer_of("");
  }

  std::size_t examined = 0;
  std::set<std::string> resolved = {};

 private:
  std::size_t links_;
};

// Regression: the limits were looked at once all of the directory was in memory, and 4 KB for each symlink.
BOOST_AUTO_TEST_CASE(a_directory_of_many_symlinks_took_gigabytes_whatever_the_limits_were) {
  crowded_directory guest(20'000);
  const support::temporary_folder host;
  const auto is_refused = [](const Error& error) {
    return error.error_number() == EFBIG && has(error.message(), "more than 1000 entries");
  };
  BOOST_CHECK_EXCEPTION(detail::walk(guest, "/data", {.max_entries = 1000}), Error, is_refused);
  BOOST_CHECK_EXCEPTION(detail::extract(guest, "/data", host.path, {.max_entries = 1000}), Error, is_refused);
  BOOST_TEST(guest.examined == 0U);

  const auto takes_too_much = [](const Error& error) {
    return error.error_number() == EFBIG && has(error.message(), "the paths take more than 100000 bytes");
  };
  std::filesystem::remove_all(host.path / "data");
  BOOST_CHECK_EXCEPTION(detail::walk(guest, "/data", {.max_path_bytes = 100'000}), Error, takes_too_much);
  BOOST_CHECK_EXCEPTION(detail::extract(guest, "/data", host.path, {.max_path_bytes = 100'000}), Error,
                        takes_too_much);
  BOOST_TEST(guest.resolved.size() < 2000U);
}

// Regression: one symlink in a directory, and libguestfs was asked where each of its files leads.
BOOST_AUTO_TEST_CASE(files_beside_a_symlink_were_read_as_links) {
  crowded_directory guest(1);
  const auto files = detail::walk(guest, "/data", {});
  BOOST_TEST(guest.resolved == std::set<std::string>{"link0"}, boost::test_tools::per_element());
  BOOST_REQUIRE_EQUAL(files.size(), 3U);
  BOOST_TEST(files[1].target.empty());
  BOOST_TEST(files[2].target.size() == 4095U);
}

// Regression: a symlink that was left out kept its target in memory, 4 KB for each of a million.
BOOST_AUTO_TEST_CASE(the_reason_for_a_symlink_left_out_had_all_of_its_target) {
  crowded_directory guest(2500);  // more than one message
  const support::temporary_folder host;
  const auto done = detail::extract(guest, "/data", host.path, {});
  BOOST_TEST(done.files == 2U);
  BOOST_TEST(done.skipped.size() == 2500U);
  for (const auto& each : done.skipped) BOOST_TEST(each.reason.size() < 250U);
}

// Regression: the error held the name as it is, and cleared the screen that showed it.
BOOST_FIXTURE_TEST_CASE(a_name_in_the_guest_acted_on_the_terminal_that_showed_an_error, pretended) {
  const std::string name = "\x1b[2J", long_name = name + std::string(300, 'n');
  guest.add({{"/large/" + name, "-12345678"}, {"/many/" + name + "/a", "-"}, {"/srv/" + long_name, "-"}});
  const auto message = [](const auto& call) {
    try {
      call();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const support::temporary_folder host;
  const auto copy = [&](const std::string& path, const ExtractOptions& options) {
    return message([&] { detail::extract(guest, path, host.path, options); });
  };
  const std::vector<std::string> messages{
      copy("/large", {.max_bytes = 4}),
      copy("/many/" + name, {.max_entries = 0}),
      copy("/many/" + name, {.max_path_bytes = 1}),
      copy("/srv/" + long_name, {}),
      copy("/" + name, {}),
      copy(name, {}),
      copy("/many/" + name + "/..", {}),
      message([&] { detail::read_small(guest, "/large/" + name, 4); }),
      message([&] { detail::read_small(guest, "/many/" + name); }),
  };
  for (const auto& each : messages) {
    BOOST_TEST(has(each, R"(\x1b[2J)"), each);
    BOOST_TEST(each.find('\x1b') == std::string::npos);
  }
}

// Regression: such a name, or a second file of the same one, ended the whole copy.
BOOST_FIXTURE_TEST_CASE(one_name_that_the_host_cannot_make_lost_the_whole_copy, pretended) {
  const std::string long_name(300, 'n');  // not even with the smallest characters
  guest.add({{"/srv/" + long_name + "-file", "-"},
             {"/srv/" + long_name + "-directory/file", "-"},
             {"/srv/" + long_name + "-link", "lz"},
             {"/srv/z", "-1"}});
  const support::temporary_folder host;
  const auto copied = detail::extract(guest, "/srv", host.path, {});
  BOOST_TEST(copied.files == 1U);
  BOOST_TEST(std::filesystem::exists(host.path / "srv" / "z"));
  BOOST_TEST(copied.skipped.size() == 3U);
  for (const auto& each : copied.skipped) BOOST_TEST(each.reason == "File name too long");

  // What is the whole of the copy is not left out without an error.
  const auto number = [&](const std::string& path) {
    try {
      detail::extract(guest, path, host.path, {});
      return 0;
    } catch (const Error& error) {
      return error.error_number();
    }
  };
  BOOST_TEST(number("/srv/" + long_name + "-file") == ENAMETOOLONG);
  BOOST_TEST(number("/srv/" + long_name + "-directory") == ENAMETOOLONG);
  BOOST_TEST(number("/srv") == EEXIST);
}

// Regression: all of it was left out, and the call returned.
BOOST_FIXTURE_TEST_CASE(a_guest_that_was_extracted_again_was_skipped, pretended) {
  guest.add({{"/srv/file", "-"}});
  for (const std::string path : {"/", "/srv"}) {
    const support::temporary_folder host;
    detail::extract(guest, path, host.path, {});
    BOOST_CHECK_EXCEPTION(detail::extract(guest, path, host.path, {}), Error,
                          [](const Error& error) { return error.error_number() == EEXIST; });
  }
}

// Regression: its last character was cut in two.
BOOST_FIXTURE_TEST_CASE(the_target_of_a_symlink_left_out_was_no_utf_8, pretended) {
  std::string target = "/";
  while (target.size() < 300) target += "é";
  guest.add({{"/srv/link", 'l' + target}});
  const support::temporary_folder host;
  const auto copied = detail::extract(guest, "/srv", host.path, {});
  BOOST_REQUIRE_EQUAL(copied.skipped.size(), 1U);
  const auto& reason = copied.skipped[0].reason;
  BOOST_TEST(detail::visible(reason) == reason);
}

// Regression: a directory does not shrink when its files are removed, and this one ended the whole copy.
BOOST_FIXTURE_TEST_CASE(one_directory_that_once_was_large_lost_the_whole_copy, pretended) {
  guest.add({{"/srv/large/file", "-"}, {"/srv/z", "-1"}});
  guest.sizes = {{"/srv/large", 300'000'000}};
  const support::temporary_folder host;
  const auto copied = detail::extract(guest, "/srv", host.path, {});
  BOOST_TEST(copied.files == 1U);
  BOOST_REQUIRE_EQUAL(copied.skipped.size(), 1U);
  BOOST_TEST(copied.skipped[0].path == "/srv/large");
  BOOST_TEST(has(copied.skipped[0].reason, "its names take 300000000 bytes"));
}

// Regression: what came behind the end of the file was written to the host, past max_bytes.
BOOST_FIXTURE_TEST_CASE(an_appliance_that_was_taken_over_answered_with_more_than_was_asked, talkative) {
  add({{"/data/small", "-1234"}, {"/data/some", "-12345678"}});
  const auto host = std::filesystem::temp_directory_path() / ("more-" + std::to_string(::getpid()));
  std::filesystem::create_directory(host);
  const auto done = detail::extract(*this, "/data", host, {.max_bytes = 12});
  BOOST_TEST(done.bytes == 0U);
  BOOST_REQUIRE_EQUAL(done.skipped.size(), 2U);
  for (const auto& one : done.skipped)
    BOOST_TEST(has(one.reason, "the appliance answers with more than was asked for"), one.reason);
  BOOST_TEST(std::filesystem::file_size(host / "data/small") == 0U);
  std::filesystem::remove_all(host);
  const auto is_refused = [](const Error& error) { return error.error_number() == EPROTO; };
  BOOST_CHECK_EXCEPTION(detail::read_small(*this, "/data/small"), Error, is_refused);
  BOOST_CHECK_EXCEPTION(beginning_of(*this, "/data/small", 2), Error, is_refused);
  BOOST_CHECK_EXCEPTION(fetcher_of(*this, "/data/small")(0, 2), Error, is_refused);
}

// Regression: std::out_of_range, which is no Error, left extract().
BOOST_FIXTURE_TEST_CASE(an_appliance_that_answers_without_a_target_ended_the_program, talkative) {
  add({{"/data/link", "lsmall"}});
  const auto is_refused = [](const Error& error) {
    return error.error_number() == EPROTO &&
           has(error.message(), "/data/link: the appliance answers without");
  };
  BOOST_CHECK_EXCEPTION(detail::extract(*this, "/data/link", "/tmp", {}), Error, is_refused);
  InspectedSystem system{.type = "linux"};
  part_runner run(state());
  add_parts(guest_tree{*this}, InspectPart::locale, system, run);
  BOOST_TEST(system.failures.empty(), text(system.failures));
}

// Regression: memory was reserved for the size that the guest's file claims to have.
BOOST_FIXTURE_TEST_CASE(a_sparse_file_of_exabytes_was_taken_at_its_word, pretended) {
  guest.add({{"/sparse", "-1"}});
  guest.sizes = {{"/sparse", std::numeric_limits<std::int64_t>::max()}};
  BOOST_TEST(detail::read_small(guest, "/sparse", std::numeric_limits<std::size_t>::max()) == "1");
}

BOOST_AUTO_TEST_CASE(what_a_handle_without_an_appliance_says) {
  Guestfs g;
  BOOST_CHECK_THROW(guestkit::inspect(g), Error);
  BOOST_CHECK_THROW(guestkit::read_small(g, "/etc/passwd"), Error);
  BOOST_CHECK_THROW(guestkit::walk(g, "/"), Error);
  BOOST_CHECK_THROW(guestkit::extract(g, "/etc", "/nonexistent"), Error);
  BOOST_CHECK_THROW(guestkit::extract(g, "/etc", std::string("/tmp\0/x", 7)), std::invalid_argument);
  BOOST_CHECK_THROW(guestkit::inspect({"/nonexistent"}), Error);
}

// The layers.

/// An appliance whose first answers come too late for the part that asks.
struct slow_at_first : thin_volume {
  std::set<std::string> asked = {};
  void delay(const std::string& what) {
    if (asked.insert(what).second)
      throw CallTimeout(what.c_str(), "too late", ETIMEDOUT, Cause::call_timeout, Seconds(1), "call_timeout");
  }
  hashtable blkid(const std::string& device) override {
    delay("blkid " + device);
    return thin_volume::blkid(device);
  }
  string_list list_md_devices() override {
    delay("list_md_devices");
    return {"/dev/md127"};
  }
  std::vector<VG> vgs_full() override {
    delay("vgs_full");
    return thin_volume::vgs_full();
  }
  string_list lvs() override {
    delay("lvs");
    return thin_volume::lvs();
  }
};

// Regression: later parts of the inspection were told that there are no volumes.
BOOST_AUTO_TEST_CASE(what_the_end_of_a_part_prevented_was_kept_as_an_empty_answer) {
  slow_at_first guest;
  layout known(guest);
  for (int parts = 0; guest.asked.size() < 6 && parts < 20; ++parts) try {
      known.fact("/dev/sda1", "TYPE");
      known.volumes();
      known.fact("/dev/vg-a/root", "TYPE");
    } catch (const CallTimeout&) {
    }
  BOOST_TEST(known.fact("/dev/sda1", "TYPE") == "LVM2_member");
  BOOST_TEST(known.arrays() == string_list{"/dev/md127"}, boost::test_tools::per_element());
  BOOST_TEST(known.volumes() == string_list{"/dev/vg-a/root"}, boost::test_tools::per_element());
  BOOST_REQUIRE_EQUAL(known.groups().size(), 1U);
  BOOST_TEST(known.fact("/dev/vg-a/root", "TYPE") == "swap");
  BOOST_TEST(!known.is_uncertain());
}

/// As many partitions as a disk takes, on as many disks as an appliance, and arrays on some of them.
struct many_partitions : pretended_guest {
  string_list list_devices() override {
    string_list all;
    for (char letter = 'a'; letter <= 'x'; ++letter) all.push_back(std::string("/dev/sd") + letter);
    return all;
  }
  string_list list_partitions() override {
    string_list all;
    for (const auto& disk : list_devices())
      for (int number = 1; number <= 128; ++number) all.push_back(disk + std::to_string(number));
    return all;
  }
  string_list list_md_devices() override {
    string_list all;
    for (int number = 0; number < 100; ++number) all.push_back("/dev/md" + std::to_string(number));
    return all;
  }
  string_list list_dm_devices() override { return {}; }
};

// Regression: for every line, each disk was compared with every partition, for which each disk was sought.
BOOST_AUTO_TEST_CASE(a_long_fstab_beside_many_partitions_took_minutes) {
  many_partitions guest;
  layout known(guest);
  device_names names(guest, known, "/dev/sda1");
  const auto begin = std::clock();
  for (int line = 0; line < 500; ++line) BOOST_TEST(!names.find("UUID=" + std::to_string(line)).is_known());
  BOOST_TEST(names.find("UUID=uuid-of-sdx128").devices == string_list{"/dev/sdx128"},
             boost::test_tools::per_element());
  BOOST_TEST((std::clock() - begin) / CLOCKS_PER_SEC < 4);
}

BOOST_AUTO_TEST_CASE(a_physical_volume_is_not_damaged_because_the_appliance_calls_its_disk_otherwise) {
  thin_volume guest;
  Inspection found;
  layout known(guest);
  describe_layout(guest, known, found);
  BOOST_TEST(found.unopened.empty());
  BOOST_REQUIRE_EQUAL(found.layers.size(), 1U);
  BOOST_TEST(found.layers[0].members == string_list{"/dev/sda1"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_a_thin_pool_consists_of_is_not_listed_as_unknown) {
  thin_volume guest;
  Inspection found;
  layout known(guest);
  describe_layout(guest, known, found);
  BOOST_REQUIRE_EQUAL(found.filesystems.size(), 1U);
  BOOST_TEST(found.filesystems[0].device == "/dev/vg-a/root");
}

BOOST_AUTO_TEST_CASE(what_is_looked_up_by_a_label_is_what_the_disk_has) {
  escaped_disk guest;
  layout all(guest);
  BOOST_TEST(all.fact("/dev/sda1", "LABEL") == "data disk$");
  BOOST_TEST(all.fact("/dev/sda2", "LABEL") == " ü");
  BOOST_TEST(all.fact("/dev/sda2", "PART_ENTRY_NAME") == "ü");
}

BOOST_AUTO_TEST_CASE(a_bios_boot_partition_is_listed_and_nothing_that_could_not_be_opened) {
  escaped_disk guest;
  Inspection found;
  layout known(guest);
  describe_layout(guest, known, found);
  BOOST_REQUIRE_EQUAL(found.filesystems.size(), 3U);
  BOOST_TEST(found.filesystems[2].type == "unknown");
  BOOST_TEST(found.unopened.empty());
}

// Regression: a guest's names cost minutes, several messages each.
BOOST_FIXTURE_TEST_CASE(directories_of_units_were_read_without_end, with_count) {
  for (int i = 0; i < 1100; ++i) files["/etc/systemd/system/" + std::to_string(i) + ".wants"] = "d";
  add({{"/etc/systemd/system/0.wants/a.service", "-"}});
  InspectedSystem system{.type = "linux"};
  part_runner run(state());
  add_parts(tree(), InspectPart::services, system, run);
  BOOST_TEST(system.services == std::vector<std::string>{"a.service"}, boost::test_tools::per_element());
  BOOST_TEST(text(system.failures) ==
             "services: /etc/systemd/system: of 1100 directories, at most 1000 are read\n");
  BOOST_TEST(listed_directories == 1001);
}

BOOST_FIXTURE_TEST_CASE(deployments_of_ostree_were_looked_at_without_end, with_count) {
  const std::string deploy = "/ostree/deploy/";
  add({{deploy + "00/deploy/00/etc/os-release", "-ID=fedora\n"}});
  for (int i = 100; i < 400; ++i) {
    add({{deploy + std::to_string(i) + "/deploy", "d"}});
    files[deploy + "00/deploy/" + std::to_string(i)] =
        files[deploy + "00/deploy/" + std::to_string(i) + ".origin"] = "d";
  }
  layout known(*this);
  const auto system = own_inspection(*this, known).read_chosen("/dev/sda1", true);
  BOOST_REQUIRE(system);
  BOOST_TEST(system->root_directory == "/ostree/deploy/00/deploy/00");
  BOOST_TEST(has(text(system->failures),
                 "/ostree/deploy: 474 names were left out: of each directory, at most 64 are looked at\n"));
  BOOST_TEST(statuses < 400);
}

// Regression: they were mounted, and damaged because that failed, so that a bill of materials had gaps.
BOOST_AUTO_TEST_CASE(what_is_no_filesystem_or_one_that_the_kernel_lacks_was_called_damaged) {
  struct : thin_volume {
    const std::map<std::string, hashtable> facts{
        {"/dev/sda1", {{"TYPE", "ext4"}, {"USAGE", "filesystem"}}},
        {"/dev/sda2", {{"TYPE", "DM_verity_hash"}, {"USAGE", "crypto"}}},
        {"/dev/sda3", {{"TYPE", "bcache"}, {"USAGE", "other"}}},
        {"/dev/sda4", {{"TYPE", "drbd"}, {"USAGE", "raid"}}},
        {"/dev/sda5", {{"TYPE", "zfs_member"}, {"USAGE", "filesystem"}}},
        {"/dev/sda6", {{"TYPE", "apfs"}, {"USAGE", "filesystem"}}},
        {"/dev/sda7", {{"TYPE", "xfs"}, {"USAGE", "filesystem"}}},
        {"/dev/sda8", {{"TYPE", "swap"}, {"USAGE", "other"}}}};
    string_list tried = {};

    string_list list_partitions() override {
      string_list all;
      for (const auto& one : facts) all.push_back(one.first);
      return all;
    }
    string_list list_dm_devices() override { return {}; }
    hashtable blkid(const std::string& device) override { return facts.at(device); }
    void mount_ro(const std::string& device, const std::string& /*mountpoint*/) override {
      tried.push_back(device);
      if (device == "/dev/sda6") throw Error("mount_ro", "mount: unknown filesystem type 'apfs'.", 0);
      if (device == "/dev/sda7") throw Error("mount_ro", "mount: wrong fs type, bad superblock", 0);
    }
  } guest;
  Inspection found;
  layout known(guest);
  describe_layout(guest, known, found);
  measure_filesystems(guest, known, found);
  const string_list filesystems{"/dev/sda1", "/dev/sda6", "/dev/sda7"};
  BOOST_TEST(guest.tried == filesystems, boost::test_tools::per_element());
  BOOST_TEST(mountable_filesystems(known, found.failures) == filesystems, boost::test_tools::per_element());
  std::map<std::string, std::string> reasons;
  for (const auto& shut : found.unopened) reasons[shut.device] = shut.reason;
  const std::map<std::string, std::string> expected{{"/dev/sda3", "unknown"},
                                                    {"/dev/sda4", "unknown"},
                                                    {"/dev/sda5", "unknown"},
                                                    {"/dev/sda6", "unknown"},
                                                    {"/dev/sda7", "damaged"}};
  BOOST_TEST((reasons == expected), listed(reasons));
}

BOOST_AUTO_TEST_CASE(a_btrfs_that_lacks_a_disk_was_called_damaged) {
  struct : thin_volume {
    string_list list_partitions() override { return {"/dev/sda1", "/dev/sda2"}; }
    string_list list_dm_devices() override { return {}; }
    hashtable blkid(const std::string& device) override {
      return {{"TYPE", "btrfs"}, {"UUID", device == "/dev/sda1" || both ? "u" : "other"}};
    }
    buffer pread_device(const std::string& /*device*/, int count, std::int64_t offset) override {
      BOOST_TEST(offset == 65536);
      return buffer_of(superblock.substr(0, static_cast<std::size_t>(count)));
    }
    void mount_ro(const std::string& device, const std::string& /*mountpoint*/) override {
      if (device == "/dev/sda1") throw Error("mount_ro", "mount: wrong fs type, bad superblock", 0);
    }
    bool both = false;
    std::string superblock = std::string(256, '\0').replace(64, 8, "_BHRfS_M");
  } guest;
  const auto told = [&] {
    Inspection found;
    layout known(guest);
    describe_layout(guest, known, found);
    measure_filesystems(guest, known, found);
    BOOST_REQUIRE_EQUAL(found.unopened.size(), 1U);
    return found.unopened[0].reason + ": " + found.unopened[0].message;
  };
  const std::string damaged = "damaged: mount: wrong fs type, bad superblock";
  BOOST_TEST(told() == damaged);
  guest.superblock[136] = 2;
  BOOST_TEST(told() == "incomplete: of the 2 devices of the btrfs u, 1 is here");
  guest.both = true;
  BOOST_TEST(told() == damaged);
  guest.superblock[136] = 3;
  BOOST_TEST(told() == "incomplete: of the 3 devices of the btrfs u, 2 are here");
  for (const std::string& odd : {guest.superblock.substr(0, 255), std::string(256, '\xff'), std::string()}) {
    guest.superblock = odd;
    BOOST_TEST(told() == damaged);
  }
}

BOOST_AUTO_TEST_CASE(a_volume_group_with_a_missing_disk_says_which_and_what_to_do) {
  half_a_group guest;
  Inspection found;
  layout known(guest);
  describe_layout(guest, known, found);
  BOOST_TEST(guest.activated);
  BOOST_REQUIRE_EQUAL(found.unopened.size(), 1U);
  BOOST_TEST(found.unopened[0].device == "/dev/vg-a/root");
  BOOST_TEST(found.unopened[0].reason == "incomplete");
  BOOST_TEST(found.unopened[0].message ==
             "of the 2 physical volumes of the volume group vg-a, 1 is missing (1QqrCs-eheq-6C2p)");
}

// Regression: one that pvcreate has made and vgcreate has not yet taken was damaged.
BOOST_AUTO_TEST_CASE(a_physical_volume_that_never_was_in_a_group_was_damaged) {
  struct : thin_volume {
    std::vector<VG> vgs_full() override { return {}; }
  } guest;
  Inspection found;
  layout known(guest);
  describe_layout(guest, known, found);
  BOOST_REQUIRE_EQUAL(found.unopened.size(), 1U);
  BOOST_TEST(found.unopened[0].reason == "unknown");
  BOOST_TEST(found.unopened[0].message == "a physical volume without a volume group");
}

// Regression: for UUIDs that differ in capitals alone, the disk that is here was taken for the missing one.
BOOST_AUTO_TEST_CASE(capitals_matter_in_the_uuids_of_lvm_and_in_no_others) {
  struct : half_a_group {
    string_list vgpvuuids(const std::string& /*group*/) override {
      return {"B5dZqq-n9ae-53OM", "b5dZqq-n9ae-53OM"};
    }
  } guest;
  Inspection found;
  layout known(guest);
  describe_layout(guest, known, found);
  BOOST_REQUIRE_EQUAL(found.layers.size(), 1U);
  BOOST_TEST(found.layers[0].members == string_list{"/dev/sda1"}, boost::test_tools::per_element());
  BOOST_REQUIRE_EQUAL(found.unopened.size(), 1U);
  BOOST_TEST(has(found.unopened[0].message, "1 is missing (b5dZqq-n9ae-53OM)"), found.unopened[0].message);
  BOOST_TEST(bare_uuid("6F1C2A54-2f0e") == bare_uuid("6f1c2a542f0e"));
  BOOST_TEST(bare_uuid("A1B2:C3D4") == bare_uuid("a1b2c3d4"));
}

BOOST_AUTO_TEST_CASE(what_could_not_be_mounted_sent_readers_to_the_log_of_their_own_kernel) {
  BOOST_TEST(one_line("mount: /sysroot: unknown filesystem type 'apfs'.\n"
                      "       dmesg(1) may have more information after failed mount system call.") ==
             "mount: /sysroot: unknown filesystem type 'apfs'");
}

BOOST_AUTO_TEST_CASE(a_member_of_an_array_knows_how_many_there_are) {
  const auto block = md_superblock_in(md_superblock_bytes(5, 3, "host:data"));
  BOOST_REQUIRE(block);
  BOOST_TEST(block->name == "host:data");
  BOOST_TEST(block->level == "raid5");
  BOOST_TEST(block->devices == 3U);
  BOOST_TEST(!md_superblock_in(std::string(256, '\0')).has_value());
  BOOST_TEST(!md_superblock_in("short").has_value());
}

// Regression: they became one array, and their members were told to lack disks.
BOOST_AUTO_TEST_CASE(arrays_that_mdadm_does_not_tell_of_were_merged) {
  struct : thin_volume {
    string_list list_partitions() override { return {"/dev/sda1", "/dev/sda2"}; }
    string_list list_dm_devices() override { return {}; }
    string_list list_md_devices() override { return {"/dev/md126", "/dev/md127"}; }
    hashtable md_detail(const std::string& array) override {
      if (is_told && array == "/dev/md126") return {{"uuid", "1:2:3:4"}, {"name", "host:a"}};
      throw Error("md_detail", "mdadm: cannot open " + array, ENXIO);
    }
    hashtable blkid(const std::string& device) override {
      if (device.starts_with("/dev/md")) return {{"TYPE", "ext4"}};
      return {{"TYPE", "linux_raid_member"}, {"UUID", device == "/dev/sda1" ? "1-2-3-4" : "5-6-7-8"}};
    }
    bool is_told = false;
  } guest;
  const std::string why =
      "a member of an array of which mdadm tells nothing, or of one that cannot be assembled";
  const auto described = [&] {
    Inspection found;
    layout known(guest);
    describe_layout(guest, known, found);
    string_list shut;
    for (const auto& one : found.unopened) shut.push_back(one.device + ' ' + one.reason + ": " + one.message);
    string_list members{"/dev/sda2 unknown: " + why};
    if (!guest.is_told) members.insert(members.begin(), "/dev/sda1 unknown: " + why);
    BOOST_TEST(shut == members, boost::test_tools::per_element());
    string_list all{text(found.failures)};
    for (const auto& one : found.layers) all.push_back(listed(one.devices) + " on " + listed(one.members));
    return all;
  };
  const std::string first = "filesystems: mdadm: cannot open /dev/md126\n";
  const std::string second = "filesystems: mdadm: cannot open /dev/md127\n";
  BOOST_TEST(described() == (string_list{first + second, "/dev/md126 on nothing", "/dev/md127 on nothing",
                                         "nothing on /dev/sda1", "nothing on /dev/sda2"}),
             boost::test_tools::per_element());
  guest.is_told = true;
  BOOST_TEST(described() == (string_list{second, "/dev/md126 on /dev/sda1", "/dev/md127 on nothing",
                                         "nothing on /dev/sda2"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_name_of_an_array_reaches_no_terminal) {
  struct array_member : escaped_disk {
    string_list list_partitions() override { return {"/dev/sda1"}; }
    hashtable blkid(const std::string& /*device*/) override {
      return {{"TYPE", "linux_raid_member"}, {"VERSION", "1.2"}, {"UUID", "u"}};
    }
    buffer pread_device(const std::string& /*device*/, int /*count*/, std::int64_t /*offset*/) override {
      return buffer_of(md_superblock_bytes(1, 2, "\x1b[2Jevil"));
    }
  } guest;
  Inspection found;
  layout known(guest);
  describe_layout(guest, known, found);
  BOOST_REQUIRE_EQUAL(found.unopened.size(), 1U);
  BOOST_TEST(has(found.unopened[0].message, "the array \"\\x1b[2Jevil\" (raid1)"), found.unopened[0].message);
}

// Regression: 16 EiB were used.
BOOST_AUTO_TEST_CASE(a_filesystem_with_more_free_blocks_than_blocks_was_full_beyond_measure) {
  struct : pretended_guest {
    StatVFS statvfs(const std::string& /*path*/) override { return answer; }
    StatVFS answer = {};
  } guest;
  layout known(guest);
  known.measure_mounted("/dev/sda1", "/");
  BOOST_TEST(!known.usage("/dev/sda1").has_value());
  guest.answer.frsize = 4096;
  guest.answer.blocks = 10;
  for (const auto& [free, used] : std::map<std::int64_t, std::uint64_t>{{4, 6}, {10, 0}, {11, 0}, {-1, 0}}) {
    guest.answer.bfree = free;
    known.measure_mounted("/dev/sda1", "/");
    BOOST_TEST(known.usage("/dev/sda1").value().used == used * 4096, free);
    BOOST_TEST(known.usage("/dev/sda1").value().size == 40960U);
  }
}

BOOST_AUTO_TEST_CASE(what_differs_is_escaped) {
  const InspectedSystem ours{.hostname = "\x1b[2J"}, theirs{.hostname = "a"};
  BOOST_TEST(differences(ours, theirs) == string_list{"hostname: \\x1b[2J instead of a"},
             boost::test_tools::per_element());
}

// Files that could make libguestfs or its programs hang.

BOOST_FIXTURE_TEST_CASE(a_windows_is_looked_for_where_libguestfs_looks, pretended) {
  guest.add({{"/WinNT/System32/Config/SOFTWARE", "-hive"}, {"/WinNT/System32/Config/system", "-hive"}});
  BOOST_TEST(guest.fault() == "");
  guest.files["/WinNT/System32/Config/system"] = "p";
  BOOST_TEST(guest.fault() == "on /dev/sda1, \"/WinNT/System32/Config/system\" is a FIFO");
  guest.files = {{"/", "d"}};
  guest.add({{"/real/system32/config/software", "-hive"}, {"/WINDOWS", "lreal"}});
  BOOST_TEST(guest.fault() == "on /dev/sda1, \"/WINDOWS\" is a symlink");
  guest.files["/WINDOWS"] = "d";
  guest.add({{"/WINDOWS/System32", "l/real/system32"}});
  BOOST_TEST(guest.fault() == "on /dev/sda1, \"/WINDOWS/System32\" is a symlink");
}

BOOST_FIXTURE_TEST_CASE(a_link_called_win_kept_every_disk_from_being_inspected, pretended) {
  guest.add({{"/win", "l/mnt/c"}, {"/mnt/c", "d"}, {"/windows", "lnowhere"}, {"/reactos", "lreactos"}});
  BOOST_TEST(guest.fault() == "");
}

BOOST_FIXTURE_TEST_CASE(boot_ini_names_any_directory, pretended) {
  guest.add({{"/Boot.ini", "-[operating systems]\r\nmulti(0)disk(0)rdisk(0)partition(1)\\My\\Own=\"x\"\r\n"},
             {"/elsewhere/own/system32/config/system", "-hive"},
             {"/my", "l/elsewhere"}});
  BOOST_TEST(guest.fault() == "on /dev/sda1, \"/my\" is a symlink");
  guest.files["/my"] = "l/nowhere";
  BOOST_TEST(guest.fault() == "");
  guest.files["/Boot.ini"] = "p";
  BOOST_TEST(guest.fault() == "on /dev/sda1, /Boot.ini is a FIFO");
  for (const auto* odd :
       {"partition(", "partition(1)", "=partition()\\x", "partition(1)\\..\\..\\x=", "\xff"})
    systemroots_in(odd);
  BOOST_TEST(systemroots_in(std::string("partition(1)\\own\0er=\"x\"", 22)) == string_list{"/own"});
}

BOOST_FIXTURE_TEST_CASE(librpm_reads_macros_in_many_places, pretended) {
  const auto obstacle = [&] { return rpm_obstacle(guest.tree()); };
  guest.add({{"/usr/lib/rpm/macros", "-%x y"}, {"/usr/lib/rpm/platform/x86_64-linux/macros", "-%x y"}});
  BOOST_TEST(obstacle() == "");
  for (const std::string file : {"/usr/lib/rpm/platform/x86_64-linux/macros", "/usr/lib/rpm/redhat/macros",
                                 "/etc/rpm/x86_64-linux/macros", "/usr/lib/rpm/macros.d/macros.x",
                                 "/etc/rpm/macros.x", "/etc/passwd", "/var/lib/rpm/.rpm.lock"}) {
    const auto before = guest.files;
    guest.add({{file, "p"}});
    BOOST_TEST(obstacle() == file + " is a FIFO");
    guest.files[file] = "l/pipe";
    guest.files["/pipe"] = "p";
    BOOST_TEST(obstacle() == file + " is a FIFO");
    guest.files[file] = "lnowhere";
    BOOST_TEST(obstacle() == "", file);
    guest.files = before;
  }
  guest.sizes["/usr/lib/rpm/macros"] = std::int64_t{1} << 40U;
  BOOST_TEST(has(obstacle(), "/usr/lib/rpm/macros has 1099511627776 bytes, more than"));
  guest.sizes = {{"/usr/lib/rpm", 17 << 20}};
  BOOST_TEST(has(obstacle(), "/usr/lib/rpm: its names take"));
  guest.sizes.clear();
  for (int i = 0; i < 600; ++i) guest.add({{"/etc/rpm/" + std::to_string(i), "d"}});
  guest.add({{"/etc/rpm", "d"}});
  BOOST_TEST(has(obstacle(), "more than 500 directories"));
}

BOOST_FIXTURE_TEST_CASE(a_directory_of_millions_of_names_costs_its_part, pretended) {
  guest.add({{"/lib/modules", "d"}, {"/boot/vmlinuz-6.1", "-kernel"}, {"/etc/rc3.d", "d"}});
  guest.sizes["/lib/modules"] = 17 << 20;
  for (int i = 0; i < 10'005; ++i) guest.add({{"/etc/rc3.d/S01x" + std::to_string(i), "-"}});
  InspectedSystem system{.type = "linux"};
  part_runner run(guest.state());
  add_parts(guest.tree(), InspectPart::kernels | InspectPart::services | InspectPart::machine_id, system,
            run);
  BOOST_TEST(system.services.size() == 10'000U);
  BOOST_TEST(text(system.failures) ==
             "kernels: /lib/modules: its names take 17825792 bytes, more than the 16777216 that are read\n"
             "services: 5 or more were left out: more than 10000 are not told\n");
}

BOOST_FIXTURE_TEST_CASE(a_hundred_thousand_users_held_the_readers_of_a_report, pretended) {
  std::string users;
  for (int i = 0; i < 10'005; ++i) users += "a::0:0:::\n";
  guest.add({{"/etc/passwd", "-" + users}});
  InspectedSystem system{.type = "linux"};
  part_runner run(guest.state());
  add_parts(guest.tree(), InspectPart::users, system, run);
  BOOST_TEST(system.users.size() == 10'000U);
  BOOST_TEST(text(system.failures) == "users: 5 or more were left out: more than 10000 are not told\n");
}

BOOST_FIXTURE_TEST_CASE(links_to_one_file_made_a_report_without_an_end, pretended) {
  std::string interfaces;
  for (int i = 0; i < 6000; ++i) interfaces += "iface a\n";
  for (int i = 0; i < 1005; ++i) {
    guest.add({{"/etc/network/interfaces.d/" + std::to_string(i), "-" + interfaces},
               {"/etc/netplan/" + std::to_string(i) + ".yaml", "-"}});
    interfaces.resize(i < 3 ? interfaces.size() : 0);
  }
  InspectedSystem system{.type = "linux"};
  part_runner run(guest.state());
  add_parts(guest.tree(), InspectPart::network, system, run);
  BOOST_TEST(system.network.size() == 10'000U);
  const auto told = text(system.failures);
  BOOST_TEST(has(told, "network: /etc/network/interfaces.d: of 1005 files, at most 1000 are read"), told);
  BOOST_TEST(has(told, "network: 2000 or more were left out"), told);
  BOOST_TEST(system.failures.size() == 3U);

  const std::string large(1 << 20U, '\n');
  for (int i = 0; i < 60; ++i)
    guest.add({{"/var/lib/pacman/local/" + std::to_string(i) + "/desc",
                "-%NAME%\na\n\n%VERSION%\n1-1\n\n%ARCH%\nany\n" + large.substr(100)}});
  const guest_tree below{guest, "/var/lib/pacman/local"};
  const auto list = packages_below(below, "/desc", pacman_applications);
  BOOST_TEST(list.packages.size() == 48U);
  BOOST_TEST(list.left_out == 12U);
  BOOST_TEST(has(list.reason, "50000000 bytes"), list.reason);
}

// Regression: the interfaces were counted, not what is in each.
BOOST_FIXTURE_TEST_CASE(links_to_one_file_of_name_servers_took_gigabytes, pretended) {
  std::string servers = "[Network]\nDNS=";
  while (servers.size() < (1U << 20U) - 100) servers += "1 ";
  guest.add({{"/etc/network/interfaces", "-iface eth0\n"},
             {"/etc/systemd/network/9.network", "-[Match]\nName=eth1\n"},
             {"/etc/NetworkManager/system-connections/a.nmconnection", "-[connection]\nid=eth2\n"}});
  for (int i = 0; i < 8; ++i)
    guest.add({{"/etc/systemd/network/" + std::to_string(i) + ".network", "-" + servers}});
  InspectedSystem system{.type = "linux"};
  part_runner run(guest.state());
  add_parts(guest.tree(), InspectPart::network, system, run);
  BOOST_TEST(system.network.size() == 4U);
  BOOST_TEST(text(system.failures) ==
             "network: /etc/systemd/network: files beyond 2 MiB of settings were left out\n");
}

BOOST_FIXTURE_TEST_CASE(copies_of_a_file_were_interfaces_and_profiles_without_a_suffix_none, pretended) {
  const std::string scripts = "/etc/sysconfig/network-scripts/ifcfg-";
  const std::string profiles = "/etc/NetworkManager/system-connections/";
  for (const std::string name :
       {"eth0", "eth0.100", "eth0.bak", "eth0.rpmsave", "eth0.rpmnew", "eth0.orig", "eth0~"})
    guest.add({{scripts + name, "-BOOTPROTO=dhcp\n"}});
  for (const std::string name : {"Wired", "wifi.nmconnection", ".hidden", "Wired~", "Wired.rpmnew", "ca.pem"})
    guest.add({{profiles + name, "-[connection]\nid=" + name + "\n"}});
  InspectedSystem system{.type = "linux"};
  part_runner run(guest.state());
  add_parts(guest.tree(), InspectPart::network, system, run);
  string_list names;
  for (const auto& interface : system.network) names.push_back(interface.name);
  BOOST_TEST(names == (string_list{"eth0", "eth0.100", "Wired", "wifi.nmconnection"}),
             boost::test_tools::per_element());
}

// Regression: each of these files was an interface.
BOOST_FIXTURE_TEST_CASE(certificates_beside_the_profiles_were_interfaces, pretended) {
  const std::string profiles = "/etc/NetworkManager/system-connections/";
  const std::string profile = "-[connection]\nid=Wired\n";
  using namespace std::string_literals;
  guest.add({{profiles + "Wired", profile},
             {profiles + "Wired.nmconnection.rpmsave", profile},
             {profiles + "README", "-[ipv4]\nmethod=auto\n"},
             {profiles + "ca.crt", "------BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"},
             {profiles + "office-key.p12", "-0\x82\0\n[connection]\nid=evil\n"s}});
  InspectedSystem system{.type = "linux"};
  part_runner run(guest.state());
  add_parts(guest.tree(), InspectPart::network, system, run);
  string_list names;
  for (const auto& interface : system.network) names.push_back(interface.name);
  BOOST_TEST(names == string_list{"Wired"}, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(a_fifo_where_a_part_has_its_file_is_told_in_that_part, pretended) {
  guest.add({{"/etc/machine-id", "p"},
             {"/etc/timezone", "p"},
             {"/etc/locale.conf", "d"},
             {"/etc/network/interfaces", "p"},
             {"/var/lib/dbus/machine-id", "-0123456789abcdef0123456789abcdef\n"}});
  InspectedSystem system{.type = "linux"};
  part_runner run(guest.state());
  add_parts(guest.tree(), InspectPart::machine_id | InspectPart::locale | InspectPart::network, system, run);
  BOOST_TEST(system.machine_id == "0123456789abcdef0123456789abcdef");
  BOOST_TEST(text(system.failures) ==
             "network: /etc/network/interfaces is a FIFO\nlocale: /etc/timezone is a FIFO\n"
             "locale: /etc/locale.conf is a directory\nmachine_id: /etc/machine-id is a FIFO\n");
}

BOOST_FIXTURE_TEST_CASE(an_image_that_was_never_started_had_the_id_uninitialized, pretended) {
  const std::string id = "0123456789abcdef0123456789abcdef";
  for (const std::string& text :
       {std::string("uninitialized"), id + "0", id.substr(1), std::string(), id.substr(1) + "g"})
    for (const auto& [other, told] : std::map<std::string, std::string>{{id, id}, {"uninitialized", ""}}) {
      guest.add({{"/etc/machine-id", "-" + text + "\n"}, {"/var/lib/dbus/machine-id", "-" + other + "\n"}});
      InspectedSystem system{.type = "linux"};
      part_runner run(guest.state());
      add_parts(guest.tree(), InspectPart::machine_id, system, run);
      BOOST_TEST(system.machine_id == told, text);
    }
}

// libguestfs takes Devuan for Debian, because of /etc/debian_version, and AlmaLinux for "redhat-based".
BOOST_FIXTURE_TEST_CASE(a_derivative_is_none_of_its_family_where_os_release_names_it, pretended) {
  struct {
    const char *family, *id, *distro;
  } const cases[] = {{"debian", "devuan", "devuan"},       {"debian", "linuxmint", "linuxmint"},
                     {"ubuntu", "neon", "neon"},           {"redhat-based", "almalinux", "almalinux"},
                     {"redhat-based", "rhel", "rhel"},     {"debian", "debian", "debian"},
                     {"ubuntu", "ubuntu", "ubuntu"},       {"oraclelinux", "ol", "oraclelinux"},
                     {"linuxmint", "ubuntu", "linuxmint"}, {"debian", "", "debian"}};
  for (const auto& one : cases) {
    InspectedSystem system{.type = "linux",
                           .distro = one.family,
                           .product_name = "bookworm/sid",
                           .major_version = 5,
                           .minor_version = 3,
                           .package_format = "deb",
                           .osinfo = "family5",
                           .os_release = {{"ID", one.id}, {"VERSION_ID", "5"}, {"PRETTY_NAME", "Pretty 5"}}};
    const auto told = fill_in(guest.tree(), system);
    const bool changed = std::string_view(one.distro) != one.family;
    BOOST_TEST(system.distro == one.distro, one.id);
    BOOST_TEST(system.product_name == (changed ? "Pretty 5" : "bookworm/sid"), one.id);
    BOOST_TEST(system.minor_version == 3, one.id);
    BOOST_TEST(system.osinfo == (changed ? "unknown" : "family5"), one.id);
    BOOST_TEST(told.size() == (changed ? 3U : 0U), one.id);
  }
}

// A failure affects only its own part.

BOOST_FIXTURE_TEST_CASE(a_program_that_cannot_be_read_cost_the_whole_system, pretended) {
  guest.add({{"/etc/os-release", "-ID=debian\nPRETTY_NAME=\"Debian\"\nVERSION_ID=12.5\n"},
             {"/etc/fstab", "-"},
             {"/etc/hostname", "-web\n"},
             {"/bin/bash", "?"}});
  layout known(guest);
  const auto found = read_linux_alone(guest, known, "/dev/sda1");
  BOOST_REQUIRE(found);
  BOOST_TEST(found->system.distro == "debian");
  BOOST_TEST(found->system.hostname == "web");
  BOOST_TEST(text(found->system.failures) ==
             "arch: /bin/bash cannot be read: /bin/bash: Input/output error\n");
  guest.files["/etc"] = "!";
  BOOST_TEST(!read_linux_alone(guest, known, "/dev/sda1").has_value());
}

BOOST_FIXTURE_TEST_CASE(an_error_before_the_systems_costs_itself, pretended) {
  guest.is_dead = true;
  const InspectOptions options;
  const auto found = detail::inspect(guest, options, {{.format = "raw", .virtual_size = 7}});
  BOOST_REQUIRE_EQUAL(found.disks.size(), 1U);
  BOOST_TEST(found.disks[0].virtual_size == 7U);
  BOOST_TEST(has(text(found.failures), "disks: Input/output error\n"), text(found.failures));
  BOOST_TEST(has(text(found.failures), "filesystems: Input/output error\n"), text(found.failures));
  BOOST_TEST(has(text(found.failures), "operating_systems: "), text(found.failures));
}

// Regression: it had no cause, as a header that is cut off has, and its name reached the terminal.
BOOST_FIXTURE_TEST_CASE(a_truncated_image_had_no_cause_and_its_name_reached_the_terminal, pretended) {
  disk_opener opener;
  opener.open_disk = [](const std::string& /*path*/, const OpenDiskOptions& /*options*/) {
    ImageInfo image;
    image.format = "qcow2";
    image.truncated = true;
    return image;
  };
  BOOST_CHECK_EXCEPTION(
      detail::inspect_disks(guest, {"\x1b[2J.qcow2"}, {}, opener), Error, [](const Error& error) {
        BOOST_TEST(error.message() ==
                   "\"\\x1b[2J.qcow2\": is a truncated qcow2 image: part of the file is missing");
        return error.cause() == Cause::disk_unreadable;
      });
}

// mount_guest().

BOOST_FIXTURE_TEST_CASE(a_chosen_root_is_read_as_one_that_was_found, pretended) {
  guest.parts = {"/dev/sda1", "/dev/sda2"};
  guest.add({{"/etc/os-release", "-ID=nixos\nVERSION_ID=24.05\n"},
             {"/etc/fstab", "lstatic/fstab"},
             {"/etc/static/fstab", "-UUID=uuid-of-sda2 /data ext4 defaults 0 2\n"},
             {"/data", "d"}});
  for (const bool readonly : {true, false}) {
    const MountOptions chosen{.root = "/dev/sda1", .readonly = readonly};
    const auto mounted = detail::mount_guest(guest, chosen);
    BOOST_REQUIRE(mounted.system);
    BOOST_TEST(mounted.system->distro == "nixos");
    const std::string how = readonly ? "" : " rw";
    BOOST_TEST(guest.mounted == (string_list{"/dev/sda1 /" + how, "/dev/sda2 /data" + how}),
               boost::test_tools::per_element());
    BOOST_REQUIRE_EQUAL(mounted.mountpoints.size(), 2U);
    BOOST_TEST(mounted.mountpoints[1].first == "/data");
  }
}

struct fallen_back : pretended_guest {
  StatVFS statvfs(const std::string& path) override {
    if (damaged.contains(path)) throw Error("statvfs", "", EIO);
    StatVFS status;
    status.flag = readonly.contains(path) ? 4096 | 1 : 4096;
    return status;
  }
  hashtable blkid(const std::string& device) override {
    auto facts = pretended_guest::blkid(device);
    facts["TYPE"] = type;
    return facts;
  }
  std::set<std::string> readonly, damaged;
  std::string type = "ext4";
};

// Regression: it was mounted "for writing", and the first write failed with a bare EROFS.
BOOST_AUTO_TEST_CASE(a_windows_with_fast_startup_was_opened_for_writing_read_only) {
  fallen_back guest;
  guest.readonly = {"/"};
  const auto error = [&](bool readonly) {
    return error_of([&] { detail::mount_guest(guest, {.root = "/dev/sda1", .readonly = readonly}); });
  };
  BOOST_TEST(!error(true));
  for (const std::string type : {"ntfs", "ext4"}) {
    guest.type = type;
    const auto refused = error(false);
    BOOST_REQUIRE(refused);
    BOOST_TEST(refused->error_number() == EROFS);
    BOOST_TEST(refused->message().starts_with("/dev/sda1: can only be mounted read-only"));
    BOOST_TEST(has(refused->hint(), "shut Windows down fully") == (type == "ntfs"));
    BOOST_TEST(guest.mounted.empty());
  }
}

BOOST_AUTO_TEST_CASE(a_filesystem_beside_the_root_that_is_read_only_is_told) {
  fallen_back guest;
  guest.parts = {"/dev/sda1", "/dev/sda2"};
  guest.add({{"/etc/os-release", "-ID=debian\nVERSION_ID=12\n"},
             {"/etc/fstab", "-UUID=uuid-of-sda2 /data ext4 defaults 0 2\n"},
             {"/data", "d"}});
  guest.readonly = {"/data"};
  const auto mounted = detail::mount_guest(guest, {.root = "/dev/sda1", .readonly = false});
  BOOST_REQUIRE_EQUAL(mounted.failures.size(), 1U);
  BOOST_TEST(mounted.failures[0].message ==
             "/dev/sda2: can only be mounted read-only (ext4); it is mounted read-only on \"/data\"");
  BOOST_TEST(mounted.mountpoints.size() == 2U);
}

// Regression: it cost the whole mount, and left the root mounted.
BOOST_AUTO_TEST_CASE(
    a_filesystem_that_does_not_tell_whether_it_is_read_only_kept_the_guest_from_being_mounted) {
  fallen_back guest;
  guest.parts = {"/dev/sda1", "/dev/sda2"};
  guest.add({{"/etc/os-release", "-ID=debian\nVERSION_ID=12\n"},
             {"/etc/fstab", "-UUID=uuid-of-sda2 /data ext4 defaults 0 2\n"},
             {"/data", "d"}});
  guest.damaged = {"/data"};
  const MountOptions to_write{.root = "/dev/sda1", .readonly = false};
  const auto mounted = detail::mount_guest(guest, to_write);
  BOOST_TEST(mounted.mountpoints.size() == 2U);
  BOOST_REQUIRE_EQUAL(mounted.failures.size(), 1U);
  BOOST_TEST(mounted.failures[0].error_number == EIO);
  BOOST_TEST(
      mounted.failures[0].message ==
      "/dev/sda2: whether it can be written to is unknown: Input/output error; it is mounted on \"/data\"");

  guest.damaged = {"/"};
  const auto refused = error_of([&] { detail::mount_guest(guest, to_write); });
  BOOST_REQUIRE(refused);
  BOOST_TEST(refused->message() == "/dev/sda1: whether it can be written to is unknown: Input/output error");
  BOOST_TEST(guest.mounted.empty());
}

// Regression: the directory cost the whole mount.
BOOST_FIXTURE_TEST_CASE(too_many_names_in_a_directory_kept_a_chosen_root_from_being_mounted, pretended) {
  const MountOptions chosen{.root = "/dev/sda1"};
  const auto before = guest.files;
  guest.add({{"/etc/os-release", "-ID=debian\nPRETTY_NAME=\"Debian\"\nVERSION_ID=12.5\n"},
             {"/etc/fstab", "-"},
             {"/bin/sh", "-"}});
  guest.sizes["/etc"] = 17 << 20;
  auto mounted = detail::mount_guest(guest, chosen);
  BOOST_REQUIRE(mounted.system);
  BOOST_TEST(mounted.system->distro == "debian");

  guest.files = before;
  guest.add({{"/ostree/deploy/a/deploy/0/etc/os-release", "-ID=fedora\n"},
             {"/ostree/deploy/b/deploy/0/etc/os-release", "-ID=centos\n"}});
  guest.sizes["/ostree/deploy/a/deploy"] = 17 << 20;
  mounted = detail::mount_guest(guest, chosen);
  BOOST_REQUIRE(mounted.system);
  BOOST_TEST(mounted.system->distro == "centos");
  BOOST_TEST(has(text(mounted.failures), "mountpoints: /ostree/deploy/a/deploy: its names take"));
}

// Regression: without an answer from libguestfs, guestkit reported 12.0 instead of 12.5.
BOOST_FIXTURE_TEST_CASE(debian_has_its_minor_version_where_libguestfs_has_no_answer, pretended) {
  struct {
    const char *text, *release;
    int minor;
  } const cases[] = {{"-12.5\n", "12", 5}, {"-11.9\n", "12", 0},           {"-trixie/sid\n", "12", 0},
                     {"p", "12", 0},       {"-12.99999999999\n", "12", 0}, {"-12.5\n", "12.1", 5}};
  for (const auto& one : cases) {
    guest.add({{"/etc/debian_version", one.text}});
    InspectedSystem system{.os_release = {{"ID", "debian"}, {"VERSION_ID", one.release}}};
    take_release(guest.tree(), system);
    BOOST_TEST(system.major_version == 12);
    BOOST_TEST(system.minor_version == one.minor, one.text);
  }
}

struct guest_without_memory : with_luks {
  void cryptsetup_open(const std::string& /*device*/, const std::string& /*key*/,
                       const std::string& /*mapname*/) override {
    throw Error("cryptsetup_open", "Not enough available memory to open a keyslot.", 0);
  }
};

// Regression: the hint was to give its key.
BOOST_AUTO_TEST_CASE(a_key_was_asked_for_where_the_one_that_was_given_wants_more_memory) {
  guest_without_memory guest;
  try {
    detail::mount_guest(guest, {.keys = {{.secret = "right"}}});
    BOOST_ERROR("it was mounted");
  } catch (const Error& e) {
    BOOST_CHECK(e.cause() == Cause::memory);
    BOOST_TEST(e.hint() == "give the appliance more memory: set_memsize, or LIBGUESTFS_MEMSIZE");
  }
}

BOOST_FIXTURE_TEST_CASE(usr_alone_is_mounted_once, pretended) {
  guest.add({{"/bin", "d"}, {"/usr", "d"}, {"/lib/os-release", "-ID=fedora\nVERSION_ID=40\n"}});
  const MountOptions found;
  const auto mounted = detail::mount_guest(guest, found);
  BOOST_TEST(guest.mounted == string_list{"/dev/sda1 /"}, boost::test_tools::per_element());
  BOOST_REQUIRE_EQUAL(mounted.mountpoints.size(), 1U);
  BOOST_TEST(mounted.mountpoints[0].first == "/");
  BOOST_TEST(has(text(mounted.failures), "only /usr was found"));
}

// The parts of an inspection, each within its share of the time.

struct parts_of_a_call {
  const support::stuck_programs programs;
  const support::first_in_path path{programs.folder};
  Guestfs g{HandleOptions{.environment = false, .limits = {.call = Seconds(4)}}};
  std::vector<InspectFailure> failures;
  const call_scope whole{state_of(g), "inspect"};
  part_runner run{state_of(g)};
};

BOOST_FIXTURE_TEST_CASE(a_part_that_takes_too_long_costs_itself, parts_of_a_call, PATIENCE) {
  BOOST_TEST(run(failures, "one", [] {}));
  BOOST_TEST(!run(failures, "stuck", [&] { g.add_drive_ro(programs.folder / "disk"); }));
  int memory = 0;
  BOOST_TEST(run(failures, "next", [&] { memory = g.get_memsize(); }));
  BOOST_TEST(memory == 1280);
  BOOST_REQUIRE_EQUAL(failures.size(), 1U);
  BOOST_TEST(failures[0].part == "stuck");
  BOOST_TEST(failures[0].message.starts_with("took longer than "));
  BOOST_TEST(failures[0].message.ends_with(" s, its share of the time"));
  BOOST_TEST(failures[0].error_number == ETIMEDOUT);
}

// Regression: the end of the inner part was that of the outer one, whose rest had the time of the whole call.
BOOST_FIXTURE_TEST_CASE(the_end_of_a_part_ended_the_part_around_it, parts_of_a_call, PATIENCE) {
  BOOST_TEST(!run(failures, "outer", [&] {
    run(failures, "inner", [] {});
    g.add_drive_ro(programs.folder / "disk");
  }));
  BOOST_REQUIRE_EQUAL(failures.size(), 1U);
  BOOST_TEST(failures[0].part == "outer");
  BOOST_TEST(failures[0].message.ends_with(" s, its share of the time"), failures[0].message);
  // The time of the outer one ends the inner one as well, and both end once.
  BOOST_TEST(!run(failures, "outer",
                  [&] { run(failures, "inner", [&] { g.add_drive_ro(programs.folder / "disk"); }); }));
  BOOST_REQUIRE_EQUAL(failures.size(), 2U);
  BOOST_TEST(failures[1].part == "outer");
  BOOST_TEST(run(failures, "next", [&] { g.get_memsize(); }));
}

BOOST_AUTO_TEST_CASE(an_error_ends_one_part_a_crash_what_follows_and_a_cancel_all) {
  Guestfs g;
  std::vector<InspectFailure> failures;
  part_runner run(state_of(g));
  BOOST_TEST(!run(failures, "odd", [] { throw Error("pread", "no such file", ENOENT); }));
  BOOST_TEST(failures.at(0).op == "pread");
  BOOST_TEST(!run(failures, "crash", [] { throw ApplianceCrashed("mount", "gone", 0); }));
  BOOST_TEST(failures.at(1).message == "the appliance ended in it: gone");
  BOOST_TEST(!run.is_alive());
  BOOST_TEST(!run(failures, "next", [] { throw Error("mount", "it must not be tried"); }));
  BOOST_TEST(failures.at(2).part == "next");
  BOOST_TEST(failures.at(2).message == "not looked at: the appliance had ended before");
  part_runner other(state_of(g));
  BOOST_CHECK_THROW(other(failures, "cancelled", [] { throw Error("mount", "cancelled", EINTR); }), Error);
  BOOST_CHECK_THROW(other(failures, "killed", [] { throw ApplianceKilled("mount", "killed", 0); }),
                    ApplianceKilled);
  BOOST_TEST(failures.size() == 3U);
}
