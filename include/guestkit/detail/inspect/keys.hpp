// The keys of encrypted disks.
#pragma once

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The passphrase for a key, read from its file if it has one. Throws Error if the file cannot be read, or if
/// libguestfs cannot take the passphrase: cryptsetup's binary key files hold NUL bytes.
std::string passphrase_of(const InspectKey& key);

/// The key with the passphrase read from its file, hidden from now on in every log line and error. Throws as
/// passphrase_of().
InspectKey readable_key(guest_actions& g, InspectKey key);

/// The keys, as readable_key() returns them; throws for the first that cannot be used.
std::vector<InspectKey> readable_keys(guest_actions& g, std::vector<InspectKey> keys);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/keys.ipp"
#endif
