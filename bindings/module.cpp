// The definition of guestkit._native. Boost.Python makes the module and the class; the actions are
// descriptors on it (method.hpp).
#define BOOST_BIND_GLOBAL_PLACEHOLDERS  // Boost.Python 1.74 itself uses the old header
#include <boost/python/class.hpp>
#include <boost/python/def.hpp>
#include <boost/python/docstring_options.hpp>
#include <boost/python/extract.hpp>
#include <boost/python/make_constructor.hpp>
#include <boost/python/module.hpp>
#include <boost/python/tuple.hpp>
#include <guestkit/detail/launch/appliance.hpp>
#include <guestkit/detail/launch/kvm.hpp>
#include <guestkit/detail/turn/memory.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "error.hpp"
#include "files.hpp"
#include "gil.hpp"
#include "handle.hpp"
#include "image.hpp"
#include "inspect.hpp"
#include "method.hpp"
#include "value.hpp"

namespace guestkit::python {

namespace bp = boost::python;

Handle& self_of(PyObject* object) {
  void* handle = bp::converter::get_lvalue_from_python(object, bp::converter::registered<Handle>::converters);
  if (handle == nullptr) {
    PyErr_SetString(PyExc_TypeError, "the handle was not made: __init__() of the base class was not called");
    throw PythonError{};
  }
  return *static_cast<Handle*>(handle);
}

namespace {

/// For functions called by Boost.Python: its own error travels as error_already_set.
template <class F>
auto translated(F&& body) {
  try {
    return body();
  } catch (...) {
    translate();
    bp::throw_error_already_set();
    throw;  // unreachable
  }
}

std::shared_ptr<Handle> make(const bp::object& options) {
  return translated([&] {
    const auto native = handle_options_of(options.ptr());
    const GilRelease released;
    return std::make_shared<Handle>(native);
  });
}

// These take the bare object: Boost.Python's own message for an object that was never constructed helps
// nobody.

int add_event_callback(const bp::object& self, const bp::object& callback, std::uint64_t events) {
  return translated([&] { return self_of(self.ptr()).add_event_callback(callback.ptr(), events); });
}

void delete_event_callback(const bp::object& self, int number) {
  translated([&] { self_of(self.ptr()).delete_event_callback(number); });
}

void close(const bp::object& self) {
  translated([&] { self_of(self.ptr()).close(); });
}

bool is_open(const bp::object& self) {
  return translated([&] { return self_of(self.ptr()).is_open(); });
}

bool is_idle(const bp::object& self) {
  return translated([&] { return self_of(self.ptr()).is_idle(); });
}

void cancel(const bp::object& self) {
  translated([&] { self_of(self.ptr()).cancel(); });
}

void terminate(const bp::object& self) {
  translated([&] {
    Handle& handle = self_of(self.ptr());
    const GilRelease released;  // it reads /proc
    handle.terminate();
  });
}

void begin_turn(const bp::object& self, const std::string& name) {
  translated([&] {
    Handle& handle = self_of(self.ptr());
    const GilRelease released;
    handle.begin_turn(name);
  });
}

void begin_opening(const bp::object& self) {
  translated([&] {
    Handle& handle = self_of(self.ptr());
    const GilRelease released;
    handle.begin_opening();
  });
}

void check_turn(const bp::object& self) {
  translated([&] { self_of(self.ptr()).check_turn(); });
}

void end_turn(const bp::object& self) {
  translated([&] { self_of(self.ptr()).end_turn(); });
}

bp::object probe_image(const bp::object& path, const bp::object& format) {
  return translated([&] { return bp::object(bp::handle<>(probe(path.ptr(), format.ptr()))); });
}

void limit_appliances(const bp::object& limit) {
  set_appliance_limit(limit.is_none() ? std::nullopt : std::optional(bp::extract<unsigned>(limit)()));
}

/// Converts the result of a function of the bindings for Boost.Python.
template <class F>
bp::object object_of(F&& make) {
  return translated([&] { return bp::object(bp::handle<>(make())); });
}

bp::object inspect_handle(const bp::object& self, const bp::object& disks, const bp::object& options,
                          double spent) {
  return object_of([&] { return inspect(self_of(self.ptr()), disks.ptr(), options.ptr(), spent); });
}

bp::object mount_on_handle(const bp::object& self, const bp::object& options) {
  return object_of([&] { return mount_guest(self_of(self.ptr()), options.ptr()); });
}

bp::object read_small_file(const bp::object& self, const bp::object& path, std::uint64_t limit) {
  return object_of([&] { return read_small(self_of(self.ptr()), path.ptr(), limit); });
}

bp::object read_small_files(const bp::object& self, const bp::object& paths, std::uint64_t limit) {
  return object_of([&] { return read_files(self_of(self.ptr()), paths.ptr(), limit); });
}

bp::object walk_directory(const bp::object& self, const bp::object& directory, int max_depth,
                          std::uint64_t max_entries) {
  return object_of([&] { return walk(self_of(self.ptr()), directory.ptr(), max_depth, max_entries); });
}

bp::object extract_tree(const bp::object& self, const bp::object& path, const bp::object& host_directory,
                        std::uint64_t max_bytes, std::uint64_t max_entries, const bp::object& progress) {
  return object_of([&] {
    return extract(self_of(self.ptr()), path.ptr(), host_directory.ptr(), max_bytes, max_entries,
                   progress.ptr());
  });
}

bp::object checked_disk(const bp::object& op, const bp::object& path, const bp::object& options) {
  return object_of([&] { return check_disk(op.ptr(), path.ptr(), options.ptr()); });
}

bp::object open_disk_of_handle(const bp::object& self, const bp::object& path, const bp::object& options) {
  return object_of([&] { return open_disk(self_of(self.ptr()), path.ptr(), options.ptr()); });
}

bp::object text(const std::string& bytes) {
  return bp::object(bp::handle<>(PyUnicode_DecodeFSDefaultAndSize(bytes.data(), std::ssize(bytes))));
}

/// A path from Python, as bytes.
std::string path_of(const bp::object& path) {
  PyObject* bytes = nullptr;
  if (PyUnicode_FSConverter(path.ptr(), &bytes) == 0) throw PythonError{};
  const bp::handle<> held(bytes);
  return {PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes))};
}

