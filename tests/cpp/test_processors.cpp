#define BOOST_TEST_MODULE processors
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <guestkit/detail/turn/processors.hpp>
#include <string>

#include "support.hpp"

using guestkit::detail::available_processors;
using guestkit::detail::processors_within_quotas;

namespace {

/// A directory that looks like the root of a machine with four processors.
class Machine : private support::temporary_folder {
 public:
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
  }
  unsigned processors() const { return processors_within_quotas(4, path); }
};

}  // namespace

BOOST_AUTO_TEST_CASE(there_is_at_least_one_and_no_more_than_the_affinity_has) {
  BOOST_TEST(available_processors() >= 1U);
  BOOST_TEST(available_processors() <= available_processors("/nonexistent"));
  BOOST_TEST(processors_within_quotas(0, "/nonexistent") == 1U);
  BOOST_TEST(processors_within_quotas(3, "/nonexistent") == 3U);
}

// Regression: "auto" ran as many inspections at once as the machine has processors, whatever the container's
// quota was.
BOOST_AUTO_TEST_CASE(the_quota_of_a_group_gave_no_fewer_processors) {
  const Machine machine;
  machine.write("proc/self/cgroup", "0::/user.slice/job.scope\n");
  machine.write("sys/fs/cgroup/user.slice/job.scope/cpu.max", "max 100000\n");
  BOOST_TEST(machine.processors() == 4U);
  machine.write("sys/fs/cgroup/user.slice/cpu.max", "100000 100000\n");
  BOOST_TEST(machine.processors() == 1U);
  machine.write("sys/fs/cgroup/user.slice/cpu.max", "100001 50000\n");
  BOOST_TEST(machine.processors() == 3U);  // rounded up
  machine.write("sys/fs/cgroup/user.slice/cpu.max", "900000 100000\n");
  BOOST_TEST(machine.processors() == 4U);
  machine.write("sys/fs/cgroup/user.slice/cpu.max", "1000 100000\n");
  BOOST_TEST(machine.processors() == 1U);
}

BOOST_AUTO_TEST_CASE(the_quota_of_a_group_of_cgroup_v1_counts_too) {
  const Machine machine;
  machine.write("proc/self/cgroup", "12:cpu,cpuacct:/docker/abc\n5:memory:/docker/abc\n");
  machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  BOOST_TEST(machine.processors() == 4U);
  machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "90000\n");
  BOOST_TEST(machine.processors() == 1U);
}
