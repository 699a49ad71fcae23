// The bodies of guestkit/detail/base, compiled once: see guestkit/detail/base/form.hpp.
#ifndef GUESTKIT_COMPILED
#error "compile src/ with -DGUESTKIT_COMPILED, as all that includes guestkit's headers"
#endif

#include "guestkit/detail/base/diagnosis.ipp"
#include "guestkit/detail/base/error.ipp"
#include "guestkit/detail/base/error_of.ipp"
#include "guestkit/detail/base/escape.ipp"
#include "guestkit/detail/base/fork.ipp"
#include "guestkit/detail/base/given_time.ipp"
#include "guestkit/detail/base/host_files.ipp"
#include "guestkit/detail/base/install_command.ipp"
#include "guestkit/detail/base/lines.ipp"
#include "guestkit/detail/base/low_descriptors.ipp"
#include "guestkit/detail/base/private_file.ipp"
#include "guestkit/detail/base/run_program.ipp"
#include "guestkit/detail/base/scratch.ipp"
#include "guestkit/detail/base/text.ipp"
#include "guestkit/detail/base/threads.ipp"
#include "guestkit/detail/base/utf16.ipp"
#include "guestkit/detail/base/values.ipp"
