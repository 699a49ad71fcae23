// Which filesystems are roots, and in which order: that of libguestfs.
#define BOOST_TEST_MODULE fast
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstdint>
#include <guestkit/detail/inspect/fast.hpp>
#include <guestkit/detail/inspect/inspection.hpp>
#include <guestkit/detail/inspect/layout.hpp>
#include <map>
#include <string>
#include <vector>

#include "doubts.hpp"
#include "pretended_files.hpp"

using namespace guestkit;
using namespace guestkit::detail;
using namespace support;

namespace {

/// A filesystem's type and its size in sectors; none: it is no partition.
struct pretended_device {
  std::string type = "ext4";
  std::string size = {};
  std::string usage = {};
};

/// A guest in which every device has the same files. Those of a subvolume are below its path.
struct pretended_devices : pretended_files {
  Version version() override { return {.major = 1, .minor = 54, .release = 1, .extra = ""}; }
  std::int64_t blockdev_getsize64(const std::string&) override { return 1 << 30U; }

  string_list disks{"/dev/sda"}, partitions = {}, arrays = {}, opened = {}, volumes = {};
  std::map<std::string, pretended_device> devices = {};
  std::vector<BTRFSSubvolume> subvolumes = {};
  std::int64_t usual = layout::btrfs_top;
  std::string unreadable = {};  // a directory

  string_list list_devices() override { return disks; }
  string_list list_partitions() override { return partitions; }
  string_list list_md_devices() override { return arrays; }
  string_list list_dm_devices() override { return opened; }
  string_list vgs() override { return {}; }
  std::vector<VG> vgs_full() override { return {}; }
  string_list lvs() override { return volumes; }
  buffer pread_device(const std::string&, int, std::int64_t) override { return buffer_of(""); }
  hashtable blkid(const std::string& device) override {
    const auto found = devices.find(device);
    if (found == devices.end()) return {{"TYPE", "ext4"}, {"UUID", device}};
    return {{"TYPE", found->second.type},
            {"USAGE", found->second.usage},
            {"UUID", device},
            {"PART_ENTRY_SIZE", found->second.size}};
  }
  std::vector<BTRFSSubvolume> btrfs_subvolume_list(const std::string&) override { return subvolumes; }
  std::int64_t btrfs_subvolume_get_default(const std::string&) override { return usual; }
  void umount_all() override {}
  void mount_ro(const std::string&, const std::string&) override {}
  void mount_options(const std::string&, const std::string&, const std::string&) override {}
  StatVFS statvfs(const std::string&) override { return {}; }
  std::vector<Dirent> readdir(const std::string& directory) override {
    if (directory == unreadable) throw Error("readdir", directory + ": Input/output error", EIO);
    return pretended_files::readdir(directory);
  }

