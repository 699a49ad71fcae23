// Inspection and mounting for Python: one call each, results as dicts.
#pragma once

#include "handle.hpp"
#include "object.hpp"

namespace guestkit::python {

/// guestkit.inspection makes values from the dict.
/// @param disks    to be added before the launch; none: the handle is already launched
/// @param options  what guestkit.inspection.InspectOptions.native() returns
/// @param spent    seconds that the caller has already used, which count against the limit of the call
PyObject* inspect(Handle& handle, PyObject* disks, PyObject* options, double spent);

/// What was mounted, as a dict. @param options  NativeMountOptions of guestkit.guest
PyObject* mount_guest(Handle& handle, PyObject* options);

}  // namespace guestkit::python
