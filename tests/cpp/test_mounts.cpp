// How a guest's fstab is read, which devices it names, and where nothing must ever be mounted.
#define BOOST_TEST_MODULE mounts
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <guestkit/detail/inspect/augeas_fault.hpp>
#include <guestkit/detail/inspect/device_names.hpp>
#include <guestkit/detail/inspect/fstab.hpp>
#include <guestkit/detail/inspect/layout.hpp>
#include <guestkit/detail/inspect/mount_plan.hpp>
#include <guestkit/detail/inspect/mounts.hpp>
#include <guestkit/detail/inspect/report.hpp>
#include <guestkit/detail/inspect/system.hpp>
#include <guestkit/guest.hpp>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pretended_files.hpp"
#include "support.hpp"

using namespace guestkit;
using namespace guestkit::detail;
using namespace support;

namespace {

/// A guest in memory: its disks, what blkid reports about them, and the files of the filesystem at /.
struct pretended_guest : pretended_files {
  string_list disks{"/dev/sda"};
  string_list parts{"/dev/sda1", "/dev/sda2", "/dev/sda3"};
  string_list arrays = {};
  string_list mapped = {};
  string_list volumes = {};
  std::map<std::string, hashtable> facts{{"/dev/sda1", {{"TYPE", "ext4"}, {"UUID", "aaaa-1111"}}},
                                         {"/dev/sda2", {{"TYPE", "ext4"}, {"LABEL", "data disk"}}},
                                         {"/dev/sda3", {{"TYPE", "swap"}}}};
  std::vector<std::string> mounted = {};   // "device mountpoint"
  std::string damaged = {};                // a device that cannot be mounted
  std::int64_t usual = layout::btrfs_top;  // the default subvolume
  Version seen = {.major = 1, .minor = 48, .release = 6, .extra = ""};

  pretended_guest() { add({{"/etc", "d"}, {"/data", "d"}}); }

  Version version() override { return seen; }
  string_list list_devices() override { return disks; }
  string_list list_partitions() override { return parts; }
  string_list list_md_devices() override { return arrays; }
  string_list list_dm_devices() override { return mapped; }
  string_list vgs() override { return {}; }
  string_list lvs() override { return volumes; }
  std::vector<VG> vgs_full() override { return {}; }
  void vg_activate(bool /*activate*/, const string_list& /*groups*/) override {}
  std::string lvuuid(const std::string& volume) override {
    return volume == "/dev/vg/home" ? "ABCDEF-ghij-klmn-opqr-stuv-wxyz-012345" : "no-uuid";
  }
  hashtable md_detail(const std::string& array) override {
    return {
        {"name", array == "/dev/md127" ? "host:root" : "host:2"},
        {"uuid", (array == "/dev/md127" ? "aaaa" : "bbbb") + std::string("0001:00000002:00000003:00000004")}};
  }
  hashtable blkid(const std::string& device) override {
    const auto found = facts.find(device);
    return found == facts.end() ? hashtable() : found->second;
  }
  std::string vfs_label(const std::string& device) override { return blkid(device)["LABEL"]; }
  std::vector<BTRFSSubvolume> btrfs_subvolume_list(const std::string& /*device*/) override {
    BTRFSSubvolume volume{};
    volume.btrfssubvolume_id = 256;
    volume.btrfssubvolume_path = "@home";
    return {volume};
  }
  std::int64_t btrfs_subvolume_get_default(const std::string& /*device*/) override { return usual; }
  void mount_ro(const std::string& device, const std::string& mountpoint) override {
    if (device == damaged) throw Error("mount_ro", "wrong fs type", EINVAL);
    mounted.push_back(device + ' ' + mountpoint);
  }
  void mount(const std::string& device, const std::string& mountpoint) override {
    mount_ro(device, mountpoint);
  }
  StatVFS statvfs(const std::string& /*path*/) override { return {}; }

  mount_plan plan(const std::string& fstab, const std::string& root = "/dev/sda1") {
    files["/etc/fstab"] = '-' + fstab;
    layout known(*this);
    return plan_mounts(*this, known, root);
  }
  named_device find(const std::string& spec, const string_list& others = {}) {
    layout known(*this);
    device_names names(*this, known, "/dev/sda1");
    for (const auto& other : others) names.learn(other, false);
    return names.find(spec);
  }
  std::string device(const std::string& spec) {
    const auto found = find(spec);
    return found.is_known() ? found.devices.front() : "none: " + found.why;
  }
};

std::string text(const mountpoint_list& mountpoints) {
  std::string all;
  for (const auto& [mountpoint, device] : mountpoints) all += mountpoint + '=' + device + ' ';
  return all;
}

}  // namespace

// The text of fstab.

BOOST_AUTO_TEST_CASE(one_odd_line_costs_only_itself_and_is_told_with_its_number) {
  const auto read = fstab_of(
      "# comment\n"
      "UUID=a / ext4 defaults 0 1\n"
      "UUID=\"x\" TYPE=\"ext4\" /data ext4 defaults 1 2\n"
      "/dev/sda2 /my data ext4 defaults 0 0\n"
      "/dev/sda2 /srv ext4 defaults, noatime 0 2\n"
      "broken\n"
      "/dev/sda2 relative ext4 defaults 0 0\n"
      "  /dev/sda3\tnone  swap\tsw\n"
      "LABEL=l /var ext4 defaults 0 2 and more # words\n");
  BOOST_REQUIRE_EQUAL(read.entries.size(), 3U);
  BOOST_TEST(read.entries[0].line == 2U);
  BOOST_TEST(read.entries[1].spec == "/dev/sda3");
  BOOST_TEST(read.entries[2].file == "/var");
  BOOST_REQUIRE_EQUAL(read.failures.size(), 5U);
  BOOST_TEST(has(read.failures[0].message, "/etc/fstab, line 3: cannot be read: "));
  BOOST_TEST(has(read.failures[0].message, "\"UUID=\"x\" TYPE=\"ext4\" /data ext4 defaults 1 2\""));
  BOOST_TEST(has(read.failures[4].message, "line 7"));
  BOOST_TEST(read.breaks_augeas);
}

BOOST_AUTO_TEST_CASE(line_ends_of_windows_and_a_missing_last_one_are_no_fault) {
  const auto read = fstab_of("UUID=a / ext4 defaults 0 1\r\n\r\nUUID=b /b ext4 defaults 0 2");
  BOOST_TEST(read.failures.empty());
  BOOST_REQUIRE_EQUAL(read.entries.size(), 2U);
  BOOST_TEST(read.entries[1].file == "/b");
}

