// Inspection and mounting for Python: one call each, results as dicts.
#pragma once

#include "handle.hpp"
#include "object.hpp"

namespace guestkit::python {

/// guestkit.inspection makes values of the dict.
/// @param disks   to add and launch with; none: the handle is launched
/// @param keys    tuples of device, secret, and whether that is a file
/// @param step    called with what is being done, or None
/// @param opening how the disks are opened: their format or None, the rule, and its directory or None
/// @param spent   what the caller has done already, which counts for the limit of the call
PyObject* inspect(Handle& handle, PyObject* disks, std::uint32_t parts, bool automatic, bool verify,
                  PyObject* keys, PyObject* step, PyObject* opening, Seconds spent);

/// What was mounted, as a dict. @param root  a filesystem or None
PyObject* mount_guest(Handle& handle, PyObject* root, bool readonly, PyObject* keys, PyObject* step);

}  // namespace guestkit::python
