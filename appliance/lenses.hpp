#pragma once

namespace appliance {

/// Notes which files Augeas' lenses are for. This takes as long as an inspection would for each text.
void note_lenses();

}  // namespace appliance
