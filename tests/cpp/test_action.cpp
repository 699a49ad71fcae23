// action.hpp: what guestkit derives from an action's name at compile time.
#include <guestkit/detail/base/action.hpp>
#include <string_view>

#define BOOST_TEST_MODULE action
#include <boost/test/unit_test.hpp>

using guestkit::detail::action;
using guestkit::detail::call_kind;

BOOST_AUTO_TEST_CASE(launch_alone_is_launch) {
  constexpr action launch = "launch";
  BOOST_TEST(std::string_view(launch.name) == "launch");
  static_assert(launch.is(call_kind::launch) && launch.waits_for_programs && launch.may_run_programs);
  static_assert(!action("launch_info").is(call_kind::launch));
}

BOOST_AUTO_TEST_CASE(actions_that_have_qemu_img_or_a_database_read_wait_for_a_program) {
  static_assert(action("add_drive").waits_for_programs);
  static_assert(action("disk_create").waits_for_programs);
  static_assert(action("inspect_list_applications2").waits_for_programs);
  static_assert(action("inspect_get_icon").waits_for_programs);
  static_assert(action("umount_local").waits_for_programs);
  static_assert(!action("inspect_os").waits_for_programs);
  static_assert(!action("mount").waits_for_programs);
}

BOOST_AUTO_TEST_CASE(only_what_asks_or_tells_the_handle_surely_runs_no_program) {
  for (const action quick : {action("get_memsize"), action("set_path"), action("is_config"),
                             action("version"), action("internal_test_rint")})
    BOOST_TEST(!quick.may_run_programs, quick.name);
  for (const action slow : {action("copy_out"), action("umount_local"), action("inspect"), action("shutdown"),
                            action("add_drive")})
    BOOST_TEST(slow.may_run_programs, slow.name);
}

BOOST_AUTO_TEST_CASE(only_what_lasts_until_a_directory_is_unmounted_serves) {
  static_assert(action("mount_local_run").is(call_kind::serve));
  static_assert(action("mount_local").is(call_kind::ordinary) &&
                action("umount_local").is(call_kind::ordinary));
}
