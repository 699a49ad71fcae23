// A helper program, such as QEMU or qemu-img, run as a child of the calling thread. Whatever ends the call
// that needs the program ends the program too (detail/launch/processes.hpp).
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How long a program may run.
struct program_limit {
  std::chrono::milliseconds given;   ///< of the time in which the host lets it run
  std::chrono::milliseconds in_all;  ///< on the clock, however busy the host is
};

struct program_options {
  std::optional<program_limit> limit = {};
  /// Called several times a second while the program runs; what it throws ends the program.
  std::function<void()> look = {};
  bool takes_stdout = false;  ///< whether `output` holds stdout too, rather than stderr alone
};

struct program_end {
  int error = 0;            ///< errno, if it could not be started; ECHILD: nobody knows how it ended
  bool timed_out = false;   ///< it was killed
  bool had_time = false;    ///< it used up all of `given`: the host did not keep it from running
  int status = 0;           ///< as waitpid tells it
  std::string output = {};  ///< the last 4 KiB that it wrote

  bool succeeded() const noexcept { return error == 0 && status == 0; }
};

/// Runs a program until it ends; kills it when its time is over or `look` throws. There is no shell; stdin
/// is /dev/null, and so is stdout unless it is taken. The program starts with no signal blocked and SIGPIPE
/// not ignored, whatever the calling thread does, and leaves no core file.
/// @param command  the program, looked for in PATH, and its arguments
program_end run_program(const std::vector<std::string>& command, const program_options& options);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/run_program.ipp"
#endif
