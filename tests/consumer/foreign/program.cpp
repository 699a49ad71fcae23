#include <guestkit/guestkit.hpp>
#include <iostream>

std::string backend(guestkit::Guestfs& g);  // second.cpp

int main() {
  guestkit::Guestfs g;
  g.set_memsize(777);
  std::cout << backend(g) << ' ' << g.get_memsize() << '\n';
}
