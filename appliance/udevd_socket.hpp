// Asks udevd, inside the appliance, whether it has taken up its work, as udevadm does.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>

namespace appliance {

/// systemd's struct udev_ctrl_msg_wire, which was the same from 2008 until varlink replaced it.
struct UdevMessage {
  char version[16] = "udev-guestkit";
  unsigned magic = 0xdead1dea;
  int type = 0;
  char value[256] = {};
};

/// A connection to a socket; -1 if there is none of that type.
inline int connection_to(int type, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return -1;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  if (fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  if (fd >= 0) ::close(fd);
  return -1;
}

/// Whether udevd does something about a request before the time is up.
inline bool is_readable(int fd, int timeout_ms) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, timeout_ms) == 1;
}

/// Whether udevd has answered: then it listens to the kernel, and all events that the kernel sent earlier are
/// in its queue.
/// @param folder  where its sockets are: /run/udev
inline bool udevd_answers(const std::string& folder, int timeout_ms) {
  constexpr int end_messages = 0, ping = 7;
  if (const int fd = connection_to(SOCK_SEQPACKET, folder + "/control"); fd >= 0) {
    bool done = true;
    for (const int type : {ping, end_messages}) {
      UdevMessage message;
      message.type = type;
      done = done && ::send(fd, &message, sizeof message, MSG_NOSIGNAL) == sizeof message;
    }
    done = done && is_readable(fd, timeout_ms);  // it hangs up
    ::close(fd);
    return done;
  }
  // Since version 260 of systemd, or a little earlier, control is a link to this one.
  const int fd = connection_to(SOCK_STREAM, folder + "/io.systemd.Udev");
  if (fd < 0) return false;
  constexpr std::string_view request(R"({"method":"io.systemd.service.Ping"})"
                                     "\0",
                                     37);
  char first = 0;
  const bool done =
      ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size()) &&
      is_readable(fd, timeout_ms) && ::read(fd, &first, 1) == 1;
  ::close(fd);
  return done;
}

}  // namespace appliance
