#include "overhead.hpp"

#include <chrono>

#include "gil.hpp"

namespace guestkit::python {

namespace {

/// The seconds that one of these takes.
template <class F>
double seconds_of(int rounds, const F& body) {
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < rounds; ++i) body();
  return Seconds(std::chrono::steady_clock::now() - begun).count() / rounds;
}

}  // namespace

double gil_seconds(int rounds) {
  return seconds_of(rounds, [] { const GilRelease released; });
}

double turn_seconds(Handle& handle, int rounds) {
  return seconds_of(rounds, [&] { const detail::call_scope scope(state_of(handle), "get_turn"); });
}

}  // namespace guestkit::python
