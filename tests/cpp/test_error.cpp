// error.hpp: the text of an Error, and the class that each failure throws.
#define BOOST_TEST_MODULE error
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <guestkit/guestkit.hpp>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "support.hpp"

using guestkit::ApplianceCrashed;
using guestkit::Error;
using guestkit::Guestfs;
using guestkit::HandleClosed;
using guestkit::LaunchError;

namespace {

/// A directory that passes for an appliance, a disk, and a hypervisor that fails at once: a launch takes
/// milliseconds.
struct fake_appliance : private support::temporary_folder {
  const std::filesystem::path& dir = path;

  fake_appliance() {
    support::write_appliance(dir);
    std::ofstream(dir / "disk") << std::string(4096, '\0');
    std::ofstream(dir / "hv") << "#!/bin/sh\nexit 1\n";
    std::filesystem::permissions(dir / "hv", std::filesystem::perms::owner_all);
  }
  fake_appliance(const fake_appliance&) = delete;
  fake_appliance& operator=(const fake_appliance&) = delete;

  void use_in(Guestfs& g) const {
    g.set_path(dir);
    g.set_tmpdir(dir.native());
    g.set_cachedir(dir.native());
    g.set_hv(dir / "hv");
    g.add_drive(dir / "disk", {.format = "raw"});
  }
};

/// A handle that believes that its appliance runs.
struct believed_up : Guestfs {
  believed_up() : Guestfs({.environment = false}) { state()->turns->launched = true; }
};

}  // namespace

static_assert(std::is_base_of_v<std::runtime_error, Error>);
static_assert(std::is_base_of_v<Error, HandleClosed>);
static_assert(std::is_base_of_v<Error, LaunchError>);
static_assert(std::is_base_of_v<Error, ApplianceCrashed>);
static_assert(!std::is_base_of_v<std::system_error, Error>, "it would print ': Success'");

BOOST_AUTO_TEST_SUITE(text)

BOOST_AUTO_TEST_CASE(an_error_tells_its_op_its_message_and_its_errno) {
  const Error e("mount", "no such device", ENODEV);
  BOOST_TEST(e.op() == "mount");
  BOOST_TEST(e.message() == "no such device");
  BOOST_TEST(e.error_number() == ENODEV);
  BOOST_TEST(e.what() == "mount: no such device");
}

BOOST_AUTO_TEST_CASE(the_op_is_named_once_when_the_message_begins_with_it) {
  const Error e("mount", "mount: no such device");
  BOOST_TEST(e.what() == "mount: no such device");
  BOOST_TEST(e.message() == "no such device");
}

BOOST_AUTO_TEST_CASE(the_name_that_an_action_has_inside_libguestfs_was_told) {
  BOOST_TEST(Error("ls", "ls0: no such file").what() == "ls: no such file");
  BOOST_TEST(Error("write", "internal_write: no such file").what() == "write: no such file");
  BOOST_TEST(Error("write", "internal_error: no such file").what() == "write: internal_error: no such file");
}

BOOST_AUTO_TEST_CASE(a_call_before_the_launch_spoke_of_guestfish) {
  Guestfs g({.environment = false});
  for (const auto& call :
       {std::function([&] { static_cast<void>(g.ls("/")); }), std::function([&] { g.umount_all(); })})
    BOOST_CHECK_EXCEPTION(call(), Error, [](const Error& e) {
      return e.what() == e.op() + ": the handle is not launched; call launch() first";
    });
}

