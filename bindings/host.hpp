// What guestkit knows about the host, for Python: where appliances are, whether KVM and QEMU's filter work,
// how much memory there is. guestkit/_native.pyi says what each function tells.
#pragma once

#include <cstdint>
#include <string>

#include "object.hpp"

namespace guestkit::python {

PyObject* cache_directory();
PyObject* system_appliance_cache();
PyObject* appliance_caches();
PyObject* appliance_fault(PyObject* directory);
PyObject* template_reason(PyObject* lean);
PyObject* private_directory_fault(PyObject* directory);
PyObject* make_directory(PyObject* directory, int mode);
PyObject* make_private_directory(PyObject* directory, int mode);
PyObject* unknown_rules(std::int64_t major, std::int64_t minor, std::int64_t release,
                        const std::string& extra);
PyObject* kvm_status(const std::string& qemu);
PyObject* sandbox_status(const std::string& qemu);
int landlock_version();
PyObject* cage_program();

std::uint64_t available_memory();
/// Throws std::invalid_argument if there is no such mode.
std::uint64_t appliance_memory(const std::string& mode);
unsigned available_processors();
/// @param limit  a number or None
void set_appliance_limit(PyObject* limit);

}  // namespace guestkit::python
