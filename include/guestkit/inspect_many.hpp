// A fleet: many guests, several at once, each in an appliance of its own; reports come as they are ready.
//
// A guest that fails spoils nothing: its report says why. Needs what async.hpp needs.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
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

/// Guests on their way. Each job on the executor shares in it.
class fleet : public std::enable_shared_from_this<fleet> {
 public:
  fleet(std::vector<string_list> guests, InspectManyOptions options, executor& pool)
      : guests_(std::move(guests)), options_(std::move(options)), pool_(pool) {
    if (options_.concurrency == 0) options_.concurrency = std::max(1U, std::thread::hardware_concurrency());
  }

  /// Asks for threads for as many guests as may run. What nobody has taken yet counts too: it needs memory.
  void start() {
    while (wants_thread()) {
      try {
        pool_.submit([self = shared_from_this()] { self->work(); });
      } catch (...) {  // the executor takes no more
        if (const auto guest = begin()) give(*guest, failed({.disks = guests_[*guest]}));
      }
    }
  }

  future<std::optional<InspectReport>> next() {
    std::optional<InspectReport> report;
    {
      const std::lock_guard lock(mutex_);
      if (!ready_.empty()) {
        report = std::move(ready_.front());
        ready_.pop_front();
      } else if (!ended_ && waiting_.size() < guests_.size() - reported_) {
        return waiting_.emplace_back().get_future();
      }
    }
    start();
    return boost::make_ready_future(std::move(report));
  }

  /// Kills what runs and waits until it has ended.
  void end() {
    std::deque<boost::promise<std::optional<InspectReport>>> waiting;
    {
      std::unique_lock lock(mutex_);
      ended_ = true;
      for (auto* g : handles_) g->terminate();
      changed_.wait(lock, [&] { return inside_ == 0; });
      waiting.swap(waiting_);
    }
    for (auto& each : waiting) each.set_value(std::nullopt);
  }

 private:
  /// A handle that end() finds, while this lives.
  class entry {
   public:
    entry(fleet& all, Guestfs& g) : all_(all), g_(g) {
      const std::lock_guard lock(all_.mutex_);
      all_.handles_.insert(&g_);
      if (all_.ended_) g_.terminate();
    }
    entry(const entry&) = delete;
    entry& operator=(const entry&) = delete;
    ~entry() {
      const std::lock_guard lock(all_.mutex_);
      all_.handles_.erase(&g_);
    }

   private:
    fleet& all_;
    Guestfs& g_;
  };

  bool wants_thread() {
    const std::lock_guard lock(mutex_);
    const auto taken = asked_ + (begun_ - reported_) + ready_.size();
    if (ended_ || asked_ == guests_.size() - begun_ || taken >= options_.concurrency) return false;
    ++asked_;
    return true;
  }

  /// The guest that the thread takes.
  std::optional<std::size_t> begin() {
    const std::lock_guard lock(mutex_);
    --asked_;
    if (ended_) return std::nullopt;
    ++inside_;
    return begun_++;
  }

  void work() {
    const auto guest = begin();
    if (!guest) return;
    const auto since = std::chrono::steady_clock::now();
    InspectReport report{.disks = guests_[*guest]};
    try {
      Guestfs g(options_.handle);
      const entry running(*this, g);
      report.inspection = inspect_disks(g, report.disks, with_steps(*guest));
    } catch (...) {
      report = failed(std::move(report));
    }
    report.seconds = std::chrono::steady_clock::now() - since;
    give(*guest, std::move(report));
  }

  InspectOptions with_steps(std::size_t guest) {
    auto options = options_.inspect;
    if (options_.progress)
      options.step = [this, guest, own = options_.inspect.step](const char* step) {
        if (own) own(step);
        {
          const std::lock_guard lock(mutex_);
          steps_[guest] = step;
        }
        tell();
      };
    return options;
  }

  void tell() {
    if (!options_.progress) return;
    InspectProgress progress;
    {
      const std::lock_guard lock(mutex_);
      progress.done = reported_;
      for (const auto& [guest, step] : steps_) progress.steps[name(guests_[guest])] = step;
    }
    options_.progress(progress);
  }

