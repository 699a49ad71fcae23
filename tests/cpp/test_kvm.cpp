// kvm.hpp and kvm_probe.hpp: whether KVM works, tested with a fake QEMU.
#define BOOST_TEST_MODULE kvm
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <guestkit/detail/launch/kvm.hpp>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

namespace {

using guestkit::detail::probe_for;
using guestkit::detail::probe_kvm;
using namespace std::chrono_literals;
constexpr guestkit::detail::program_limit patience{.given = 20s, .in_all = 40s};
constexpr guestkit::detail::program_limit brief{.given = 300ms, .in_all = 3s};

/// The fake QEMU ends as the true one does for this host's probe; all hosts take the one for x86-64.
const guestkit::detail::kvm_probe x86 = probe_for("x86_64");

/// A directory with a fake QEMU and a device that can be opened.
struct Host : private support::temporary_folder {
  const std::filesystem::path& folder = path;
  std::string device, qemu;

  Host() {
    device = (folder / "kvm").string();
    qemu = (folder / "qemu").string();
    std::ofstream(device) << "";
  }

  void qemu_does(const std::string& script) const {
    std::ofstream(qemu) << "#!/bin/sh\n" << script << '\n';
    ::chmod(qemu.c_str(), 0700);
  }

  guestkit::detail::KvmStatus probe(const std::string& key = "key") const {
    const guestkit::detail::kvm_verdicts verdicts((folder / "cache").string());
    return guestkit::detail::remembered_probe(device, qemu, x86, key, verdicts, brief);
  }

  /// As if that long had gone by since the verdict was kept.
  void age(const char* verdict, std::chrono::seconds by) const {
    const auto file = folder / "cache" / verdict;
    std::filesystem::last_write_time(file, std::filesystem::last_write_time(file) - by);
  }

