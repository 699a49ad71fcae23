#pragma once

#include <utility>

#include "guestkit/detail/base/run_program.hpp"
#include "guestkit/detail/image/qemu_img.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE qemu_img_result run_qemu_img(const char* op, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "qemu-img");
  const auto end = run_program(arguments, {.takes_stdout = true});
  if (end.error != 0) throw Error(op, "qemu-img cannot be run: install qemu-utils", end.error);
  constexpr std::size_t longest = 1000;
  auto output = end.output.size() > longest ? end.output.substr(end.output.size() - longest) : end.output;
  while (output.ends_with('\n')) output.pop_back();
  return {.succeeded = end.succeeded(), .output = std::move(output)};
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
