// A fleet: many guests, several at a time, each in its own appliance. Reports arrive as they become ready.
//
// A guest that fails affects no other: its report says why. Requires what async.hpp requires.
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

/// The outcome of inspecting one guest: an inspection or an error.
struct InspectReport {
  std::size_t index = 0;   ///< of the guest among those given: several may have disks of one name
  string_list disks = {};  ///< the guest's disks
  std::optional<Inspection> inspection = {};
  std::exception_ptr error = {};  ///< what inspect() threw; null if there is an inspection
  std::string message = {};  ///< the error in one line with its hint, beginning with the first disk's name
  Seconds seconds{0};        ///< how long the inspection took
};

/// How far a fleet has come.
struct InspectProgress {
  std::size_t done = 0;                           ///< how many guests have a report
  std::map<std::size_t, std::string> steps = {};  ///< the current step of each guest, by its index
};

struct InspectManyOptions {
  /// For each guest.
  InspectOptions inspect = {};
  /// Options for each guest's handle. Limits::call bounds the whole inspection, including the launch.
  HandleOptions handle = inspection_handle_options();
  /// How many guests at once; 0: one for each processor that this process may use. Launches also
  /// wait for memory.
  unsigned concurrency = 0;
  /// Called on any thread when something changes; it must not throw and must not destroy the fleet.
  std::function<void(const InspectProgress&)> progress = {};
};

namespace detail {
class fleet;
}

/// The reports of a fleet, each delivered once. Made by inspect_many().
///
/// Ownership: move-only. The destructor kills what still runs, waits for it to end, and resolves the
/// outstanding futures with nothing. Threads: any thread may call next().
class [[nodiscard]] InspectMany {
 public:
  class iterator;

  InspectMany(std::vector<string_list> guests, InspectManyOptions options, executor& pool);
  InspectMany(InspectMany&&) noexcept = default;
  InspectMany& operator=(InspectMany&& other) noexcept;
  ~InspectMany();

  /// The next report, once there is one; nothing when every guest's report has been delivered.
  future<std::optional<InspectReport>> next();

  /// Iterates over the reports, waiting for each.
  iterator begin();
  static std::default_sentinel_t end() noexcept { return {}; }

 private:
  std::shared_ptr<detail::fleet> fleet_;
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

/// Inspects many guests, several at a time.
///
///     for (const auto& report : guestkit::inspect_many(disks)) {
///       std::cout << guestkit::printable(report.disks.front()) << ":\n";
///       if (report.error)
///         std::cerr << guestkit::printable(report.message) << '\n';
///       else
///         for (const auto& system : report.inspection->operating_systems)
///           std::cout << guestkit::printable(system.product_name) << '\n';
///     }
///
/// @param guests  a range; each element is a disk, or the list of all disks of a guest
/// @param pool  where the inspections run, instead of the process' own threads; it must outlive the result.
///     Its number of threads also bounds how many run at once
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

// Included in both forms: the compiled library does without Boost.Thread.
#include "guestkit/detail/async/inspect_many.ipp"