  long runs() const {
    std::ifstream file(folder / "runs");
    return std::count(std::istreambuf_iterator<char>(file), {}, '\n');
  }
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_kvm_that_worked_was_believed_by_a_process_that_may_not_open_it, Host) {
  qemu_does("exit 33");
  BOOST_TEST(probe().usable);
  std::filesystem::remove(device);
  const auto status = probe();
  BOOST_TEST(!status.usable);
  BOOST_TEST(contains(status.reason, "is missing"));
}

BOOST_FIXTURE_TEST_CASE(a_missing_device_is_told_and_runs_nothing, Host) {
  qemu_does("touch " + (folder / "ran").string());
  const auto status = probe_kvm((folder / "absent").string(), qemu, x86, patience);
  BOOST_TEST(!status.usable);
  BOOST_TEST(contains(status.reason, "absent is missing"));
  BOOST_TEST(!std::filesystem::exists(folder / "ran"));
}

BOOST_FIXTURE_TEST_CASE(a_device_that_cannot_be_opened_is_told_with_its_errno, Host) {
  const auto status = probe_kvm(folder.string(), qemu, x86, patience);  // a directory
  BOOST_TEST(!status.usable);
  BOOST_TEST(contains(status.reason, "cannot be opened: Is a directory"));
}

BOOST_FIXTURE_TEST_CASE(a_process_without_descriptors_believed_for_ten_minutes_that_there_is_no_kvm, Host) {
  const auto told = support::in_child([&] {
    constexpr rlimit none{.rlim_cur = 0, .rlim_max = 0};
    ::setrlimit(RLIMIT_NOFILE, &none);
    const auto status = probe_kvm(device, qemu, x86, patience);
    return status.reason + (status.settled ? ", for ever" : ", for now");
  });
  BOOST_TEST(told == device + " cannot be opened: Too many open files, for now");
}

BOOST_FIXTURE_TEST_CASE(a_qemu_that_cannot_be_run_is_believed_to_be_so_only_where_it_lasts, Host) {
  const auto missing = probe_kvm(device, qemu, x86, patience);
  BOOST_TEST(contains(missing.reason, "cannot be run: No such file"));
  BOOST_TEST(missing.settled);
  const std::vector<std::string> too_long{std::string(1 << 18, 'x')};  // E2BIG
  const auto failed =
      probe_kvm(device, "/bin/true", {.options = too_long, .firmware = {}, .word = ""}, patience);
  BOOST_TEST(contains(failed.reason, "cannot be run"));
  BOOST_TEST(!failed.settled);
}

BOOST_FIXTURE_TEST_CASE(guest_code_that_runs_is_the_proof, Host) {
  qemu_does("exit 33");
  const auto status = probe_kvm(device, qemu, x86, patience);
  BOOST_TEST(status.usable);
  BOOST_TEST(status.reason.empty());
}

BOOST_FIXTURE_TEST_CASE(a_qemu_that_merely_ends_well_is_no_proof, Host) {
  qemu_does("exit 0");
  BOOST_TEST(!probe_kvm(device, qemu, x86, patience).usable);
}

BOOST_FIXTURE_TEST_CASE(the_firmware_is_64_kib_with_code_at_the_reset_vector, Host) {
  qemu_does("while [ \"$1\" != -bios ]; do shift; done; cp \"$2\" " + (folder / "bios").string() +
            "; exit 33");
  BOOST_TEST(probe_kvm(device, qemu, x86, patience).usable);
  BOOST_TEST(std::filesystem::file_size(folder / "bios") == 65536U);
  std::ifstream file(folder / "bios", std::ios::binary);
  file.seekg(0xfff0);
  BOOST_TEST(file.get() == 0xe9);
}

BOOST_FIXTURE_TEST_CASE(the_firmware_reaches_long_mode_and_says_so, Host, WHERE_QEMU) {
  BOOST_TEST(probe_kvm(device, "/usr/bin/qemu-system-x86_64", probe_for("x86_64", "tcg"), patience).usable);
}

BOOST_FIXTURE_TEST_CASE(the_firmware_for_aarch64_says_its_word, Host, WHERE_QEMU_ARM) {
  BOOST_TEST(probe_kvm(device, "/usr/bin/qemu-system-aarch64", probe_for("aarch64", "tcg"), patience).usable);
}

BOOST_FIXTURE_TEST_CASE(each_architecture_is_asked_by_a_machine_of_its_own, Host) {
  const auto given = [&](const char* architecture, const std::string& ending) {
    qemu_does("echo \"$@\" >" + (folder / "words").string() + "; " + ending);
    BOOST_TEST(probe_kvm(device, qemu, probe_for(architecture), patience).usable);
    std::ifstream file(folder / "words");
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  BOOST_TEST(contains(given("x86_64", "exit 33"), "-machine q35,accel=kvm "));
  BOOST_TEST(contains(given("aarch64", "echo ok"), "-machine virt,gic-version=max,accel=kvm "));
  for (const char* other : {"riscv64", "s390x", "ppc64le"})
    BOOST_TEST(given(other, "exit 0") ==
               "-nodefaults -no-user-config -display none -machine none,accel=kvm -monitor stdio\n");
}

BOOST_FIXTURE_TEST_CASE(a_guest_that_says_another_word_is_no_proof, Host) {
  qemu_does("echo no");
  BOOST_TEST(!probe_kvm(device, qemu, probe_for("aarch64"), patience).usable);
  qemu_does("echo ok >&2; exit 1");
  BOOST_TEST(!probe_kvm(device, qemu, probe_for("aarch64"), patience).usable);
}

BOOST_FIXTURE_TEST_CASE(a_kvm_that_hangs_costs_its_seconds_in_one_process_only, Host) {
  qemu_does("echo run >>" + (folder / "runs").string() + "; exec sleep 60");
  const auto first = probe();
  BOOST_TEST(contains(first.reason, "within 300 ms"));
  BOOST_TEST(runs() == 2);  // a second run confirmed the hang
  const auto second = probe();
  BOOST_TEST(second.hangs);
  BOOST_TEST(second.reason == first.reason);
  BOOST_TEST(contains(second.reason, " (found since the host was started; to try again: rm " +
                                         (folder / "cache" / "kvm-hangs").string() + ")"));
  BOOST_TEST(runs() == 2);
  probe("other key");
  BOOST_TEST(runs() == 4);
}

// Regression: every ten minutes a launch waited six seconds for a KVM that was known to hang.
BOOST_FIXTURE_TEST_CASE(a_hang_is_remembered_for_this_boot, Host) {
  qemu_does("exec sleep 60");
  probe();
  qemu_does("exit 33");
  age("kvm-hangs", 24h);
  BOOST_TEST(!probe().usable);
  std::filesystem::remove(folder / "cache" / "kvm-hangs");
  BOOST_TEST(probe().usable);
}

BOOST_FIXTURE_TEST_CASE(a_hang_in_an_earlier_boot_is_not_believed, Host) {
  qemu_does("exec sleep 60");
  probe();
  qemu_does("exit 33");
  std::fstream file(folder / "cache" / "kvm-hangs", std::ios::in | std::ios::out);
  const char first = static_cast<char>(file.get());  // of the boot's number
  file.seekp(0);
  file.put(first == '0' ? '1' : '0');
  file.close();
  BOOST_TEST(probe().usable);
}

BOOST_FIXTURE_TEST_CASE(a_hang_took_six_seconds, Host, WHERE_KVM) {
  qemu_does("exec sleep 60");
  // In a child, whose cache is none that another test uses: less than 2 s of what the host gives, in all 6 s.
  const auto first = support::in_child([&] {
    ::setenv("GUESTKIT_CACHEDIR", folder.c_str(), 1);
    const auto begin = std::chrono::steady_clock::now();
    const auto reason = guestkit::detail::kvm_status(qemu).reason;
    return std::chrono::steady_clock::now() - begin < 6s ? reason : "too late";
  });
  BOOST_TEST(contains(first, "runs no guest code with /dev/kvm within 900 ms"));
  // Regression: only the second process said what to do.
  BOOST_TEST(contains(first, "to try again: rm " + (folder / "kvm-hangs").string()));
}

BOOST_FIXTURE_TEST_CASE(a_verdict_that_others_could_have_written_is_not_believed, Host) {
  qemu_does("exec sleep 60");
  probe();
  qemu_does("exit 33");
  ::chmod((folder / "cache" / "kvm-hangs").c_str(), 0666);
  BOOST_TEST(probe().usable);
}

// Regression: a single SIGSTOP of three seconds made every process emulate for a day.
BOOST_FIXTURE_TEST_CASE(a_qemu_that_was_stopped_does_not_hang, Host) {
  qemu_does("echo run >>" + (folder / "runs").string() + "; [ $(wc -l <" + (folder / "runs").string() +
            ") = 2 ] && exit 33; kill -STOP $$");
  BOOST_TEST(probe().usable);
  BOOST_TEST(runs() == 2);
}

BOOST_FIXTURE_TEST_CASE(a_host_that_never_lets_qemu_run_is_asked_again_at_the_next_launch, Host) {
  qemu_does("kill -STOP $$");
  const auto status = probe();
  BOOST_TEST(!status.usable);
  BOOST_TEST(!status.settled);
  BOOST_TEST(contains(status.reason, "too busy to find out"));
  qemu_does("exit 33");
  BOOST_TEST(probe().usable);
}

BOOST_FIXTURE_TEST_CASE(a_process_that_was_stopped_while_it_probed_does_not_take_it_for_a_hang, Host) {
  qemu_does("echo run >>" + (folder / "runs").string() +
            "; kill -STOP $PPID; sleep 1; kill -CONT $PPID; exit 33");
  BOOST_TEST(support::in_child([&] { return std::string(probe().usable ? "usable" : "not"); }) == "usable");
  BOOST_TEST(runs() == 1);
}

// Regression: it was found out anew by each process, for two seconds, once a virtual machine had moved.
BOOST_FIXTURE_TEST_CASE(what_has_worked_in_this_boot_is_said_to_hang_for_ten_minutes, Host) {
  qemu_does("exit 33");
  BOOST_TEST(probe().usable);
  age("kvm-works", 1h);
  qemu_does("echo run >>" + (folder / "runs").string() + "; exec sleep 60");
  BOOST_TEST(!probe().usable);
  BOOST_TEST(!probe().usable);
  BOOST_TEST(runs() == 2);
  qemu_does("exit 33");
  BOOST_TEST(!probe().usable);
  age("kvm-crashed", 10min);
  BOOST_TEST(probe().usable);
}

// Regression: each process spent a tenth of a second on a QEMU that was known to crash.
BOOST_FIXTURE_TEST_CASE(a_crash_was_found_out_again_by_each_process, Host) {
  for (const char* signal : {"ABRT", "SEGV", "ILL"}) {
    qemu_does("echo run >>" + (folder / "runs").string() + "; kill -" + signal + " $$");
    const auto before = runs();
    const auto first = probe(signal);
    BOOST_TEST(runs() == before + 2);  // a second run confirmed it
    const auto second = probe(signal);
    BOOST_TEST(!second.usable);
    BOOST_TEST(second.reason == first.reason);
    BOOST_TEST(contains(second.reason, " (found in the last ten minutes; to try again: rm " +
                                           (folder / "cache" / "kvm-crashed").string() + ")"));
    BOOST_TEST(runs() == before + 2);
  }
}

// Regression: a QEMU that could not start a thread, since the user had no processes left, made every process
// emulate until the host was started again.
BOOST_FIXTURE_TEST_CASE(a_crash_for_want_of_processes_was_believed_for_the_boot, Host) {
  qemu_does("kill -ABRT $$");
  BOOST_TEST(!probe().usable);
  qemu_does("exit 33");
  age("kvm-crashed", 9min);
  BOOST_TEST(!probe().usable);
  age("kvm-crashed", 1min);
  BOOST_TEST(probe().usable);
}

BOOST_FIXTURE_TEST_CASE(a_crash_that_does_not_come_again_is_not_believed, Host) {
  const auto file = (folder / "runs").string();
  qemu_does("echo run >>" + file + "; [ $(wc -l <" + file + ") = 2 ] && exit 33; kill -ABRT $$");
  BOOST_TEST(probe().usable);
}

// Another hypervisor may have had the processor, or memory was short.
BOOST_FIXTURE_TEST_CASE(a_qemu_that_gives_up_or_was_killed_is_asked_again, Host) {
  for (const char* end : {"exit 1", "kill -KILL $$", "kill -TERM $$"}) {
    qemu_does(end);
    BOOST_TEST(!probe(end).usable);
    qemu_does("exit 33");
    BOOST_TEST(probe(end).usable);
  }
}

// Regression: each process spent a tenth of a second where KVM works.
BOOST_FIXTURE_TEST_CASE(what_works_was_found_out_again_by_each_process, Host) {
  qemu_does("echo run >>" + (folder / "runs").string() + "; exit 33");
  for (int i = 0; i < 3; ++i) BOOST_TEST(probe().usable);
  BOOST_TEST(runs() == 1);
  age("kvm-works", 9min);
  BOOST_TEST(probe().usable);
  BOOST_TEST(runs() == 1);
  age("kvm-works", 1min);
  BOOST_TEST(probe().usable);
  BOOST_TEST(runs() == 2);
  BOOST_TEST(probe().usable);  // for another ten minutes
  BOOST_TEST(runs() == 2);
  age("kvm-works", -1h);  // the clock was set
  BOOST_TEST(probe().usable);
  BOOST_TEST(runs() == 3);
}

// Regression: since libguestfs 1.60, which tells no directory, the answer was that of another or an old QEMU.
BOOST_FIXTURE_TEST_CASE(a_qemu_without_its_directory_kept_its_answer_after_an_upgrade, Host, WHERE_KVM) {
  const auto asked = [&] {  // by a process of its own
    return support::in_child([&] {
      ::setenv("GUESTKIT_CACHEDIR", folder.c_str(), 1);
      ::setenv("PATH", (folder.string() + ":/usr/bin:/bin").c_str(), 1);
      return guestkit::detail::kvm_status("qemu").reason;
    });
  };
  qemu_does("echo run >>" + (folder / "runs").string() + "; kill -ABRT $$");
  const auto first = asked();
  BOOST_TEST(first.starts_with(qemu + " fails with /dev/kvm"));
  BOOST_TEST(runs() == 2);
  BOOST_TEST(asked() == first);
  BOOST_TEST(runs() == 2);
  qemu_does("echo run >>" + (folder / "runs").string() + "; kill -SEGV $$; # another version");
  BOOST_TEST(asked() == first);
  BOOST_TEST(runs() == 4);
}

BOOST_FIXTURE_TEST_CASE(a_qemu_whose_end_a_forked_child_hides_is_not_waited_for, Host, PATIENCE) {
  // The child inherits the pipe that closes when the program ends, like a child that another thread forks.
  qemu_does("sleep 1000 & echo $! >" + (folder / "pid").string() + "; exit 33");
  BOOST_TEST(probe_kvm(device, qemu, x86, {.given = 1h, .in_all = 1h}).usable);
  pid_t pid = 0;
  std::ifstream(folder / "pid") >> pid;
  BOOST_TEST(::kill(pid, SIGKILL) == 0);
}

BOOST_FIXTURE_TEST_CASE(a_qemu_that_aborts_is_quoted_without_its_escape_sequences, Host) {
  qemu_does("echo first >&2; printf 'Assertion \\033[31mfailed\\n' >&2; kill -ABRT $$");
  const auto status = probe_kvm(device, qemu, x86, patience);
  BOOST_TEST(!status.usable);
  BOOST_TEST(contains(status.reason, R"((Assertion \x1b[31mfailed))"));
  BOOST_TEST(!contains(status.reason, "first"));
}

BOOST_FIXTURE_TEST_CASE(a_qemu_that_aborts_leaves_no_core_file, Host) {
  rlimit before{};
  ::getrlimit(RLIMIT_CORE, &before);
  const rlimit allowed{before.rlim_max, before.rlim_max};
  ::setrlimit(RLIMIT_CORE, &allowed);
  qemu_does("while [ \"$(ulimit -c)\" != 0 ]; do :; done; exit 33");
  BOOST_TEST(probe_kvm(device, qemu, x86, patience).usable);
  ::setrlimit(RLIMIT_CORE, &before);
}

BOOST_FIXTURE_TEST_CASE(a_qemu_that_hangs_is_killed_and_reaped, Host) {
  qemu_does("echo $$ >" + (folder / "pid").string() + "; exec cat " + (folder / "fifo").string());
  ::mkfifo((folder / "fifo").c_str(), 0600);
  const auto status = probe_kvm(device, qemu, x86, brief);
  BOOST_TEST(!status.usable);
  BOOST_TEST(contains(status.reason, "within 300 ms"));
  pid_t pid = 0;
  std::ifstream(folder / "pid") >> pid;
  BOOST_TEST(pid > 0);
  BOOST_TEST(::kill(pid, 0) == -1);
}

// Regression: the time limit was checked only when the program was silent for a moment.
BOOST_FIXTURE_TEST_CASE(a_qemu_that_writes_all_the_time_is_killed_too, Host, PATIENCE) {
  for (const char* script : {"while :; do echo x >&2; done", "exec 2>&-; while :; do :; done"}) {
    qemu_does(script);
    const auto status = probe_kvm(device, qemu, x86, brief);
    BOOST_TEST(!status.usable);
    BOOST_TEST((status.hangs || !status.settled));
  }
}

BOOST_FIXTURE_TEST_CASE(a_probe_ends_when_the_launch_does, Host, PATIENCE) {
  qemu_does("echo $$ >" + (folder / "pid").string() + "; exec sleep 1000");
  const auto begin = std::chrono::steady_clock::now();
  pid_t pid = 0;
  const auto look = [&] {
    if (std::ifstream(folder / "pid") >> pid) throw std::runtime_error("cancelled");
  };
  BOOST_CHECK_THROW(probe_kvm(device, qemu, x86, {.given = 1h, .in_all = 1h}, look), std::runtime_error);
  BOOST_TEST(pid > 0);
  BOOST_TEST(::kill(pid, 0) == -1);
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 30s));
}

