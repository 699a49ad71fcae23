// The one header to include: guestkit::Guestfs and everything that goes with it.
#pragma once

#include "error.hpp"
#include "event.hpp"
#include "guestfs.hpp"
#include "image.hpp"
#include "launch_error.hpp"
#include "version.hpp"
