#include "files.hpp"

#include <guestkit/detail/files/reading.hpp>
#include <guestkit/detail/files/trees.hpp>
#include <guestkit/files.hpp>
#include <optional>
#include <string>
#include <utility>

#include "convert.hpp"
#include "gil.hpp"
#include "guest.hpp"
#include "image.hpp"
#include "value.hpp"

namespace guestkit::python {

namespace {

PyObject* bytes_of(const std::string& content) {
  return check(PyBytes_FromStringAndSize(content.data(), std::ssize(content)));
}

}  // namespace

PyObject* read_small(Handle& handle, PyObject* path, std::uint64_t limit) {
  const auto name = text_of(path, "read_small", "path");
  return bytes_of(on_guest(handle, "read_small", false,
                           [&](auto& guest) { return detail::read_small(guest, name, limit); }));
}

PyObject* read_files(Handle& handle, PyObject* paths, std::uint64_t limit) {
  const Ref argument(check(PyUnicode_InternFromString("paths")));
  const auto names = TextList(paths, {"read_files", argument.get()}).strings();
  const auto files = on_guest(handle, "read_files", false,
                              [&](auto& guest) { return detail::read_files(guest, names, limit); });
  Ref dict(check(PyDict_New()));
  for (const auto& [name, content] : files) {
    const Ref key(value(name));
    const Ref found(content.bytes ? bytes_of(*content.bytes)
                                  : value(std::pair(content.message, content.error_number)));
    if (PyDict_SetItem(dict.get(), key.get(), found.get()) != 0) throw PythonError{};
  }
  return dict.release();
}

PyObject* walk(Handle& handle, PyObject* directory, int max_depth, std::uint64_t max_entries,
               std::int64_t size) {
  const auto name = text_of(directory, "walk", "directory");
  const WalkOptions options{.max_entries = max_entries, .max_depth = max_depth};
  const auto known = size >= 0 ? std::optional(static_cast<std::uint64_t>(size)) : std::nullopt;
  return value(on_guest(handle, "walk", false,
                        [&](auto& guest) { return detail::walk(guest, name, options, known); }));
}

PyObject* extract(Handle& handle, PyObject* path, PyObject* host_directory, std::uint64_t max_bytes,
                  std::uint64_t max_entries, PyObject* progress) {
  const auto name = text_of(path, "extract", "path"),
             host = text_of(host_directory, "extract", "host_directory");
  ExtractOptions options{.max_bytes = max_bytes, .max_entries = max_entries};
  if (progress != Py_None)
    options.progress = [progress](const GuestFile& file, std::uint64_t bytes) {
      on_calling_thread([&] {
        const Ref where(value(file.path));
        const Ref ignored(
            PyObject_CallFunction(progress, "OK", where.get(), static_cast<unsigned long long>(bytes)));
        if (PyErr_Occurred() != nullptr && !interrupted_by_callback()) PyErr_WriteUnraisable(progress);
      });
    };
  return value(on_guest(handle, "extract", false,
                        [&](auto& guest) { return detail::extract(guest, name, host, options); }));
}

}  // namespace guestkit::python
