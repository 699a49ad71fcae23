#include "inspect.hpp"

#include <functional>
#include <guestkit/files.hpp>
#include <guestkit/guest.hpp>
#include <guestkit/inspect.hpp>
#include <string>
#include <utility>
#include <vector>

#include "convert.hpp"
#include "gil.hpp"
#include "image.hpp"
#include "signals.hpp"
#include "value.hpp"

namespace guestkit::python {

namespace {

PyObject* bytes_of(const std::string& content) {
  return check(PyBytes_FromStringAndSize(content.data(), std::ssize(content)));
}

/// For the errors that name the argument.
Place place(const char* method, const char* argument) {
  return {method, check(PyUnicode_InternFromString(argument))};
}

std::vector<InspectKey> keys_of(PyObject* given) {
  std::vector<InspectKey> keys;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(given); ++i) {
    const char *device = nullptr, *secret = nullptr;
    Py_ssize_t device_size = 0, secret_size = 0;
    int is_file = 0;
    if (PyArg_ParseTuple(PyTuple_GET_ITEM(given, i), "y#y#p", &device, &device_size, &secret, &secret_size,
                         &is_file) == 0)
      throw PythonError{};
    keys.push_back({std::string(device, static_cast<std::size_t>(device_size)),
                    std::string(secret, static_cast<std::size_t>(secret_size)),
                    is_file != 0 ? InspectKey::Kind::file : InspectKey::Kind::passphrase});
  }
  return keys;
}

/// Calls it on the calling thread. @param step  a callable or None
std::function<void(const char*)> step_of(PyObject* step) {
  if (step == Py_None) return {};
  return [step](const char* what) {
    on_calling_thread([&] {
      const Ref ignored(PyObject_CallFunction(step, "s", what));
      if (PyErr_Occurred() != nullptr && !interrupted_by_callback()) PyErr_WriteUnraisable(step);
    });
  };
}

}  // namespace

PyObject* inspect(Handle& handle, PyObject* disks, std::uint32_t parts, bool automatic, bool verify,
                  PyObject* keys, PyObject* step, PyObject* opening, Seconds spent) {
  static const Place disks_place = place("inspect", "disk");
  const auto paths = TextList(disks, disks_place).strings();
  InspectOptions options{.parts = static_cast<InspectPart>(parts),
                         .mode = automatic ? InspectMode::automatic : InspectMode::libguestfs,
                         .verify = verify,
                         .keys = keys_of(keys),
                         .disk = open_disk_options(opening, "inspect")};
  options.step = step_of(step);
  return value(interruptible(handle, true, [&] {
    const detail::call_scope scope(state_of(handle), "inspect");
    handle.count_too(spent);
    return paths.empty() ? guestkit::inspect(handle, options)
                         : guestkit::inspect_disks(handle, paths, options);
  }));
}

PyObject* mount_guest(Handle& handle, PyObject* root, bool readonly, PyObject* keys, PyObject* step) {
  const MountOptions options{.root = optional_text_of(root, "mount_guest", "root"),
                             .readonly = readonly,
                             .keys = keys_of(keys),
                             .step = step_of(step)};
  return value(interruptible(handle, true, [&] { return guestkit::mount_guest(handle, options); }));
}

PyObject* read_small(Handle& handle, PyObject* path, std::uint64_t limit) {
  static const Place path_place = place("read_small", "path");
  const std::string name = Text(path, path_place).c_str();
  return bytes_of(interruptible(handle, false, [&] { return guestkit::read_small(handle, name, limit); }));
}

PyObject* read_files(Handle& handle, PyObject* paths, std::uint64_t limit) {
  static const Place paths_place = place("read_files", "paths");
  const auto names = TextList(paths, paths_place).strings();
  const auto files = interruptible(handle, false, [&] { return guestkit::read_files(handle, names, limit); });
  Ref dict(check(PyDict_New()));
  for (const auto& [name, content] : files) {
    const Ref key(value(name));
    const Ref found(content.bytes ? bytes_of(*content.bytes)
                                  : value(std::pair(content.message, content.error_number)));
    if (PyDict_SetItem(dict.get(), key.get(), found.get()) != 0) throw PythonError{};
  }
  return dict.release();
}

PyObject* walk(Handle& handle, PyObject* directory, int max_depth, std::uint64_t max_entries) {
  static const Place directory_place = place("walk", "directory");
  const std::string name = Text(directory, directory_place).c_str();
  return value(interruptible(handle, false, [&] {
    return guestkit::walk(handle, name, {max_entries, max_depth});
  }));
}

PyObject* extract(Handle& handle, PyObject* path, PyObject* host_directory, std::uint64_t max_bytes,
                  std::uint64_t max_entries, PyObject* progress) {
  static const Place path_place = place("extract", "path"), host_place = place("extract", "host_directory");
  const std::string name = Text(path, path_place).c_str(), host = Text(host_directory, host_place).c_str();
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
  return value(interruptible(handle, false, [&] { return guestkit::extract(handle, name, host, options); }));
}

}  // namespace guestkit::python
