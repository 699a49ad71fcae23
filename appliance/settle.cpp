// Replaces udevadm inside the appliance. libguestfs' daemon runs `udevadm settle` in every call that touches
// a device; here that costs next to nothing. Everything else, including udevd, is passed to the original,
// kept as /bin/udevadm.stock.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

using clock_type = std::chrono::steady_clock;

/// systemd's struct udev_ctrl_msg_wire, the same since 2008.
struct Message {
  char version[16] = "udev-guestkit";
  unsigned magic = 0xdead1dea;
  int type = 0;
  char value[256] = {};
};
constexpr int end_messages = 0;
constexpr int ping = 7;

/// Whether udevd has answered: then all events that the kernel sent earlier are in its queue.
bool answered(int timeout_ms) {
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = "/run/udev/control"};
  bool done = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  for (const int type : {ping, end_messages}) {
    Message message;
    message.type = type;
    done = done && ::send(fd, &message, sizeof message, MSG_NOSIGNAL) == sizeof message;
  }
  pollfd hangup{.fd = fd, .events = POLLIN, .revents = 0};
  done = done && ::poll(&hangup, 1, timeout_ms) == 1;
  ::close(fd);
  return done;
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
  const auto deadline = clock_type::now() + std::chrono::seconds(request.timeout);
  if (request.known && answered(5000)) {
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
