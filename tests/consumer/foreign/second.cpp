// A second unit with the same header: it must link.
#include <guestkit/guestkit.hpp>

std::string backend(guestkit::Guestfs& g) {
  return g.get_backend();
}
