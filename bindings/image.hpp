// Disk images for Python: the results of probe() and open_disk() as dicts.
#pragma once

#include <filesystem>
#include <guestkit/generated/image_info.hpp>
#include <guestkit/open_disk_options.hpp>

#include "handle.hpp"
#include "object.hpp"

namespace guestkit::python {

/// Converts the result of guestkit.opening.OpenDiskOptions.native(). Errors name the method's argument.
OpenDiskOptions open_disk_options(PyObject* tuple, const char* method);

/// guestkit._native.probe; guestkit.images makes values from the dict.
/// @param format  a text or None
PyObject* probe(PyObject* path, PyObject* format);

/// guestkit._native.check_disk: what is on the disk, its description for QEMU, and the descriptors by which
/// QEMU opens the files; the caller must close them.
/// @param inherited  QEMU's program will have them open under the same numbers
PyObject* check_disk(PyObject* op, PyObject* path, PyObject* options, bool inherited);

/// guestkit.Guestfs.open_disk; returns what the disk is.
PyObject* open_disk(Handle& handle, PyObject* path, PyObject* options);

}  // namespace guestkit::python

namespace guestkit {

// Compiled by image.cpp alone: the reader of disk images is large.
extern template ImageInfo basic_guestfs<python::raw_core>::open_disk(const std::filesystem::path&,
                                                                     const OpenDiskOptions&);

}  // namespace guestkit
