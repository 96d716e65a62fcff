"""Outside tools: each runs in a process group of its own, bounded in time, and nothing that one has started outlives it."""

import os
import signal
import subprocess
import threading

_running = {}
_lock = threading.Lock()


def run(command, seconds, **options):
    """What it wrote to standard output. Raises subprocess.TimeoutExpired when the time is up or `end_all` was called."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    with _lock:
        _running[process.pid] = process
    try:
        return process.communicate(timeout=seconds)[0]
    finally:
        end(process)
        with _lock:
            del _running[process.pid]


def end(process):
    if process.poll() is None:  # else its number may be another's already
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_all():
    with _lock:
        left = list(_running.values())
    for process in left:
        end(process)
