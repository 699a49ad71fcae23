// The keys of encrypted disks.
#pragma once

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/guest_actions.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The passphrase for a key, read from its file if it has one.
std::string passphrase_of(const InspectKey& key);

/// The keys with the passphrases read from their files, hidden from now on in every log line and error.
std::vector<InspectKey> readable_keys(guest_actions& g, std::vector<InspectKey> keys);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/keys.ipp"
#endif
