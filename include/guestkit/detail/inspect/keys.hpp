// The keys of encrypted disks.
#pragma once

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/guest_actions.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The passphrase that the key stands for.
std::string passphrase_of(const InspectKey& key);

/// The keys with the passphrases that their files hold. From now on no log line or error shows them.
std::vector<InspectKey> readable_keys(guest_actions& g, std::vector<InspectKey> keys);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/keys.ipp"
#endif