namespace {

struct Known {
  guestkit::detail::known_kvm::clock::time_point now{};
  guestkit::detail::known_kvm kvm{[this] { return now; }};
  std::atomic<int> probes{0};

  guestkit::detail::KvmStatus ask(const guestkit::detail::KvmStatus& found) {
    const auto probe = [&] {
      ++probes;
      return found;
    };
    return kvm.ask("key", probe, [] {});
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_host_that_is_too_busy_to_tell_is_asked_again_half_a_minute_later, Known) {
  const guestkit::detail::KvmStatus busy{.reason = "too busy", .settled = false};
  ask(busy);
  now += 25s;
  BOOST_TEST(ask({.usable = true, .reason = ""}).reason == "too busy");
  BOOST_TEST(probes == 1);
  now += 10s;
  BOOST_TEST(ask({.usable = true, .reason = ""}).usable);
  now += 9min;
  BOOST_TEST(ask(busy).usable);
  BOOST_TEST(probes == 2);
}

// Regression: a service that had run with KVM once went on to ask for it on every host that it moved to.
BOOST_FIXTURE_TEST_CASE(what_works_was_believed_for_a_whole_process, Known) {
  BOOST_TEST(ask({.usable = true, .reason = ""}).usable);
  now += 10min;
  BOOST_TEST(ask({.reason = "it hangs", .hangs = true}).reason == "it hangs");
  BOOST_TEST(probes == 2);
}

// Regression: eight launches on a busy host probed one after the other, so the last began minutes later.
BOOST_FIXTURE_TEST_CASE(who_asks_while_another_thread_probes_takes_its_verdict, Known, PATIENCE) {
  std::latch asked(8);
  std::atomic<int> answers{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        asked.arrive_and_wait();
        const auto probe = [&]() -> guestkit::detail::KvmStatus {
          ++probes;
          return {.reason = "too busy", .settled = false};
        };
        if (kvm.ask("key", probe, [] {}).reason == "too busy") ++answers;
      });
  }
  BOOST_TEST(answers == 8);
  BOOST_TEST(probes == 1);
}

