"""What clients may take of this host: connections, and with the password memory, which has an end."""

#: The most connections of each protocol at once, with the password and without. Others are closed.
CONNECTIONS = 256

#: How long a connection may do nothing: in HTTP between requests, in SSH before the login; in seconds.
IDLE = 75
LOGIN = 60

#: How many requests of a session are answered at once, if nothing can change.
AT_ONCE = 8

#: The most sessions of all SFTP clients. Each may have some MiB of requests and answers on their way.
SESSIONS = 64

#: The most files and directories that a session of SFTP may have open, and all of them together.
OPEN = 128
OPEN_BY_ALL = 512

#: How much of a file is read when it is opened, in bytes, and of how many files in one turn.
BEGINNING = 64 << 10
TOGETHER = 16

#: The most that is read ahead for an open file, in bytes, and the most of a write in one turn.
AHEAD = 1 << 20

#: The most files of a directory that is listed; one with more is an error.
MOST = 200_000

#: The most names of files that are held for all clients, of directories that are being listed.
NAMES = 2 * MOST
