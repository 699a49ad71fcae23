// install_command.hpp: the command that hints name, by distribution and architecture.
#define BOOST_TEST_MODULE install_command
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <guestkit/detail/base/host_files.hpp>
#include <guestkit/detail/base/install_command.hpp>
#include <guestkit/launch_error.hpp>
#include <string>

using guestkit::detail::install_command;
using guestkit::detail::install_hint;
using guestkit::detail::package_names;

BOOST_AUTO_TEST_CASE(every_hint_named_debians_command_and_packages) {
  const auto command = [](const char* release) { return install_command("qemu", release, "x86_64", false); };
  BOOST_TEST(command("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n") ==
             "sudo apt-get install qemu-system-x86");
  BOOST_TEST(command("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n") == "sudo apt-get install qemu-system-x86");
  BOOST_TEST(command("NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=42\n") == "sudo dnf install qemu-kvm");
  BOOST_TEST(command("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n") == "sudo dnf install qemu-kvm");
  BOOST_TEST(command("ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n") ==
             "sudo zypper install qemu-x86");
  BOOST_TEST(command("ID=arch\n") == "sudo pacman -S qemu-system-x86");
  BOOST_TEST(command("ID='alpine'\n") == "sudo apk add qemu-system-x86_64");
}

BOOST_AUTO_TEST_CASE(the_packages_are_those_of_the_architecture) {
  const std::string debian = "ID=debian\n";
  BOOST_TEST(install_command("qemu", debian, "aarch64", true) == "apt-get install qemu-system-arm");
  BOOST_TEST(install_command("kernel", debian, "aarch64", true) == "apt-get install linux-image-cloud-arm64");
  BOOST_TEST(install_command("qemu", debian, "riscv64", true) == "apt-get install qemu-system");
  BOOST_TEST(install_command("qemu", "ID=arch\n", "aarch64", true) == "pacman -S qemu-system-aarch64");
}

BOOST_AUTO_TEST_CASE(no_command_is_better_than_a_wrong_one) {
  for (const char* release :
       {"", "ID=nixos\n", "ID=\nID_LIKE=\n", "no os-release\n", "ID=deb\n", "ID=debian,ubuntu\n"})
    BOOST_TEST(install_command("qemu", release, "x86_64", true) == "");
  BOOST_TEST(install_command("kernel", "ID=alpine\n", "x86_64", true) == "");
}

/// Regression: the command ended without a package, and with "." it installed a thing of that name.
BOOST_AUTO_TEST_CASE(what_is_not_in_the_table_was_installed_by_an_empty_name) {
  for (const char* thing : {"", "unknown", "qemu-"})
    BOOST_TEST(install_command(thing, "ID=debian\n", "x86_64", true) == "");
  BOOST_TEST(install_hint("unknown") == "");
  for (const char* cell : {"", ".", "-"}) BOOST_TEST(package_names(cell) == "");
  BOOST_TEST(package_names("a,.,b") == " a b");
}

BOOST_AUTO_TEST_CASE(a_launch_that_lacks_its_hypervisor_names_the_command) {
  const guestkit::LaunchError error("launch", "stat: /usr/bin/qemu: No such file or directory", ENOENT);
  const auto command = install_command("qemu");
  BOOST_TEST(error.hint().find(command) != std::string::npos);
  BOOST_TEST(error.hint().find_first_of("{}") == std::string::npos);
  BOOST_TEST(error.hint().starts_with("the hypervisor cannot be run: install QEMU"));
}