BOOST_FIXTURE_TEST_CASE(who_waits_for_another_threads_probe_can_be_cancelled, Known, PATIENCE) {
  std::latch probing(1), cancelled(1);
  std::jthread first([&] {
    const auto probe = [&]() -> guestkit::detail::KvmStatus {
      probing.count_down();
      cancelled.wait();
      return {.usable = true, .reason = ""};
    };
    kvm.ask("key", probe, [] {});
  });
  probing.wait();
  const auto cancel = [] { throw std::runtime_error("cancelled"); };
  BOOST_CHECK_THROW(kvm.ask(
                        "key", [] { return guestkit::detail::KvmStatus{}; }, cancel),
                    std::runtime_error);
  cancelled.count_down();
  first.join();
  BOOST_TEST(ask({}).usable);
  BOOST_TEST(probes == 0);
}

BOOST_FIXTURE_TEST_CASE(a_probe_that_was_cancelled_leaves_the_next_one_its_chance, Known, PATIENCE) {
  const auto cancelled = []() -> guestkit::detail::KvmStatus { throw std::runtime_error("cancelled"); };
  BOOST_CHECK_THROW(kvm.ask("key", cancelled, [] {}), std::runtime_error);
  BOOST_TEST(ask({.usable = true, .reason = ""}).usable);
}

