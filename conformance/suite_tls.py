"""testssl.sh: protocols, ciphers, forward secrecy, the server's choices, and the known weaknesses of TLS. And resumption, which
testssl.sh tries with a client that may leave before the ticket comes.

Rule: each finding that is graded has to be good. What belongs to the certificate of the day, which signs itself, is left out.
"""

import json
import os
import shutil
import ssl
import subprocess

import tools
from client import Client, request, trusting
from score import Score

SECTIONS = ["--protocols", "--std", "--pfs", "--server-preference", "--server-defaults", "--vulnerable", "--headers"]
SECONDS = 200
GOOD = ("OK", "INFO", "DEBUG")
# Of the certificate; of what a host adds to its answers; what is no grade, and what is tried here.
LEFT_OUT = (
    "cert",
    "OCSP",
    "DNS_CAA",
    "HSTS",
    "HPKP",
    "security_headers",
    "banner_",
    "scanTime",
    "engine_problem",
    "pre_128cipher",
    "sessionresumption_ticket",
)
WANTED = {
    "SSLv2": "OK",
    "SSLv3": "OK",
    "TLS1": "INFO",
    "TLS1_1": "INFO",
    "TLS1_2": "OK",
    "TLS1_3": "OK",
    "PFS": "OK",
    "cipher_order": "OK",
}


def resumed(port, certificate, version):
    """A session is taken up again, and a connection with it serves."""
    context = trusting(certificate)
    context.minimum_version = context.maximum_version = version
    session = None
    for again in (False, True):
        with Client(port) as client:
            client.socket = context.wrap_socket(client.socket, server_hostname="localhost", session=session)
            if client.ask(request(target="/plaintext")).body != b"Hello, World!":
                raise AssertionError("another answer")
            session = client.socket.session
            if client.socket.session_reused != again:
                raise AssertionError("the session was not taken up again" if again else "a session from nowhere")


def run(port, directory, certificate):
    score = Score("testssl.sh")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        score.run(f"{version.name} is resumed", resumed, port, certificate, version)
    tool = shutil.which("testssl") or shutil.which("testssl.sh")
    if not tool:
        score.note("left out: testssl.sh is missing")
        return score
    found = os.path.join(directory, "testssl.json")
    if os.path.exists(found):
        os.remove(found)
    command = [
        tool,
        "--quiet",
        "--color",
        "0",
        "--warnings",
        "off",
        "--ip",
        "127.0.0.1",
        "--jsonfile",
        found,
        *SECTIONS,
        f"localhost:{port}",
    ]
    with open(os.path.join(directory, "testssl.log"), "w") as log:
        try:
            tools.run(command, SECONDS, stdout=log, stderr=log, cwd=directory)
        except subprocess.TimeoutExpired:
            score.check("testssl.sh ends", False, f"not within {SECONDS} s")
            return score
    with open(found) as file:
        findings = json.load(file)
    graded = {}
    for finding in findings:
        name, severity, text = finding["id"], finding["severity"], finding["finding"]
        graded[name] = severity
        if not name.startswith(LEFT_OUT):
            score.check(name, severity in GOOD, f"{severity}: {text}")
    for name, severity in WANTED.items():
        score.check(f"{name} was looked at", graded.get(name) == severity, graded.get(name))
    return score
