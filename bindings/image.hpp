// Disk images for Python: what probe() and open_disk() found, as dicts.
#pragma once

#include <guestkit/open_disk_options.hpp>
#include <optional>
#include <string>

#include "handle.hpp"
#include "object.hpp"

namespace guestkit::python {

/// An argument of a method; std::nullopt for None.
std::string text_of(PyObject* object, const char* method, const char* argument);
std::optional<std::string> optional_text(PyObject* object, const char* method, const char* argument);
/// How a disk is opened: what guestkit.images.Opening gives.
OpenDiskOptions opening_of(PyObject* tuple, const char* method);

/// guestkit._native.probe: guestkit.images makes values of the dict.
/// @param format  a text or None
PyObject* probe(PyObject* path, PyObject* format);

/// guestkit._native.check_disk: what is on the disk, how QEMU is told, and the descriptors that it opens the
/// files by, which are the caller's to close.
PyObject* check_disk(PyObject* op, PyObject* path, PyObject* opening);

PyObject* open_disk(Handle& handle, PyObject* path, PyObject* opening);

}  // namespace guestkit::python

namespace guestkit {

// Compiled by image.cpp alone: the reader of disk images is large.
extern template ImageInfo basic_guestfs<python::raw_core>::open_disk(const std::filesystem::path&,
                                                                     const OpenDiskOptions&);

}  // namespace guestkit