BOOST_AUTO_TEST_CASE(octal_escapes_are_decoded_and_what_is_none_stays) {
  BOOST_TEST(without_octal_escapes("/my\\040data\\011x\\134y") == "/my data\tx\\y");
  BOOST_TEST(without_octal_escapes("\\04 \\999 \\477 \\0") == "\\04 \\999 \\477 \\0");
  BOOST_TEST(without_octal_escapes("/\\303\\274") == "/\u00fc");
  BOOST_TEST(without_octal_escapes("end\\040") == "end ");
}

BOOST_AUTO_TEST_CASE(a_nul_a_megabyte_in_one_line_and_escape_sequences_cost_their_line) {
  const auto read = fstab_of(std::string("UUID=a\0 / ext4 defaults 0 1\n", 28) + std::string(1 << 17, 'x') +
                             " / ext4 defaults\n\x1b[2J\xff\nUUID=c /c ext4 defaults\n");
  BOOST_REQUIRE_EQUAL(read.entries.size(), 1U);
  BOOST_TEST(read.entries[0].line == 4U);
  BOOST_REQUIRE_EQUAL(read.failures.size(), 3U);
  BOOST_TEST(has(read.failures[0].message, "a NUL byte"));
  const auto escaped = fstab_of("UUID=a /b\\000c ext4 defaults 0 2\n");
  BOOST_TEST(escaped.entries.empty());
  BOOST_TEST(has(text(escaped.failures), "has a NUL byte"));
  BOOST_TEST(has(read.failures[2].message, "\\x1b[2J\\xff"));
  for (const auto& failure : read.failures) BOOST_TEST(failure.message.size() < 700U);
}

BOOST_AUTO_TEST_CASE(twenty_thousand_lines_are_cut_and_the_cut_is_told) {
  std::string many, odd;
  for (int i = 0; i < 20000; ++i) {
    many += "UUID=" + std::to_string(i) + " /m" + std::to_string(i) + " ext4 defaults 0 0\n";
    odd += "odd\n";
  }
  const auto read = fstab_of(many);
  BOOST_TEST(read.is_cut);
  BOOST_TEST(read.entries.size() == most_fstab_entries);
  BOOST_REQUIRE_EQUAL(read.failures.size(), 1U);
  BOOST_TEST(has(read.failures[0].message, "line 501: more than 500 entries"));
  const auto unread = fstab_of(odd);
  BOOST_TEST(unread.failures.size() == most_failures_of_a_kind + 2);
  BOOST_TEST(has(text(unread.failures), "480 more lines"));
  const auto part = fstab_of("UUID=a / ext4 defaults\nUUID=b /b ex", false);
  BOOST_TEST(part.entries.size() == 1U);
  BOOST_TEST(part.is_cut);
}

BOOST_AUTO_TEST_CASE(what_is_no_filesystem_of_a_disk_is_left_out) {
  const auto ignored = [](const char* spec, const char* file) {
    return is_ignored({.spec = spec, .file = file, .type = "ext4"});
  };
  BOOST_TEST(ignored("/dev/fd0", "/mnt"));
  BOOST_TEST(ignored("/dev/sda1", "/proc"));
  BOOST_TEST(ignored("/dev/sda1", "/sys/fs/x"));
  BOOST_TEST(ignored("/dev/sda1", "/media/usb"));
  BOOST_TEST(!ignored("/dev/sda1", "/media"));
  BOOST_TEST(!ignored("/dev/sda1", "/development"));
  BOOST_TEST(!ignored("/dev/fda", "/"));
}

// The names of devices.

BOOST_AUTO_TEST_CASE(a_filesystem_is_found_by_what_is_on_it) {
  pretended_guest guest;
  guest.facts["/dev/sda2"].insert(
      {{"UUID", "1234-ABCD"}, {"PART_ENTRY_UUID", "0fc63daf-01"}, {"PART_ENTRY_NAME", "my part/ition"}});
  BOOST_TEST(guest.device("UUID=aaaa-1111") == "/dev/sda1");
  BOOST_TEST(guest.device("UUID=\"aaaa-1111\"") == "/dev/sda1");
  BOOST_TEST(guest.device("UUID=1234-abcd") == "/dev/sda2");  // like libblkid, ignores case
  BOOST_TEST(guest.device("LABEL=data disk") == "/dev/sda2");
  BOOST_TEST(has(guest.device("LABEL=Data disk"), "none: "));  // a label is compared byte by byte
  BOOST_TEST(guest.device("PARTUUID=0FC63DAF-01") == "/dev/sda2");
  BOOST_TEST(guest.device("PARTLABEL='my part/ition'") == "/dev/sda2");
  BOOST_TEST(guest.device("/dev/disk/by-uuid/aaaa-1111") == "/dev/sda1");
  BOOST_TEST(guest.device("/dev/disk/by-label/data\\x20disk") == "/dev/sda2");
  BOOST_TEST(guest.device("/dev/disk/by-partuuid/0fc63daf-01") == "/dev/sda2");
  BOOST_TEST(guest.device("/dev/disk/by-partlabel/my\\x20part\\x2fition") == "/dev/sda2");
  BOOST_TEST(guest.device("UUID=") == "none: no filesystem on the disks has it");
  guest.facts["/dev/sda1"]["LABEL"] = "data disk";
  BOOST_TEST(has(guest.device("LABEL=data disk"), "several filesystems have it: /dev/sda1, /dev/sda2"));
}

BOOST_AUTO_TEST_CASE(a_btrfs_on_several_devices_is_one_filesystem) {
  pretended_guest guest;
  for (const auto* device : {"/dev/sda2", "/dev/sda3"})
    guest.facts[device] = {{"TYPE", "btrfs"}, {"UUID", "many"}, {"LABEL", "pool"}};
  BOOST_TEST(guest.device("UUID=many") == "/dev/sda2");
  BOOST_TEST(guest.device("LABEL=pool") == "/dev/sda2");
  const auto plan = guest.plan("LABEL=pool / btrfs defaults 0 0\n", "/dev/sda3");
  BOOST_TEST(text(plan.mountpoints) == "/=/dev/sda3 ");
  BOOST_TEST(text(plan.failures) == "");
  for (const std::string uuid : {"another", ""}) {  // two filesystems, or there is no telling
    guest.facts["/dev/sda3"]["UUID"] = uuid;
    if (uuid.empty()) guest.facts["/dev/sda2"]["UUID"] = uuid;
    BOOST_TEST(has(guest.device("LABEL=pool"), "several filesystems have it: /dev/sda2, /dev/sda3"));
  }
}

