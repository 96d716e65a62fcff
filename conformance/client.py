"""A strict client: every answer is parsed by h11, and its bytes are held to RFC 9110 and RFC 9112 besides.

Rule: nothing is forgiven. A byte too many, a field twice, a length beside chunks, a Date that is no date: all of it fails.
"""

import email.utils
import re
import socket
import ssl
import time
from dataclasses import dataclass, field

import h11

TIMEOUT = 10
STATUS_LINE = re.compile(rb"HTTP/1\.1 [1-5][0-9]{2} [\t\x20-\x7e\x80-\xff]*")
FIELD_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
)
IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)


class Malformed(Exception):
    pass


@dataclass
class Answer:
    status: int
    fields: list
    body: bytes = b""
    trailers: list = field(default_factory=list)
    early: list = field(default_factory=list)
    chunked: bool = False
    closes: bool = False

    def get(self, name):
        return next((value for field, value in self.fields if field == name), None)


def judge_head(head, method):
    """The bytes of one head, without its last empty line."""
    line, *lines = head.split(b"\r\n")
    if not STATUS_LINE.fullmatch(line):
        raise Malformed(f"status line {line!r}")
    status = int(line[9:12])
    fields = []
    for line in lines:
        match = FIELD_LINE.fullmatch(line)
        if not match:
            raise Malformed(f"field line {line!r}")
        fields.append((match[1].lower().decode(), (match[2] or b"").decode("latin-1")))
    names = [name for name, _ in fields]
    for name in ("content-length", "transfer-encoding", "date", "content-type", "server", "connection"):
        if names.count(name) > 1:
            raise Malformed(f"{name} twice")
    if "content-length" in names and "transfer-encoding" in names:
        raise Malformed("Content-Length beside Transfer-Encoding")
    bodiless = status < 200 or status == 204
    if bodiless and ("content-length" in names or "transfer-encoding" in names):
        raise Malformed(f"framing in a {status}")
    if status >= 200:
        date = dict(fields).get("date", "")
        if not IMF_FIXDATE.fullmatch(date):
            raise Malformed(f"Date {date!r}")
        if abs(email.utils.parsedate_to_datetime(date).timestamp() - time.time()) > 3:
            raise Malformed(f"Date {date} is not now")
    if status not in (304,) and status >= 200 and not bodiless and method != "HEAD":
        if (
            "content-length" not in names
            and "transfer-encoding" not in names
            and dict(fields).get("connection") != "close"
        ):
            raise Malformed("no framing, and the connection goes on")


class Client:
    """One connection."""

    def __init__(self, port, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""
        self.ended = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def end(self):
        self.socket.shutdown(socket.SHUT_WR)

    def more(self):
        data = b"" if self.ended else self.socket.recv(65536)
        self.ended |= not data
        self.buffer += data
        return bool(data)

    def read(self, method="GET"):
        """The next final answer, with the informational ones before it."""
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "a")]))  # what it is an answer to
        parser.send(h11.EndOfMessage())
        early, answer, taken = [], None, 0
        raw = b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                if not self.buffer and not self.more():
                    parser.receive_data(b"")
                    if answer is None:
                        raise Malformed("the connection ended before an answer")
                    continue
                raw += self.buffer
                parser.receive_data(self.buffer)
                self.buffer = b""
            elif isinstance(event, (h11.InformationalResponse, h11.Response)):
                end = raw.index(b"\r\n\r\n", taken)
                judge_head(raw[taken:end], method)
                taken = end + 4
                fields = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                if isinstance(event, h11.InformationalResponse):
                    early.append((event.status_code, fields))
                    continue
                answer = Answer(event.status_code, fields, early=early)
                answer.chunked = answer.get("transfer-encoding") == "chunked"
                answer.closes = "close" in (answer.get("connection") or "").lower().split(", ")
            elif isinstance(event, h11.Data):
                answer.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                answer.trailers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                self.buffer = bytes(parser.trailing_data[0])
                return answer
            else:
                raise Malformed(f"unexpected {event!r}")

    def ask(self, data, method="GET"):
        self.send(data)
        return self.read(method)

    def expect_end(self):
        """Nothing follows but the end of the stream."""
        while self.more():
            pass
        if self.buffer:
            raise Malformed(f"{len(self.buffer)} bytes behind the last answer: {self.buffer[:60]!r}")


def request(method="GET", target="/", fields=(), body=b"", minor=1):
    lines = [f"{method} {target} HTTP/1.{minor}"]
    if minor:
        lines.append("Host: a.example")
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def chunked(pieces, extension=b"", trailers=b""):
    text = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces if piece)
    return text + b"0\r\n" + trailers + b"\r\n"


def trusting(certificate):
    return ssl.create_default_context(cafile=certificate)
