// Replaces udevadm inside the appliance. libguestfs' daemon runs `udevadm settle` in every call that touches
// a device; here that costs next to nothing. Everything else, including udevd, is passed to the original,
// kept as /bin/udevadm.stock.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "asleep.hpp"
#include "udevd_socket.hpp"

namespace {

using clock_type = std::chrono::steady_clock;

void wake(int process) {
  ::unlink(appliance::asleep);
  if (process > 1) ::kill(process, SIGCONT);
}

/// Whether nothing has happened for which udevd must be woken.
bool nothing_happened() {
  constexpr int most_tries = 1000;
  appliance::Asleep note;
  for (int tries = 0; appliance::read_asleep(note); ++tries) {
    unsigned long long last = 0;
    std::FILE* file = std::fopen(appliance::kernel_events, "re");
    const bool is_known = file != nullptr && std::fscanf(file, "%llu", &last) == 1;
    if (file != nullptr) std::fclose(file);
    if (is_known && last <= note.number) return true;
    if (tries == most_tries) {  // init does not see it
      wake(note.process);
      return false;
    }
    ::usleep(1000);  // init is about to see the last event
  }
  return false;
}

struct Request {
  bool known = false;
  long timeout = 120;
  const char* file = nullptr;  // settling is done as soon as this file exists
};

Request parse(int argc, char** argv) {
  Request request;
  if (argc < 2 || std::strcmp(argv[1], "settle") != 0) return request;
  for (int i = 2; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word.starts_with("--timeout="))
      request.timeout = std::atol(argv[i] + 10);
    else if (word.starts_with("--exit-if-exists="))
      request.file = argv[i] + 17;
    else if (word == "-E" && i + 1 < argc)
      request.file = argv[++i];
    else
      return request;
  }
  request.known = true;
  return request;
}

}  // namespace

int main(int argc, char** argv) {
  const Request request = parse(argc, argv);
  if (request.known && nothing_happened()) return 0;
  appliance::Asleep note;
  if (!request.known && appliance::read_asleep(note)) wake(note.process);  // the original talks to it
  const auto deadline = clock_type::now() + std::chrono::seconds(request.timeout);
  if (request.known && appliance::udevd_answers("/run/udev", 5000)) {
    for (;;) {
      if (request.file != nullptr && ::access(request.file, F_OK) == 0) return 0;
      if (::access("/run/udev/queue", F_OK) != 0) return 0;
      if (clock_type::now() >= deadline) return 1;
      ::usleep(2000);
    }
  }
  for (const char* original : {"/bin/udevadm.stock", "/sbin/udevadm.stock"}) ::execv(original, argv);
  return 127;
}
