// host_files.hpp: reading files of this host.
#define BOOST_TEST_MODULE host_files
#include <boost/test/unit_test.hpp>
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

BOOST_FIXTURE_TEST_CASE(the_names_in_a_directory_without_itself_and_the_one_above, temporary_folder) {
  std::ofstream(path / "last") << "x";
  std::ofstream(path / ".hidden") << "x";
  std::ofstream(path / "\xff is no UTF-8") << "x";
  fs::create_directory(path / "folder");
  BOOST_TEST(names_in(path) == (std::set<std::string>{".hidden", "folder", "last", "\xff is no UTF-8"}),
             boost::test_tools::per_element());
  BOOST_TEST(names_in(path / "absent").empty());
  BOOST_TEST(names_in(path / "last").empty());
}
