// host_files.hpp: reading files of this host.
#define BOOST_TEST_MODULE host_files
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <guestkit/detail/base/host_files.hpp>
#include <string>
#include <vector>

#include "support.hpp"

using namespace guestkit::detail;
using support::temporary_folder;
namespace fs = std::filesystem;

BOOST_FIXTURE_TEST_CASE(a_file_is_read_whole_and_what_cannot_be_read_is_empty, temporary_folder) {
  const std::string content = std::string(10000, 'x') + '\0' + "end";
  std::ofstream(path / "file") << content;
  BOOST_TEST(read_text(path / "file") == content);
  BOOST_TEST(read_text(path / "absent").empty());
  BOOST_TEST(read_text(path).empty());  // a directory
}

BOOST_FIXTURE_TEST_CASE(whoever_read_a_fifo_waited_without_end, temporary_folder) {
  const auto fifo = (path / "fifo").string();
  BOOST_REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  fs::create_symlink("fifo", path / "link");
  fs::create_symlink("/dev/zero", path / "endless");
  for (const char* name : {"fifo", "link", "endless"}) BOOST_TEST(read_text(path / name).empty());
  BOOST_TEST(!read_text("/proc/self/stat").empty());
}

BOOST_FIXTURE_TEST_CASE(the_names_in_a_directory_without_itself_and_the_one_above, temporary_folder) {
  std::ofstream(path / "last") << "x";
  std::ofstream(path / ".hidden") << "x";
  std::ofstream(path / "\xff is no UTF-8") << "x";
  fs::create_directory(path / "folder");
  BOOST_TEST(host_names_in(path) == (std::set<std::string>{".hidden", "folder", "last", "\xff is no UTF-8"}),
             boost::test_tools::per_element());
  BOOST_TEST(host_names_in(path / "absent").empty());
  BOOST_TEST(host_names_in(path / "last").empty());
}

BOOST_FIXTURE_TEST_CASE(a_program_without_its_directory_is_the_first_in_path_that_can_be_run,
                        temporary_folder) {
  const auto make = [&](const char* name, mode_t mode) {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name) << "x";
    ::chmod((path / name).c_str(), mode);
  };
  make("first/no-program", 0600);
  fs::create_directories(path / "first" / "folder");
  for (const char* name : {"second/no-program", "second/folder", "second/both", "third/both"})
    make(name, 0700);
  const auto found = [&](const std::string& name, const std::string& search) {
    return support::in_child([&] {
      ::setenv("PATH", search.c_str(), 1);
      fs::current_path(path / "third");
      return program_file(name);
    });
  };
  const auto in = [&](const char* folder) { return (path / folder).string(); };
  const auto all = in("absent") + ':' + in("first") + ':' + in("second") + ':' + in("third");
  BOOST_TEST(found("no-program", all) == in("second/no-program"));
  BOOST_TEST(found("folder", all) == in("second/folder"));
  BOOST_TEST(found("both", all) == in("second/both"));
  BOOST_TEST(found("both", in("first") + ':') == "./both");  // an empty directory is the current one
  BOOST_TEST(found("both", "") == "./both");
  BOOST_TEST(found("nobody-has-this", all) == "nobody-has-this");
  BOOST_TEST(found("", all).empty());
  BOOST_TEST(found("first/both", all) == "first/both");
  BOOST_TEST(found(in("third/both"), all) == in("third/both"));
}