// Regression: fstab was taken to override what libguestfs had mounted there.
BOOST_AUTO_TEST_CASE(a_btrfs_on_several_devices_was_left_out_where_fstab_has_its_label) {
  pretended_guest guest;
  for (const auto* device : {"/dev/sda2", "/dev/sda3"})
    guest.facts[device] = {{"TYPE", "btrfs"}, {"UUID", "many"}, {"LABEL", "pool"}};
  guest.files["/etc/fstab"] = "-UUID=aaaa-1111 / ext4 defaults 0 1\nLABEL=pool /data btrfs defaults 0 0\n";
  InspectedSystem system{.root = "/dev/sda1", .type = "linux"};
  system.mountpoints = {{"/", "/dev/sda1"}, {"/data", "/dev/sda2"}};
  layout known(guest);
  std::vector<std::string> corrections;
  mount_system(guest, system, known, corrections);
  BOOST_TEST(text(system.mountpoints) == "/=/dev/sda1 /data=/dev/sda2 ");
  BOOST_TEST(text(system.failures) == "");
}

// Regression: libguestfs' name of it was told as an error of libguestfs.
BOOST_AUTO_TEST_CASE(another_device_of_the_same_btrfs_was_a_correction) {
  pretended_guest guest;
  for (const auto* device : {"/dev/sda2", "/dev/sda3"})
    guest.facts[device] = {{"TYPE", "btrfs"}, {"UUID", "many"}};
  guest.files["/etc/fstab"] = "-UUID=aaaa-1111 / ext4 defaults 0 1\nUUID=many /data btrfs subvol=@home 0 0\n";
  const auto corrections = [&](const std::string& data) {
    InspectedSystem system{.root = "/dev/sda1", .type = "linux"};
    system.mountpoints = {{"/", "/dev/sda1"}, {"/data", data}};
    system.filesystems = {data, "/dev/sda1"};
    layout known(guest);
    std::vector<std::string> all;
    mount_system(guest, system, known, all);
    return all.size();
  };
  BOOST_TEST(corrections("btrfsvol:/dev/sda2/@home") == 0U);
  BOOST_TEST(corrections("btrfsvol:/dev/sda3/@home") == 0U);
  BOOST_TEST(corrections("btrfsvol:/dev/sda3/@other") == 2U);
  BOOST_TEST(corrections("/dev/sda3") == 2U);
}

BOOST_AUTO_TEST_CASE(the_names_of_other_buses_are_those_of_the_disks_in_their_order) {
  pretended_guest guest;
  for (const auto* name :
       {"/dev/hda2", "/dev/sda2", "/dev/vda2", "/dev/xvda2", "/dev/nvme0n1p2", "/dev/mmcblk0p2",
        "/dev/disk/by-id/ata-ACME_1-part2", "/dev/disk/by-path/pci-0000:00:1f.2-ata-1-part2"})
    BOOST_TEST(guest.device(name) == "/dev/sda2", name << ": " << guest.device(name));
  BOOST_TEST(has(guest.device("/dev/vda9"), "has no partition 9"));
  BOOST_TEST(has(guest.device("/dev/vdb1"), "it is the guest's disk 2, and 1 was given"));
  BOOST_TEST(has(guest.device("/dev/vda"), "has partitions"));
  for (const auto* name : {"/dev/nvme0n2p1", "/dev/nvme0n1q1", "/dev/nvme0n1p", "/dev/sd1", "/dev/mmcblkp1",
                           "/dev/sda99999", "/dev/nvme99999999999999999999n1p1", "/dev/sda1x"})
    BOOST_TEST(guest.find(name).devices.empty(), name);
  guest.disks = {"/dev/sda", "/dev/sdb"};
  guest.parts.emplace_back("/dev/sdb1");
  BOOST_TEST(guest.device("/dev/nvme1n1p1") == "/dev/sdb1");
  BOOST_TEST(guest.find("/dev/vdb1", {"/dev/sda1", "/dev/vdb1"}).devices.empty());
  BOOST_TEST(guest.find("/dev/disk/by-id/ata-x-part1").devices.empty());
}

BOOST_AUTO_TEST_CASE(what_fstab_has_for_the_root_shows_in_which_order_the_disks_are) {
  pretended_guest guest;
  guest.disks = {"/dev/sda", "/dev/sdb"};
  guest.parts.insert(guest.parts.end(), {"/dev/sdb1", "/dev/sdb2"});
  const auto plan = guest.plan(
      "/dev/vda2 / ext4 defaults 0 1\n/dev/vda1 /boot ext4 defaults 0 2\n"
      "/dev/vdb1 /data ext4 defaults 0 2\n",
      "/dev/sdb2");
  BOOST_TEST(text(plan.mountpoints) == "/=/dev/sdb2 /boot=/dev/sdb1 ");
  BOOST_TEST(has(text(plan.failures),
                 "line 3: \"/dev/vdb1\" is not mounted on \"/data\": the disks were given"
                 " in another order than the guest's"));
}

