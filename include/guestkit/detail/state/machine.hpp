// The virtual machine of a handle: what it is made of, and how its launches ended.
#pragma once

#include <guestfs.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/scratch.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/detail/turn/admission.hpp"
#include "guestkit/generated/launch_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What the machine is made of. Only for the thread that has the turn, and for the handle's end.
struct machine {
  /// Something the user added before the launch, kept so that it can be added to a fresh C handle too.
  struct addition {
    bool disk = false;  // the only additions that libguestfs forgets when an appliance ends
    std::function<bool(guestfs_h*)> repeat;
    std::optional<file_identity> written = {};  // the file of a disk that is written to
  };

  void remember(addition given) {
    forget_gone_disks();
    additions.push_back(std::move(given));
  }
  void forget_gone_disks() {
    if (disks_gone.exchange(false)) std::erase_if(additions, [](const addition& each) { return each.disk; });
  }

  admission::place memory;                   // for its appliance
  std::string tmpdir;                        // as the user sees it
  std::shared_ptr<scratch> temporary;        // where libguestfs creates its own directory
  std::vector<std::shared_ptr<void>> disks;  // what QEMU opens when it starts
  std::vector<int> disk_files;               // the descriptors among them
  std::string cage;                          // the directory of a QEMU that is shut in
  std::vector<addition> additions;
  /// libguestfs has forgotten the disks among the additions. Any thread may say so.
  std::atomic<bool> disks_gone{false};
  bool is_named = false;      // the C handle has QEMU's -name
  bool is_sandboxed = false;  // and its -sandbox
  /// Encrypted devices: what inspections have opened with keys, by the device beneath.
  std::map<std::string, std::string> opened;
};

/// How its launches ended. Threads: any.
struct launch_record {
  std::mutex mutex;                // guards the others; also held while the C handle is replaced or cleared
  std::optional<LaunchInfo> last;  // the last successful one
  std::string verdict;             // what a template's hypervisor said about this launch
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
