// Says what is on many disks, several at a time, as the answers come: inspect_many FORMAT DISK…
#include <guestkit/async.hpp>
#include <iostream>
#include <mutex>
#include <string>
#include <vector>

using guestkit::printable;

namespace {

std::string products(guestkit::Guestfs& g, const std::string& disk, const std::string& format) {
  g.add_drive(disk, {.readonly = true, .format = format});
  g.launch();
  std::string names;
  for (const auto& root : g.inspect_os())
    names += (names.empty() ? "" : ", ") + printable(g.inspect_get_product_name(root));
  g.shutdown();  // gives the memory back at once
  return names.empty() ? "no operating system" : names;
}

std::string outcome(boost::future<std::string> answer) try {
  return answer.get();
} catch (const guestkit::Error& e) {
  return "failed: " + printable(e.what());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: inspect_many FORMAT DISK…\n";
    return 2;
  }
  const std::string format = argv[1];
  const std::vector<std::string> disks(argv + 2, argv + argc);
  // As many threads, as many appliances at a time: each takes hundreds of MB.
  boost::executors::executor_adaptor<boost::basic_thread_pool> pool(2U);
  std::mutex output;
  std::size_t done = 0;
  std::vector<guestkit::AsyncGuestfs> handles;
  std::vector<boost::future<void>> told;
  handles.reserve(disks.size());
  for (const auto& disk : disks) {
    auto& g = handles.emplace_back(guestkit::HandleOptions(), pool);
    auto answer = g.run([&](guestkit::Guestfs& handle) { return products(handle, disk, format); });
    told.push_back(answer.then([&](boost::future<std::string> ready) {
      const auto text = outcome(std::move(ready));
      const std::lock_guard lock(output);
      std::cout << ++done << " of " << disks.size() << ": " << printable(disk) << ": " << text << std::endl;
    }));
  }
  for (auto& each : told) each.get();
}
