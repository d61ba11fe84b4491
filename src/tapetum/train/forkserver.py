"""Imported by the fork server of the data workers alone: signals to the whole process group are the trainer's.

The server and its workers go on until the trainer has saved and leaves, and end when it is gone.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
