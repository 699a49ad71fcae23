"""`guestkit shell`: commands that look at a guest and change it, one after the other, on one appliance.

The names of this package are the command line's own; Python programs have `guestkit.open_guest`.
"""
