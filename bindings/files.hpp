// A guest's files for Python: one call each.
#pragma once

#include "handle.hpp"
#include "object.hpp"

namespace guestkit::python {

/// The bytes. @param limit  of a file, in bytes
PyObject* read_small(Handle& handle, PyObject* path, std::uint64_t limit);
/// A dict by path: bytes, or a tuple of message and errno.
PyObject* read_files(Handle& handle, PyObject* paths, std::uint64_t limit);
/// A tuple of dicts. @param size  of the directory, if it is known; else negative
PyObject* walk(Handle& handle, PyObject* directory, int max_depth, std::uint64_t max_entries,
               std::int64_t size);
/// A dict of what was copied. @param progress  a callable or None
PyObject* extract(Handle& handle, PyObject* path, PyObject* host_directory, std::uint64_t max_bytes,
                  std::uint64_t max_entries, PyObject* progress);

}  // namespace guestkit::python
