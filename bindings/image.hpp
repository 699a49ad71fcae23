// Disk images for Python: what probe() and open_disk() found, as dicts.
#pragma once

#include <guestkit/image/policy.hpp>
#include <optional>
#include <string>

#include "handle.hpp"
#include "object.hpp"

namespace guestkit::python {

/// An argument of a method; std::nullopt for None.
std::string text_of(PyObject* object, const char* method, const char* argument);
std::optional<std::string> optional_text(PyObject* object, const char* method, const char* argument);
/// The rule by its name.
Backing policy(const std::string& rule, PyObject* directory);

/// guestkit._native.probe: guestkit.images makes values of the dict.
/// @param format  a text or None
PyObject* probe(PyObject* path, PyObject* format);

/// Of Guestfs.open_disk; format, directory and snapshot may be None.
struct DiskArguments {
  PyObject* path;
  bool readonly;
  PyObject* format;
  const std::string& rule;  // "refuse", "under", "allow"
  PyObject* directory;
  PyObject* protocols;
  PyObject* snapshot;
};

/// guestkit._native.check_disk: what is on the disk, how QEMU is told, and the descriptors that it opens the
/// files by, which are the caller's to close.
PyObject* check_disk(PyObject* op, PyObject* path, PyObject* format, const std::string& rule,
                     PyObject* directory);

PyObject* open_disk(Handle& handle, const DiskArguments& given);

}  // namespace guestkit::python

namespace guestkit {

// Compiled by image.cpp alone: the reader of disk images is large.
extern template ImageInfo basic_guestfs<python::raw_core>::open_disk(const std::string&,
                                                                     const OpenDiskOptions&);

}  // namespace guestkit
