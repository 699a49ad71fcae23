// qemu-img, run as a child of the calling thread: whatever ends the call that it is a part of ends it
// (processes.hpp).
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

struct tool_result {
  bool succeeded = false;
  std::string output;  // of both streams, its end
};

/// Runs it and waits for it.
inline tool_result run_qemu_img(const char* op, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "qemu-img");
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const unique_fd output(::memfd_create("output", MFD_CLOEXEC));
  if (output.get() < 0) throw Error(op, "", errno);

  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, output.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, output.get(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::posix_spawnattr_setsigmask(&attributes, &signals);
  ::sigaddset(&signals, SIGPIPE);  // Python ignores it
  ::posix_spawnattr_setsigdefault(&attributes, &signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t child = 0;
  const int failure = ::posix_spawnp(&child, "qemu-img", &files, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  if (failure != 0) throw Error(op, "qemu-img cannot be run: install qemu-utils", failure);

  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw Error(op, "", errno);
  tool_result result{.succeeded = WIFEXITED(status) && WEXITSTATUS(status) == 0, .output = {}};
  const off_t end = ::lseek(output.get(), 0, SEEK_END), begin = std::max<off_t>(0, end - 1000);
  result.output.resize(static_cast<std::size_t>(end - begin));
  if (::pread(output.get(), result.output.data(), result.output.size(), begin) < 0) result.output.clear();
  while (result.output.ends_with('\n')) result.output.pop_back();
  return result;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
