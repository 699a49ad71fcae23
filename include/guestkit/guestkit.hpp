// The one header to include: guestkit::Guestfs and everything that goes with it.
#pragma once

#include "admission.hpp"
#include "error.hpp"
#include "event.hpp"
#include "files.hpp"
#include "guestfs.hpp"
#include "image.hpp"
#include "inspect.hpp"
#include "launch_error.hpp"
#include "version.hpp"
