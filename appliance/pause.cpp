// Loaded into libguestfs' daemon, so that the template has one that is about to begin.
//
// The daemon's libraries and its OCaml runtime take a fifth of a second to start under emulation, and need
// nothing of the launch. What follows does: its names of the disks. In between it ignores SIGPIPE, and there
// this waits until init writes to a descriptor.
#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "lenses.hpp"

namespace {

void wait_for_init() {
  // What the daemon runs must start as ever.
  ::unsetenv("LD_PRELOAD");
  const char* name = std::getenv("GUESTKIT_PAUSE");
  if (name == nullptr) return;
  const int descriptor = std::atoi(name);
  ::unsetenv("GUESTKIT_PAUSE");
  appliance::note_lenses();
  char byte = 'r';
  if (::write(descriptor, &byte, 1) != 1) ::_exit(1);
  ssize_t got = 0;
  do got = ::read(descriptor, &byte, 1);
  while (got < 0 && errno == EINTR);
  if (got != 1) ::_exit(1);  // init has no use for it
  ::close(descriptor);
}

}  // namespace

extern "C" [[gnu::visibility("default")]] int sigaction(int number, const struct sigaction* action,
                                                        struct sigaction* before) noexcept {
  using function = int (*)(int, const struct sigaction*, struct sigaction*);
  const auto original = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "sigaction"));
  if (number == SIGPIPE) wait_for_init();
  return original(number, action, before);
}
