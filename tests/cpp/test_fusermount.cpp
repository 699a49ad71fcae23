// fusermount.hpp: what is mounted on a directory of this host.
#define BOOST_TEST_MODULE fusermount
#include <sys/syscall.h>

#include <cerrno>
#include <guestkit/detail/mount/fusermount.hpp>

#include "support.hpp"

using guestkit::detail::mounted_device;

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
