"""What passed and what did not. Rule: a check that cannot run counts as failed, unless its tool is missing: then it is named."""

import threading
import traceback


class Score:
    """The checks of one suite."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = []
        self.notes = []
        self._lock = threading.Lock()

    def check(self, name, fine, why=""):
        with self._lock:
            if fine:
                self.passed += 1
            else:
                self.failed.append((name, str(why)))
        return fine

    def run(self, name, function, *arguments):
        """A check that fails by raising."""
        try:
            function(*arguments)
        except Exception as error:  # whatever it is, it is the outcome of this check and not the end of the suite
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.check(name, False, f"{type(error).__name__}: {error} ({where.name}:{where.lineno})")
        else:
            self.check(name, True)

    def note(self, text):
        self.notes.append(text)

    def show(self):
        total = self.passed + len(self.failed)
        print(f"{self.name:14} {self.passed:4} of {total:4}")
        for text in self.notes:
            print(f"    {text}")
        for name, why in self.failed:
            print(f"    FAILED {name}: {why}")
