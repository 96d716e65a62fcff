"""slowhttptest: slow heads, slow bodies, slow readers and range requests, all at once, beside a bystander.

Rule: through all of it the bystander is served, and slowhttptest's own probe finds the service available.
"""

import re
import shutil
import subprocess
import threading
import time

import tools
from client import Client, request
from score import Score

SECONDS = 22  # beyond the time-out for a head
# The slow readers are as many as the kernel has buffers for: it grants each of them the whole answer, and stalls everybody on
# the machine once all of TCP's memory is theirs.
ATTACKS = {
    "slow heads": ["-H", "-c", "400", "-r", "200", "-i", "3"],
    "slow bodies": ["-B", "-c", "400", "-r", "200", "-i", "3", "-s", "100000"],
    "slow readers": ["-X", "-c", "200", "-r", "100", "-n", "2", "-z", "5"],
    "ranges": ["-R", "-c", "200", "-r", "100"],
}


def attack(options, port):
    """The last numbers that slowhttptest showed, and whether its probe always had an answer."""
    command = [
        "slowhttptest",
        *options,
        "-l",
        str(SECONDS),
        "-p",
        "3",
        "-v",
        "1",
        "-u",
        f"http://127.0.0.1:{port}/bytes/1000000",
    ]
    output = tools.run(command, SECONDS + 30, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output.decode("utf-8", "replace"))
    numbers = {name: int(n) for name, n in re.findall(r"^(\w+): +(\d+)$", text, re.MULTILINE)}
    answers = re.findall(r"service available: +(\w+)", text)
    return numbers, bool(answers) and set(answers) == {"YES"}


class Bystander(threading.Thread):
    """Asks every 50 ms, on one connection that stays and on a new one in turn."""

    def __init__(self, port):
        super().__init__()
        self.port, self.times, self.errors, self.over = port, [], [], threading.Event()

    def run(self):
        staying = Client(self.port)
        while not self.over.wait(0.05):
            for fresh in (False, True):
                started = time.monotonic()
                try:
                    client = Client(self.port) if fresh else staying
                    answer = client.ask(request(target="/plaintext"))
                    if answer.body != b"Hello, World!":
                        self.errors.append(f"answered {answer.status}")
                    if fresh:
                        client.socket.close()
                except Exception as error:  # every kind of it says that this request was not served
                    self.errors.append(f"{type(error).__name__}: {error}")
                    if not fresh:
                        staying = Client(self.port)
                self.times.append(time.monotonic() - started)


class SlowHead(threading.Thread):
    """A head of our own that comes a field every two seconds: slowhttptest does not read what it is told."""

    def __init__(self, port):
        super().__init__()
        self.port, self.answer = port, None

    def run(self):
        with Client(self.port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
            client.socket.settimeout(2)
            for _ in range(SECONDS // 2):
                try:
                    self.answer = client.read().status
                    return
                except TimeoutError:
                    client.send(b"X: y\r\n")
                except Exception as error:
                    self.answer = error
                    return


def run(port):
    score = Score("slowhttptest")
    if not shutil.which("slowhttptest"):
        score.note("left out: slowhttptest is missing")
        return score
    bystander = Bystander(port)
    bystander.start()
    slow = SlowHead(port)
    slow.start()
    outcomes = {}

    def judge(name, options):
        try:
            outcomes[name] = attack(options, port)
        except subprocess.SubprocessError as error:
            outcomes[name] = ({}, False)
            score.note(f"{name}: {error}")

    threads = [threading.Thread(target=judge, args=item) for item in ATTACKS.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    slow.join()
    bystander.over.set()
    bystander.join()

    for name, (numbers, available) in outcomes.items():
        score.check(f"available under {name}", available, "the probe had no answer")
        if name != "ranges":
            score.check(f"{name}: no connection failed", numbers.get("error") == 0, numbers)
    score.check("a slow head gets 408", slow.answer == 408, slow.answer)
    score.check("the bystander is served", bystander.times and not bystander.errors, bystander.errors[:3])
    times = sorted(bystander.times)
    score.note(
        f"bystander: {len(times)} requests, 99 % within {1000 * times[len(times) * 99 // 100]:.0f} ms, "
        f"all within {1000 * times[-1]:.0f} ms"
    )
    return score
