// The cage of a QEMU that is launched with sandbox=strict: the files of the host that it can open, by
// Landlock, and what it can ask of the kernel (filter.hpp).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "command.hpp"

namespace appliance {

/// What the launch says of the cage, in the value of -guestkit-cage: PID:N,Nw:/DIRECTORY. The option is for
/// the program that libguestfs runs in place of QEMU, never for QEMU.
struct Cage {
  struct File {
    int number = -1;      ///< the owner's descriptor
    bool writes = false;  ///< QEMU writes to the file, by its name
  };

  pid_t owner = 0;          ///< the process that has the disks open
  std::vector<File> files;  ///< the disks and what they are made of
  std::string directory;    ///< for QEMU's temporary files
};

/// Takes the option out of the words; the last one counts. No cage if there is none. Returns why one is not
/// understood: QEMU must not run free then.
std::string take_cage(Words& words, std::optional<Cage>& cage);

/// Opens the files under the same numbers as in the process that has them, for QEMU to inherit: a process in
/// a cage cannot reach another one's. Call it before anything else is opened. Returns why it cannot.
std::string take_files(const Cage& cage);

/// Connects to the Unix sockets that QEMU is to connect to, its disks' servers among them, and names the
/// connections in their place: a process in a cage makes no such sockets. Returns why it cannot.
std::string connect_sockets(const Cage& cage, Words& words);

/// Shuts this process in for ever, and drops what QEMU does not need of the environment. Returns why it
/// cannot; it must not become QEMU then.
/// @param qemu, arguments  what will be run
/// @param readable  more directories to read from
std::string enter_cage(const Cage& cage, const std::string& qemu, const Words& arguments,
                       const std::vector<std::string>& readable);

}  // namespace appliance
