// libguestfs' daemon, guestfsd.
#pragma once

#include <string>

namespace appliance {

struct DaemonOptions {
  std::string channel;  ///< the port to libguestfs; empty: the daemon's own choice
  bool verbose = false;

  bool operator==(const DaemonOptions&) const = default;
};

class Daemon {
 public:
  /// Starts it up to where it needs the disks. See pause.cpp and lenses.cpp.
  void prepare(const DaemonOptions& options);

  /// Starts it, or the prepared one if it was prepared with these options. Returns its process.
  int start(const DaemonOptions& options);

 private:
  DaemonOptions prepared_with_;
  int process_ = 0;
  int resume_ = -1;
};

}  // namespace appliance
