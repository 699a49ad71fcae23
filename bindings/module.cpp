// The definition of guestkit._native. Boost.Python makes the module and the class; the actions are
// descriptors on it (method.hpp).
#include <boost/python/class.hpp>
#include <boost/python/def.hpp>
#include <boost/python/docstring_options.hpp>
#include <boost/python/make_constructor.hpp>
#include <boost/python/module.hpp>
#include <boost/python/scope.hpp>
#include <guestkit/files.hpp>
#include <memory>

#include "error.hpp"
#include "files.hpp"
#include "function.hpp"
#include "handle.hpp"
#include "host.hpp"
#include "image.hpp"
#include "inspect.hpp"
#include "method.hpp"
#include "mounted.hpp"
#include "overhead.hpp"

namespace guestkit::python {
namespace {

/// The package's first call in every interpreter that imports it. Boost.Python's classes, and the way in
/// which callbacks take the GIL, belong to the main interpreter.
void use_types(PyObject* types) {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError,
                    "guestkit works in the main interpreter only: use threads or processes instead of "
                    "sub-interpreters");
    throw PythonError{};
  }
  use_error_types(types);
}

std::shared_ptr<Handle> make(PyObject* options) {
  return translated([&] { return make_handle(options); });
}

}  // namespace
}  // namespace guestkit::python

BOOST_PYTHON_MODULE(_native) {
  using namespace guestkit::python;
  namespace bp = boost::python;
  const bp::docstring_options docs(true, false, false);

  bp::class_<Handle, std::shared_ptr<Handle>, boost::noncopyable> handle(
      "Handle", "A libguestfs handle: the actions. guestkit.Guestfs is the class to use.", bp::no_init);
  handle.def("__init__", bp::make_constructor(&make))
      .def("close", method(&Handle::close))
      .def("is_open", method(&Handle::is_open))
      .def("is_idle", method(&Handle::is_idle))
      .def("cancel", method(&Handle::cancel))
      .def("terminate", method<Gil::released>(&Handle::terminate))  // it reads /proc
      .def("_begin_turn", method<Gil::released>(&Handle::begin_turn))
      .def("_begin_opening", method<Gil::released>(&Handle::begin_opening))
      .def("_check_turn", method(&Handle::check_turn))
      .def("_end_turn", method(&Handle::end_turn))
      .def("_turn_seconds", method(&turn_seconds))
      .def("_open_disk", method(&open_disk))
      .def("last_launch", method(&last_launch))
      .def("_inspect", method(&inspect))
      .def("_mount_guest", method(&mount_guest))
      .def("_mount", method(&mount))
      .def("_await_unmount", method(&await_unmount))
      .def("_unmount", method(&unmount))
      .def("_read_small", method(&read_small))
      .def("_read_files", method(&read_files))
      .def("_walk", method(&walk))
      .def("_extract", method(&extract))
      .def("add_event_callback", method(&Handle::add_event_callback))
      .def("delete_event_callback", method(&Handle::delete_event_callback));
  bp::scope().attr("LIBGUESTFS") = GUESTKIT_LIBGUESTFS;
  const guestkit::WalkOptions walking;
  bp::scope().attr("MAX_DEPTH") = walking.max_depth;
  bp::scope().attr("MAX_ENTRIES") = walking.max_entries;
  bp::scope().attr("MAX_TEXT") = walking.max_path_bytes;
  bp::scope().attr("MAX_BYTES") = guestkit::ExtractOptions().max_bytes;
  bp::def("use_error_types", function(&use_types));
  bp::def("probe", function(&probe));
  bp::def("set_appliance_limit", function(&set_appliance_limit));
  bp::def("check_disk", function(&check_disk));
  bp::def("mountpoint", function(&mountpoint));
  bp::def("cache_directory", function(&cache_directory));
  bp::def("appliance_caches", function(&appliance_caches));
  bp::def("system_appliance_cache", function(&system_appliance_cache));
  bp::def("appliance_fault", function(&appliance_fault));
  bp::def("template_reason", function(&template_reason));
  bp::def("unknown_rules", function(&unknown_rules));
  bp::def("kvm_status", function(&kvm_status));
  bp::def("sandbox_status", function(&sandbox_status));
  bp::def("landlock_version", function(&landlock_version));
  bp::def("cage_program", function(&cage_program));
  bp::def("available_memory", function(&available_memory));
  bp::def("appliance_memory", function(&appliance_memory));
  bp::def("available_processors", function(&available_processors));
  bp::def("private_directory_fault", function(&private_directory_fault));
  bp::def("make_directory", function(&make_directory));
  bp::def("make_private_directory", function(&make_private_directory));
  bp::def("gil_seconds", function(&gil_seconds));

  try {
    add_methods(reinterpret_cast<PyTypeObject*>(handle.ptr()));
  } catch (const PythonError&) {
    bp::throw_error_already_set();
  }
}
