// A fleet: many guests, several at once, each in an appliance of its own; reports come as they are ready.
//
// A guest that fails costs itself alone: its report says why. Needs what async.hpp needs.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "guestkit/async.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/inspect.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// What inspecting one guest gave: an inspection or an error.
struct InspectReport {
  string_list disks = {};  ///< the guest's
  std::optional<Inspection> inspection = {};
  std::exception_ptr error = {};  ///< what inspect() throws; null where there is an inspection
  std::string message = {};       ///< of the error, in one line that begins with the first disk's name
  Seconds seconds{0};             ///< how long it took
};

/// How far a fleet is.
struct InspectProgress {
  std::size_t done = 0;                           ///< how many guests have their report
  std::map<std::string, std::string> steps = {};  ///< by a guest's first disk, what is being done with it now
};

struct InspectManyOptions {
  /// For each guest.
  InspectOptions inspect = {};
  /// For each guest; Limits::call is its time, the launch included.
  HandleOptions handle = inspection_handle();
  /// How many guests at once; 0: as many as there are processors. Launches wait for memory besides.
  unsigned concurrency = 0;
  /// Called when something changes, on any thread; it must not throw, and not end the fleet.
  std::function<void(const InspectProgress&)> progress = {};
};

namespace detail {
class fleet;
}

/// The reports of a fleet, each once. Made by inspect_many().
///
/// Ownership: move-only; its end kills what still runs, waits for that, and settles the futures that are out
/// with nothing. Threads: any may call next().
class InspectMany {
 public:
  class iterator;

  InspectMany(std::vector<string_list> guests, InspectManyOptions options, executor& pool);
  InspectMany(InspectMany&&) noexcept = default;
  InspectMany& operator=(InspectMany&& other) noexcept;
  ~InspectMany();

  /// The next report when there is one; nothing when every guest has had its own.
  future<std::optional<InspectReport>> next();

  /// Waits for each report in its turn.
  iterator begin();
  static std::default_sentinel_t end() noexcept { return {}; }

 private:
  std::shared_ptr<detail::fleet> fleet_;
  unsigned generation_ = detail::fork_generation();
};

/// An input iterator.
class InspectMany::iterator {
 public:
  using value_type = InspectReport;
  using difference_type = std::ptrdiff_t;

  explicit iterator(InspectMany& reports);

  const InspectReport& operator*() const noexcept { return *current_; }
  const InspectReport* operator->() const noexcept { return &*current_; }
  iterator& operator++();
  void operator++(int) { ++*this; }
  bool operator==(std::default_sentinel_t) const noexcept { return !current_; }

 private:
  InspectMany* reports_;
  std::optional<InspectReport> current_;
};

/// Inspect many guests, several at once.
///
///     for (const auto& report : guestkit::inspect_many(disks)) {
///       std::cout << report.disks.front() << ":\n";
///       if (report.error)
///         std::cerr << report.message << '\n';
///       else
///         for (const auto& system : report.inspection->operating_systems)
///           std::cout << system.product_name << '\n';
///     }
///
/// @param guests  a range; each element is a disk, or the list of all disks of a guest
/// @param pool  where they run instead of on threads of the process; it must outlive the result. Its threads
///     bound what runs at once, too
template <class Guests>
InspectMany inspect_many(const Guests& guests, InspectManyOptions options = {},
                         executor& pool = detail::launch_executor()) {
  std::vector<string_list> all;
  for (const auto& guest : guests)
    if constexpr (std::is_convertible_v<decltype(guest), std::string>)
      all.push_back({std::string(guest)});
    else
      all.emplace_back(std::begin(guest), std::end(guest));
  return {std::move(all), std::move(options), pool};
}

}  // namespace guestkit::inline GUESTKIT_FORM

// In both forms: Boost.Thread is no part of what the compiled library needs.
#include "guestkit/detail/inspect/inspect_many.ipp"
