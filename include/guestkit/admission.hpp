// How many appliances this process may run at once: as many as there is memory for. Taken before a launch,
// given back when the hypervisor is gone, however it went.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "appliance.hpp"
#include "control.hpp"
#include "error.hpp"
#include "processes.hpp"

namespace guestkit {

namespace detail {

inline constexpr std::uint64_t memory_unknown = std::numeric_limits<std::uint64_t>::max();

/// The number in a file of one word; unknown for "max" and for a file that is not there.
inline std::uint64_t number_in_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  return file >> number ? number : memory_unknown;
}

/// The number behind a word at the beginning of a line, as in /proc/meminfo and memory.stat.
inline std::uint64_t number_after(const std::filesystem::path& path, std::string_view word) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream text(line);
    std::string name;
    std::uint64_t number = 0;
    if (text >> name >> number && name == word) return number;
  }
  return memory_unknown;
}

/// What a control group leaves of its limit; caches that can be dropped count as free.
inline std::uint64_t group_room(const std::filesystem::path& group, const char* limit, const char* usage,
                                std::string_view cache) {
  const auto most = number_in_file(group / limit), used = number_in_file(group / usage);
  if (most == memory_unknown || used == memory_unknown) return memory_unknown;
  const auto spare = number_after(group / "memory.stat", cache);
  const auto needed = used - std::min(used, spare == memory_unknown ? 0 : spare);
  return most - std::min(most, needed);
}

/// The memory that this process may still take, in bytes: the machine's and that of its control groups, v1
/// and v2.
/// @param root  of the file system that is looked at: tests have their own
inline std::uint64_t available_memory(const std::filesystem::path& root = "/") {
  const auto machine = number_after(root / "proc/meminfo", "MemAvailable:");
  auto room = machine == memory_unknown ? machine : machine * 1024;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto names = line.find(':'), path = line.find(':', names + 1);
    if (names == std::string::npos || path == std::string::npos) continue;
    const auto controllers = ',' + line.substr(names + 1, path - names - 1) + ',';
    const bool second = controllers == ",,";
    if (!second && controllers.find(",memory,") == std::string::npos) continue;
    const auto top = root / (second ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
    // Each group above has a limit of its own. In a container the path may be one of the host.
    for (std::filesystem::path group = line.substr(path + 1);; group = group.parent_path()) {
      const auto place = top / group.relative_path();
      room = std::min(room, second ? group_room(place, "memory.max", "memory.current", "inactive_file")
                                   : group_room(place, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                                "total_inactive_file"));
      if (!group.has_relative_path()) break;
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
class admission {
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
      admission* const owner = std::exchange(owner_, nullptr);
      if (owner != nullptr && generation_ == fork_generation())
        owner->changed(-1, std::exchange(starting_, false) ? -1 : 0);
    }

   private:
    friend class admission;
    explicit place(admission& owner) noexcept : owner_(&owner), starting_(true) {}
    admission* owner_ = nullptr;
    bool starting_ = false;
    unsigned generation_ = fork_generation();
  };

  using memory_source = std::function<std::uint64_t()>;
  explicit admission(memory_source memory = [] { return available_memory(); }) : memory_(std::move(memory)) {}
  admission(const admission&) = delete;
  admission& operator=(const admission&) = delete;

  /// That of the process. A forked child has its own: it has none of the parent's appliances.
  static admission& shared() {
    static std::mutex mutex;
    static unsigned generation = fork_generation();
    static admission* all = new admission;  // handles may be closed while the process ends
    const std::lock_guard lock(mutex);
    if (std::exchange(generation, fork_generation()) != fork_generation()) all = new admission;
    return *all;
  }

  /// Waits until there is memory for one more. The first is always admitted: nothing will ever be freed for
  /// it.
  /// @param look  called now and then; throws when the waiting is to end
  place take(std::uint64_t bytes, Seconds timeout, const std::function<void()>& look) {
    constexpr std::chrono::milliseconds interval{50};
    const auto begin = std::chrono::steady_clock::now();
    std::unique_lock lock(mutex_);
    while (!has_room(bytes)) {
      if (std::chrono::steady_clock::now() - begin >= timeout) refuse(timeout);
      changed_.wait_for(lock, interval);
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
    std::ostringstream text;
    text << "waited longer than " << timeout.count()
         << " s (admission_timeout) for memory: this process runs " << running_
         << " appliances; who holds one and waits for another would wait for ever";
    throw CallTimeout("launch", text.str(), ETIMEDOUT, timeout.count(), "admission_timeout");
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

}  // namespace detail

/// Let this process run at most so many appliances at once, also where there is memory for more; later
/// launches wait. Nothing: as many as there is memory for. Since 0.3.
inline void set_appliance_limit(std::optional<unsigned> limit) {
  detail::admission::shared().set_limit(limit);
}

}  // namespace guestkit
