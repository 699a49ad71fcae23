// Whether KVM works on this host: found out once and remembered.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/kvm_probe.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether KVM works with this QEMU. Found out once per process for each QEMU, user and state of /dev/kvm;
/// that takes about 0.1 s, and nothing if there is no /dev/kvm. If KVM hangs, it takes not quite 2 s, and the
/// verdict is also kept for other processes, until the host is started again.
///
/// Only starting a guest proves it: on some hosts /dev/kvm opens, and then QEMU aborts or hangs. If the host
/// is too busy to tell, the probe gives up after 6 s and the next one is made half a minute later. Threads:
/// any; if several ask at once, one probes and the others wait for its verdict.
/// @param look  called several times a second meanwhile, on this thread; if it throws, the wait ends
KvmStatus kvm_status(const std::string& qemu, const std::function<void()>& look = {});

/// What this user's processes have found out about KVM since the host was started. Two files in the cache,
/// kvm-works and kvm-hangs, each valid for the boot, the QEMU, the user and the /dev/kvm of its key. Once KVM
/// has worked, it is never declared to hang.
class kvm_verdicts {
 public:
  /// @param folder  empty: nothing is kept
  explicit kvm_verdicts(std::string folder);

  /// Why KVM hangs, and which file to remove so that it is found out again; empty if no process has found so.
  std::string hang(const std::string& key) const;
  void keep_hang(const std::string& key, const std::string& reason) const;
  void keep_success(const std::string& key) const;

 private:
  /// The text after the key; empty if the file is not this user's or is for another key.
  std::string content(const char* name, const std::string& key) const;
  /// Writes the file atomically. Without a cache, the next process has to find out again.
  void keep(const char* name, const std::string& key, const std::string& verdict) const;

  std::string folder_;
};

/// Finds out whether KVM works, unless it is known to hang. A second probe has to confirm a hang, since the
/// first may have been slow because QEMU was read from the disk.
KvmStatus remembered_probe(const std::string& device, const std::string& qemu, const kvm_probe& probe,
                           const std::string& key, const kvm_verdicts& verdicts, const program_limit& limit,
                           const std::function<void()>& look = {});

/// What this process has found out, by QEMU, user and state of /dev/kvm. Threads: any; one probes, and
/// whoever asks meanwhile waits for its verdict.
class known_kvm {
 public:
  using clock = std::chrono::steady_clock;

  /// @param now  the current time; tests supply their own
  explicit known_kvm(std::function<clock::time_point()> now = clock::now);

  /// @param probe  finds out if the answer is not known
  /// @param look   called several times a second while another thread probes; if it throws, the wait ends
  KvmStatus ask(const std::string& key, const std::function<KvmStatus()>& probe,
                const std::function<void()>& look);

 private:
  struct verdict {
    std::string key;
    KvmStatus status;
    clock::time_point found;
  };

  bool is_valid(const verdict& known) const;
  /// With the mutex locked. Null: not known, or no longer.
  const verdict* find(const std::string& key) const;
  void keep(const std::string& key, const KvmStatus& status);
  void end_probe() noexcept;

  const std::function<clock::time_point()> now_;
  std::mutex mutex_;
  std::condition_variable changed_;  // a probe is done or was given up
  bool busy_ = false;                // a thread is probing
  std::vector<verdict> known_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/kvm.ipp"
#endif
