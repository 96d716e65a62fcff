"""Runs the suites against the servers and prints the score.

    run.py BUILD DIRECTORY [SUITE ...]      BUILD: where c-examples/testbed and answers are; DIRECTORY: a place to work in

Rule: bounded in time, on 127.0.0.1 only; every server that was started is ended by its own process id and must end cleanly.
"""

import argparse
import os
import sys
import threading
import time

import suite_client
import suite_curl
import suite_slow
import suite_smuggling
import suite_tls
import tools
from client import trusting
from score import Score
from server import Server

LIMIT = 235


def main():
    parser = argparse.ArgumentParser(description="Outside suites against encke: see conformance/README.md.")
    parser.add_argument("build")
    parser.add_argument("directory")
    parser.add_argument("suites", nargs="*")
    options = parser.parse_args()
    started = time.monotonic()
    directory = os.path.abspath(options.directory)
    certificate = os.path.join(directory, "state", "cert.pem")
    testbed = os.path.abspath(os.path.join(options.build, "c-examples", "testbed"))
    answers = os.path.join(directory, "answers")

    servers = {}
    scores = []
    over = Score("servers")
    try:
        servers["testbed"] = Server(testbed, "0", directory=directory)
        servers["testbed under attack"] = Server(testbed, "0", directory=directory)
        servers["testbed with TLS"] = Server(testbed, "0", "tls", directory=directory)
        servers["testbed with TLS for testssl.sh"] = Server(testbed, "0", "tls", directory=directory)
        servers["answers"] = Server(answers, "127.0.0.1:0", directory=directory)
        ports = {name: server.port for name, server in servers.items()}
        plain, secure, other = ports["testbed"], ports["testbed with TLS"], ports["answers"]
        suites = {
            "client": lambda: suite_client.run("client", plain, other),
            "client-tls": lambda: suite_client.run("client, TLS", secure, other, trusting(certificate)),
            "smuggling": lambda: suite_smuggling.run(plain),
            "curl": lambda: suite_curl.run(plain, secure, directory, certificate),
            "slow": lambda: suite_slow.run(ports["testbed under attack"]),
            "tls": lambda: suite_tls.run(ports["testbed with TLS for testssl.sh"], directory, certificate),
        }
        unknown = set(options.suites) - set(suites)
        if unknown:
            parser.error(f"no such suite: {', '.join(unknown)}; there are {', '.join(suites)}")
        chosen = {name: run for name, run in suites.items() if not options.suites or name in options.suites}
        # The last two wait most of the time: beside each other, when the others are through.
        waiting = [chosen.pop(name) for name in ("slow", "tls") if name in chosen]
        for run in chosen.values():
            scores.append(run())
        threads = [threading.Thread(target=lambda run=run: scores.append(run()), daemon=True) for run in waiting]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(1, LIMIT - (time.monotonic() - started)))
            over.check("within the time", not thread.is_alive(), f"not within {LIMIT} s")
        over.check("all suites came to an end", len(scores) == len(chosen) + len(waiting))
    finally:
        tools.end_all()
        for name, server in servers.items():
            alive = server.is_alive()
            status = server.end()
            wanted = -15 if name == "answers" else 0  # it knows no other end
            over.check(name, alive and status == wanted, f"exit status {status}")
    scores.append(over)

    print()
    for score in scores:
        score.show()
    passed, failed = sum(s.passed for s in scores), sum(len(s.failed) for s in scores)
    print(f"\nscore: {passed} of {passed + failed} checks, in {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
