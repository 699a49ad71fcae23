// Events to Python callables.
#include <guestkit/detail/call/listeners.hpp>
#include <memory>
#include <span>

#include "convert.hpp"
#include "gil.hpp"
#include "handle.hpp"
#include "signals.hpp"

namespace guestkit::python {

namespace {

/// A Python callable that C++ may copy and drop without the GIL.
std::shared_ptr<PyObject> shared(PyObject* callable) {
  Py_INCREF(callable);
  return {callable, [](PyObject* object) { with_gil([&] { Py_DECREF(object); }); }};
}

PyObject* numbers_to_python(std::span<const std::uint64_t> numbers) {
  Ref list(check(PyList_New(static_cast<Py_ssize_t>(numbers.size()))));
  for (std::size_t i = 0; i < numbers.size(); ++i)
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), check(PyLong_FromUnsignedLongLong(numbers[i])));
  return list.release();
}

void deliver(PyObject* callable, const EventMessage& event) {
  try {
    const Ref flag(check(PyLong_FromUnsignedLongLong(static_cast<std::uint64_t>(event.event))));
    const Ref handle(check(PyLong_FromLong(event.registration)));
    const Ref message(text(event.text.data(), event.text.size()));
    const Ref numbers(numbers_to_python(event.numbers));
    const Ref result(check(PyObject_CallFunctionObjArgs(callable, flag.get(), handle.get(), message.get(),
                                                        numbers.get(), nullptr)));
  } catch (const PythonError&) {
    // Report it to sys.unraisablehook: libguestfs' call continues, and there is no caller to raise it in.
    if (!interrupted_by_callback()) PyErr_WriteUnraisable(callable);
  }
}

}  // namespace

int Handle::add_event_callback(PyObject* callback, std::uint64_t events) {
  EventCallback function = [callable = shared(callback)](const EventMessage& event) {
    on_calling_thread([&] { deliver(callable.get(), event); });
  };
  const GilRelease released;
  return detail::listen(state(), static_cast<Event>(events), std::move(function));
}

void Handle::delete_event_callback(int number) {
  if (!is_open()) throw HandleClosed("delete_event_callback", "the handle is closed", EBADF);
  // On the thread where callbacks run: a callback that ends itself would otherwise wait for its own end.
  if (!interruptible(*this, false, [&] { return detail::end_listening(*state(), number); }))
    throw Error("delete_event_callback", "there is no event callback of that number", EINVAL);
}

}  // namespace guestkit::python
