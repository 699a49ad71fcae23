// fork.hpp and threads.hpp: what a forked child must not share with its parent, and threads of our own.
#define BOOST_TEST_MODULE fork
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <future>
#include <guestkit/detail/base/fork.hpp>
#include <guestkit/detail/base/threads.hpp>
#include <guestkit/detail/launch/kvm.hpp>
#include <mutex>
#include <string>
#include <vector>

#include "support.hpp"

using guestkit::Error;
using guestkit::Guestfs;
using guestkit::HandleOptions;
using guestkit::detail::admission;
using guestkit::detail::of_process;
using guestkit::detail::scratch;
using support::in_child;

namespace {

struct shared_thing {
  std::mutex mutex;
  int value = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(all_threads_of_a_process_share_one_and_a_child_has_its_own) {
  static constinit of_process<shared_thing> all;
  BOOST_TEST(all.existing() == nullptr);
  shared_thing& mine = all.get();
  mine.value = 1;
  BOOST_TEST(std::async(std::launch::async, [] { return &all.get(); }).get() == &mine);
  const std::lock_guard lock(mine.mutex);  // as another thread might hold it during the fork
  BOOST_TEST(in_child([] {
               if (all.existing() != nullptr) return std::string("the parent's");
               const std::lock_guard own(all.get().mutex);
               return std::to_string(all.get().value);
             }) == "0");
  BOOST_TEST(&all.get() == &mine);
}

BOOST_AUTO_TEST_CASE(threads_that_ask_first_at_once_get_the_same) {
  static constinit of_process<shared_thing> all;
  std::latch begin(8);
  std::vector<std::future<shared_thing*>> asked;
  for (int i = 0; i < 8; ++i)
    asked.push_back(std::async(std::launch::async, [&] {
      begin.arrive_and_wait();
      return &all.get();
    }));
  for (auto& each : asked) BOOST_TEST(each.get() == &all.get());
}

// With a sanitizer, the child would inherit the locked allocator of the sanitizer itself, and in the debug
// mode of libstdc++ the locks by which that guards the iterators of containers.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(_GLIBCXX_DEBUG)
// Regression: such a child waited for ever for a lock that only another thread of its parent could release.
BOOST_AUTO_TEST_CASE(a_child_forked_while_other_threads_work_can_use_guestkit, PATIENCE) {
  const support::temporary_folder folder;
  std::atomic<bool> done{false};
  const auto work = [&] {
    guestkit::detail::kvm_status((folder.path / "qemu").string());
    scratch::beneath(folder.path.string());
    auto place = admission::shared().take(1, guestkit::Seconds(1), [] {});
    guestkit::set_appliance_limit(std::nullopt);
  };
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      while (!done) work();
    });
  bool works = true;
  for (int i = 0; works && i < 40; ++i)
    works = in_child([&] {
              work();
              return std::string("done");
            }) == "done";
  done = true;
  BOOST_TEST(works);
}
#endif

// Where KVM hangs, the probe takes seconds, and holds the lock all the while.
BOOST_AUTO_TEST_CASE(a_child_forked_while_another_thread_probes_kvm_probes_for_itself, PATIENCE WHERE_KVM) {
  const support::temporary_folder folder;
  const auto program = [&](const char* name, const std::string& script) {
    const auto file = folder.path / name;
    std::ofstream(file) << "#!/bin/sh\n" << script << '\n';
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    return file.string();
  };
  BOOST_REQUIRE(::mkfifo((folder.path / "started").c_str(), 0600) == 0);
  BOOST_REQUIRE(::mkfifo((folder.path / "go on").c_str(), 0600) == 0);
  const std::string stuck =
      program("stuck", "cd '" + folder.path.string() + "'; echo >started; read line <'go on'");
  const std::string quick = program("quick", "exit 3");
  auto probe = std::async(std::launch::async, [&] { return guestkit::detail::kvm_status(stuck); });
  std::ifstream(folder.path / "started").get();
  BOOST_TEST(
      in_child([&] { return guestkit::detail::kvm_status(quick).reason; }).starts_with(quick + " fails"));
  std::ofstream(folder.path / "go on") << '\n';
  BOOST_TEST(!probe.get().usable);
}

// Regression: the child, in which the parent's C handles stay, was ended by libguestfs, which had no room.
BOOST_AUTO_TEST_CASE(a_child_that_drops_its_parents_handles_got_their_places_back, PATIENCE) {
  const HandleOptions plain{.environment = false};
  std::vector<Guestfs> open;
  for (int i = 0; i < 600; ++i) open.emplace_back(plain);
  BOOST_TEST(in_child([&] {
               open.clear();
               for (int i = 0; i < 500; ++i) try {
                   open.emplace_back(plain);
                 } catch (const Error& e) {
                   return std::to_string(i) + (e.error_number() == EMFILE ? ", then EMFILE" : e.what());
                 }
               return std::string("500");
             }) == "400, then EMFILE");
}

BOOST_AUTO_TEST_CASE(a_thread_that_forks_is_the_main_one_of_its_child) {
  using guestkit::detail::this_thread;
  BOOST_TEST(this_thread().is_main);
  int status = -1;
  bool was_main = true;
  std::thread([&] {
    was_main = this_thread().is_main;
    const pid_t child = ::fork();
    if (child == 0) ::_exit(this_thread().is_main && this_thread().id == ::getpid() ? 0 : 1);
    ::waitpid(child, &status, 0);
  }).join();
  BOOST_TEST(!was_main);
  BOOST_TEST(status == 0);
}

// Regression: such a signal was blocked, so the kernel ended the process without a word of faulthandler's.
BOOST_AUTO_TEST_CASE(a_crash_on_a_thread_of_guestkit_did_not_reach_the_program_s_handler, PATIENCE) {
  BOOST_TEST(in_child([] {
               static std::atomic<bool> told{false};
               ::signal(SIGSEGV, [](int) {
                 told = true;
                 for (;;) ::pause();
               });
               void* const forbidden = ::mmap(nullptr, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
               guestkit::detail::start_thread("", [=] { *static_cast<volatile char*>(forbidden) = 1; });
               while (!told) std::this_thread::yield();
               return std::string("told");
             }) == "told");
}
