// Reports what is on many disks, several at a time, as results arrive: inspect_many FORMAT DISK…
#include <cstddef>
#include <guestkit/inspect_many.hpp>
#include <iostream>
#include <string>
#include <vector>

using guestkit::printable;

namespace {

std::string outcome(const guestkit::InspectReport& report) {
  if (report.error) return printable(report.message);
  std::string names;
  for (const auto& system : report.inspection->operating_systems)
    names += (names.empty() ? "" : ", ") + printable(system.product_name);
  return printable(report.disks.front()) + ": " + (names.empty() ? "no operating system" : names);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: inspect_many FORMAT DISK…\n";
    return 2;
  }
  guestkit::InspectManyOptions options;
  options.inspect.disk.format = argv[1];
  options.inspect.parts = guestkit::InspectPart::none;
  const std::vector<std::string> disks(argv + 2, argv + argc);
  std::size_t done = 0;
  for (const auto& report : guestkit::inspect_many(disks, options))
    std::cout << ++done << " of " << disks.size() << ": " << outcome(report) << std::endl;
}