// Regression: a name led to the system's disk, although another disk of the guest has it.
BOOST_AUTO_TEST_CASE(one_disk_of_several_was_taken_for_all_that_fstab_names) {
  pretended_guest guest;
  const auto planned = [&](const std::string& fstab) {
    return text(guest.plan(fstab, "/dev/sda2").mountpoints);
  };
  const std::string uuid = "UUID=bbbb-2222 / ext4 defaults 0 1\n";
  guest.facts["/dev/sda2"]["UUID"] = "bbbb-2222";
  BOOST_TEST(planned("/dev/nvme0n1p2 / ext4 defaults 0 1\n/dev/nvme0n1p1 /boot/efi vfat defaults 0 2\n"
                     "/dev/sda1 /data ext4 defaults 0 2\n") == "/=/dev/sda2 /boot/efi=/dev/sda1 ");
  BOOST_TEST(planned("/dev/disk/by-id/nvme-SYSTEM-part2 / ext4 defaults 0 1\n"
                     "/dev/disk/by-id/nvme-SYSTEM-part1 /boot/efi vfat defaults 0 2\n"
                     "/dev/disk/by-id/ata-DATA-part1 /data ext4 defaults 0 2\n"
                     "/dev/sdb1 /more ext4 defaults 0 2\n") == "/=/dev/sda2 /boot/efi=/dev/sda1 ");
  BOOST_TEST(planned("/dev/vda2 / ext4 defaults 0 1\n"
                     "/dev/disk/by-path/pci-0000:00:1f.2-ata-1-part1 /data ext4 defaults 0 2\n") ==
             "/=/dev/sda2 ");
  BOOST_TEST(planned(uuid + "/dev/vda1 /boot ext4 defaults 0 2\n/dev/sda1 /data ext4 defaults 0 2\n") ==
             "/=/dev/sda2 ");
  BOOST_TEST(planned(uuid + "/dev/vda1 /boot ext4 defaults 0 2\n/dev/sdb1 /media/usb auto noauto 0 0\n") ==
             "/=/dev/sda2 /boot=/dev/sda1 ");
  BOOST_TEST(planned("/dev/nvme0n1p2 // ext4 defaults 0 1\n/dev/nvme0n1p1 /boot vfat defaults 0 2\n"
                     "/dev/sda1 /data ext4 defaults 0 2\n") == "/=/dev/sda2 /boot=/dev/sda1 ");
  guest.volumes = {"/dev/data/x-part"};  // names of volumes, which are of no disk
  BOOST_TEST(planned("/dev/sda2 / ext4 defaults 0 1\n/dev/sda1 /boot ext4 defaults 0 2\n"
                     "/dev/disk/by-id/dm-name-data-x--part1 /x ext4 defaults 0 2\n"
                     "/dev/disk/by-id/ata-x-partition /y ext4 defaults 0 2\n") ==
             "/=/dev/sda2 /boot=/dev/sda1 ");
  const auto told =
      guest.plan("/dev/vda2 / ext4 defaults 0 1\n/dev/sda1 /data ext4 defaults 0 2\n", "/dev/sda2");
  BOOST_TEST(text(told.failures) ==
             "mountpoints: /etc/fstab, line 2: \"/dev/sda1\" is not mounted on \"/data\": fstab has names of "
             "several disks, so that it may be another than the one that was given\n");
}

BOOST_AUTO_TEST_CASE(volumes_arrays_and_opened_devices_have_several_names) {
  pretended_guest guest;
  guest.facts["/dev/sda3"] = {{"TYPE", "LVM2_member"}};
  guest.volumes = {"/dev/vg/home", "/dev/vg-0/root"};
  BOOST_TEST(guest.device("/dev/vg-0/root") == "/dev/vg-0/root");
  BOOST_TEST(guest.device("/dev/mapper/vg--0-root") == "/dev/vg-0/root");
  BOOST_TEST(guest.device("/dev/disk/by-id/dm-name-vg-home") == "/dev/vg/home");
  BOOST_TEST(guest.device("/dev/disk/by-id/dm-uuid-LVM-00000000000000000000000000000000"
                          "ABCDEFghijklmnopqrstuvwxyz012345") == "/dev/vg/home");
  BOOST_TEST(has(guest.device("/dev/mapper/none"), "no such device"));
  BOOST_TEST(has(guest.device("/dev/md0"), "no array"));
  guest.arrays = {"/dev/md126", "/dev/md127"};
  BOOST_TEST(guest.device("/dev/md/root") == "/dev/md127");
  BOOST_TEST(guest.device("/dev/md2") == "/dev/md126");
  BOOST_TEST(has(guest.device("/dev/md0"), "may be any of /dev/md126, /dev/md127"));
}

// Regression: the root was mounted at /srv, too.
BOOST_AUTO_TEST_CASE(the_only_array_that_could_be_assembled_was_taken_for_every_one) {
  pretended_guest guest;
  guest.arrays = {"/dev/md127"};  // named "root"
  guest.facts["/dev/md127"] = {{"TYPE", "ext4"}, {"UUID", "mmmm-3333"}};
  const std::string md0 = "/dev/md0 /a ext4 defaults 0 2\n", md1 = "/dev/md1 /b ext4 defaults 0 2\n";
  const std::string sda1 = "UUID=aaaa-1111 / ext4 defaults 0 1\n";
  const auto plan = guest.plan("/dev/md0 / ext4 defaults 0 1\n" + md1, "/dev/md127");
  BOOST_TEST(text(plan.mountpoints) == "/=/dev/md127 ");
  BOOST_TEST(text(plan.failures) ==
             "mountpoints: /etc/fstab, line 2: \"/dev/md1\" is not mounted on \"/b\": of several arrays, "
             "only /dev/md127 is on the disks\n");
  BOOST_TEST(text(guest.plan("UUID=mmmm-3333 / ext4 defaults 0 1\n" + md1, "/dev/md127").mountpoints) ==
             "/=/dev/md127 ");
  BOOST_TEST(text(guest.plan(sda1 + md1).mountpoints) == "/=/dev/sda1 /b=/dev/md127 ");
  BOOST_TEST(text(guest.plan(sda1 + md0 + md1).mountpoints) == "/=/dev/sda1 ");
  BOOST_TEST(text(guest.plan(sda1 + "/dev/md/root /a ext4 defaults 0 2\n" + md1).mountpoints) ==
             "/=/dev/sda1 /a=/dev/md127 ");
  guest.files["/etc/crypttab"] = "-swap /dev/md0 /dev/urandom swap\n";
  BOOST_TEST(text(guest.plan(sda1 + md1).mountpoints) == "/=/dev/sda1 ");
  guest.arrays.emplace_back("/dev/md126");
  BOOST_TEST(text(guest.plan("/dev/md0 / ext4 defaults 0 1\n", "/dev/md127").failures) == "");
}

