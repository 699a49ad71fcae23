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

}  // namespace

PyObject* inspect(Handle& handle, PyObject* disks, std::uint32_t parts, bool automatic, bool verify,
                  PyObject* keys, PyObject* step, PyObject* opening, Seconds spent) {
  const Ref name(check(PyUnicode_InternFromString("disk")));
  const auto paths = TextList(disks, {"inspect", name.get()}).strings();
  const InspectOptions options{.parts = static_cast<InspectPart>(parts),
                               .mode = automatic ? InspectMode::automatic : InspectMode::libguestfs,
                               .verify = verify,
                               .keys = keys_of(keys),
                               .disk = open_disk_options(opening, "inspect"),
                               .step = step_of(step)};
  return value(on_guest(handle, "inspect", true, [&](detail::guest_actions& guest) {
    handle.count_too(spent);
    if (paths.empty()) return detail::inspect(guest, options);
    return detail::inspect_disks(guest, paths, options, detail::opener_of(handle));
  }));
}

PyObject* mount_guest(Handle& handle, PyObject* root, bool readonly, PyObject* keys, PyObject* step) {
  const MountOptions options{.root = optional_text_of(root, "mount_guest", "root"),
                             .readonly = readonly,
                             .keys = keys_of(keys),
                             .step = step_of(step)};
  return value(on_guest(handle, "mount_guest", true,
                        [&](auto& guest) { return detail::mount_guest(guest, options); }));
}

}  // namespace guestkit::python
