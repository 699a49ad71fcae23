#include <guestkit/async.hpp>
#include <iostream>

int main() {
  guestkit::AsyncGuestfs g;
  g.set_memsize(777);
  auto size = g.get_memsize().then([](boost::future<int> done) { return done.get() + 1; });
  std::cout << size.get() << '\n';
}
