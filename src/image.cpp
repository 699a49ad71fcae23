// The bodies of guestkit/detail/image, compiled once: see guestkit/detail/base/form.hpp.
#ifndef GUESTKIT_COMPILED
#error "compile src/ with -DGUESTKIT_COMPILED, as all that includes guestkit's headers"
#endif

#include "guestkit/detail/image/image.ipp"

#include "guestkit/detail/image/chain.ipp"
#include "guestkit/detail/image/checked_disk.ipp"
#include "guestkit/detail/image/file.ipp"
#include "guestkit/detail/image/foreign.ipp"
#include "guestkit/detail/image/in_use.ipp"
#include "guestkit/detail/image/marks.ipp"
#include "guestkit/detail/image/missing.ipp"
#include "guestkit/detail/image/overlay.ipp"
#include "guestkit/detail/image/qcow.ipp"
#include "guestkit/detail/image/qemu_img.ipp"
#include "guestkit/detail/image/raw.ipp"
#include "guestkit/detail/image/read.ipp"
#include "guestkit/detail/image/sectors.ipp"
#include "guestkit/detail/image/vdi.ipp"
#include "guestkit/detail/image/vhd.ipp"
#include "guestkit/detail/image/vhdx.ipp"
#include "guestkit/detail/image/vmdk.ipp"
