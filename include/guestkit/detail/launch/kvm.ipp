#pragma once

#include <unistd.h>

#include <cstddef>
#include <utility>

#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/launch/kvm.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How long a verdict is believed: a virtual machine may move to another host, and a user may remove what is
/// kept.
inline constexpr std::chrono::minutes verdict_lifetime{10};
/// How long a host counts as too busy to tell. Every probe would add to its load.
inline constexpr std::chrono::seconds busy_lifetime{30};

GUESTKIT_INLINE kvm_verdicts::kvm_verdicts(std::string folder) : kept_(std::move(folder)) {}

GUESTKIT_INLINE std::optional<KvmStatus> kvm_verdicts::find(const std::string& key) const {
  if (!kept_.find("kvm-works", key, verdict_lifetime).empty()) return KvmStatus{.usable = true, .reason = ""};
  const auto told = [&](const std::string& reason, const std::string& since, const std::string& file) {
    return reason + " (found " + since + "; to try again: rm " + kept_.folder() + '/' + file + ')';
  };
  if (const auto reason = kept_.find("kvm-crashed", key, verdict_lifetime); !reason.empty())
    return KvmStatus{.reason = told(reason, "in the last ten minutes", "kvm-crashed"), .crashed = true};
  if (const auto reason = kept_.find("kvm-hangs", key); !reason.empty())
    return KvmStatus{.reason = told(reason, "since the host was started", "kvm-hangs"), .hangs = true};
  return std::nullopt;
}

GUESTKIT_INLINE void kvm_verdicts::keep(const std::string& key, const KvmStatus& status) const {
  const bool has_worked = !kept_.find("kvm-works", key).empty();
  if (status.usable)
    kept_.keep("kvm-works", key, "it works");
  else if (status.crashed || (status.hangs && has_worked))
    kept_.keep("kvm-crashed", key, status.reason);
  else if (status.hangs)
    kept_.keep("kvm-hangs", key, status.reason);
}

GUESTKIT_INLINE KvmStatus remembered_probe(const std::string& device, const std::string& qemu,
                                           const kvm_probe& probe, const std::string& key,
                                           const kvm_verdicts& verdicts, const program_limit& limit,
                                           const std::function<void()>& look) {
  const std::string whole = boot_key() + ' ' + key;
  // Groups, access lists and control groups of this process decide, so each one tries for itself.
  if (auto refused = refused_kvm(device)) return *std::move(refused);
  if (auto known = verdicts.find(whole)) return *known;
  auto status = probe_kvm(device, qemu, probe, limit, look);
  if (status.hangs || status.crashed || !status.settled) status = probe_kvm(device, qemu, probe, limit, look);
  verdicts.keep(whole, status);
  return verdicts.find(whole).value_or(std::move(status));
}

GUESTKIT_INLINE known_kvm::known_kvm(std::function<clock::time_point()> now) : now_(std::move(now)) {}

GUESTKIT_INLINE KvmStatus known_kvm::ask(const std::string& key, const std::function<KvmStatus()>& probe,
                                         const std::function<void()>& look) {
  constexpr std::chrono::milliseconds interval{50};
  std::unique_lock lock(mutex_);
  for (;;) {
    if (const auto* found = find(key)) return found->status;
    if (!std::exchange(busy_, true)) break;
    changed_.wait_for(lock, interval);
    lock.unlock();
    if (look) look();
    lock.lock();
  }
  lock.unlock();
  try {
    auto status = probe();
    keep(key, status);
    end_probe();
    return status;
  } catch (...) {
    end_probe();
    throw;
  }
}

GUESTKIT_INLINE const known_kvm::verdict* known_kvm::find(const std::string& key) const {
  for (const auto& each : known_)
    if (each.key == key && is_valid(each)) return &each;
  return nullptr;
}

GUESTKIT_INLINE void known_kvm::keep(const std::string& key, const KvmStatus& status) {
  const std::lock_guard lock(mutex_);
  std::vector<verdict> all{{key, status, now_()}};
  for (auto& each : known_)
    if (each.key != key) all.push_back(std::move(each));
  known_.swap(all);
}

GUESTKIT_INLINE void known_kvm::end_probe() noexcept {
  const std::lock_guard lock(mutex_);
  busy_ = false;
  changed_.notify_all();
}

GUESTKIT_INLINE bool known_kvm::is_valid(const verdict& known) const {
  const std::chrono::seconds lifetime = known.status.settled ? verdict_lifetime : busy_lifetime;
  return now_() - known.found < lifetime;
}

GUESTKIT_INLINE KvmStatus kvm_status(const std::string& qemu, const std::function<void()>& look) {
  static constinit of_process<known_kvm> all;
  constexpr auto device = "/dev/kvm";
  // A second probe has to confirm a hang: together not quite 2 s.
  constexpr program_limit limit{.given = std::chrono::milliseconds(900), .in_all = std::chrono::seconds(3)};
  const std::string program = program_file(qemu);
  const std::string key = program + ' ' + file_key(program) + file_key(device) + std::to_string(::geteuid());
  const auto probe = [&] {
    return remembered_probe(device, program, probe_for(host_architecture()), key,
                            kvm_verdicts(cache_directory()), limit, look);
  };
  return all.get().ask(key, probe, look);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
