// Inspection and mounting for Python: one call each, results as dicts.
#pragma once

#include "handle.hpp"
#include "object.hpp"

namespace guestkit::python {

/// guestkit.inspection makes values from the dict.
/// @param disks   to be added before the launch; none: the handle is already launched
/// @param keys    tuples of device, secret, and whether the secret is a file's name
/// @param step    called with the current step, or None
/// @param opening how the disks are opened: their format or None, the rule, and its directory or None
/// @param spent   time that the caller has already used, which counts against the limit of the call
PyObject* inspect(Handle& handle, PyObject* disks, std::uint32_t parts, bool automatic, bool verify,
                  PyObject* keys, PyObject* step, PyObject* opening, Seconds spent);

/// What was mounted, as a dict. @param root  a filesystem or None
PyObject* mount_guest(Handle& handle, PyObject* root, bool readonly, PyObject* keys, PyObject* step);

}  // namespace guestkit::python
