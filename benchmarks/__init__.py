"""Programs that measure guestkit, and what it is compared with: `./run bench`."""
