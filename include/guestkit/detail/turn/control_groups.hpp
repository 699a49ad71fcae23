// The control groups that limit this process, v1 and v2, and the files that tell what they limit.
#pragma once

#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/text.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Calls look(directory, second) for each group of the process that has the controller, and for all groups
/// above it: each has its own limit. second: whether it is of v2.
/// @param root  of the file system to read
template <class Look>
void for_each_control_group(const std::string& root, const std::string& controller, Look look) {
  const std::string groups = read_text(root + "/proc/self/cgroup");
  for (std::string_view rest = groups; !rest.empty();) {  // NUMBER:CONTROLLERS:PATH
    auto path = take_until(rest, '\n');
    take_until(path, ':');
    const auto controllers = ',' + std::string(take_until(path, ':')) + ',';
    const bool second = controllers == ",,";
    if (!path.starts_with('/')) continue;
    if (!second && controllers.find(',' + controller + ',') == std::string::npos) continue;
    const std::string top = root + "/sys/fs/cgroup" + (second ? "" : "/" + controller);
    // In a container the path may be the host's: then only the uppermost directory is there.
    for (;; path = path.substr(0, path.rfind('/'))) {
      look(top + std::string(path), second);
      if (path.empty()) break;
    }
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
