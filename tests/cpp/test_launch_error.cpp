// launch_error.hpp: finding the cause of a failed launch in its logs, which are from QEMU 7.2, supermin 5.2
// and Linux 6.1, with the names of disks and directories shortened.
#define BOOST_TEST_MODULE launch_error
#include <boost/test/unit_test.hpp>
#include <guestkit/launch_error.hpp>
#include <ostream>
#include <string>
#include <vector>

using guestkit::Cause;
using guestkit::LaunchError;

namespace {

struct Case {
  const char* name;
  Cause cause;
  std::string message;
  int error_number;
  std::vector<std::string> console;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name;
}

const std::string failed =
    "guestfs_launch failed.\nThis usually means the libguestfs appliance failed to start or crashed.";
const std::string supermin = "/usr/bin/supermin exited with error status 1.\nTo see full error messages …";

const std::vector<Case> cases{
    {"hypervisor not there",
     Cause::qemu_missing,
     "stat: /usr/bin/qemu-system-x86_64: No such file or directory",
     ENOENT,
     {}},
    {"a cache that cannot be written, which was told as a missing hypervisor",
     Cause::no_space,
     "stat: /var/tmp/.guestfs-0: No such file or directory",
     ENOENT,
     {}},
    {"temporary files that cannot be written",
     Cause::no_space,
     "/tmp/libguestfsMS512t: cannot create temporary directory: Read-only file system",
     EROFS,
     {}},
    {"hypervisor not executable",
     Cause::qemu_missing,
     "/opt/hv exited with error status 126.\nTo see …",
     0,
     {"/opt/hv: Permission denied"}},
    {"hypervisor a broken script",
     Cause::qemu_missing,
     "/opt/hv exited with error status 127.\nTo see …",
     0,
     {"/opt/hv: 2: exec: qemu-kvm: not found"}},
    {"forced KVM on a broken host",
     Cause::kvm,
     failed,
     0,
     {"qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69",
      "qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion `ret == "
      "cpu->kvm_msr_buf->nmsrs' failed."}},
    {"KVM not allowed",
     Cause::kvm,
     failed,
     0,
     {"Could not access KVM kernel module: Permission denied",
      "qemu-system-x86_64: failed to initialize kvm: Permission denied"}},
    {"KVM not there",
     Cause::kvm,
     failed,
     0,
     {"Could not access KVM kernel module: No such file or directory",
      "qemu-system-x86_64: failed to initialize kvm: No such file or directory"}},
    {"KVM taken by another hypervisor",
     Cause::kvm,
     failed,
     0,
     {"ioctl(KVM_CREATE_VM) failed: 16 Device or resource busy"}},
    {"forced KVM that libguestfs does not see",
     Cause::kvm,
     "force_kvm supplied but kvm not available",
     0,
     {}},
    {"memory of the host",
     Cause::memory,
     failed,
     0,
     {"qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory"}},
    {"memory of the appliance",
     Cause::memory,
     failed,
     0,
     {"[    2.310557] Kernel panic - not syncing: System is deadlocked on memory"}},
    {"disk gone",
     Cause::disk_missing,
     failed,
     0,
     {"qemu-system-x86_64: -drive file=/d/disk,cache=writeback,format=raw,id=hd0,if=none: Could not open "
      "'/d/disk': No such file or directory"}},
    {"disk behind an overlay gone",
     Cause::disk_missing,
     failed,
     0,
     {"Formatting '/tmp/overlay1.qcow2', fmt=qcow2 cluster_size=65536",
      "qemu-system-x86_64: -drive file.file.filename=/tmp/overlay1.qcow2,id=hd0,if=none: Could not open "
      "backing "
      "file: Could not open '/d/gone': No such file or directory"}},
    {"a disk behind an overlay not readable, which was told as missing",
     Cause::disk_unreadable,
     failed,
     0,
     {"qemu-system-x86_64: -drive file.file.filename=/tmp/overlay1.qcow2,id=hd0,if=none: Could not open "
      "backing file: Could not open '/d/disk': Permission denied"}},
    {"an image behind an overlay damaged, which was told as missing",
     Cause::disk_unreadable,
     failed,
     0,
     {"qemu-system-x86_64: -drive file.file.filename=/tmp/overlay1.qcow2,id=hd0,if=none: Could not open "
      "backing file: Image is not in qcow2 format"}},
    {"disk not readable",
     Cause::disk_unreadable,
     failed,
     0,
     {"qemu-system-x86_64: -drive file=/d/disk,format=raw,id=hd0,if=none: Could not open '/d/disk': "
      "Permission "
      "denied"}},
    {"disk locked",
     Cause::disk_locked,
     failed,
     0,
     {"qemu-system-x86_64: -device scsi-hd,drive=hd0: Failed to get shared \"write\" lock",
      "Is another process using the image [/d/disk]?"}},
    {"no kernel",
     Cause::kernel_unreadable,
     supermin,
     0,
     {"supermin: failed to find a suitable kernel (host_cpu=x86_64).",
      "I looked for kernels in /boot and modules in /lib/modules."}},
    {"kernel for root alone",
     Cause::kernel_unreadable,
     supermin,
     0,
     {"cp: cannot open '/boot/vmlinuz-5.15.0-91-generic' for reading: Permission denied",
      "supermin: cp -p '/boot/vmlinuz-5.15.0-91-generic' '/var/tmp/appliance.d.x/kernel': command failed, "
      "see "
      "earlier errors"}},
    {"a disk in /boot not readable, which was told as the kernel",
     Cause::disk_unreadable,
     failed,
     0,
     {"qemu-system-x86_64: -drive file=/boot/disk,format=raw,id=hd0,if=none: Could not open '/boot/disk': "
      "Permission denied"}},
    {"cache directory full",
     Cause::no_space,
     supermin,
     0,
     {"cp: error writing '/c/appliance.d.x/kernel': No space left on device",
      "supermin: cp -p '/boot/vmlinuz-6.1.0-cloud-amd64' '/c/appliance.d.x/kernel': command failed, see "
      "earlier "
      "errors"}},
    {"a read-only /var/tmp, where TMPDIR=/tmp did not help",
     Cause::no_space,
     failed,
     0,
     {"qemu-system-x86_64: -drive file=/a/root,snapshot=on,id=appliance,cache=unsafe,if=none,format=raw: "
      "Could "
      "not open temporary file '/var/tmp/vl.CIDIZ3': Read-only file system"}},
    {"package database busy",
     Cause::appliance_build,
     supermin,
     0,
     {"supermin: dpkg-query -W: command failed, see earlier errors"}},
    {"supermin killed",
     Cause::appliance_build,
     "/usr/bin/supermin killed by signal 9 (Killed).\nTo see …",
     0,
     {"supermin: acquiring lock on /c/lock"}},
    {"a disk not readable, for which the supermin of a verbose libguestfs was blamed",
     Cause::disk_unreadable,
     failed,
     0,
     {"supermin: version: 5.2.2", "supermin: package handler: debian/dpkg",
      "qemu-system-x86_64: -drive file=/a,format=raw,id=hd0,if=none: Could not open '/a': Permission "
      "denied"}},
    {"hypervisor not there, for which the supermin of a verbose libguestfs was blamed",
     Cause::qemu_missing,
     "stat: /usr/bin/qemu-system-x86_64: No such file or directory",
     ENOENT,
     {"supermin: version: 5.2.2"}},
    {"no appliance",
     Cause::appliance_damaged,
     "cannot find any suitable libguestfs supermin, fixed or old-style appliance on LIBGUESTFS_PATH (search "
     "path: /x)",
     0,
     {}},
    {"appliance's root damaged",
     Cause::appliance_damaged,
     failed,
     0,
     {"mount: /root: wrong fs type",
      "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"}},
    {"appliance's kernel gone",
     Cause::appliance_damaged,
     failed,
     0,
     {"qemu-system-x86_64: could not open kernel file '/a/kernel': No such file or directory"}},
    {"an option that QEMU does not know",
     Cause::unknown,
     failed,
     0,
     {"qemu-system-x86_64: -nosuchoption: invalid option"}},
    {"nothing written", Cause::unknown, failed, 0, {}},
};

}  // namespace

