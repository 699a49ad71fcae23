// A second translation unit with the same header: the program must still link.
#include <guestkit/guestkit.hpp>

std::string backend(guestkit::Guestfs& g) {
  return g.get_backend();
}
