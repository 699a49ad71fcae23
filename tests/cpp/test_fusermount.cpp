// fusermount.hpp: what is mounted on a directory of this host.
#define BOOST_TEST_MODULE fusermount
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <guestkit/detail/base/device_number.hpp>
#include <guestkit/detail/mount/fusermount.hpp>
#include <guestkit/detail/mount/local_mount.hpp>

#include "support.hpp"

using guestkit::detail::mounted_device;

namespace {

boost::test_tools::assertion_result has_fuse(boost::unit_test::test_unit_id) {
  return support::only_with(::access("/dev/fuse", R_OK | W_OK) == 0, "/dev/fuse that this user can open");
}

}  // namespace

// Regression: nothing was ever mounted there, so nothing was unmounted.
BOOST_AUTO_TEST_CASE(a_mount_went_unseen_where_statx_does_not_tell_of_it) {
  const auto device = mounted_device("/proc");
  BOOST_REQUIRE(device.has_value());
  for (const unsigned error : {ENOSYS, EPERM}) {
    const auto said = support::in_child([&]() -> std::string {
      if (!support::forbid({SYS_statx}, error)) return "statx cannot be forbidden";
      if (mounted_device("/proc/self")) return "something is mounted where nothing is";
      return mounted_device("/proc") == device ? "" : "unseen";
    });
    BOOST_TEST(said == "");
  }
}

// guestkit counts them itself: device_number.hpp says why.
BOOST_AUTO_TEST_CASE(the_numbers_of_a_device_are_those_of_the_c_library) {
  for (const unsigned high : {0U, 7U, 0xfffU, 0x12345678U, ~0U})
    for (const unsigned low : {0U, 3U, 0xffU, 0x12345678U, ~0U}) {
      const auto device = guestkit::detail::device_number(high, low);
      BOOST_TEST(device == ::gnu_dev_makedev(high, low));
      BOOST_TEST(guestkit::detail::major_number(device) == high);
      BOOST_TEST(guestkit::detail::minor_number(device) == low);
    }
}

// Regression: its server was not found, and the guest was killed instead.
BOOST_AUTO_TEST_CASE(a_mount_that_began_kept_another_one_from_being_cut_off,
                     *boost::unit_test::precondition(has_fuse)) {
  const guestkit::detail::unique_fd other(::open("/dev/fuse", O_RDWR | O_CLOEXEC)),
      usual(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  BOOST_REQUIRE(::fcntl(other.get(), F_SETSIG, SIGURG) == 0);  // local_mount.ipp has the marks
  const guestkit::detail::local_mount mine("/", {}, [] {});
  BOOST_TEST(::fcntl(other.get(), F_GETSIG) == SIGURG);
  BOOST_TEST(::fcntl(usual.get(), F_GETSIG) == SIGIO);
}
