"""`python -m guestkit`."""

from guestkit.cli import program

if __name__ == "__main__":
    program()