BOOST_AUTO_TEST_CASE(each_log_has_its_cause_and_a_hint_where_one_is_known) {
  for (const auto& c : cases) BOOST_TEST_CONTEXT(c) {
      const LaunchError error("launch", c.message, c.error_number, c.console);
      BOOST_TEST(to_string(error.cause()) == std::string(to_string(c.cause)));
      BOOST_TEST(error.hint().empty() == (c.cause == Cause::unknown));
      // The command line shows the hint as it is, but for KVM.
      BOOST_TEST(error.hint().find("()") == std::string::npos);
      BOOST_TEST((c.cause == Cause::kvm || error.hint().find("accel=") == std::string::npos));
      BOOST_TEST(error.console() == c.console, boost::test_tools::per_element());
      BOOST_TEST(error.op() == "launch");
    }
  BOOST_TEST(cases.size() >= 20U);
}

BOOST_AUTO_TEST_CASE(libguestfs_advice_gives_way_to_what_was_written_last) {
  const LaunchError error("launch", failed, 0,
                          {"first", "qemu-system-x86_64: -nosuchoption: invalid option"});
  BOOST_TEST(error.message() ==
             "the appliance did not start; it last wrote: qemu-system-x86_64: -nosuchoption: invalid option");
}

BOOST_AUTO_TEST_CASE(a_message_that_says_why_is_kept_without_the_advice_below_it) {
  BOOST_TEST(LaunchError("launch", supermin, 0, {"x"}).message() ==
             "/usr/bin/supermin exited with error status 1.");
}

