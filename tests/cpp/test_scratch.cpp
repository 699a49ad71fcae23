// scratch.hpp: the private temporary directory, and the removal of those that dead processes left.
#define BOOST_TEST_MODULE scratch
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <ctime>
#include <guestkit/detail/base/scratch.hpp>

#include "support.hpp"

using guestkit::detail::scratch;
using guestkit::detail::unique_fd;
namespace fs = std::filesystem;

namespace {

struct base_directory : support::temporary_folder {
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path), {}));
  }
};

/// A child that keeps a private directory there, with a file in it, until it is killed.
class owner {
 public:
  explicit owner(const fs::path& base) {
    std::array<int, 2> ends{};
    BOOST_REQUIRE(::pipe(ends.data()) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      const auto mine = scratch::beneath(base);
      std::ofstream(mine->path() + "/secret") << "of the guest";
      if (::write(ends[1], "x", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char ready = 0;
    BOOST_REQUIRE(::read(ends[0], &ready, 1) == 1);
    ::close(ends[0]);
    ::close(ends[1]);
  }
  owner(const owner&) = delete;
  owner& operator=(const owner&) = delete;
  ~owner() { kill(); }

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(nobody_else_may_enter_and_nothing_stays_behind, base_directory) {
  {
    const auto one = scratch::beneath(path);
    const auto same = scratch::beneath(path);
    BOOST_TEST(one->path() == same->path());
    BOOST_TEST((fs::status(one->path()).permissions() == fs::perms::owner_all));
    std::ofstream(one->path() + "/file") << "x";
  }
  BOOST_TEST(entries() == 0U);
}

BOOST_FIXTURE_TEST_CASE(a_directory_that_was_cleaned_away_was_shared_for_as_long_as_a_handle_lived,
                        base_directory) {
  const auto old = scratch::beneath(path);
  fs::remove_all(old->path());
  const auto fresh = scratch::beneath(path);
  BOOST_TEST(fresh->path() != old->path());
  BOOST_TEST(fs::exists(fresh->path()));
  BOOST_TEST(scratch::beneath(path)->path() == fresh->path());
}

BOOST_FIXTURE_TEST_CASE(what_a_killed_process_left_is_swept_and_what_a_live_one_has_is_not, base_directory) {
  owner dead(path);
  owner alive(path);
  BOOST_TEST(entries() == 2U);
  dead.kill();
  const auto mine = scratch::beneath(path);
  BOOST_TEST(entries() == 2U);  // the running child's and ours
}

BOOST_FIXTURE_TEST_CASE(a_sweep_follows_no_link_and_touches_nothing_else, base_directory) {
  const base_directory elsewhere;
  std::ofstream(elsewhere.path / "precious") << "x";
  fs::create_symlink(elsewhere.path, path / ("guestkit-" + std::to_string(::geteuid()) + "-abcdef"));
  fs::create_directory(path / "guestkit-of-another-kind");
  fs::create_symlink(elsewhere.path, elsewhere.path / "loop");
  {
    owner dead(path);
    fs::create_symlink(elsewhere.path, [&] {
      for (const auto& entry : fs::directory_iterator(path))
        if (fs::exists(entry.path() / "secret")) return entry.path() / "link";
      return path;
    }());
  }
  scratch::sweep(path);
  BOOST_TEST(entries() == 2U);
  BOOST_TEST(fs::exists(elsewhere.path / "precious"));
}

BOOST_FIXTURE_TEST_CASE(a_forked_child_leaves_its_parent_s_directory_alone, base_directory) {
  const auto mine = scratch::beneath(path);
  const pid_t child = ::fork();
  if (child == 0) {
    scratch copy(path);  // the only directory that this child may remove
    const_cast<std::shared_ptr<scratch>&>(mine).reset();
    ::_exit(scratch::beneath(path)->path() == copy.path() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  BOOST_TEST(status == 0);
  BOOST_TEST(fs::exists(mine->path()));
}

namespace {

/// A socket bound where libguestfs would.
/// @param age  of its file, in seconds
unique_fd bound(const fs::path& directory, long age = 3600) {
  fs::create_directory(directory);
  const auto file = directory / "guestfsd.sock";
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, file.c_str(), sizeof address.sun_path - 1);
  BOOST_REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  const timespec then{.tv_sec = std::time(nullptr) - age, .tv_nsec = 0};
  const timespec both[] = {then, then};
  BOOST_REQUIRE(::utimensat(AT_FDCWD, file.c_str(), both, 0) == 0);
  return fd;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(sockets_of_launches_that_run_were_swept_from_a_directory_with_two_names,
                        base_directory) {
  fs::create_directory(path / "real");
  fs::create_directory_symlink(path / "real", path / "link");
  const unique_fd alive = bound(path / "real" / "libguestfslive00");  // libguestfs takes the real name
  for (const auto& name : {(path / "link").string(), (path / "real").string() + "/"}) {
    scratch::sweep_sockets(name);
    BOOST_TEST(fs::exists(path / "real" / "libguestfslive00"));
  }
}

// The kernel lists sockets by network namespace.
BOOST_FIXTURE_TEST_CASE(the_socket_of_a_launch_in_another_network_namespace_was_swept, base_directory) {
  bound(path / "libguestfsyoung0", 60);  // unknown to the kernel, as it is there
  scratch::sweep_sockets(path);
  BOOST_TEST(fs::exists(path / "libguestfsyoung0"));
}

BOOST_FIXTURE_TEST_CASE(sockets_of_dead_processes_are_swept, base_directory) {
  bound(path / "libguestfsdead00");  // closed at once, as by a dead process; the file stays
  const unique_fd alive = bound(path / "libguestfslive00");
  fs::create_directory(path / "libguestfs-docs");
  scratch::sweep_sockets(path);
  BOOST_TEST(!fs::exists(path / "libguestfsdead00"));
  BOOST_TEST(fs::exists(path / "libguestfslive00"));
  BOOST_TEST(fs::exists(path / "libguestfs-docs"));
}

BOOST_FIXTURE_TEST_CASE(the_directory_of_a_dead_appliance_s_socket_is_swept_by_its_note, base_directory) {
  const base_directory sockets;
  for (const char* name : {"dead", "closed", "full", "live"}) fs::create_directory(sockets.path / name);
  std::ofstream(sockets.path / "full" / "file") << "x";
  const auto living = scratch::beneath(path);
  living->note_sockets(1, sockets.path / "live");
  const pid_t child = ::fork();
  if (child == 0) {
    const auto mine = scratch::beneath(path);
    mine->note_sockets(1, sockets.path / "dead");
    mine->note_sockets(2, sockets.path / "full");
    mine->note_sockets(3, sockets.path / "closed");
    mine->note_sockets(3, "");
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  scratch::sweep(path);
  BOOST_TEST(!fs::exists(sockets.path / "dead"));
  for (const char* name : {"closed", "full", "live"}) BOOST_TEST(fs::exists(sockets.path / name), name);
  BOOST_TEST(entries() == 1U);
}

BOOST_FIXTURE_TEST_CASE(the_directory_of_the_socket_was_told_by_the_command_line_of_qemu, base_directory) {
  using guestkit::detail::socket_directory;
  const auto name = (path / "guestfsd.sock").string();
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  name.copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
  const auto* const to = reinterpret_cast<const sockaddr*>(&address);
  const unique_fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const unique_fd other(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  BOOST_REQUIRE(::bind(listener.get(), to, sizeof address) == 0 && ::listen(listener.get(), 1) == 0);
  BOOST_REQUIRE(::connect(other.get(), to, sizeof address) == 0);
  BOOST_TEST(socket_directory(::getppid()) == "");
  const unique_fd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  BOOST_TEST(socket_directory(::getpid()) == path.string());
  BOOST_TEST(socket_directory(::getppid()) == "");
}

BOOST_FIXTURE_TEST_CASE(a_handle_s_files_are_private_and_get_tmpdir_says_what_was_set, base_directory) {
  std::ofstream(path / "disk") << std::string(4096, '\0');
  {
    guestkit::Guestfs g(guestkit::HandleOptions{.environment = false});
    g.set_tmpdir(path);
    BOOST_TEST(g.get_tmpdir() == path.string());
    g.add_drive(path / "disk", {.readonly = true, .format = "raw"});  // makes an overlay
    std::size_t overlays = 0;
    for (const auto& entry : fs::directory_iterator(path)) {
      if (!entry.is_directory()) continue;
      BOOST_TEST((entry.status().permissions() == fs::perms::owner_all));
      for (const auto& file : fs::recursive_directory_iterator(entry.path()))
        overlays += file.path().filename().string().starts_with("overlay");
    }
    BOOST_TEST(overlays == 1U);
  }
  BOOST_TEST(entries() == 1U);  // the disk
}

BOOST_FIXTURE_TEST_CASE(a_process_without_descriptors_made_directories_for_ever, base_directory) {
  const auto said = support::in_child([&]() -> std::string {
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    try {
      scratch::beneath(path);
    } catch (const std::system_error& e) {
      ::setrlimit(RLIMIT_NOFILE, &before);  // a sanitizer needs descriptors to look at e
      return e.code() == std::errc::too_many_files_open ? "refused" : e.what();
    }
    return "made";
  });
  BOOST_TEST(said == "refused");
  BOOST_TEST(entries() == 0U);
}

BOOST_AUTO_TEST_CASE(a_base_that_cannot_be_written_leaves_a_usable_handle) {
  guestkit::Guestfs g(guestkit::HandleOptions{.environment = false});
  g.set_tmpdir("/proc");
  BOOST_TEST(g.get_tmpdir() == "/proc");
  BOOST_TEST(g.get_memsize() > 0);
}
