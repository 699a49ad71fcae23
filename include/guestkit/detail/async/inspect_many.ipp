#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "guestkit/async.hpp"
#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/turn/processors.hpp"
#include "guestkit/inspect.hpp"
#include "guestkit/inspect_many.hpp"
#include "guestkit/launch_error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

namespace detail {

/// The guests of a fleet. Each job on the executor inspects one guest and keeps the fleet alive.
class fleet : public std::enable_shared_from_this<fleet> {
 public:
  fleet(std::vector<string_list> guests, InspectManyOptions options, executor& pool)
      : guests_(std::move(guests)), options_(std::move(options)), pool_(pool) {
    if (options_.concurrency == 0) options_.concurrency = available_processors();
  }

  /// Not in a forked child: what inspects the guests is the parent's.
  bool is_ours() const noexcept { return generation_ == fork_generation(); }

  /// Requests threads for as many guests as may run. Reports not yet collected count as running: they need
  /// memory too.
  void start() {
    const auto kept = shared_from_this();  // also if a continuation of a report destroys the fleet
    while (wants_thread()) {
      try {
        pool_.submit([self = shared_from_this()] { self->work(); });
      } catch (...) {  // the executor accepts no more jobs
        if (const auto guest = begin())
          finish(keep(*guest, failed({.index = *guest, .disks = guests_[*guest]})));
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

  /// Kills the running appliances and waits until their jobs have ended, but for one whose report has a
  /// continuation that calls this.
  void end() {
    std::deque<boost::promise<std::optional<InspectReport>>> waiting;
    {
      std::unique_lock lock(mutex_);
      ended_ = true;
      for (auto* g : handles_) g->terminate();
      inside_.erase(std::this_thread::get_id());
      changed_.wait(lock, [&] { return inside_.empty(); });
      waiting.swap(waiting_);
    }
    for (auto& each : waiting) each.set_value(std::nullopt);
  }

 private:
  /// While it exists, end() terminates the handle.
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

  /// The next guest for the calling thread to inspect; nothing if the fleet has ended.
  std::optional<std::size_t> begin() {
    const std::lock_guard lock(mutex_);
    --asked_;
    if (ended_) return std::nullopt;
    inside_.insert(std::this_thread::get_id());
    return begun_++;
  }

  void work() {
    const auto guest = begin();
    if (!guest) return;
    const auto since = std::chrono::steady_clock::now();
    InspectReport report{.index = *guest, .disks = guests_[*guest]};
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
      progress.steps = steps_;
    }
    options_.progress(progress);
  }

  /// A report, and who waits for it; nothing if nobody does yet.
  using delivery = std::optional<std::pair<boost::promise<std::optional<InspectReport>>, InspectReport>>;

  void give(std::size_t guest, InspectReport report) {
    auto due = keep(guest, std::move(report));
    start();
    finish(std::move(due));
  }

  delivery keep(std::size_t guest, InspectReport report) {
    delivery due;
    {
      const std::lock_guard lock(mutex_);
      ++reported_;
      steps_.erase(guest);
      if (waiting_.empty()) {
        ready_.push_back(std::move(report));
      } else {
        due.emplace(std::move(waiting_.front()), std::move(report));
        waiting_.pop_front();
      }
    }
    tell();
    return due;
  }

  /// The calling thread has ended a guest.
  void finish(delivery due) {
    if (due) due->first.set_value(std::move(due->second));
    const std::lock_guard lock(mutex_);
    if (const auto mine = inside_.find(std::this_thread::get_id()); mine != inside_.end())
      inside_.erase(mine);
    changed_.notify_all();
  }

  static std::string name(const string_list& disks) { return disks.empty() ? "" : disks.front(); }

  /// A report with the exception being handled.
  static InspectReport failed(InspectReport report) {
    report.error = std::current_exception();
    try {
      throw;
    } catch (const Error& e) {
      report.message = e.message() + (e.hint().empty() ? "" : "; " + e.hint());
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

  const unsigned generation_ = fork_generation();
  const std::vector<string_list> guests_;
  InspectManyOptions options_;
  executor& pool_;
  std::mutex mutex_;  // guards the members below; never held while user code runs
  std::condition_variable changed_;
  std::deque<InspectReport> ready_;
  std::deque<boost::promise<std::optional<InspectReport>>> waiting_;
  std::set<Guestfs*> handles_;
  std::map<std::size_t, std::string> steps_;
  std::size_t asked_ = 0;     // threads that were requested and have not begun
  std::size_t begun_ = 0;     // guests
  std::size_t reported_ = 0;  // of these
  /// The threads that have begun a guest and not yet delivered its report, once for each guest.
  std::multiset<std::thread::id> inside_;
  bool ended_ = false;
};

}  // namespace detail

inline InspectMany::InspectMany(std::vector<string_list> guests, InspectManyOptions options, executor& pool)
    : fleet_(new detail::fleet(std::move(guests), std::move(options), pool), detail::process_deleter()) {
  fleet_->start();
}

inline InspectMany& InspectMany::operator=(InspectMany&& other) noexcept {
  std::swap(fleet_, other.fleet_);
  return *this;
}

inline InspectMany::~InspectMany() {
  if (fleet_ && fleet_->is_ours()) fleet_->end();
}

inline future<std::optional<InspectReport>> InspectMany::next() {
  if (!fleet_ || !fleet_->is_ours())
    throw HandleClosed("inspect", "the fleet was moved from, or is not this process'", EBADF);
  return fleet_->next();
}

inline InspectMany::iterator InspectMany::begin() {
  return iterator(*this);
}

inline InspectMany::iterator::iterator(InspectMany& reports) : reports_(&reports) {
  ++*this;
}

inline InspectMany::iterator& InspectMany::iterator::operator++() {
  current_ = reports_->next().get();
  return *this;
}

}  // namespace guestkit::inline GUESTKIT_FORM