BOOST_AUTO_TEST_CASE(a_killed_hypervisor_is_not_blamed_on_what_was_written_without_a_failure) {
  const std::vector<std::vector<std::string>> consoles{
      {},
      {"WARNING: Image format was not specified for '/a.img' and probing guessed raw.",
       "         Automatically detecting the format is dangerous for raw images, write "
       "operations on block 0 will be restricted.",
       "         Specify the 'raw' format explicitly to remove the restrictions.",
       "qemu-system-x86_64: warning: TCG doesn't support requested feature: CPUID.07H:EBX.x [bit 1]"},
      {"guestkit: normal boot: the launch has another number of processors"},
      {"guestkit: restoring"},
      {"launch: program=python", "finished testing qemu features", "/usr/bin/qemu-system-x86_64 \\",
       "    -no-user-config \\", "    -name guestkit-1", "child_cleanup: 0xc2656a0: child process died",
       "sending SIGTERM to process 7670"}};
  for (const auto& console : consoles)
    BOOST_TEST(LaunchError("launch", failed, 0, console).message() ==
               "the appliance did not start: its hypervisor ended or was killed, and wrote nothing of why");
}

BOOST_AUTO_TEST_CASE(what_is_written_below_a_complaint_of_qemu_was_told_in_its_place) {
  const std::string complaint =
      "qemu-system-x86_64: -drive file=/d/disk.vhdx,format=vhdx,id=hd0,if=none: VHDX image file "
      "'/d/disk.vhdx' "
      "opened read-only, but contains a log that needs to be replayed";
  const LaunchError error(
      "launch", failed, 0,
      {complaint, "To replay the log, run:", "qemu-img check -r all '/d/disk.vhdx'",
       "child_cleanup: 0xc2656a0: child process died", "sending SIGTERM to process 7670"});
  BOOST_TEST(error.message() == "the appliance did not start; it last wrote: " + complaint);
}

BOOST_AUTO_TEST_CASE(why_guestkit_could_not_run_qemu_is_told) {
  const std::string why = "guestkit: QEMU cannot be shut in: Invalid argument";
  BOOST_TEST(LaunchError("launch", failed, 0, {why}).message() ==
             "the appliance did not start; it last wrote: " + why);
}

BOOST_AUTO_TEST_CASE(what_guestkit_has_found_out_is_not_guessed_from_its_own_words) {
  const LaunchError error("launch", "sandbox=strict: No space left on device", ENOTSUP,
                          {Cause::kvm, "remedy"}, {"Out of memory"});
  BOOST_TEST(error.what() == std::string("launch: sandbox=strict: No space left on device; remedy"));
  BOOST_TEST((error.cause() == Cause::kvm));
  BOOST_TEST(error.console().size() == 1U);
}

BOOST_AUTO_TEST_CASE(the_last_line_that_fits_decides_between_causes_of_the_same_rank) {
  const LaunchError error(
      "launch", failed, 0,
      {"Could not open '/a': Permission denied", "Could not open '/b': No such file or directory"});
  BOOST_TEST(to_string(error.cause()) == std::string("disk_missing"));
}