// Regression: an array's link was taken for one of the only disk, so that a partition of it was mounted, or
// none.
BOOST_AUTO_TEST_CASE(links_to_arrays_were_taken_for_links_to_disks) {
  pretended_guest guest;
  const std::string links = "/dev/disk/by-id/md-";
  BOOST_TEST(guest.device(links + "name-host:2") == "none: there is no array on the disks");
  BOOST_TEST(guest.device(links + "name-host:2-part1") == "none: there is no array on the disks");
  guest.arrays = {"/dev/md126", "/dev/md127"};
  BOOST_TEST(guest.device(links + "name-host:root") == "/dev/md127");
  BOOST_TEST(guest.device(links + "name-host:2") == "/dev/md126");
  BOOST_TEST(guest.device(links + "name-host\\x3a2") == "/dev/md126");
  BOOST_TEST(guest.device(links + "uuid-aaaa0001:00000002:00000003:00000004") == "/dev/md127");
  BOOST_TEST(guest.device(links + "uuid-BBBB0001:00000002:00000003:00000004") == "/dev/md126");
  BOOST_TEST(guest.device(links + "uuid-cccc0001:00000002:00000003:00000004") ==
             "none: no array on the disks has it");
  guest.arrays = {"/dev/md127"};
  guest.facts["/dev/md127"] = {{"TYPE", "ext4"}};
  const std::string sda1 = "UUID=aaaa-1111 / ext4 defaults 0 1\n", md1 = "/dev/md1 /b ext4 defaults 0 2\n";
  BOOST_TEST(text(guest.plan(sda1 + links + "name-host:2 /a ext4 defaults 0 2\n" + md1).mountpoints) ==
             "/=/dev/sda1 ");
}

// Regression: no array had it, said the report, and an empty UUID was that of an array without one.
BOOST_AUTO_TEST_CASE(partitions_of_arrays_and_arrays_that_mdadm_does_not_tell_of_were_not_there) {
  struct : pretended_guest {
    hashtable md_detail(const std::string& array) override {
      if (array == "/dev/md126") throw Error("md_detail", "mdadm: cannot open " + array, ENXIO);
      if (array == "/dev/md125") return {{"name", "host:5"}};
      return pretended_guest::md_detail(array);
    }
  } guest;
  const std::string link = "/dev/disk/by-id/md-uuid-", root = "aaaa0001:00000002:00000003:00000004";
  guest.arrays = {"/dev/md127"};
  guest.parts.emplace_back("/dev/md127p1");
  BOOST_TEST(guest.device(link + root + "-part1") == "/dev/md127p1");
  BOOST_TEST(guest.device(link + root + "-part2") == "none: /dev/md127 has no partition p2");
  BOOST_TEST(guest.device(link + root + "-part\x1b[2J") == "none: it names no partition");
  BOOST_TEST(guest.device(link + root) == "none: /dev/md127 has partitions");
  guest.arrays = {"/dev/md125", "/dev/md126", "/dev/md127"};
  BOOST_TEST(guest.device(link + root + "-part1") == "/dev/md127p1");
  BOOST_TEST(guest.device(link) == "none: it names no array");
  BOOST_TEST(guest.device(link + "cccc0001") ==
             "none: mdadm tells no UUID of /dev/md125, /dev/md126, which may have it");
}

BOOST_AUTO_TEST_CASE(a_crypttab_that_explains_a_name_by_itself_ends) {
  pretended_guest guest;
  guest.files["/etc/crypttab"] = "-a /dev/disk/by-id/dm-name-a none luks\nb /dev/sda2 none luks\n";
  const auto plan = guest.plan("/dev/mapper/a /a ext4 defaults\n/dev/mapper/b /b ext4 defaults\n");
  BOOST_TEST(text(plan.mountpoints) == "/=/dev/sda1 ");
  BOOST_TEST(has(text(plan.failures), "/etc/crypttab has it on"));
  BOOST_TEST(has(text(plan.failures), "it is in /dev/sda2, which was not opened"));
}

// The plan of mounts.

BOOST_AUTO_TEST_CASE(the_root_that_was_found_wins_over_a_device_that_is_not_there_or_another_one) {
  pretended_guest guest;
  for (const auto* name : {"/dev/nvme0n1p2", "/dev/disk/by-path/x", "UUID=gone", "/dev/sda2", "nonsense"}) {
    const auto plan = guest.plan(std::string(name) + " / ext4 defaults 0 1\n");
    BOOST_TEST(text(plan.mountpoints) == "/=/dev/sda1 ", name);
    BOOST_TEST(has(text(plan.failures), "/dev/sda1, where the system was found, is mounted instead"), name);
  }
  for (const auto* name :
       {"/dev/vda1", "/dev/nvme3n1p1", "UUID=aaaa-1111", "/dev/root", "/dev/disk/by-uuid/aaaa-1111"}) {
    const auto plan = guest.plan(std::string(name) + " / ext4 defaults 0 1\n");
    BOOST_TEST(text(plan.mountpoints) == "/=/dev/sda1 ", name);
    BOOST_TEST(text(plan.failures) == "", name);
  }
}

