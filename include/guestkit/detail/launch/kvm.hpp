// Whether KVM works on this host: asked once and remembered.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/kvm_probe.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether KVM works with this QEMU. Found out once in a process for each QEMU, user and state of /dev/kvm;
/// that costs about 0.1 s, and nothing where /dev/kvm is missing. Where KVM hangs, it takes 6 s, and the
/// verdict is kept for other processes too, for ten minutes.
///
/// Starting a guest is the only proof: there are hosts whose /dev/kvm opens and whose QEMU then aborts or
/// hangs. A host that is too busy to tell is given up after 10 s and asked again half a minute later.
/// Threads: any; of several at once one probes, and the others wait for its verdict.
/// @param look  called several times a second meanwhile, on this thread; what it throws ends the wait
KvmStatus kvm_status(const std::string& qemu, const std::function<void()>& look = {});

/// What the user's processes have found out about KVM since the host's start. Two files in the cache,
/// kvm-works and kvm-hangs, each for the QEMU, the user and the /dev/kvm of its key. What worked once is
/// never said to hang.
class kvm_verdicts {
 public:
  /// @param folder  empty: nothing is kept
  explicit kvm_verdicts(std::string folder);

  /// Why KVM hangs; empty if nobody has found that lately.
  std::string hang(const std::string& key) const;
  void keep_hang(const std::string& key, const std::string& reason) const;
  void keep_success(const std::string& key) const;

 private:
  /// What stands behind the key; empty if the file is not this user's, of another key, or too old.
  std::string content(const char* name, const std::string& key,
                      std::chrono::seconds oldest = std::chrono::seconds::max()) const;
  /// Writes the file whole or not at all. Without a cache the next process finds out again.
  void keep(const char* name, const std::string& key, const std::string& verdict) const;

  std::string folder_;
};

/// Finds out whether KVM works, unless it is known to hang. A hang is confirmed by a second probe, since the
/// first one had to read QEMU from the disk.
KvmStatus remembered_probe(const std::string& device, const std::string& qemu, const std::string& key,
                           const kvm_verdicts& verdicts, const program_limit& limit,
                           const std::function<void()>& look = {});

/// What this process has found out, by QEMU, user and state of /dev/kvm. Threads: any; one finds out, and who
/// asks meanwhile waits for its verdict.
class known_kvm {
 public:
  using clock = std::chrono::steady_clock;

  /// @param now  the time: tests have their own
  explicit known_kvm(std::function<clock::time_point()> now = clock::now);

  /// @param probe  finds out, if it is not known
  /// @param look   called several times a second while another thread finds out; what it throws ends the wait
  KvmStatus ask(const std::string& key, const std::function<KvmStatus()>& probe,
                const std::function<void()>& look);

 private:
  struct verdict {
    KvmStatus status;
    clock::time_point found;
  };

  bool is_valid(const verdict& known) const;
  void end_probe() noexcept;

  const std::function<clock::time_point()> now_;
  std::mutex mutex_;
  std::condition_variable changed_;  // a thread has found out, or given up
  bool busy_ = false;                // one finds out
  std::map<std::string, verdict> known_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/kvm.ipp"
#endif
