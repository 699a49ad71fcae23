// The handle as seen from Python: its options, its life, and guestkit's log lines for Python's logging.
#include "handle.hpp"

#include <algorithm>
#include <boost/python/converter/registered.hpp>
#include <boost/python/instance_holder.hpp>
#include <boost/python/object/instance.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "convert.hpp"
#include "gil.hpp"
#include "signals.hpp"
#include "value.hpp"

namespace guestkit::python {

namespace {

void log_to_python(LogLevel level, const std::string& line) {
  const Ref logging(PyImport_ImportModule("logging"));
  if (logging.get() != nullptr) {
    const Ref logger(PyObject_CallMethod(logging.get(), "getLogger", "s", "guestkit"));
    const int number = 10 * (static_cast<int>(level) + 1);  // logging.DEBUG is 10, ERROR 40
    if (logger.get() != nullptr) {
      const Ref message(text(line.data(), line.size()));  // paths of this host need not be UTF-8
      const Ref done(PyObject_CallMethod(logger.get(), "log", "isO", number, "%s", message.get()));
    }
  }
  if (PyErr_Occurred() != nullptr && !interrupted_by_callback()) PyErr_WriteUnraisable(nullptr);
}

/// The level for one of Python's logging levels.
LogLevel level_of(int number) {
  return static_cast<LogLevel>(std::clamp((number + 9) / 10 - 1, 0, 3));
}

/// guestkit.HandleOptions knows no other names, here and below.
Sandbox sandbox_of(std::string_view name) {
  return name == "strict" ? Sandbox::strict : name == "none" ? Sandbox::none : Sandbox::automatic;
}

Accel accel_of(std::string_view name) {
  return name == "kvm" ? Accel::kvm : name == "tcg" ? Accel::tcg : Accel::automatic;
}

/// A launch without its own limit gets the default for its accelerator.
std::optional<Seconds> launch_limit(PyObject* seconds) {
  if (seconds == Py_None) return std::nullopt;
  const double number = PyFloat_AsDouble(seconds);
  if (PyErr_Occurred() != nullptr) throw PythonError{};
  return Seconds(number);
}

}  // namespace

HandleOptions handle_options_of(PyObject* tuple) {
  int environment = 0, tuning = 0, log_level = 0;
  const char *accel = nullptr, *sandbox = nullptr, *appliance = nullptr;
  PyObject* launch = nullptr;
  double call = 0, close = 0, admission = 0, cancel_grace = 0, queue = 0;
  if (PyArg_ParseTuple(tuple, "pspsyiOddddd:Handle", &environment, &accel, &tuning, &sandbox, &appliance,
                       &log_level, &launch, &call, &close, &admission, &cancel_grace, &queue) == 0)
    throw PythonError{};
  return {.environment = environment != 0,
          .accel = accel_of(accel),
          .tuning = tuning != 0 ? Tuning::automatic : Tuning::none,
          .sandbox = sandbox_of(sandbox),
          .appliance = appliance,
          .log = [](LogLevel level,
                    const std::string& line) { on_calling_thread([&] { log_to_python(level, line); }); },
          .log_level = level_of(log_level),
          .limits = {.launch = launch_limit(launch),
                     .call = Seconds(call),
                     .close = Seconds(close),
                     .admission = Seconds(admission),
                     .cancel_grace = Seconds(cancel_grace),
                     .queue = Seconds(queue)}};
}

Handle::~Handle() {
  const GilRelease released;
  finish();
  shown.reset();  // if that is still mounted, it tries again, which takes minutes
}

void Handle::close() {
  without_gil(*this, false, [&] { basic_guestfs<raw_core>::close(); });
}

std::shared_ptr<Handle> make_handle(PyObject* options) {
  const auto native = handle_options_of(options);
  const GilRelease released;
  return std::make_shared<Handle>(native);
}

/// Boost.Python's own search for the object would take a tenth of a call: it is made for classes with several
/// holders.
Handle& self_of(PyObject* object) {
  namespace bp = boost::python;
  void* handle = nullptr;
  if (PyObject_TypeCheck(object, bp::converter::registered<Handle>::converters.m_class_object) != 0)
    if (auto* const holder = reinterpret_cast<bp::objects::instance<>*>(object)->objects)
      handle = holder->holds(bp::type_id<std::shared_ptr<Handle>>(), false);
  if (handle == nullptr) {
    PyErr_SetString(PyExc_TypeError, "the handle was not made: __init__() of the base class was not called");
    throw PythonError{};
  }
  return **static_cast<std::shared_ptr<Handle>*>(handle);
}

PyObject* last_launch(Handle& handle) {
  return value(handle.launch_info());
}

}  // namespace guestkit::python
