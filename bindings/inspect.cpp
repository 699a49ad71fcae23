#include "inspect.hpp"

#include <functional>
#include <guestkit/detail/inspect/guest_mounting.hpp>
#include <guestkit/detail/inspect/inspection.hpp>
#include <guestkit/guest.hpp>
#include <guestkit/inspect.hpp>
#include <string>
#include <vector>

#include "convert.hpp"
#include "gil.hpp"
#include "guest.hpp"
#include "image.hpp"
#include "value.hpp"

namespace guestkit::python {

namespace {

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

/// Calls step on the calling thread. @param step  a callable or None
std::function<void(const char*)> step_of(PyObject* step) {
  if (step == Py_None) return {};
  return [step](const char* what) {
    on_calling_thread([&] {
      const Ref ignored(PyObject_CallFunction(step, "s", what));
      if (PyErr_Occurred() != nullptr && !interrupted_by_callback()) PyErr_WriteUnraisable(step);
    });
  };
}

/// `NativeInspectOptions` in guestkit/inspection.py.
InspectOptions inspect_options_of(PyObject* tuple) {
  unsigned parts = 0;
  int automatic = 0, verify = 0;
  PyObject *keys = nullptr, *step = nullptr, *opening = nullptr;
  if (PyArg_ParseTuple(tuple, "IppO!OO", &parts, &automatic, &verify, &PyTuple_Type, &keys, &step,
                       &opening) == 0)
    throw PythonError{};
  return {.parts = static_cast<InspectPart>(parts),
          .mode = automatic != 0 ? InspectMode::automatic : InspectMode::libguestfs,
          .verify = verify != 0,
          .keys = keys_of(keys),
          .disk = open_disk_options(opening, "inspect"),
          .step = step_of(step)};
}

/// `NativeMountOptions` in guestkit/guest.py.
MountOptions mount_options_of(PyObject* tuple) {
  PyObject *root = nullptr, *keys = nullptr, *step = nullptr;
  int readonly = 0;
  if (PyArg_ParseTuple(tuple, "OpO!O", &root, &readonly, &PyTuple_Type, &keys, &step) == 0)
    throw PythonError{};
  return {.root = optional_text_of(root, "mount_guest", "root"),
          .readonly = readonly != 0,
          .keys = keys_of(keys),
          .step = step_of(step)};
}

}  // namespace

PyObject* inspect(Handle& handle, PyObject* disks, PyObject* options, double spent) {
  const Ref name(check(PyUnicode_InternFromString("disk")));
  const auto paths = TextList(disks, {"inspect", name.get()}).strings();
  const auto how = inspect_options_of(options);
  return value(on_guest(handle, "inspect", true, [&](detail::guest_actions& guest) {
    handle.count_too(Seconds(spent));
    if (paths.empty()) return detail::inspect(guest, how);
    return detail::inspect_disks(guest, paths, how, detail::opener_of(handle));
  }));
}

PyObject* mount_guest(Handle& handle, PyObject* options) {
  const auto how = mount_options_of(options);
  return value(
      on_guest(handle, "mount_guest", true, [&](auto& guest) { return detail::mount_guest(guest, how); }));
}

}  // namespace guestkit::python