BOOST_FIXTURE_TEST_CASE(a_missing_qemu_is_told, Host) {
  const auto status = probe_kvm(device, qemu, x86, patience);
  BOOST_TEST(!status.usable);
  BOOST_TEST(contains(status.reason, "cannot be run: No such file or directory"));
}

BOOST_FIXTURE_TEST_CASE(a_probe_leaves_no_file_open, Host) {
  qemu_does("exit 33");
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
  };
  const auto before = open_files();
  for (int i = 0; i < 3; ++i) BOOST_TEST(probe_kvm(device, qemu, x86, patience).usable);
  BOOST_TEST(open_files() == before);
}

BOOST_FIXTURE_TEST_CASE(the_verdict_is_found_once_and_again_for_another_qemu, Host, WHERE_KVM) {
  qemu_does("echo run >>" + (folder / "runs").string() + "; exit 33");
  const auto first = guestkit::detail::kvm_status(qemu);
  const auto ran = runs();
  BOOST_TEST(ran > 0);
  BOOST_TEST(guestkit::detail::kvm_status(qemu).usable == first.usable);
  BOOST_TEST(runs() == ran);
  qemu_does("echo run >>" + (folder / "runs").string() + "; exit 3; # another one");
  BOOST_TEST(!guestkit::detail::kvm_status(qemu).usable);
  BOOST_TEST(runs() == 2 * ran);
}

