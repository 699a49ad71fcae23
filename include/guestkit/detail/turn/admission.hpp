// How many appliances this process may run at once: as many as there is memory for. Taken before a launch,
// given back when the hypervisor is gone, however it went.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/posix.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/launch/processes.hpp"
#include "guestkit/detail/turn/turns.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

namespace detail {

inline constexpr std::uint64_t memory_unknown = std::numeric_limits<std::uint64_t>::max();

/// The number in a file of one word; unknown for "max" and for a file that is not there.
inline std::uint64_t number_in_file(const std::string& path) {
  const std::string text = read_text(path);
  std::string_view rest = text;
  std::uint64_t number = 0;
  return read_number(take_word(rest), number) ? number : memory_unknown;
}

/// The number behind a word at the beginning of a line, as in /proc/meminfo and memory.stat.
inline std::uint64_t number_after(const std::string& path, std::string_view word) {
  const std::string text = read_text(path);
  for (std::string_view rest = text; !rest.empty();) {
    auto line = take_until(rest, '\n');
    if (take_word(line) != word) continue;
    if (std::uint64_t number = 0; read_number(take_word(line), number)) return number;
  }
  return memory_unknown;
}

/// What a control group leaves of its limit; caches that can be dropped count as free.
inline std::uint64_t group_room(const std::string& group, const char* limit, const char* usage,
                                std::string_view cache) {
  const auto most = number_in_file(group + limit), used = number_in_file(group + usage);
  if (most == memory_unknown || used == memory_unknown) return memory_unknown;
  const auto spare = number_after(group + "/memory.stat", cache);
  const auto needed = spare == memory_unknown ? used : used - (spare < used ? spare : used);
  return most - (needed < most ? needed : most);
}

/// The memory that this process may still take, in bytes: the machine's and that of its control groups, v1
/// and v2.
/// @param root  of the file system that is looked at: tests have their own
inline std::uint64_t available_memory(const std::string& root = "") {
  const auto machine = number_after(root + "/proc/meminfo", "MemAvailable:");
  auto room = machine == memory_unknown ? machine : machine * 1024;
  const std::string groups = read_text(root + "/proc/self/cgroup");
  for (std::string_view rest = groups; !rest.empty();) {  // NUMBER:CONTROLLERS:PATH
    auto path = take_until(rest, '\n');
    take_until(path, ':');
    const auto controllers = ',' + std::string(take_until(path, ':')) + ',';
    const bool second = controllers == ",,";
    if (!path.starts_with('/') || (!second && controllers.find(",memory,") == std::string::npos)) continue;
    const std::string top = root + (second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory");
    // Each group above has a limit of its own. In a container the path may be one of the host.
    for (;; path = path.substr(0, path.rfind('/'))) {
      const std::string group = top + std::string(path);
      const auto left = second ? group_room(group, "/memory.max", "/memory.current", "inactive_file")
                               : group_room(group, "/memory.limit_in_bytes", "/memory.usage_in_bytes",
                                            "total_inactive_file");
      if (left < room) room = left;
      if (path.empty()) break;
    }
  }
  return room;
}

/// What an appliance comes to use, in bytes, measured during inspections, rounded up.
inline std::uint64_t appliance_memory(ApplianceMode mode) noexcept {
  constexpr std::uint64_t mb = 1U << 20U;
  return mode == ApplianceMode::system || mode == ApplianceMode::fixed ? 768 * mb : 448 * mb;
}

/// The appliances of this process.
template <class Clock = std::chrono::steady_clock>
class basic_admission {
 public:
  /// A place for one appliance.
  class place {
   public:
    place() = default;
    place(place&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), starting_(other.starting_) {}
    place& operator=(place&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(starting_, other.starting_);
      return *this;
    }
    ~place() { give_back(); }

    /// The appliance is up: what it uses is no longer to be reserved.
    void started() noexcept {
      if (owner_ != nullptr && std::exchange(starting_, false)) owner_->changed(0, -1);
    }
    void give_back() noexcept {
      basic_admission* const owner = std::exchange(owner_, nullptr);
      if (owner != nullptr && generation_ == fork_generation())
        owner->changed(-1, std::exchange(starting_, false) ? -1 : 0);
    }

   private:
    friend basic_admission;
    explicit place(basic_admission& owner) noexcept : owner_(&owner), starting_(true) {}
    basic_admission* owner_ = nullptr;
    bool starting_ = false;
    unsigned generation_ = fork_generation();
  };

  using memory_source = std::function<std::uint64_t()>;
  explicit basic_admission(memory_source memory = [] { return available_memory(); })
      : memory_(std::move(memory)) {}
  basic_admission(const basic_admission&) = delete;
  basic_admission& operator=(const basic_admission&) = delete;

  /// That of the process. A forked child has its own: it has none of the parent's appliances.
  static basic_admission& shared() {
    static constinit of_process<basic_admission> all;
    return all.get();
  }

  /// Waits until there is memory for one more. The first is always admitted: nothing will ever be freed for
  /// it.
  /// @param look  called now and then; throws when the waiting is to end
  template <class F>
  place take(std::uint64_t bytes, Seconds timeout, F&& look) {
    constexpr std::chrono::milliseconds interval{50};
    const auto begin = Clock::now();
    std::unique_lock lock(mutex_);
    while (!has_room(bytes)) {
      if (Clock::now() - begin >= timeout) refuse(timeout);
      changed_.wait_until(lock, Clock::now() + interval);
      lock.unlock();
      look();
      lock.lock();
    }
    ++running_;
    ++starting_;
    return place(*this);
  }

  /// At most so many at once, also where there is memory for more.
  void set_limit(std::optional<unsigned> limit) {
    const std::lock_guard lock(mutex_);
    limit_ = limit;
    changed_.notify_all();
  }

  unsigned running() const {
    const std::lock_guard lock(mutex_);
    return running_;
  }

 private:
  bool has_room(std::uint64_t bytes) const {
    if (running_ == 0) return true;
    if (limit_ && running_ >= *limit_) return false;
    return memory_() / bytes > starting_;  // those that start do not use theirs yet
  }

  [[noreturn]] void refuse(Seconds timeout) const {
    const auto text = "waited longer than " + shown(timeout) +
                      " (admission_timeout) for memory: this process runs " + std::to_string(running_) +
                      " appliances; who holds one and waits for another would wait for ever";
    throw CallTimeout("launch", text, ETIMEDOUT, timeout.count(), "admission_timeout");
  }

  void changed(int running, int starting) noexcept {
    const std::lock_guard lock(mutex_);
    running_ += static_cast<unsigned>(running);
    starting_ += static_cast<unsigned>(starting);
    changed_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  memory_source memory_;
  std::optional<unsigned> limit_;
  unsigned running_ = 0;
  unsigned starting_ = 0;  // of those that run
};
using admission = basic_admission<>;

}  // namespace detail

/// Let this process run at most so many appliances at once, also where there is memory for more; later
/// launches wait. Nothing: as many as there is memory for.
template <class Clock = std::chrono::steady_clock>
void set_appliance_limit(std::optional<unsigned> limit) {
  detail::basic_admission<Clock>::shared().set_limit(limit);
}

}  // namespace guestkit::inline GUESTKIT_FORM
