// Prints the packages of a database of rpm: each value ends in a NUL, so that it may have any text.
//
// Arguments: a format as of packages_in(), the file, and the log if there is one.
#include <cstdio>
#include <fstream>
#include <guestkit/detail/inspect/rules.hpp>
#include <initializer_list>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>

#include "rpm_packages.hpp"

namespace {

std::string content(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) return 2;
  try {
    const auto log = count > 3 ? std::optional(content(arguments[3])) : std::nullopt;
    const auto list = support::packages_in(*arguments[1], content(arguments[2]), log);
    for (const auto& app : list.packages)
      for (const auto& value : {app.name, std::to_string(app.epoch), app.version, app.release, app.arch,
                                app.url, app.summary, app.description, app.publisher, app.license})
        std::cout << value << '\0';
    if (list.left_out != 0) std::cerr << list.left_out << " left out: " << list.reason << '\n';
  } catch (const guestkit::detail::doubt& reason) {
    std::cerr << reason.reason << '\n';
    return 1;
  }
}
