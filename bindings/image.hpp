// Disk images for Python: what probe() found, as dicts.
#pragma once

#include "object.hpp"

namespace guestkit::python {

/// guestkit._native.probe: guestkit.images makes values of the dict.
/// @param format  a text or None
PyObject* probe(PyObject* path, PyObject* format);

}  // namespace guestkit::python