bp::object launch_info(const bp::object& self) {
  return translated([&] {
    const auto info = self_of(self.ptr()).launch_info();
    if (!info) return bp::object();
    return bp::object(bp::handle<>(value(*info)));
  });
}

bp::object cache_directory() {
  return translated([] { return text(detail::cache_directory()); });
}

bp::object system_appliance_cache() {
  return text(std::string(detail::system_appliance_cache));
}

bp::object appliance_caches() {
  return translated([] { return bp::object(bp::handle<>(value(detail::appliance_caches()))); });
}

bp::object appliance_fault(const bp::object& directory) {
  return translated([&] { return text(detail::appliance_fault(path_of(directory))); });
}

bp::object private_directory_fault(const bp::object& directory) {
  return translated([&] { return text(detail::private_directory_fault(path_of(directory))); });
}

bp::object kvm_status(const std::string& qemu) {
  return translated([&] {
    const auto status = [&] {
      const GilRelease released;  // it may take seconds
      return detail::kvm_status(qemu);
    }();
    return bp::object(bp::make_tuple(status.usable, text(status.reason)));
  });
}

std::uint64_t available_memory() {
  return detail::available_memory();
}

std::uint64_t appliance_memory(const std::string& name) {
  using enum ApplianceMode;
  for (const auto mode : {system, lean, warm, fixed})
    if (name == to_string(mode)) return detail::appliance_memory(mode);
  throw std::invalid_argument("there is no such appliance mode: " + name);
}

/// The package's first call in every interpreter that imports it. Boost.Python's classes, and the way in
/// which callbacks take the GIL, belong to the main interpreter.
void use_types(const bp::object& types) {
  translated([&] {
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
      PyErr_SetString(PyExc_ImportError,
                      "guestkit works in the main interpreter only: use threads or processes instead of "
                      "sub-interpreters");
      throw PythonError{};
    }
    use_error_types(types.ptr());
  });
}

}  // namespace
}  // namespace guestkit::python

BOOST_PYTHON_MODULE(_native) {
  namespace gk = guestkit::python;
  namespace bp = boost::python;
  const bp::docstring_options docs(true, false, false);

  bp::class_<gk::Handle, std::shared_ptr<gk::Handle>, boost::noncopyable> handle(
      "Handle", "A libguestfs handle: the actions. guestkit.Guestfs is the class to use.", bp::no_init);
  handle.def("__init__", bp::make_constructor(&gk::make))
      .def("close", &gk::close)
      .def("is_open", &gk::is_open)
      .def("is_idle", &gk::is_idle)
      .def("cancel", &gk::cancel)
      .def("terminate", &gk::terminate)
      .def("_begin_turn", &gk::begin_turn)
      .def("_begin_opening", &gk::begin_opening)
      .def("_check_turn", &gk::check_turn)
      .def("_end_turn", &gk::end_turn)
      .def("_open_disk", &gk::open_disk_of_handle)
      .def("last_launch", &gk::launch_info)
      .def("_inspect", &gk::inspect_handle)
      .def("_mount_guest", &gk::mount_on_handle)
      .def("_read_small", &gk::read_small_file)
      .def("_read_files", &gk::read_small_files)
      .def("_walk", &gk::walk_directory)
      .def("_extract", &gk::extract_tree)
      .def("add_event_callback", &gk::add_event_callback)
      .def("delete_event_callback", &gk::delete_event_callback);
  bp::def("use_error_types", &gk::use_types);
  bp::def("probe", &gk::probe_image);
  bp::def("set_appliance_limit", &gk::limit_appliances);
  bp::def("check_disk", &gk::checked_disk);
  bp::def("cache_directory", &gk::cache_directory);
  bp::def("appliance_caches", &gk::appliance_caches);
  bp::def("system_appliance_cache", &gk::system_appliance_cache);
  bp::def("appliance_fault", &gk::appliance_fault);
  bp::def("kvm_status", &gk::kvm_status);
  bp::def("available_memory", &gk::available_memory);
  bp::def("appliance_memory", &gk::appliance_memory);
  bp::def("private_directory_fault", &gk::private_directory_fault);

  auto* type = reinterpret_cast<PyTypeObject*>(handle.ptr());
  try {
    gk::add_methods(type);
  } catch (const gk::PythonError&) {
    bp::throw_error_already_set();
  }
}
