"""The other parsers: the same bytes, read by h11 and by llhttp (through httptools), in the shape of our own readings.

Rule: nothing is repaired and nothing interpreted here. A parser's own words for a refusal are kept, and what a binding
cannot tell (see `Reading.known`) is left out instead of guessed.
"""

from dataclasses import dataclass, field

import h11
import httptools

# Nobody's limit on the size of a head is to be met before ours.
ROOM = 1 << 22


@dataclass
class Request:
    """One complete request. Texts are Latin-1, so that every byte is a character."""

    method: str
    target: str
    minor: object
    fields: list
    body: str
    keep: bool
    chunked: bool = False
    upgrade: bool = False


@dataclass
class Reading:
    requests: list = field(default_factory=list)
    # refused: these bytes are no HTTP. closed: complete, and the connection ends with the last request. incomplete: the
    # stream ended within a head or a body. idle: between two requests. leaves: on to another protocol.
    end: str = "idle"
    reason: str = ""
    status: int = 0


def ours(text):
    """A line of our own half."""
    import json

    raw = json.loads(text)
    requests = [Request(**{**request, "fields": [tuple(f) for f in request["fields"]]}) for request in raw["requests"]]
    return Reading(requests, raw["end"], raw["reason"], raw["status"])


def text(data):
    return bytes(data).decode("latin-1")


# ---- h11 ------------------------------------------------------------------------------------------------------------


def read_with_h11(data):
    reading = Reading()
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=ROOM)
    head, body = None, []
    try:
        connection.receive_data(data)
        ended = False
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if ended:
                    break
                ended = True
                rest = connection.trailing_data[0]
                if head is not None or rest.strip(b"\r\n"):
                    reading.end = "incomplete"
                connection.receive_data(b"")
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                break
            elif isinstance(event, h11.Request):
                head, body = event, []
            elif isinstance(event, h11.Data):
                body.append(text(event.data))
            elif isinstance(event, h11.EndOfMessage):
                keep = finish_with_h11(reading, connection, head, body)
                head = None
                if not keep:
                    reading.end = "closed"
                    break
    except h11.RemoteProtocolError as error:
        if reading.end != "incomplete":  # the end of the stream within a message is an error, too
            reading.end, reading.reason, reading.status = "refused", str(error), error.error_status_hint
    return reading


def finish_with_h11(reading, connection, head, body):
    """Notes a complete request and answers it: whether the connection can carry another one."""
    fields = [(text(name), text(value)) for name, value in head.headers]
    chunked = any(name == "transfer-encoding" for name, _ in fields)
    upgrade = connection.our_state is h11.SEND_RESPONSE and connection.their_state is h11.MIGHT_SWITCH_PROTOCOL
    status = 405 if head.method == b"CONNECT" else 200  # a 200 would open a tunnel
    connection.send(h11.Response(status_code=status, headers=[("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    keep = connection.our_state is h11.DONE
    reading.requests.append(
        Request(
            text(head.method),
            text(head.target),
            version(text(head.http_version)),
            fields,
            "".join(body),
            keep,
            chunked,
            upgrade,
        )
    )
    if keep:
        connection.start_next_cycle()
    return keep


def version(number):
    major, _, minor = number.partition(".")
    return int(minor) if major == "1" else number


# ---- llhttp ---------------------------------------------------------------------------------------------------------


class Listener:
    """What httptools tells of one run of llhttp. Trailer fields come by the same road as fields."""

    def __init__(self, reading):
        self.reading = reading
        self.parser = httptools.HttpRequestParser(self)
        self.open = False

    def on_message_begin(self):
        self.open = self.in_head = True
        self.target, self.fields, self.body, self.chunked = [], [], [], False

    def on_url(self, url):
        self.target.append(text(url))

    def on_header(self, name, value):
        if self.in_head:
            self.fields.append((text(name).lower(), text(value)))

    def on_headers_complete(self):
        self.in_head = False

    def on_chunk_header(self):
        self.chunked = True

    def on_body(self, body):
        self.body.append(text(body))

    def on_message_complete(self):
        self.open = False
        self.reading.requests.append(
            Request(
                text(self.parser.get_method()),
                "".join(self.target),
                version(self.parser.get_http_version()),
                self.fields,
                "".join(self.body),
                self.parser.should_keep_alive(),
                self.chunked,
            )
        )


def read_with_llhttp(data):
    reading = Reading()
    while read_until_upgrade(reading, data):
        last = reading.requests[-1]
        last.upgrade = True
        if any(name in ("content-length", "transfer-encoding") for name, _ in last.fields):
            reading.end = "leaves"  # httptools does not look for the body: nothing is known of this request
            reading.requests.pop()
            break
        if not last.keep:
            reading.end = "closed"
            break
        # The offer to leave HTTP is declined: what follows is HTTP again.
        data = data[reading.taken :]
    return reading


def read_until_upgrade(reading, data):
    listener = Listener(reading)
    try:
        listener.parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        reading.taken = upgrade.args[0]
        return True
    except httptools.HttpParserError as error:
        if "Data after `Connection: close`" not in str(error):
            reading.end, reading.reason = "refused", f"{type(error).__name__}: {error}"
            return False
    if listener.open:
        reading.end = "incomplete"
    elif reading.requests and not reading.requests[-1].keep:
        reading.end = "closed"
    return False


READERS = {"h11": read_with_h11, "llhttp": read_with_llhttp}
