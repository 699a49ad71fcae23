// appliance/udevd_socket.hpp: whether udevd answers, with one that a test pretends to be.
#define BOOST_TEST_MODULE udevd_socket
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <guestkit/detail/base/unique_fd.hpp>
#include <string>
#include <thread>

#include "../../appliance/udevd_socket.hpp"
#include "support.hpp"

namespace {

using guestkit::detail::unique_fd;

constexpr int patience = 60'000, brief = 100;  // milliseconds

struct Host : private support::temporary_folder {
  const std::string folder = path.string();

  unique_fd listening(int type, const char* name) const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto file = folder + '/' + name;
    std::memcpy(address.sun_path, file.c_str(), file.size() + 1);
    unique_fd server(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    BOOST_REQUIRE(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    BOOST_REQUIRE(::listen(server.get(), 1) == 0);
    return server;
  }
  void link_control() const { std::filesystem::create_symlink("io.systemd.Udev", folder + "/control"); }
};

std::string message(int fd) {
  std::string text(4096, '\0');
  const auto size = ::read(fd, text.data(), text.size());
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(where_there_is_no_udevd_nobody_answers, Host) {
  BOOST_TEST(!appliance::udevd_answers(folder, patience));
  BOOST_TEST(!appliance::udevd_answers(std::string(200, 'x'), patience));
  listening(SOCK_STREAM, "io.systemd.Udev");  // whose udevd has ended
  link_control();
  BOOST_TEST(!appliance::udevd_answers(folder, patience));
}

BOOST_FIXTURE_TEST_CASE(an_older_udevd_gets_two_messages_and_hangs_up, Host) {
  const auto server = listening(SOCK_SEQPACKET, "control");
  std::string ping, end;
  std::jthread udevd([&] {
    const unique_fd asker(::accept(server.get(), nullptr, nullptr));
    ping = message(asker.get());
    end = message(asker.get());
  });
  BOOST_TEST(appliance::udevd_answers(folder, patience));
  udevd.join();
  BOOST_TEST(ping.size() == sizeof(appliance::UdevMessage));
  BOOST_TEST(int{ping[20]} == 7);
  BOOST_TEST(int{end[20]} == 0);
}

// Regression: with systemd 262 no appliance was built: udevd did not listen yet when the disks were
// announced.
BOOST_FIXTURE_TEST_CASE(a_newer_udevd_is_asked_by_varlink, Host) {
  const auto server = listening(SOCK_STREAM, "io.systemd.Udev");
  link_control();
  std::string request;
  bool answered = false;
  std::jthread udevd([&] {
    const unique_fd asker(::accept(server.get(), nullptr, nullptr));
    request = message(asker.get());
    answered = ::write(asker.get(), "{}", 3) == 3;
  });
  BOOST_TEST(appliance::udevd_answers(folder, patience));
  udevd.join();
  BOOST_TEST(answered);
  BOOST_TEST(request == std::string("{\"method\":\"io.systemd.service.Ping\"}") + '\0');
}

BOOST_FIXTURE_TEST_CASE(a_udevd_that_is_busy_or_ends_has_not_answered, Host) {
  const auto server = listening(SOCK_STREAM, "io.systemd.Udev");
  BOOST_TEST(!appliance::udevd_answers(folder, brief));
  unique_fd(::accept(server.get(), nullptr, nullptr));
  std::jthread udevd([&] { message(unique_fd(::accept(server.get(), nullptr, nullptr)).get()); });
  BOOST_TEST(!appliance::udevd_answers(folder, patience));
}
