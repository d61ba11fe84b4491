"""Imported only by the fork server of the data workers: it leaves signals to the whole process group to the trainer.

The server and its workers keep running until the trainer has saved and exits, and end when it is gone.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
