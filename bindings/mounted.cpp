#include "mounted.hpp"

#include <guestkit/detail/mount/fusermount.hpp>
#include <memory>
#include <string>
#include <utility>

#include "convert.hpp"
#include "gil.hpp"
#include "signals.hpp"
#include "value.hpp"

namespace guestkit::python {

PyObject* mount(Handle& handle, PyObject* directory, bool readonly, bool allow_other, bool dedicated) {
  const auto name = text_of(directory, "mounted", "directory");
  const MountedOptions options{.readonly = readonly, .allow_other = allow_other, .dedicated = dedicated};
  std::shared_ptr<Mounted> made;
  try {
    without_gil(handle, true, [&] { made = std::make_shared<Mounted>(handle.mounted(name, options)); });
  } catch (...) {  // a signal's handler may have raised once it was mounted
    const GilRelease released;
    made.reset();
    throw;
  }
  handle.shown = std::move(made);
  return value(handle.shown->path().native());
}

void await_unmount(Handle& handle) {
  if (const auto shown = handle.shown) without_gil(handle, true, [&] { shown->wait(); });
}

void unmount(Handle& handle) {
  const auto shown = handle.shown;  // kept there if this fails: the destructor would try again, with the GIL
  if (!shown) return;
  without_gil(handle, true, [&] { shown->unmount(); });
  if (handle.shown == shown) handle.shown.reset();
}

PyObject* mountpoint(PyObject* directory) {
  const auto name = text_of(directory, "mountpoint", "directory");
  return value([&] {
    const GilRelease released;
    return detail::mountpoint("mounted", name);
  }());
}

}  // namespace guestkit::python
