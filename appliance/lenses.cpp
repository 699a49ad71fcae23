// Spares inspections most of Augeas' lenses.
//
// For each text that an inspection has Augeas read, such as /etc/fstab, libguestfs' daemon has all of some
// two hundred lenses compiled, and then drops those that are not for this text. Under emulation that takes
// seconds: half of inspect_os. The first Augeas, which the template makes, tells which files each lens is
// for. Each later one is given these notes for lenses, and compiles those that are left when it loads.
//
// Where the guest has no text that is safe to read, the daemon fails to drop any lens, and Augeas would read
// every file of the guest for which there is one. Here none is left then.
//
// The daemon makes the Augeas of aug_init(3) with another root, "/sysroot/", and that one stays as it is.
#include "lenses.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

struct augeas;

namespace appliance {

namespace {

// What augeas.h defines.
constexpr unsigned save_noop = 1U << 4U;
constexpr unsigned no_load = 1U << 5U;
constexpr unsigned no_modules = 1U << 6U;
constexpr unsigned no_close_after_error = 1U << 8U;
constexpr unsigned of_inspection = save_noop | no_load;

constexpr const char* root_of_inspection = "/sysroot";

template <typename Function>
Function* original(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

/// Augeas' own functions.
struct Library {
  augeas* (*init)(const char*, const char*,
                  unsigned) = original<augeas*(const char*, const char*, unsigned)>("aug_init");
  int (*load)(augeas*) = original<int(augeas*)>("aug_load");
  void (*close)(augeas*) = original<void(augeas*)>("aug_close");
  int (*match)(const augeas*, const char*,
               char***) = original<int(const augeas*, const char*, char***)>("aug_match");
  int (*get)(const augeas*, const char*,
             const char**) = original<int(const augeas*, const char*, const char**)>("aug_get");
  int (*set)(augeas*, const char*, const char*) = original<int(augeas*, const char*, const char*)>("aug_set");
  int (*insert)(augeas*, const char*, const char*,
                int) = original<int(augeas*, const char*, const char*, int)>("aug_insert");
  int (*remove)(augeas*, const char*) = original<int(augeas*, const char*)>("aug_rm");
};

const Library& library() {
  static const Library functions;
  return functions;
}

std::vector<std::string> matches(augeas* aug, const std::string& pattern) {
  char** found = nullptr;
  const int count = library().match(aug, pattern.c_str(), &found);
  std::vector<std::string> all;
  for (int i = 0; i < count; ++i) {
    all.emplace_back(found[i]);
    std::free(found[i]);
  }
  std::free(found);
  return all;
}

std::string value_of(augeas* aug, const std::string& path) {
  const char* value = nullptr;
  library().get(aug, path.c_str(), &value);
  return value == nullptr ? "" : value;
}

/// A node below /augeas/load: an entry's lens, or a pattern of files that it is for, or is not for.
struct Note {
  std::string path;
  std::string value;
};

struct Notes {
  std::vector<Note> nodes;
  std::size_t entries = 0;
};

Notes& notes() {
  static Notes all;
  return all;
}

/// Those of inspections.
std::vector<const augeas*>& own() {
  static std::vector<const augeas*> all;
  return all;
}

void take_notes(augeas* aug) {
  for (const auto& path : matches(aug, "/augeas/load/*/*"))
    notes().nodes.push_back({path, value_of(aug, path)});
  notes().entries = matches(aug, "/augeas/load/*").size();
}

/// Makes an Augeas with the notes for lenses; null if it takes one of them amiss.
augeas* from_notes(const char* root, unsigned flags) {
  augeas* aug = library().init(root, nullptr, flags | no_modules);
  if (aug == nullptr) return nullptr;
  for (const auto& note : notes().nodes)
    if (library().set(aug, note.path.c_str(), note.value.c_str()) != 0) {
      library().close(aug);
      return nullptr;
    }
  return aug;
}

/// Compiles the lens that an entry names by its module. Augeas does so only where a name has a dot; what
/// follows the dot need not be there.
void compile(augeas* aug, const std::string& lens) {
  constexpr const char* first = "/augeas/load/*[1]";
  if (!lens.starts_with('@') || library().insert(aug, first, "guestkit", 1) != 0) return;
  library().set(aug, "/augeas/load/guestkit[1]/lens", (lens.substr(1) + ".guestkit").c_str());
  library().set(aug, "/augeas/load/guestkit[1]/incl", "/guestkit");
}

}  // namespace

void note_lenses() {
  if (library().init == nullptr || library().insert == nullptr) return;  // this daemon has no Augeas
  augeas* aug = library().init(root_of_inspection, nullptr, of_inspection);
  if (aug == nullptr) return;
  take_notes(aug);
  library().close(aug);
}

}  // namespace appliance

using namespace appliance;

extern "C" {

[[gnu::visibility("default")]] augeas* aug_init(const char* root, const char* loadpath, unsigned flags) {
  const bool inspects = root != nullptr && std::string_view(root) == root_of_inspection &&
                        loadpath == nullptr && (flags & ~no_close_after_error) == of_inspection;
  augeas* aug = nullptr;
  if (inspects && notes().entries != 0) aug = from_notes(root, flags);
  if (aug == nullptr) aug = library().init(root, loadpath, flags);
  if (inspects && aug != nullptr) {
    if (notes().entries == 0) take_notes(aug);
    own().push_back(aug);
  }
  return aug;
}

[[gnu::visibility("default")]] int aug_load(augeas* aug) {
  if (std::find(own().begin(), own().end(), aug) == own().end()) return library().load(aug);
  const auto left = matches(aug, "/augeas/load/*");
  if (left.size() == notes().entries)
    library().remove(aug, "/augeas/load/*");
  else
    for (const auto& entry : left) compile(aug, value_of(aug, entry + "/lens"));
  const int result = library().load(aug);
  if (result == 0) library().remove(aug, "/augeas/load/guestkit");  // else this would hide the error
  return result;
}

[[gnu::visibility("default")]] void aug_close(augeas* aug) {
  std::erase(own(), aug);
  library().close(aug);
}

}  // extern "C"
