// A directory of this host that shows a guest's files, for Python.
#pragma once

#include "handle.hpp"
#include "object.hpp"

namespace guestkit::python {

/// Mounts it and returns its path.
PyObject* mount(Handle& handle, PyObject* directory, bool readonly, bool allow_other, bool dedicated);
/// Waits until it is unmounted, by whomever.
void await_unmount(Handle& handle);
/// Unmounts what mount() mounted, if anything.
void unmount(Handle& handle);

/// The real path of a directory at which a guest may be mounted.
PyObject* mountpoint(PyObject* directory);

}  // namespace guestkit::python