  void give(std::size_t guest, InspectReport report) {
    std::optional<std::pair<boost::promise<std::optional<InspectReport>>, InspectReport>> delivery;
    {
      const std::lock_guard lock(mutex_);
      ++reported_;
      steps_.erase(guest);
      if (waiting_.empty()) {
        ready_.push_back(std::move(report));
      } else {
        delivery.emplace(std::move(waiting_.front()), std::move(report));
        waiting_.pop_front();
      }
    }
    tell();
    start();
    if (delivery) delivery->first.set_value(std::move(delivery->second));
    const std::lock_guard lock(mutex_);
    --inside_;
    changed_.notify_all();
  }

  static const std::string& name(const string_list& disks) {
    static const std::string none;
    return disks.empty() ? none : disks.front();
  }

  /// With the exception that is being handled.
  static InspectReport failed(InspectReport report) {
    report.error = std::current_exception();
    try {
      throw;
    } catch (const LaunchError& e) {
      report.message = e.message() + (e.hint().empty() ? "" : "; " + e.hint());
    } catch (const Error& e) {
      report.message = e.message();
    } catch (const std::exception& e) {
      report.message = e.what();
    } catch (...) {
      report.message = "an unknown error";
    }
    report.message = one_line(std::move(report.message));
    const auto subject = name(report.disks) + ": ";
    if (!report.message.starts_with(subject)) report.message.insert(0, subject);
    return report;
  }

  const std::vector<string_list> guests_;
  InspectManyOptions options_;
  executor& pool_;
  std::mutex mutex_;  // guards what follows; never held while foreign code runs
  std::condition_variable changed_;
  std::deque<InspectReport> ready_;
  std::deque<boost::promise<std::optional<InspectReport>>> waiting_;
  std::set<Guestfs*> handles_;
  std::map<std::size_t, std::string> steps_;
  std::size_t asked_ = 0;     // threads that have not come yet
  std::size_t begun_ = 0;     // guests
  std::size_t reported_ = 0;  // of these
  std::size_t inside_ = 0;    // threads that end() waits for
  bool ended_ = false;
};

}  // namespace detail

/// The reports of a fleet, each once. Made by inspect_many().
///
/// Ownership: move-only; its end kills what still runs, waits for that, and settles the futures that are out
/// with nothing. Threads: any may call next().
class InspectMany {
 public:
  class iterator;

  InspectMany(std::vector<string_list> guests, InspectManyOptions options, executor& pool)
      : fleet_(new detail::fleet(std::move(guests), std::move(options), pool), detail::process_deleter()) {
    fleet_->start();
  }
  InspectMany(InspectMany&&) noexcept = default;
  InspectMany& operator=(InspectMany&& other) noexcept {
    std::swap(fleet_, other.fleet_);
    return *this;
  }
  ~InspectMany() {
    if (fleet_ && generation_ == detail::fork_generation()) fleet_->end();
  }

  /// The next report when there is one; nothing when every guest has had its own.
  future<std::optional<InspectReport>> next() {
    if (!fleet_ || generation_ != detail::fork_generation())
      throw HandleClosed("inspect", "the fleet was moved from, or is not this process'", EBADF);
    return fleet_->next();
  }

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

  explicit iterator(InspectMany& reports) : reports_(&reports) { ++*this; }

  const InspectReport& operator*() const noexcept { return *current_; }
  const InspectReport* operator->() const noexcept { return &*current_; }
  iterator& operator++() {
    current_ = reports_->next().get();
    return *this;
  }
  void operator++(int) { ++*this; }
  bool operator==(std::default_sentinel_t) const noexcept { return !current_; }

 private:
  InspectMany* reports_;
  std::optional<InspectReport> current_;
};

inline InspectMany::iterator InspectMany::begin() {
  return iterator(*this);
}

/// Inspect many guests, several at once.
///
///     for (const auto& report : guestkit::inspect_many(disks))
///       std::cout << (report.error ? report.message :
///       report.inspection->operating_systems.at(0).product_name);
///
/// @param guests  a range; each element is a disk, or the list of all disks of a guest
/// @param pool  where they run instead of on threads of the process; it must outlive the result. Its threads
///     bound what runs at once, too
///
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
