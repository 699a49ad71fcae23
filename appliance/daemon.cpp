#include "daemon.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "system.hpp"

namespace appliance {

namespace {

/// pause.cpp and lenses.cpp.
constexpr const char* library = "/guestkit-preload.so";

std::vector<std::string> command_of(const DaemonOptions& options) {
  std::vector<std::string> command{"guestfsd"};
  if (!options.channel.empty()) command.insert(command.end(), {"--channel", options.channel});
  if (options.verbose) command.emplace_back("--verbose");
  return command;
}

int start_with_library(const DaemonOptions& options) {
  if (exists(library)) ::setenv("LD_PRELOAD", library, 1);
  const int process = appliance::start(command_of(options));
  ::unsetenv("LD_PRELOAD");
  return process;
}

}  // namespace

void Daemon::prepare(const DaemonOptions& options) {
  constexpr int patience = 60000;  // milliseconds
  std::array<int, 2> ends{};
  if (!exists(library) || ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0) return;
  ::fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  ::setenv("GUESTKIT_PAUSE", std::to_string(ends[1]).c_str(), 1);
  process_ = start_with_library(options);
  ::unsetenv("GUESTKIT_PAUSE");
  ::close(ends[1]);
  resume_ = ends[0];
  prepared_with_ = options;
  pollfd waiting{.fd = resume_, .events = POLLIN, .revents = 0};
  char byte = 0;
  if (::poll(&waiting, 1, patience) == 1 && ::read(resume_, &byte, 1) == 1) return;
  std::fprintf(stderr, "init: guestfsd cannot be prepared\n");
  if (process_ > 0) ::kill(process_, SIGKILL);
  wait_for_end(process_);
  process_ = 0;
}

int Daemon::start(const DaemonOptions& options) {
  const bool is_ready = process_ > 0 && options == prepared_with_ && ::write(resume_, "g", 1) == 1;
  ::close(resume_);  // one that is not used ends by that
  if (options.verbose) std::fprintf(stderr, "init: starting guestfsd\n");
  return is_ready ? process_ : start_with_library(options);
}

}  // namespace appliance
