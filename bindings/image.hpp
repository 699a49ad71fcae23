// Disk images for Python: what probe() and open_disk() found, as dicts.
#pragma once

#include <filesystem>
#include <guestkit/generated/image_info.hpp>
#include <guestkit/open_disk_options.hpp>

#include "handle.hpp"
#include "object.hpp"

namespace guestkit::python {

/// What guestkit.images.OpenOptions.native() gives. Errors name the argument of the method.
OpenDiskOptions open_disk_options(PyObject* tuple, const char* method);

/// guestkit._native.probe: guestkit.images makes values of the dict.
/// @param format  a text or None
PyObject* probe(PyObject* path, PyObject* format);

/// guestkit._native.check_disk: what is on the disk, how QEMU is told, and the descriptors that it opens the
/// files by, which are the caller's to close.
PyObject* check_disk(PyObject* op, PyObject* path, PyObject* options);

/// guestkit.Guestfs.open_disk: what the disk is.
PyObject* open_disk(Handle& handle, PyObject* path, PyObject* options);

}  // namespace guestkit::python

namespace guestkit {

// Compiled by image.cpp alone: the reader of disk images is large.
extern template ImageInfo basic_guestfs<python::raw_core>::open_disk(const std::filesystem::path&,
                                                                     const OpenDiskOptions&);

}  // namespace guestkit
