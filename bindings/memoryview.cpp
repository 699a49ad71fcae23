// A result's bytes as a memoryview: the very memory that libguestfs filled, freed with its last view.
#include <new>

#include "convert.hpp"

namespace guestkit::python {

namespace {

/// The object behind such a memoryview: its .obj.
struct Owner {
  PyObject head;
  buffer bytes;
};

Owner* owner(PyObject* self) {
  return reinterpret_cast<Owner*>(self);
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  buffer& bytes = owner(self)->bytes;
  // Writable: nobody else uses this memory.
  return PyBuffer_FillInfo(view, self, const_cast<char*>(bytes.data()), static_cast<Py_ssize_t>(bytes.size()),
                           0, flags);
}

void free_owner(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  owner(self)->bytes.~buffer();
  PyObject_Free(self);
  Py_DECREF(type);
}

PyTypeObject* owner_type() {
  static PyObject* type = nullptr;  // made once, under the GIL, for the life of the process
  if (type == nullptr) {
    PyType_Slot slots[] = {
        {Py_bf_getbuffer, reinterpret_cast<void*>(&get_buffer)},
        {Py_tp_dealloc, reinterpret_cast<void*>(&free_owner)},
        {Py_tp_doc, const_cast<char*>("The memory of a result, owned by the memoryviews of it.")},
        {0, nullptr},
    };
    PyType_Spec spec{"guestkit._native.Buffer", sizeof(Owner), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    type = check(PyType_FromSpec(&spec));
  }
  return reinterpret_cast<PyTypeObject*>(type);
}

}  // namespace

PyObject* memoryview(buffer bytes) {
  const Ref self(check(reinterpret_cast<PyObject*>(PyObject_New(Owner, owner_type()))));
  new (&owner(self.get())->bytes) buffer(std::move(bytes));
  return check(PyMemoryView_FromObject(self.get()));
}

}  // namespace guestkit::python
