"""Servers under test: started on a free port of 127.0.0.1, ended by their own process id."""

import signal
import subprocess


class Server:
    def __init__(self, *command, directory):
        self.process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if "listening on " not in line:
            self.process.kill()
            raise RuntimeError(f"{command[0]} did not start: {line!r}")
        self.port = int(line.rsplit(":", 1)[1])

    def is_alive(self):
        return self.process.poll() is None

    def end(self):
        """The exit status after SIGTERM; -9 if it had to be killed."""
        if self.is_alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        return self.process.returncode
