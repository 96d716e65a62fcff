"""What curl makes of the server: downloads, uploads, reuse of connections, HTTP/1.0, TLS versions, parallel transfers."""

import hashlib
import json
import os
import subprocess

from score import Score

TIMEOUT = "20"


class Curl:
    def __init__(self, directory, certificate):
        self.directory, self.certificate = directory, certificate

    def __call__(self, *arguments, data=None, fine=(0,)):
        """What it wrote; its own summary of the transfers is in `self.said`, one for each."""
        command = [
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            TIMEOUT,
            "--cacert",
            self.certificate,
            "--write-out",
            "%{stderr}%{json}\n",
            *arguments,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(command, input=data, capture_output=True, cwd=self.directory, env=environment, timeout=60)
        lines = done.stderr.decode("utf-8", "replace").splitlines()
        self.said = [
            json.loads(line[line.index("{") :]) for line in lines if '{"' in line
        ]  # a meter may stand before it
        if done.returncode not in fine:
            raise AssertionError(f"curl: {done.returncode} {[line for line in lines if '{' not in line]}")
        return done.stdout

    def expect(self, status=200, version="1.1", connects=None):
        for said in self.said:
            if (said["http_code"], said["http_version"]) != (status, version):
                raise AssertionError(
                    f"HTTP/{said['http_version']} {said['http_code']} instead of HTTP/{version} {status}"
                )
        if connects is not None and sum(said["num_connects"] for said in self.said) != connects:
            raise AssertionError(f"{[said['num_connects'] for said in self.said]} connections")


def same(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found[:60]!r} ({len(found)}) instead of {wanted[:60]!r} ({len(wanted)})")


def run(port, tls_port, directory, certificate):
    score = Score("curl")
    curl = Curl(directory, certificate)
    body = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(100000))
    with open(os.path.join(directory, "upload"), "wb") as file:
        file.write(body)

    def get(base, *options):
        same(curl(*options, base + "/plaintext"), b"Hello, World!")
        curl.expect()

    def download(base):
        found = curl(base + "/bytes/50000000")
        same(b"%d" % len(found), b"50000000")
        curl.expect()

    def upload(base, *options):
        same(curl(*options, base + "/x"), body)
        curl.expect()

    def piped(base):
        same(curl("-T", "-", base + "/x", data=body), body)  # of unknown length: chunked, after 100-continue
        curl.expect()

    def reused(base):
        same(curl(*[base + "/plaintext"] * 20), b"Hello, World!" * 20)
        curl.expect(connects=1)

    def reused_behind(base, *options):
        curl(
            *options,
            base + "/plaintext",
            "--next",
            "--silent",
            "--cacert",
            certificate,
            "--write-out",
            "%{stderr}%{json}\n",
            base + "/plaintext",
        )
        if curl.said[-1]["num_connects"] != 0:
            raise AssertionError("a second connection")

    def parallel(base):
        found = curl(
            "--parallel",
            "--parallel-max",
            "30",
            *[word for n in range(100) for word in ("-o", f"part{n % 4}", base + f"/bytes/{n * 1000}")],
        )
        same(found, b"")
        curl.expect()
        same(b"%d" % len(curl.said), b"100")

    def headed(base):
        text = curl("--head", base + "/bytes/1234").lower()
        assert b"content-length: 1234\r\n" in text, text
        curl.expect()

    def version_1_0(base):
        same(curl("--http1.0", "--no-alpn", base + "/plaintext", base + "/plaintext"), b"Hello, World!" * 2)
        curl.expect(connects=2)  # HTTP/1.0 asks for each anew

    def streamed(base, *options):
        assert curl(*options, base + "/events").count(b"data: ") == 8
        curl.expect()

    def status(base, wanted, *options):
        curl(*options)
        curl.expect(status=wanted)

    def stays_1_1(base):
        curl("--http2", base + "/plaintext")
        curl.expect()

    def resumed(base):
        assert len(curl("--range", "10-", base + "/bytes/100")) == 100  # no ranges here: the whole, with 200
        curl.expect()

    for scheme, base in (("http", f"http://localhost:{port}"), ("https", f"https://localhost:{tls_port}")):
        for what, check, *options in [
            ("GET", get),
            ("GET with many fields", get, *[w for n in range(60) for w in ("-H", f"X-{n}: {n}")]),
            ("GET with Connection: close", get, "-H", "Connection: close"),
            ("GET, TCP_NODELAY off", get, "--no-tcp-nodelay"),
            ("GET with Expect", get, "-H", "Expect: 100-continue"),
            ("an absolute target", get, "--request-target", base + "/plaintext"),
            ("a download of 50 MB", download),
            ("POST of 3.2 MB", upload, "--data-binary", "@upload"),
            ("PUT of 3.2 MB", upload, "-T", "upload"),
            ("POST without Expect", upload, "-H", "Expect:", "--data-binary", "@upload"),
            ("POST with Expect", upload, "-H", "Expect: 100-continue", "--data-binary", "@upload"),
            ("POST in chunks", upload, "-H", "Transfer-Encoding: chunked", "--data-binary", "@upload"),
            ("PUT of unknown length", piped),
            ("20 requests, one connection", reused),
            ("a connection behind POST", reused_behind, "--data", "a=b"),
            ("a connection behind HEAD", reused_behind, "--head"),
            ("a connection behind 404", reused_behind, "--url", base + "/none"),
            ("100 transfers in parallel", parallel),
            ("HEAD", headed),
            ("HTTP/1.0", version_1_0),
            ("server-sent events", streamed),
            ("server-sent events, raw", streamed, "--raw", "--no-buffer"),
            ("404", status, 404, base + "/none"),
            ("DELETE", status, 405, "-X", "DELETE", base + "/"),
            ("OPTIONS *", status, 200, "-X", "OPTIONS", "--request-target", "*", base),
            ("an offer of HTTP/2", stays_1_1),
            ("a range that is not served", resumed),
        ]:
            score.run(f"{scheme}: {what}", check, base, *options)
    for version in ("1.2", "1.3"):
        score.run(f"TLS {version}", get, f"https://localhost:{tls_port}", f"--tlsv{version}", "--tls-max", version)
        score.run(
            f"TLS {version} by address", get, f"https://127.0.0.1:{tls_port}", f"--tlsv{version}", "--tls-max", version
        )

    def no_older_tls():
        curl("--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", f"https://localhost:{tls_port}/", fine=(35,))

    def not_trusted():
        empty = os.path.join(directory, "no-authorities")
        open(empty, "w").close()
        curl("--cacert", empty, f"https://localhost:{tls_port}/", fine=(60, 77))

    def http_to_tls():
        assert b"https" in curl(f"http://localhost:{tls_port}/")
        curl.expect(status=400)

    def tls_to_http():
        curl(f"https://localhost:{port}/", fine=(35,))

    score.run("no TLS 1.1", no_older_tls)
    score.run("an unknown authority is noticed", not_trusted)
    score.run("HTTP to the TLS port is told so", http_to_tls)
    score.run("TLS to the HTTP port ends", tls_to_http)
    return score
