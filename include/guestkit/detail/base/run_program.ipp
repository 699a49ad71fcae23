#pragma once

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/given_time.hpp"
#include "guestkit/detail/base/run_program.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/values.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A child of this process. The destructor kills it if it still runs, and reaps it.
class child_process {
 public:
  explicit child_process(pid_t number) noexcept : number_(number) {}
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process() { kill(); }

  bool has_ended() noexcept {
    if (ended_) return true;
    const pid_t found = ::waitpid(number_, &status_, WNOHANG);
    is_lost_ = found < 0 && errno == ECHILD;
    return ended_ = found == number_ || is_lost_;
  }

  void kill() noexcept {
    if (has_ended()) return;
    ::kill(number_, SIGKILL);
    while (::waitpid(number_, &status_, 0) < 0 && errno == EINTR) {
    }
    ended_ = true;
  }

  int status() const noexcept { return status_; }  // in the form of waitpid()
  /// The exit status is lost: this process ignores SIGCHLD, or something else has reaped the child.
  bool is_lost() const noexcept { return is_lost_; }

 private:
  pid_t number_;
  bool ended_ = false;
  bool is_lost_ = false;
  int status_ = 0;
};

/// Starts the program with stderr, and stdout if it is captured, going to that descriptor. Returns 0 or
/// errno.
inline int spawn(const std::vector<std::string>& command, int output, const program_options& options,
                 pid_t& child) {
  const cstr_list words(command);

  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (options.takes_stdout)
    ::posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  else
    ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
  for (const int file : options.inherited)  // does away with close-on-exec
    ::posix_spawn_file_actions_adddup2(&files, file, file);

  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::posix_spawnattr_setsigmask(&attributes, &signals);  // our own threads block most
  ::sigaddset(&signals, SIGPIPE);                       // Python ignores it
  ::posix_spawnattr_setsigdefault(&attributes, &signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  const int error =
      ::posix_spawnp(&child, command.front().c_str(), &files, &attributes, words.c_strv(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  return error;
}

GUESTKIT_INLINE std::string program_end::last_line() const {
  const auto end = output.find_last_not_of(" \r\n");
  if (end == std::string::npos) return "";
  const auto before = output.find_last_of('\n', end);
  const auto begin = before == std::string::npos ? 0 : before + 1;
  return visible(std::string_view(output).substr(begin, end - begin + 1));
}

GUESTKIT_INLINE program_end run_program(const std::vector<std::string>& command,
                                        const program_options& options) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {.error = errno};
  const unique_fd reader(ends[0]);
  unique_fd writer = above_streams(unique_fd(ends[1]));
  if (writer.get() < 0) return {.error = errno};
  pid_t number = -1;
  if (const int error = spawn(command, writer.get(), options, number); error != 0) return {.error = error};
  constexpr rlimit no_core{};  // QEMU aborts when KVM is broken
  ::prlimit(number, RLIMIT_CORE, &no_core, nullptr);
  writer = unique_fd();

  child_process child(number);
  program_end end;
  using clock = std::chrono::steady_clock;
  const auto begin = clock::now();
  std::optional<given_time> time;
  if (options.limit) time.emplace(number, begin);
  constexpr std::size_t longest = 4096;
  std::string chunk(65536, '\0');  // a pipe's capacity
  pollfd waiting{.fd = reader.get(), .events = POLLIN, .revents = 0};
  for (;;) {
    // The output may close before the program ends, if the program closes it. It may also stay open longer,
    // if a process that the program left behind, or that another thread forked, holds the other end.
    const bool has_ended = child.has_ended(), is_closed = waiting.fd < 0;
    const int ready = ::poll(&waiting, 1, has_ended ? 0 : is_closed ? 1 : 50);  // milliseconds
    if (ready > 0) {
      const ssize_t size = ::read(reader.get(), chunk.data(), chunk.size());
      if (size > 0) end.output.append(chunk, 0, static_cast<std::size_t>(size));
      if (end.output.size() > longest) end.output.erase(0, end.output.size() - longest);
      if (size <= 0) waiting.fd = -1;
    }
    if (has_ended) break;
    if (options.look) options.look();
    if (!options.limit) continue;
    const auto now = clock::now();
    end.had_time = time->look(now) >= options.limit->given;
    if (!end.had_time && now - begin < options.limit->in_all) continue;
    end.timed_out = !child.has_ended();
    break;
  }
  child.kill();
  end.status = child.status();
  if (child.is_lost()) end.error = ECHILD;
  return end;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
