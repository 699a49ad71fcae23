// guestkit's own version. libguestfs' is Guestfs::version(), taken from the library at run time.
#pragma once

#define GUESTKIT_VERSION_MAJOR 0
#define GUESTKIT_VERSION_MINOR 4
#define GUESTKIT_VERSION_PATCH 0
#define GUESTKIT_VERSION "0.4.0"
