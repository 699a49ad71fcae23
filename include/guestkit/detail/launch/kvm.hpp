// Whether KVM works on this host: found out once and remembered.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/kept_verdicts.hpp"
#include "guestkit/detail/launch/kvm_probe.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether KVM works with this QEMU. To find that out takes about 0.1 s, and nothing if there is no /dev/kvm;
/// the verdict then holds for ten minutes, in this user's other processes, too, for the same QEMU and state
/// of /dev/kvm. That QEMU hangs, which takes not quite 2 s to find out, holds until the host is started
/// again.
///
/// Only starting a guest proves it: on some hosts /dev/kvm opens, and then QEMU aborts or hangs. If the host
/// is too busy to tell, the probe gives up after 6 s and the next one is made half a minute later. Threads:
/// any; if several ask at once, one probes and the others wait for its verdict.
/// @param qemu  as libguestfs names it: a path, or a name to look for in PATH
/// @param look  called several times a second meanwhile, on this thread; if it throws, the wait ends
KvmStatus kvm_status(const std::string& qemu, const std::function<void()>& look = {});

/// What this user's processes have found out about KVM since the host was started: the files kvm-works,
/// kvm-crashed and kvm-hangs in the cache, each valid for the boot, the QEMU, the user and the /dev/kvm of
/// its key. Where KVM has worked, a hang is believed no longer than a crash.
class kvm_verdicts {
 public:
  /// @param folder  empty: nothing is kept
  explicit kvm_verdicts(std::string folder);

  /// What need not be found out again. If KVM does not work, the reason tells which file to remove so that it
  /// is.
  std::optional<KvmStatus> find(const std::string& key) const;
  void keep(const std::string& key, const KvmStatus& status) const;

 private:
  kept_verdicts kept_;
};

/// Finds out whether KVM works, unless that is known. A second probe has to confirm a hang or a crash: the
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