// Which lines the installed libguestfs is sure to read in the same way: all others are corrections.
BOOST_AUTO_TEST_CASE(a_newer_libguestfs_follows_the_links_below_by_uuid_and_reads_crypttab) {
  pretended_guest guest;
  guest.facts["/dev/sda3"] = {{"TYPE", "LVM2_member"}};
  guest.volumes = {"/dev/vg/home", "/dev/vg/opened"};
  guest.files["/etc/crypttab"] = "-vg-opened UUID=bbbb-2222 none luks\n";
  const auto corrected = [&](std::int64_t minor, const std::string& fstab) {
    guest.seen = {.major = 1, .minor = minor, .release = 9, .extra = ""};
    return !guest.plan(fstab).corrections.empty();
  };
  const std::string root = "UUID=aaaa-1111 / ext4 defaults\n";
  for (const std::int64_t minor : {48, 54, 60}) {
    BOOST_TEST(!corrected(minor, root));
    BOOST_TEST(!corrected(minor, root + "/dev/mapper/vg-home /home ext4 defaults\n"));
    BOOST_TEST(corrected(minor, root + "/dev/disk/by-path/x /data ext4 defaults\n"));
    BOOST_TEST(corrected(minor, "/dev/disk/by-uuid/aaaa-1111 / ext4 defaults\n") == (minor < 60));
    BOOST_TEST(corrected(minor, "/dev/disk/by-uuid/AAAA-1111 / ext4 defaults\n"));
    BOOST_TEST(corrected(minor, root + "/dev/mapper/vg-opened /data ext4 defaults\n") == (minor == 60));
    BOOST_TEST(corrected(minor, root + root) == (minor < 60));
    BOOST_TEST(corrected(minor, root + "LABEL=data\\040disk / ext4 defaults\n") == (minor < 60));
    BOOST_TEST(corrected(minor, "LABEL=data\\040disk / ext4 defaults\n" + root));
    BOOST_TEST(
        corrected(minor, root + "UUID=aaaa-1111 /data ext4 defaults\nUUID=aaaa-1111 /data ext4 defaults\n"));
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_resolve_is_told_and_what_is_none_of_a_disk_is_not) {
  pretended_guest guest;
  const auto plan = guest.plan(
      "UUID=aaaa-1111 / ext4 defaults 0 1\nLABEL=data\\040disk /my\\040data ext4 defaults 0 2\n"
      "UUID=gone /gone ext4 nofail 0 2\ntmpfs /tmp tmpfs defaults 0 0\nserver:/srv /srv nfs ro 0 0\n"
      "/srv/a /srv/b none bind 0 0\nUUID=nowhere none swap sw 0 0\n/dev/sda3 none swap sw 0 0\n"
      "/dev/sda2 //my\\040data/./ ext4 defaults 0 2\n");
  BOOST_TEST(text(plan.mountpoints) == "/=/dev/sda1 /my data=/dev/sda2 ");
  BOOST_TEST(
      plan.filesystems == (std::vector<std::string>{"/dev/sda2", "/dev/sda3", "/dev/sda2", "/dev/sda1"}),
      boost::test_tools::per_element());
  BOOST_REQUIRE_EQUAL(plan.failures.size(), 2U);
  BOOST_TEST(
      plan.failures[0].message ==
      "/etc/fstab, line 3: \"UUID=gone\" is not mounted on \"/gone\": no filesystem on the disks has it");
  BOOST_TEST(
      has(plan.failures[1].message, "line 9: \"/dev/sda2\" is not mounted on \"/my data\": another line"));
}

// Regression: lines with a mistyped tag, or without one, were skipped silently.
BOOST_AUTO_TEST_CASE(a_name_that_is_no_device_s_is_told_where_the_type_is_a_disk_s) {
  pretended_guest guest;
  const auto plan = guest.plan(
      "UUID=aaaa-1111 / ext4 defaults 0 1\nLABLE=data /a ext4 defaults 0 2\n\"LABEL=data\" /b xfs defaults 0 "
      "2\n"
      "data /c vfat defaults 0 2\n/var/disk.img /d ext4 loop 0 0\n/swapfile none swap sw 0 0\n"
      "/swapfile swap swap sw 0 0\nserver:/srv /srv nfs ro 0 0\nhost0 /mnt 9p ro 0 0\ntmpfs /tmp tmpfs "
      "size=1G 0 0\n");
  BOOST_TEST(text(plan.mountpoints) == "/=/dev/sda1 ");
  BOOST_REQUIRE_EQUAL(plan.failures.size(), 4U);
  BOOST_TEST(plan.failures[0].message ==
             "/etc/fstab, line 2: \"LABLE=data\" is not mounted on \"/a\": it is the name of no device");
  BOOST_TEST(has(plan.failures[1].message, "line 3: "));
  BOOST_TEST(has(plan.failures[2].message, "line 4: \"data\" is not mounted on \"/c\""));
  BOOST_TEST(has(plan.failures[3].message, "line 5: \"/var/disk.img\" is not mounted on \"/d\": files of"));
}

BOOST_AUTO_TEST_CASE(hundreds_of_lines_that_name_nothing_are_a_few_failures) {
  pretended_guest guest;
  std::string fstab = "UUID=aaaa-1111 / ext4 defaults 0 1\n";
  for (int i = 0; i < 450; ++i) fstab += "UUID=gone" + std::to_string(i) + " /m ext4 defaults 0 2\n";
  const auto plan = guest.plan(fstab);
  BOOST_REQUIRE_EQUAL(plan.failures.size(), most_failures_of_a_kind + 1);
  BOOST_TEST(plan.failures.back().message == "/etc/fstab: 430 more lines name what is not mounted");
  BOOST_TEST(plan.corrections.size() <= most_failures_of_a_kind + 3);
}

BOOST_AUTO_TEST_CASE(a_plain_fstab_is_not_corrected_and_one_that_an_old_libguestfs_misreads_is) {
  pretended_guest guest;
  guest.facts["/dev/sda2"]["PART_ENTRY_UUID"] = "p2";
  BOOST_TEST(
      guest.plan("UUID=aaaa-1111 / ext4 defaults 0 1\n/dev/sda3 none swap sw 0 0\n").corrections.empty());
  for (const auto* line :
       {"PARTUUID=p2 /data ext4 defaults 0 2\n", "LABEL=data\\040disk /data ext4 defaults 0 2\n",
        "/dev/sda2 /my\\040data ext4 defaults 0 2\n", "/dev/nvme0n1p2 /data ext4 defaults 0 2\n",
        "/dev/sdx1 /data ext4 defaults 0 2\n", "/dev/sda2 /a/../b ext4 defaults 0 2\n", "broken\n",
        "/dev/sda2 /data ext4 defaults 0 2 more\n"})
    BOOST_TEST(!guest.plan(std::string("UUID=aaaa-1111 / ext4 defaults 0 1\n") + line).corrections.empty(),
               line);
}

BOOST_AUTO_TEST_CASE(subvolumes_are_named_by_name_or_number) {
  pretended_guest guest;
  guest.facts["/dev/sda2"] = {{"TYPE", "btrfs"}, {"UUID", "b"}};
  const auto plan = guest.plan(
      "UUID=b / btrfs subvol=/@ 0 0\nUUID=b /home btrfs noatime,subvolid=256 0 0\n"
      "UUID=b /top btrfs subvolid=5 0 0\nUUID=b /none btrfs subvolid=999 0 0\n",
      "btrfsvol:/dev/sda2/@");
  BOOST_TEST(text(plan.mountpoints) ==
             "/=btrfsvol:/dev/sda2/@ /top=/dev/sda2 /home=btrfsvol:/dev/sda2/@home ");
  BOOST_TEST(has(text(plan.failures), "line 4: \"UUID=b\" is not mounted on \"/none\": no subvolume"));
}

// Regression: after a rollback by snapper, the default subvolume was mounted there.
BOOST_AUTO_TEST_CASE(the_top_level_of_a_btrfs_was_taken_for_its_default_subvolume) {
  pretended_guest guest;
  guest.facts["/dev/sda2"] = {{"TYPE", "btrfs"}, {"UUID", "b"}};
  for (const std::string options : {"subvolid=5", "subvolid=0", "subvol=/", "subvol=//"}) {
    guest.usual = 256;
    BOOST_TEST(
        text(guest.plan("UUID=b / btrfs defaults 0 0\nUUID=b /top btrfs " + options + " 0 0\n", "/dev/sda2")
                 .mountpoints) == "/=/dev/sda2 /top=btrfsvol:/dev/sda2// ",
        options);
    const auto other = guest.plan("UUID=b / btrfs " + options + " 0 0\n", "/dev/sda2");
    BOOST_TEST(
        has(text(other.failures), "that is btrfsvol:/dev/sda2//; /dev/sda2, where the system was found"));
    guest.usual = layout::btrfs_top;
    BOOST_TEST(text(guest.plan("UUID=b / btrfs " + options + " 0 0\n", "/dev/sda2").failures) == "", options);
  }
  layout known(guest);
  BOOST_TEST(known_volume(known, "btrfsvol:/dev/sda2//") == "btrfsvol:/dev/sda2//");
  BOOST_TEST(known_volume(known, "btrfsvol:/dev/sda2///") == "btrfsvol:/dev/sda2//");
}

BOOST_AUTO_TEST_CASE(an_fstab_that_is_no_file_or_has_no_end_is_told) {
  pretended_guest guest;
  guest.files["/etc/fstab"] = "p";
  layout known(guest);
  BOOST_TEST(has(text(plan_mounts(guest, known, "/dev/sda1").failures), "/etc/fstab: not a regular file"));
  // Regression: a line of a megabyte made the lines after it disappear.
  const auto whole = guest.plan("UUID=aaaa-1111 / ext4 defaults 0 1\n" + std::string(1U << 20U, 'x') +
                                "\n/dev/sda2 /data ext4 defaults 0 2\n");
  BOOST_TEST(text(whole.mountpoints) == "/=/dev/sda1 /data=/dev/sda2 ");
  BOOST_TEST(has(text(whole.failures), "line 2: cannot be read: has 1048576 bytes"));
  const auto plan = guest.plan("UUID=aaaa-1111 / ext4 defaults 0 1\n" + std::string(most_fstab_bytes, '#'));
  BOOST_TEST(has(text(plan.failures), "larger than 2097152 bytes"));
}

BOOST_AUTO_TEST_CASE(augeas_is_kept_from_what_would_hang_it) {
  pretended_guest guest;
  guest.files["/etc/fstab"] = "-UUID=a / ext4 defaults 0 1\n";
  BOOST_TEST(!fault_for_augeas(guest));
  for (const auto* file : {"p", "l/dev/zero", "d"}) {
    guest.files["/etc/crypttab"] = file;
    BOOST_TEST(fault_for_augeas(guest).value() == "/etc/crypttab is no regular file");
  }
  guest.files.erase("/etc/crypttab");
  guest.files["/etc/fstab"] = "-";
  for (int i = 0; i < 501; ++i) guest.files["/etc/fstab"] += "UUID=a /a ext4 defaults 0 1\n";
  BOOST_TEST(has(fault_for_augeas(guest).value(), "more than 500 entries"));
}

// Mounting.

BOOST_AUTO_TEST_CASE(nothing_is_mounted_outside_of_the_root) {
  pretended_guest guest;
  guest.files.insert({{"/link", "l/usr/bin"},
                      {"/a", "d"},
                      {"/a/up", "l../../.."},
                      {"/a/b", "d"},
                      {"/file", "-text"},
                      {"/file/x", "d"}});
  const std::vector<std::string> wrong{
      "/../usr/bin",   "/../../../../tmp", "/a/../..", "/..",       "../x",  "x",       "",
      "/link",         "/link/x",          "/a/up",    "/a/up/tmp", "/file", "/file/x", "/gone",
      "/a/./../../tmp"};
  mountpoint_list mountpoints{{"/", "/dev/sda1"}};
  for (const auto& mountpoint : wrong) mountpoints.emplace_back(mountpoint, "/dev/sda2");
  mountpoints.emplace_back("/a//./b/", "/dev/sda2");
  std::vector<InspectFailure> failures;
  mount_behind_root(guest, mountpoints, true, failures);
  BOOST_TEST(guest.mounted == std::vector<std::string>{"/dev/sda2 /a/b"}, boost::test_tools::per_element());
  BOOST_TEST(failures.size() == wrong.size());
  BOOST_TEST(text(mountpoints) == "/=/dev/sda1 /gone=/dev/sda2 /a/b=/dev/sda2 ");
  BOOST_TEST(
      has(text(failures), "mountpoints: /dev/sda2 is not mounted on \"/a/up/tmp\": \"/a/up\" is a symlink"));
  BOOST_TEST(
      has(text(failures), "/dev/sda2 is not mounted on \"/../usr/bin\": the mountpoint climbs by \"..\""));
}

BOOST_AUTO_TEST_CASE(a_subvolume_is_known_though_the_appliances_kernel_calls_its_disk_otherwise) {
  pretended_guest guest;
  guest.facts["/dev/sda2"] = guest.facts["/dev/sdb2"] = {{"TYPE", "btrfs"}, {"UUID", "b"}, {"LABEL", "root"}};
  layout known(guest);
  BOOST_TEST(known_volume(known, "btrfsvol:/dev/sdb2//@/x") == "btrfsvol:/dev/sda2/@/x");
  BOOST_TEST(known_volume(known, "btrfsvol:/dev/sdz9/@") == "btrfsvol:/dev/sdz9/@");
  BOOST_TEST(known_volume(known, "/dev/sdb2") == "/dev/sdb2");
  const auto plan = guest.plan("LABEL=root / btrfs subvol=@ 0 0\n", "btrfsvol:/dev/sdb2/@");
  BOOST_TEST(text(plan.mountpoints) == "/=btrfsvol:/dev/sda2/@ ");
  BOOST_TEST(text(plan.failures) == "");
  BOOST_TEST(plan.corrections.empty());
}

BOOST_AUTO_TEST_CASE(a_subvolumes_name_is_no_option_of_mount) {
  pretended_guest guest;
  mountpoint_list mountpoints{{"/", "/dev/sda1"}, {"/data", "btrfsvol:/dev/sda2/x,X-mount.mkdir"}};
  std::vector<InspectFailure> failures;
  mount_behind_root(guest, mountpoints, true, failures);
  BOOST_TEST(guest.mounted.empty());
  BOOST_TEST(has(text(failures), "a comma"));
}

BOOST_AUTO_TEST_CASE(the_name_of_a_root_is_no_option_of_mount_either) {
  pretended_guest guest;
  for (const bool readonly : {true, false})
    BOOST_CHECK_THROW(mount_at(guest, "btrfsvol:/dev/sda1/x,exec", "/", readonly), Error);
  InspectedSystem system{.root = "btrfsvol:/dev/sda1/x,exec", .type = "linux"};
  layout known(guest);
  std::vector<std::string> corrections;
  BOOST_CHECK_THROW(mount_system(guest, system, known, corrections), Error);
  BOOST_TEST(guest.mounted.empty());
}

BOOST_AUTO_TEST_CASE(what_cannot_be_mounted_is_not_said_to_be) {
  pretended_guest guest;
  guest.files.insert({{"/broken", "d"}});
  guest.damaged = "/dev/sda3";
  mountpoint_list mountpoints{
      {"/", "/dev/sda1"}, {"/data", "/dev/sda2"}, {"/gone", "/dev/sda2"}, {"/broken", "/dev/sda3"}};
  std::vector<InspectFailure> failures;
  const auto mounted = mount_behind_root(guest, mountpoints, true, failures);
  BOOST_TEST(text(mounted) == "/data=/dev/sda2 ");
  BOOST_TEST(text(mountpoints) == "/=/dev/sda1 /data=/dev/sda2 /gone=/dev/sda2 /broken=/dev/sda3 ");
  BOOST_REQUIRE_EQUAL(failures.size(), 2U);
  BOOST_TEST(failures[1].op == "mount_ro");
  BOOST_TEST(failures[1].message == "/dev/sda3 is not mounted on \"/broken\": wrong fs type");
}

BOOST_AUTO_TEST_CASE(nothing_hides_the_root) {
  for (const std::string odd : {"/.", "//", "/./", "/././/"}) {
    pretended_guest guest;
    mountpoint_list mountpoints{{"/", "/dev/sda1"}, {odd, "/dev/sda2"}};
    std::vector<InspectFailure> failures;
    BOOST_TEST(text(mount_behind_root(guest, mountpoints, true, failures)) == "", odd);
    BOOST_TEST(text(mountpoints) == "/=/dev/sda1 ", odd);
    BOOST_TEST(has(text(failures), "that is where the root is mounted"), odd);
    BOOST_TEST(guest.mounted.empty(), odd);
  }
}

BOOST_AUTO_TEST_CASE(what_libguestfs_finds_in_fstab_is_known_however_it_is_written) {
  pretended_guest guest;
  guest.files["/etc/fstab"] = "-/dev/sda1 /. ext4 defaults 0 1\n/dev/sda2 /data/. ext4 defaults 0 2\n";
  InspectedSystem system{.root = "/dev/sda1", .type = "linux"};
  system.mountpoints = {{"/", "/dev/sda1"},
                        {"/.", "/dev/sda2"},
                        {"/data/.", "/dev/sda2"},
                        {"/..", "/dev/sda2"},
                        {"//etc", "/dev/sda2"}};
  layout known(guest);
  std::vector<std::string> corrections;
  mount_system(guest, system, known, corrections);
  BOOST_TEST(guest.mounted == (std::vector<std::string>{"/dev/sda1 /", "/dev/sda2 /etc", "/dev/sda2 /data"}),
             boost::test_tools::per_element());
  BOOST_TEST(text(system.mountpoints) == "/=/dev/sda1 /etc=/dev/sda2 /data=/dev/sda2 ");
  BOOST_TEST(text(system.failures) == "");
}

BOOST_AUTO_TEST_CASE(dozens_of_directories_that_are_not_there_are_a_few_failures) {
  pretended_guest guest;
  mountpoint_list mountpoints{{"/", "/dev/sda1"}};
  for (int i = 0; i < 60; ++i) mountpoints.emplace_back("/gone" + std::to_string(i), "/dev/sda2");
  std::vector<InspectFailure> failures;
  mount_behind_root(guest, mountpoints, true, failures);
  BOOST_TEST(mountpoints.size() == 61U);
  BOOST_REQUIRE_EQUAL(failures.size(), most_failures_of_a_kind + 1);
  BOOST_TEST(text(failures).ends_with("mountpoints: 40 more filesystems are not mounted\n"), text(failures));
}

BOOST_AUTO_TEST_CASE(a_hundred_mountpoints_are_enough) {
  pretended_guest guest;
  mountpoint_list mountpoints{{"/", "/dev/sda1"}};
  for (int i = 0; i < 400; ++i) mountpoints.emplace_back("/data", "/dev/sda2");
  std::vector<InspectFailure> failures;
  mount_behind_root(guest, mountpoints, true, failures);
  BOOST_TEST(guest.mounted.size() == 100U);
  BOOST_REQUIRE_EQUAL(failures.size(), most_failures_of_a_kind + 1);
  BOOST_TEST(has(failures[0].message, "more than 100 mountpoints"));
  BOOST_TEST(failures.back().message == "280 more filesystems are not mounted");
}

BOOST_AUTO_TEST_CASE(only_the_first_mountpoint_beyond_the_hundredth_was_told) {
  pretended_guest guest;
  guest.facts["/dev/sda2"] = {{"TYPE", "btrfs"}, {"UUID", "b"}};
  std::string fstab = "UUID=aaaa-1111 / ext4 defaults 0 1\n";
  for (int i = 0; i < 130; ++i) {
    const auto name = std::to_string(i);
    guest.files["/m" + name] = "d";
    fstab.append("UUID=b /m").append(name).append(" btrfs subvol=v").append(name).append(" 0 0\n");
  }
  auto plan = guest.plan(fstab);
  const auto kept = mount_behind_root(guest, plan.mountpoints, true, plan.failures).size();
  BOOST_REQUIRE_EQUAL(plan.failures.size(), most_failures_of_a_kind + 1);
  BOOST_TEST(plan.failures.back().message == "10 more filesystems are not mounted");
  BOOST_TEST(kept + most_failures_of_a_kind + 10 == 130U);
}

BOOST_AUTO_TEST_CASE(what_a_handle_without_an_appliance_says_of_mounting) {
  Guestfs g;
  BOOST_CHECK_THROW(mount_guest(g), Error);
  BOOST_CHECK_THROW(mount_guest(g, {.root = "/dev/sda1"}), Error);
}
