#pragma once

namespace appliance {

/// Notes which files Augeas' lenses are for, which the first inspection would do else.
void note_lenses();

}  // namespace appliance