// Regression: force_tcg stayed set, so no later launch of the handle looked for KVM again.
BOOST_FIXTURE_TEST_CASE(the_accelerator_of_one_launch_stayed_the_user_s_setting, Host) {
  support::write_appliance(folder);
  qemu_does("exit 1");
  for (const auto accel : {guestkit::Accel::automatic, guestkit::Accel::tcg, guestkit::Accel::kvm})
    for (const guestkit::string_list& own :
         {guestkit::string_list{"other=2"}, guestkit::string_list{"force_tcg=0", "other=2"},
          guestkit::string_list{"force_tcg", "other=2", "force_kvm=1"}}) {
      std::vector<std::string> set;
      guestkit::Guestfs g({.environment = false, .accel = accel});
      g.set_hv(qemu);
      g.set_path(folder.string());
      g.set_cachedir(folder.string());
      g.set_backend_settings(own);
      g.add_drive("/dev/null", {.format = "raw"});
      const auto traced =
          g.set_event_callback(guestkit::Event::trace, [&](const guestkit::EventMessage& message) {
            if (message.text.starts_with("set_backend_setting")) set.emplace_back(message.text);
          });
      g.set_trace(true);
      BOOST_CHECK_THROW(g.launch(), guestkit::LaunchError);
      g.set_trace(false);
      BOOST_TEST(g.get_backend_settings() == own, boost::test_tools::per_element());
      const bool users = accel == guestkit::Accel::automatic && own.front() == "force_tcg";
      BOOST_REQUIRE(set.empty() == users);
      const std::string forced =
          accel == guestkit::Accel::kvm ? "other=2 force_kvm=1" : "other=2 force_tcg=1";
      if (!users) BOOST_TEST(set.front().find(forced) != std::string::npos, set.front());
    }
}