// Regression: libguestfs' words were looked for anywhere, also in a path.
BOOST_AUTO_TEST_CASE(a_path_made_of_an_error_that_the_handle_was_not_launched) {
  Guestfs g({.environment = false});
  const std::string path = "/nowhere/call launch before using this function";
  BOOST_CHECK_EXCEPTION(g.add_drive(path, {.format = "raw"}), Error, [&](const Error& e) {
    BOOST_TEST(e.error_number() == ENOENT);
    BOOST_TEST(e.message().find(path) != std::string::npos);
    return e.message().find("launched") == std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(another_op_in_front_of_the_message_stays) {
  const Error longer("mount", "mount_ro: no such device");
  BOOST_TEST(longer.what() == "mount: mount_ro: no such device");
  BOOST_TEST(longer.message() == "mount_ro: no such device");
  const Error shorter("mount_ro", "mount: no such device");
  BOOST_TEST(shorter.what() == "mount_ro: mount: no such device");
}

BOOST_AUTO_TEST_CASE(the_op_inside_the_message_stays) {
  BOOST_TEST(Error("mount", "cannot mount: busy").message() == "cannot mount: busy");
}

BOOST_AUTO_TEST_CASE(an_empty_message_becomes_that_of_the_errno) {
  const Error e("mount", "", ENOSPC);
  BOOST_TEST(e.message() == std::strerror(ENOSPC));
  BOOST_TEST(e.what() == std::string("mount: ") + std::strerror(ENOSPC));
}

BOOST_AUTO_TEST_CASE(an_empty_message_without_errno_says_that_there_is_no_reason) {
  const Error e("mount", "");
  BOOST_TEST(e.message() == "the call failed and libguestfs gave no reason");
  BOOST_TEST(e.error_number() == 0);
}

// The daemon sends this if a command in the guest fails without a message.
BOOST_AUTO_TEST_CASE(a_message_that_is_only_the_op_counts_as_empty) {
  BOOST_TEST(Error("sh", "sh: ", ENOENT).message() == std::strerror(ENOENT));
  BOOST_TEST(Error("sh", "sh: ").what() == "sh: the call failed and libguestfs gave no reason");
}

BOOST_AUTO_TEST_CASE(no_error_ends_in_success) {
  for (const Error& e : {Error("mount", ""), Error("mount", "busy"), Error("mount", "mount: ")})
    BOOST_TEST(std::string(e.what()).find("Success") == std::string::npos, e.what());
}

BOOST_AUTO_TEST_CASE(the_bytes_of_a_message_are_kept) {
  const std::string bytes = "/tmp/\xff\xfe: caf\xc3\xa9\nsecond line";
  BOOST_TEST(Error("add_drive", bytes).message() == bytes);
}

BOOST_AUTO_TEST_CASE(a_copy_says_the_same) {
  const Error e = [] { return Error(Error("mount", "busy", EBUSY)); }();
  const Error copy = e;  // NOLINT: copying is the test
  BOOST_TEST(copy.what() == "mount: busy");
  BOOST_TEST(copy.op() == "mount");
  BOOST_TEST(copy.message() == "busy");
  BOOST_TEST(copy.error_number() == EBUSY);
}

BOOST_AUTO_TEST_CASE(the_remedy_is_a_field_and_ends_the_text) {
  const Error known("open_disk", "x: is in use", EBUSY, {guestkit::Cause::disk_in_use, "shut it down"});
  BOOST_TEST(known.message() == "x: is in use");
  BOOST_TEST(to_string(known.cause()) == "disk_in_use");
  BOOST_TEST(known.hint() == "shut it down");
  BOOST_TEST(known.what() == "open_disk: x: is in use; shut it down");
  const Error unknown("mount", "busy", EBUSY);
  BOOST_TEST((unknown.cause() == guestkit::Cause::unknown));
  BOOST_TEST(unknown.hint() == "");
  BOOST_TEST(unknown.what() == "mount: busy");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(classes)

BOOST_AUTO_TEST_CASE(a_child_caught_as_error_keeps_everything) {
  try {
    throw HandleClosed("mount", "the handle is closed", EBADF);
  } catch (const Error& e) {
    BOOST_TEST(e.what() == "mount: the handle is closed");
    BOOST_TEST(e.op() == "mount");
    BOOST_TEST(e.error_number() == EBADF);
  }
}

BOOST_AUTO_TEST_CASE(a_failed_call_is_an_error_and_no_child) {
  Guestfs g({.environment = false});
  try {
    g.internal_test_rinterr();
    BOOST_ERROR("nothing was thrown");
  } catch (const Error& e) {
    BOOST_CHECK(typeid(e) == typeid(Error));
    BOOST_TEST(e.what() == "internal_test_rinterr: error");
  }
}

BOOST_AUTO_TEST_CASE(a_launch_that_cannot_begin_is_a_launch_error) {
  Guestfs g({.environment = false, .accel = guestkit::Accel::tcg});
  BOOST_CHECK_EXCEPTION(g.launch(), LaunchError, [](const Error& e) { return e.op() == "launch"; });
}

BOOST_AUTO_TEST_CASE(a_hypervisor_that_fails_is_a_launch_error_that_names_it) {
  const fake_appliance appliance;
  Guestfs g({.environment = false, .accel = guestkit::Accel::tcg});
  appliance.use_in(g);
  BOOST_CHECK_EXCEPTION(g.launch(), LaunchError, [&](const Error& e) {
    BOOST_TEST(e.op() == "launch");
    return e.message().find((appliance.dir / "hv").native()) != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(an_error_after_a_failed_launch_is_no_crash) {
  Guestfs g({.environment = false, .accel = guestkit::Accel::tcg});
  BOOST_CHECK_THROW(g.launch(), LaunchError);
  BOOST_CHECK_EXCEPTION(g.internal_test_rinterr(), Error,
                        [](const Error& e) { return typeid(e) == typeid(Error); });
}

BOOST_AUTO_TEST_CASE(a_call_that_fails_because_the_appliance_is_gone_is_a_crash) {
  believed_up g;
  BOOST_CHECK_EXCEPTION(g.internal_test_rinterr(), ApplianceCrashed, [](const Error& e) {
    BOOST_TEST(e.what() == "internal_test_rinterr: error");
    return e.op() == "internal_test_rinterr";
  });
}

// Told only once, the crash was an unrelated error to every other caller, with errno 0.
BOOST_AUTO_TEST_CASE(every_call_on_a_dead_appliance_is_a_crash_until_the_next_launch) {
  believed_up g;
  BOOST_CHECK_THROW(g.internal_test_rinterr(), ApplianceCrashed);
  BOOST_CHECK_EXCEPTION(g.list_devices(), ApplianceCrashed, [](const Error& e) {
    BOOST_TEST(e.what() == "list_devices: the appliance died during an earlier call; open a new handle");
    return true;
  });
  BOOST_CHECK_THROW(g.launch(), LaunchError);  // it has no disks
  BOOST_CHECK_EXCEPTION(g.list_devices(), Error, [](const Error& e) { return typeid(e) == typeid(Error); });
}

BOOST_AUTO_TEST_CASE(an_error_after_shutdown_is_no_crash) {
  believed_up g;
  g.shutdown();
  BOOST_CHECK_EXCEPTION(g.internal_test_rinterr(), Error,
                        [](const Error& e) { return typeid(e) == typeid(Error); });
}

BOOST_AUTO_TEST_SUITE_END()
