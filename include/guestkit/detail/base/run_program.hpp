// Runs a helper program, such as QEMU or qemu-img, as a child of the calling thread. Whatever ends the call
// that needs the program also ends the program (detail/turn/programs.hpp).
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
  std::chrono::milliseconds given;   ///< counting only the time that the host gives it
  std::chrono::milliseconds in_all;  ///< by the clock, however busy the host is
};

struct program_options {
  std::optional<program_limit> limit = {};
  /// Called several times a second while the program runs; if it throws, the program is killed.
  std::function<void()> look = {};
  std::vector<int> inherited = {};  ///< descriptors that the program gets under the same numbers
  bool takes_stdout = false;        ///< whether `output` holds stdout too, rather than stderr alone
};

struct program_end {
  int error = 0;            ///< errno if it could not be started; ECHILD: how it ended is unknown
  bool timed_out = false;   ///< it was killed
  bool had_time = false;    ///< it used up all of `given`, so the host did not keep it from running
  int status = 0;           ///< in the form of waitpid()
  std::string output = {};  ///< the last 4 KiB that it wrote

  bool succeeded() const noexcept { return error == 0 && status == 0; }
  /// The last line of the output, safe to print.
  std::string last_line() const;
};

/// Runs a program until it ends; kills it when its time is up or `look` throws. There is no shell; stdin is
/// /dev/null, and so is stdout unless it is captured. Whatever the calling thread's signal settings are, the
/// program starts with no signal blocked and SIGPIPE not ignored. It leaves no core file.
/// @param command  the program, searched for in PATH, and its arguments
program_end run_program(const std::vector<std::string>& command, const program_options& options);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/run_program.ipp"
#endif