// Regression: only guestkit's own force_tcg was looked at, and libvirt's appliance had a minute without KVM.
BOOST_FIXTURE_TEST_CASE(an_emulated_launch_by_libvirt_had_the_limit_of_kvm, Host) {
  support::write_appliance(folder);
  qemu_does("exit 1");
  const std::vector<std::pair<std::string, guestkit::Accel>> emulated{
      {"libvirt:nothing:///", guestkit::Accel::automatic}, {"direct", guestkit::Accel::tcg}};
  for (const auto& [backend, accel] : emulated) {
    guestkit::Guestfs g({.environment = false, .accel = accel});
    g.set_backend(backend);
    g.set_hv(qemu);
    g.set_path(folder.string());
    g.set_cachedir(folder.string());
    g.add_drive("/dev/null", {.format = "raw"});
    BOOST_CHECK_THROW(g.launch(), guestkit::LaunchError);
    BOOST_REQUIRE(state_of(g)->turns->launch_limit());
    BOOST_TEST(*state_of(g)->turns->launch_limit() == guestkit::Seconds(300));
  }
}

BOOST_AUTO_TEST_CASE(the_backend_settings_of_a_launch_were_told_as_the_user_s) {
  guestkit::Guestfs g({.environment = false});
  const auto state = state_of(g);
  g.set_backend_settings({"force_tcg=1"});
  state->covered.cover_backend({"a=b=c", "d"});  // as a launch does that forces TCG
  BOOST_TEST(g.get_backend_settings() == (guestkit::string_list{"a=b=c", "d"}),
             boost::test_tools::per_element());
  BOOST_TEST(g.get_backend_setting("a") == "b=c");
  BOOST_TEST(g.get_backend_setting("d") == "1");
  for (const char* none : {"force_tcg", ""})
    BOOST_CHECK_EXCEPTION(g.get_backend_setting(none), guestkit::Error,
                          [](const guestkit::Error& e) { return e.error_number() == ESRCH; });
  BOOST_TEST(g.clear_backend_setting("d") == 1);
  BOOST_TEST(!state->covered.backend());
  g.set_backend_setting("e", "f");
  BOOST_TEST(g.get_backend_settings() == (guestkit::string_list{"a=b=c", "e=f"}),
             boost::test_tools::per_element());
}
