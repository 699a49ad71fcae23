#define BOOST_TEST_MODULE posix
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <guestkit/detail/base/posix.hpp>
#include <string>
#include <string_view>
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
  std::ofstream(path / ".hidden") << "x";
  fs::create_directory(path / "folder");
  std::vector<std::string> names;
  each_name(path, [&](std::string_view name) { names.emplace_back(name); });
  std::sort(names.begin(), names.end());
  BOOST_TEST((names == std::vector<std::string>{".hidden", "folder"}));
  each_name(path / "absent", [](std::string_view) { BOOST_ERROR("there is none"); });
}

BOOST_FIXTURE_TEST_CASE(directories_are_made_with_those_above_and_told_when_they_were_not_there,
                        temporary_folder) {
  BOOST_TEST(make_directories(path / "a/b/c"));
  BOOST_TEST(fs::is_directory(path / "a/b/c"));
  BOOST_TEST(!make_directories(path / "a/b/c"));
  std::ofstream(path / "file") << "x";
  BOOST_TEST(!make_directories(path / "file/below"));
  BOOST_TEST(!make_directories(""));
}

BOOST_FIXTURE_TEST_CASE(a_tree_is_removed_and_links_out_of_it_are_not_followed, temporary_folder) {
  fs::create_directories(path / "tree/a/b");
  fs::create_directory(path / "kept");
  std::ofstream(path / "kept/file") << "x";
  std::ofstream(path / "tree/a/b/file") << "x";
  fs::create_symlink(path / "kept", path / "tree/a/link");
  BOOST_REQUIRE(::mkfifo((path / "tree/fifo").c_str(), 0600) == 0);
  remove_tree(path / "tree");
  BOOST_TEST(!fs::exists(path / "tree"));
  BOOST_TEST(fs::exists(path / "kept/file"));
  fs::create_symlink(path / "kept", path / "link");
  remove_tree(path / "link");
  BOOST_TEST(!fs::exists(fs::symlink_status(path / "link")));
  BOOST_TEST(fs::exists(path / "kept/file"));
  remove_tree(path / "absent");
}
