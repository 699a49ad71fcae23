// guestkit's own version. For the version of libguestfs at run time, call Guestfs::version().
#pragma once

#define GUESTKIT_VERSION_MAJOR 0
#define GUESTKIT_VERSION_MINOR 4
#define GUESTKIT_VERSION_PATCH 0
#define GUESTKIT_VERSION "0.4.0"
