#include "inspect.hpp"

#include <guestkit/files.hpp>
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

template <>
void add_fields(Dict& dict, const InspectFailure& failure) {
  dict.with("part", failure.part)
      .with("message", failure.message)
      .with("op", failure.op)
      .with("errno", failure.error_number);
}
template <>
void add_fields(Dict& dict, const InspectedDisk& disk) {
  dict.with("device", disk.device).with("format", disk.format).with("virtual_size", disk.virtual_size);
}
template <>
void add_fields(Dict& dict, const InspectedPartition& partition) {
  dict.with("device", partition.device)
      .with("disk", partition.disk)
      .with("number", partition.number)
      .with("start", partition.start)
      .with("size", partition.size)
      .with("scheme", partition.scheme)
      .with("type", partition.type)
      .with("uuid", partition.uuid)
      .with("name", partition.name);
}
template <>
void add_fields(Dict& dict, const InspectedLayer& layer) {
  dict.with("kind", layer.kind)
      .with("name", layer.name)
      .with("uuid", layer.uuid)
      .with("level", layer.level)
      .with("members", layer.members)
      .with("devices", layer.devices);
}
template <>
void add_fields(Dict& dict, const InspectedFilesystem& filesystem) {
  dict.with("device", filesystem.device)
      .with("type", filesystem.type)
      .with("label", filesystem.label)
      .with("uuid", filesystem.uuid)
      .with("size", filesystem.size)
      .with("used", filesystem.used);
}
template <>
void add_fields(Dict& dict, const UnopenedFilesystem& unopened) {
  dict.with("device", unopened.device)
      .with("type", unopened.type)
      .with("uuid", unopened.uuid)
      .with("reason", unopened.reason)
      .with("message", unopened.message);
}
template <>
void add_fields(Dict& dict, const InspectedApplication& app) {
  dict.with("name", app.name)
      .with("display_name", app.display_name)
      .with("epoch", app.epoch)
      .with("version", app.version)
      .with("release", app.release)
      .with("arch", app.arch)
      .with("install_path", app.install_path)
      .with("publisher", app.publisher)
      .with("url", app.url)
      .with("source_package", app.source_package)
      .with("summary", app.summary)
      .with("description", app.description);
}
template <>
void add_fields(Dict& dict, const InspectedUser& user) {
  dict.with("name", user.name)
      .with("uid", user.uid)
      .with("gid", user.gid)
      .with("full_name", user.full_name)
      .with("home", user.home)
      .with("shell", user.shell);
}
template <>
void add_fields(Dict& dict, const InspectedKernel& kernel) {
  dict.with("version", kernel.version)
      .with("image", kernel.image)
      .with("initrd", kernel.initrd)
      .with("modules", kernel.modules);
}
template <>
void add_fields(Dict& dict, const InspectedInterface& interface) {
  dict.with("name", interface.name)
      .with("method", interface.method)
      .with("addresses", interface.addresses)
      .with("gateway", interface.gateway)
      .with("dns", interface.dns)
      .with("mac", interface.mac)
      .with("source", interface.source);
}
template <>
void add_fields(Dict& dict, const InspectedWindows& windows) {
  dict.with("systemroot", windows.systemroot)
      .with("software_hive", windows.software_hive)
      .with("system_hive", windows.system_hive)
      .with("current_control_set", windows.current_control_set);
}
template <>
void add_fields(Dict& dict, const InspectedSystem& system) {
  dict.with("root", system.root)
      .with("type", system.type)
      .with("distro", system.distro)
      .with("product_name", system.product_name)
      .with("product_variant", system.product_variant)
      .with("major_version", system.major_version)
      .with("minor_version", system.minor_version)
      .with("arch", system.arch)
      .with("hostname", system.hostname)
      .with("package_format", system.package_format)
      .with("package_management", system.package_management)
      .with("osinfo", system.osinfo)
      .with("build_id", system.build_id)
      .with("mountpoints", system.mountpoints)
      .with("filesystems", system.filesystems)
      .with("drive_mappings", system.drive_mappings)
      .with("windows", system.windows)
      .with("os_release", system.os_release)
      .with("icon", system.icon)
      .with("applications", system.applications)
      .with("applications_complete", system.applications_complete)
      .with("users", system.users)
      .with("kernels", system.kernels)
      .with("services", system.services)
      .with("network", system.network)
      .with("timezone", system.timezone)
      .with("locale", system.locale)
      .with("machine_id", system.machine_id)
      .with("failures", system.failures);
}
template <>
void add_fields(Dict& dict, const InspectProvenance& provenance) {
  dict.with("way", provenance.way)
      .with("reason", provenance.reason)
      .with("guestkit", provenance.guestkit)
      .with("libguestfs", provenance.libguestfs)
      .with("verified", provenance.verified)
      .with("differences", provenance.differences);
}
template <>
void add_fields(Dict& dict, const Inspection& inspection) {
  dict.with("provenance", inspection.provenance)
      .with("disks", inspection.disks)
      .with("partitions", inspection.partitions)
      .with("layers", inspection.layers)
      .with("filesystems", inspection.filesystems)
      .with("unopened", inspection.unopened)
      .with("operating_systems", inspection.operating_systems);
}

template <>
void add_fields(Dict& dict, const GuestFile& file) {
  dict.with("path", file.path)
      .with("kind", std::string(1, static_cast<char>(file.kind)))
      .with("size", file.size)
      .with("mode", file.mode)
      .with("uid", file.uid)
      .with("gid", file.gid)
      .with("mtime", file.mtime)
      .with("target", file.target);
}
template <>
void add_fields(Dict& dict, const SkippedFile& skipped) {
  dict.with("path", skipped.path).with("reason", skipped.reason);
}
template <>
void add_fields(Dict& dict, const Extracted& extracted) {
  dict.with("files", extracted.files)
      .with("directories", extracted.directories)
      .with("symlinks", extracted.symlinks)
      .with("bytes", extracted.bytes)
      .with("skipped", extracted.skipped);
}

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

}  // namespace

PyObject* inspect(Handle& handle, PyObject* disks, std::uint32_t parts, bool automatic, bool verify,
                  PyObject* keys, PyObject* step, PyObject* opening) {
  static const Place disks_place = place("inspect", "disk");
  const auto paths = TextList(disks, disks_place).strings();
  InspectOptions options{.parts = static_cast<InspectPart>(parts),
                         .mode = automatic ? InspectMode::automatic : InspectMode::libguestfs,
                         .verify = verify,
                         .keys = keys_of(keys),
                         .disk = opening_of(opening, "inspect")};
  if (step != Py_None)
    options.step = [step](const char* what) {
      on_calling_thread([&] {
        const Ref ignored(PyObject_CallFunction(step, "s", what));
        if (PyErr_Occurred() != nullptr && !interrupted_by_callback()) PyErr_WriteUnraisable(step);
      });
    };
  return value(interruptible(handle, true, [&] {
    return paths.empty() ? guestkit::inspect(handle, options)
                         : guestkit::inspect_disks(handle, paths, options);
  }));
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