  void add_root(const std::string& top) { add({{top + "/etc/fstab", "-"}, {top + "/bin/sh", "-"}}); }
  void add_subvolume(std::uint64_t id, const std::string& path) {
    BTRFSSubvolume volume;
    volume.btrfssubvolume_id = id;
    volume.btrfssubvolume_path = path;
    subvolumes.push_back(volume);
  }
  string_list roots() {
    layout known(*this);
    return fast_inspection(*this, known).find_roots();
  }
  std::string doubt() {
    return doubt_in([&] { roots(); });
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(several_systems_come_as_libguestfs_lists_their_devices) {
  pretended_devices guest;
  guest.disks = {"/dev/sda", "/dev/sdb", "/dev/sdc"};
  guest.partitions = {"/dev/sdb1", "/dev/sdb2", "/dev/sdb3"};
  guest.arrays = {"/dev/md127"};
  guest.opened = {"/dev/mapper/luks-b", "/dev/mapper/luks-a"};
  guest.volumes = {"/dev/vg/a", "/dev/vg/b"};
  guest.devices["/dev/sdb1"].size = "900";  // the largest one is looked at last
  guest.devices["/dev/sdb2"].size = "100";
  guest.devices["/dev/sdb3"] = {.type = "LVM2_member", .size = "500"};
  guest.add_root("");
  const string_list expected{"/dev/sda",           "/dev/sdc",  "/dev/mapper/luks-a",
                             "/dev/mapper/luks-b", "/dev/sdb1", "/dev/sdb2",
                             "/dev/md127",         "/dev/vg/a", "/dev/vg/b"};
  BOOST_TEST(guest.roots() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_default_subvolume_comes_before_its_snapshots_where_its_device_is) {
  pretended_devices guest;
  guest.partitions = {"/dev/sda1", "/dev/sda10", "/dev/sda2"};
  guest.devices["/dev/sda1"].size = "500";
  guest.devices["/dev/sda10"] = {.type = "btrfs", .size = "900"};
  guest.devices["/dev/sda2"].size = "100";
  guest.add_root("");
  for (const std::string path : {"/snapshots/2", "/@", "/snapshots/1"}) guest.add_root(path);
  guest.add_subvolume(300, "snapshots/2");
  guest.add_subvolume(256, "@");
  guest.add_subvolume(299, "snapshots/1");
  guest.add_subvolume(301, "data");
  guest.usual = 256;
  const string_list expected{"/dev/sda1", "/dev/sda10", "btrfsvol:/dev/sda10/snapshots/2",
                             "btrfsvol:/dev/sda10/snapshots/1", "/dev/sda2"};
  BOOST_TEST(guest.roots() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_directory_that_cannot_be_read_is_a_doubt_and_a_missing_one_is_none) {
  pretended_devices guest;
  guest.partitions = {"/dev/sda1"};
  guest.add_root("");
  BOOST_TEST(guest.doubt() == "");
  guest.unreadable = "/";
  BOOST_TEST(guest.doubt() == "a directory that cannot be read");
  guest.unreadable.clear();
  guest.sizes["/"] = std::int64_t{17} << 20U;
  BOOST_TEST(guest.doubt() == "a directory that cannot be read");
  guest.sizes.clear();

  guest.devices["/dev/sda1"].type = "btrfs";
  guest.add_subvolume(256, "home");
  BOOST_TEST(guest.doubt() == "");  // a subvolume below one that is not mounted
  guest.add({{"/home/etc", "d"}});
  guest.unreadable = "/home";
  BOOST_TEST(guest.doubt() == "a directory that cannot be read");
}

// Regression: inspect_os was asked, for 2 of the 3 s of a mount, about disks that hold data alone.
BOOST_AUTO_TEST_CASE(a_disk_of_data_has_no_root_and_that_is_certain) {
  pretended_devices guest;
  guest.partitions = {"/dev/sda1", "/dev/sda2"};
  guest.devices["/dev/sda2"].type = "crypto_LUKS";
  guest.add({{"/data", "d"}, {"/home/me/etc", "d"}, {"/lost+found", "d"}});
  BOOST_TEST(guest.roots().empty());
  const auto found = detail::inspect(guest, {});
  BOOST_TEST(found.provenance.way == "fast", found.provenance.reason);
  BOOST_TEST(found.operating_systems.empty());
  BOOST_TEST(found.failures.empty());
}

// Regression: inspect_os was asked about every image-based system, for its partitions of hashes.
BOOST_AUTO_TEST_CASE(a_device_that_holds_no_filesystem_was_a_doubt) {
  pretended_devices guest;
  guest.partitions = {"/dev/sda1", "/dev/sda2", "/dev/sda3"};
  guest.devices["/dev/sda2"] = {.type = "DM_verity_hash", .usage = "crypto"};
  guest.devices["/dev/sda3"] = {.type = "bcache", .usage = "other"};
  guest.add_root("");
  BOOST_TEST(guest.doubt() == "");
  guest.devices["/dev/sda3"] = {.type = "apfs", .usage = "filesystem"};
  BOOST_TEST(guest.doubt() == "a apfs filesystem");
}

BOOST_AUTO_TEST_CASE(what_guestkit_finds_without_libguestfs_is_a_doubt_where_there_is_no_root) {
  for (const std::string place : {"/etc/os-release", "/bin/sh", "/ostree/deploy/x", "/Windows/x", "/boot.ini",
                                  "/volume/etc/os-release"}) {
    pretended_devices guest;
    guest.partitions = {"/dev/sda1"};
    guest.devices["/dev/sda1"].type = "btrfs";
    guest.add_subvolume(256, "volume");
    guest.add({{place, "-"}});
    BOOST_TEST(!guest.doubt().empty(), place);
  }
}

BOOST_AUTO_TEST_CASE(too_many_roots_are_a_doubt) {
  pretended_devices guest;
  guest.add_root("");
  guest.partitions.clear();
  for (int i = 1; i <= 64; ++i) guest.partitions.push_back("/dev/sda" + std::to_string(i));
  BOOST_TEST(guest.roots().size() == 64U);
  guest.partitions.push_back("/dev/sda65");
  BOOST_TEST(guest.doubt() == "more than 64 roots");
}

// Regression: with several systems nothing said which one a correction was of.
BOOST_AUTO_TEST_CASE(of_several_systems_a_correction_says_of_which_one_it_is) {
  pretended_devices guest;
  guest.add_root("");
  guest.add({{"/bin/sh", "d"},
             {"/etc/os-release", "-ID=debian\nPRETTY_NAME=\"Debian\"\nVERSION_ID=12.5\r\n"},
             {"/etc/hostname", "-web\n"},
             {"/var/lib/dpkg/status", "-Package: a\nStatus: installed\nVersion: 1\n\n"}});
  const auto corrections = [&] {
    const auto found = detail::inspect(guest, {});
    BOOST_TEST(found.provenance.way == "fast", found.provenance.reason);
    BOOST_TEST(found.operating_systems.size() == guest.partitions.size());
    return found.provenance.corrections;
  };
  const std::string why = "distro, version: the lines of os-release end in CRLF";
  guest.partitions = {"/dev/sda1"};
  BOOST_TEST(corrections() == string_list{why}, boost::test_tools::per_element());
  guest.partitions = {"/dev/sda1", "/dev/sda2"};
  const auto of = [&](const char* root) { return why + "; in the system on " + root; };
  BOOST_TEST(corrections() == (string_list{of("/dev/sda1"), of("/dev/sda2")}),
             boost::test_tools::per_element());
}

// Regression: a disk with the same packages in many systems took more than a whole program is to have.
BOOST_AUTO_TEST_CASE(the_packages_of_one_report_took_half_a_gigabyte) {
  pretended_devices guest;
  guest.add_root("");
  std::string status = "-";
  for (int i = 0; i < 60'000; ++i)
    status += "Package: p" + std::to_string(i) + "\nStatus: install ok installed\nVersion: 1\n\n";
  guest.add({{"/etc/os-release", "-ID=debian\nPRETTY_NAME=\"Debian\"\nVERSION_ID=12\n"},
             {"/var/lib/dpkg/status", status}});
  guest.partitions = {"/dev/sda1", "/dev/sda2", "/dev/sda3", "/dev/sda4"};
  const auto systems = detail::inspect(guest, {}).operating_systems;
  BOOST_REQUIRE_EQUAL(systems.size(), 4U);
  for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(systems[i].applications.size() == 60'000U);
  BOOST_TEST(systems[3].applications.empty());
  BOOST_TEST(has(text(systems[3].failures), "not read: those of the systems before take more than 64 MiB"));
}
