"""The cases: one to four requests in a row, mostly well-formed, with oddities where parsers are known to part ways, then
sometimes mutated as bytes.

Rule: a case depends on the seed and its number alone, so every finding can be made again by naming the two.
"""

import random

# ---- words ------------------------------------------------------------------------------------------------------------

METHODS = [
    "GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE",
]
ODD_METHODS = [
    "get", "Get", "FOO", "M-SEARCH", "PRI", "QUERY", "G'T", "GE T", "G\x00T", "GET\t", "\tGET", " GET", "",
    "G\xc9T", "GET,", "(GET)", "A" * 300, "!#$%&'*+-.^_`|~09az", "GET:", "PROPFIND", "PURGE", "SOURCE",
]
TARGETS = [
    "/", "/", "/", "/a/b?c=d&e=f", "/echo", "/%20%zz", "/?", "//x/y", "/a;b=c/../d", "http://a.example/p?q",
    "https://a.example:8443", "/" + "x" * 200, "/a?b?c", "/{}|\\^`\"<>", "/:80", "/*", "/@",
]
ODD_TARGETS = [
    "*", "a/b", "?a", "#", "/a#b", "/a b", "/a\tb", "/\x00", "/\x7f", "/\xe9", "/\xff", "", "http://",
    "http:/a", "ftp://a/", "http://u@a/", "http://u:p@a/", "http://a:b/", "http://a:99999/", "HTTP://A/",
    "http:///x", "http://[::1]/", "http://[::1/", "http://a?x", "http://a#x", "ws://a/", "a.example:443",
    "http://a\\b/", "/\x01", "/\x0b", "/\x0c", "http://a%41/", "/\x85", "http://a/\x80", "*?a", "1:/x",
    "http://a::80/", "urn:a:b",
]
AUTHORITIES = ["a.example:443", "[::1]:443", "127.0.0.1:80"]
ODD_AUTHORITIES = [
    "a.example", "a.example:", ":443", "/", "http://a:1", "a:0", "a:65536", "a:443/", "a:b", "u@a:1", "*",
    "a b:1", "[::1]", "a:1?x", "a:1#x", "\x80:1", "a_b:1", "a:1:2",
]
VERSIONS = ["HTTP/1.1"] * 12 + ["HTTP/1.0"] * 3
ODD_VERSIONS = [
    "HTTP/1.2", "HTTP/1.9", "HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/1.10", "HTTP/01.1", "HTTP/1", "HTTP/1.",
    "HTTP/.1", "http/1.1", "HTTP /1.1", "HTTP/1.1 ", "HTTP/ 1.1", "HTTP/1.1\t", "HTTPS/1.1", "HTTP/1,1",
    "HTTP/1.1x", "HTTP/a.b", "", "ICE/1.0", "RTSP/1.0", "HTTP/1.\x00", "HTTP/11", "HTTP/1.1 x", "HTTP/9.9",
    "HTTP/0.0", "HTTP/1.\xb9",
]
HOSTS = ["a", "a.example", "a.example:80", "127.0.0.1:8080", "[::1]", "[::1]:80"]
ODD_HOSTS = [
    "", "a b", "a,b", "a:b", "a:", ":80", "u@a", "a/b", "a?b", "a#b", "[::1", "[]", "a:99999", "a%41", "a%4",
    "a\x80", "a\\b", "a_b", "A.EXAMPLE", "a\"b", "a<b>", "999.1.1.1", "a|b", "[v1.x]", "::1", "a:80:80", "(a)",
    "a{b}", "\x00", "a\x00b", "a\tb", "a;b", "a\x7f", "a\x0bb",
]
NAMES = [
    "X-A", "x-b", "Accept", "User-Agent", "Cookie", "Cookie", "ETag", "X", "!#$%&'*+-.^_`|~", "Content-Type",
    "Via", "TE", "Trailer", "Range", "Proxy-Connection", "Keep-Alive", "HTTP2-Settings",
]
ODD_NAMES = [
    "X A", "X-A ", " X-A", "X-A\t", "\tX", "", "X:Y", "X\x00", "X\x7f", "X\xe9", "(X)", "X/Y", "X\"", "X@",
    "X[", "{X}", "X,Y", "X;", "Content_Length", "Content-Length\x00", "Content-Length ", "\x0bContent-Length",
    "Transfer-Encoding ", "Transfer-Encoding\t", "Host ", "X\x01", "Content-Length:", "Transfer\xadEncoding",
    "\xff", "X\\Y", "X=", "<X>",
]
VALUES = [
    "1", "a", "a, b", "", "text/html; q=0.5", "\"quoted, text\"", "a  b", "x" * 150, "\xe9\xff\x80", "a\tb",
    "(comment)", ":", "=a;b=c", "0", "chunked", "close",
]
ODD_VALUES = [
    "a\x00b", "\x00", "a\x01", "\x7f", "\x1f", "a\x0bb", "a\x0cb", "\x08", "\x1b[0m", "a\x7fb", "\x00\x00",
]
PADS = [("", ""), (" ", ""), (" ", ""), (" ", ""), (" ", ""), ("  ", ""), ("\t", "")]
ODD_PADS = [
    (" ", " "), (" ", "\t"), (" \t ", " \t "), ("", " "), (" ", "  "), ("\x0b", ""), ("\x0c", ""), ("\xa0", ""),
    (" ", "\x0b"), (" ", "\xa0"), ("\r", ""), ("", "\r"), ("\x00", ""), (" ", "\x1f"), ("\x85", ""),
    (" ", "\x00"),
]
LENGTHS_OF = ["{n}"] * 20
ODD_LENGTHS = [
    "+{n}", "-{n}", "0{n}", "000{n}", "{n}, {n}", "{n},{n}", "{n} {n}", "{n};", "{n}.0", "0x{n}", "", " ", "a",
    "{n}a", "{n}_0", "1e1", "{n},", ",{n}", "\"{n}\"", "99999999999999999999", "18446744073709551616",
    "18446744073709551615", "9223372036854775808", "9223372036854775807", "{n}\x00", "\xb2", "{n}, 7", "{less}",
    "{more}", "70000000000", "4294967296", "{n}\x0b", "\x0c{n}", "184467440737095516150", "{n}\x85", "-0",
    "{n}\t{n}", "00000000000000000000000{n}",
]
CODINGS = ["chunked"] * 12 + ["Chunked", "CHUNKED"]
ODD_CODINGS = [
    "chunked ", "chunked\t", "\tchunked", "gzip, chunked", "chunked, gzip", "gzip", "chunked, chunked",
    "identity", "identity, chunked", "chunked, identity", "", "chunked;x=1", "chunked; x", " ,chunked",
    "chunked,", ", chunked", "xchunked", "chunkedx", "chunke", "\"chunked\"", "chun ked", "chunked\x00",
    "\x00chunked", "\x0bchunked", "chunked\x0b", "chunked \x0c", "x, chunked", "gzip,chunked", "deflate",
    "chunked gzip", "gzip chunked", "chunked;", "trailers", "chunked\x7f", "\xa0chunked", "gzip;q=1, chunked",
    "@, chunked", ",", ", ,", "chunked\x85", "identity;q=0", "cow", "foo, identity, chunked", "chunked,,gzip",
    "chunked:",
]
CONNECTIONS = [
    "keep-alive", "close", "Keep-Alive", "Close", "close, x", "x, close", "upgrade", "keep-alive, Upgrade",
    "te", "keep-alive, close", "", "x", "close,", ", close", "closed", "clos", "keep-alive,,x", "close;x",
    "\"close\"", "CLOSE\t, x", "keep alive", "@", "close, keep-alive", "upgrade, close", "keepalive",
]
UPGRADES = [
    "websocket", "h2c", "raw", "websocket, h2c", "x/1", "", ",", "a b", "x/", "@", "HTTP/2.0, SHTTP/1.3",
    "websocket ",
]
EXPECTS = ["100-continue"] * 4 + ["100-Continue", "", "x", "100-continue, x", "100-continue, 100-continue", "200-ok", "100-continue;x", "100"]
SIZES_OF = ["{n:x}"] * 30 + ["{n:X}", "0{n:x}", "00{n:x}"]
ODD_SIZES = [
    "0x{n:x}", "+{n:x}", "-{n:x}", " {n:x}", "{n:x} ", "{n:x}\t", "\t{n:x}", "{n:x}_0", "", "g", "{n:x}g",
    "{n:x}.", "{n:x},", "{n:x} 0", "{n:x}\x00", "0000000000000000{n:x}", "000000000000000{n:x}",
    "ffffffffffffffff", "10000000000000000", "fffffffffffffffff", "7fffffffffffffff", "8000000000000000",
    "{less:x}", "{more:x}", "\x0b{n:x}", "{n:x}\x85", "-0", "{n:x}h", "ffffffff", "100000000", "\xb2",
    "00000000000000000000000000000000{n:x}",
]
EXTENSIONS = ["", "", "", "", "", "", "", ";a", ";a=b", ";a=\"b\"", ";a=\"b;c\"", ";a;b=c", ";a=\"\\\"\""]
ODD_EXTENSIONS = [
    "; a = b", " ;a", "\t;a", ";a= b", ";a=b ;c", ";", ";;", ";=", ";a=", ";a=b=c", ";a b", ";a=\"b", ";a\x00",
    ";a=\"\x00\"", ";a=\"\x7f\"", ";@", ";a=@", "; ", ";a ", ";a=b ", ";a=\"b\"c", ";a=\xe9", ";a=\"\xe9\"",
    ";\xe9", " a", ",a", ";a=\"\r\"", ";a\r", ";a=\"\\\x00\"", ";a\x0b", ";a=\"\n\"", ";a\nb", ";" + "a" * 5000,
    ";a,b", ";a=\"b\" ;c", ";a=(b)", ";a=b;", ";a=\"b\";", ";a=\"" + "x" * 3000 + "\"", ";a/b", ";a=1 2",
]
TRAILERS = ["", "", "", "", "T: v\r\n", "T: v\r\nU:\r\n", "X-Y:  z \r\n"]
ODD_TRAILERS = [
    "Content-Length: 5\r\n", "Connection: close\r\n", "connection: x\r\nT: v\r\n", "T : v\r\n", " T: v\r\n",
    "T\r\n", ": v\r\n", "T: v\r\n w\r\n", "T: \x00\r\n", "T: v\n", "T: v\r", "Transfer-Encoding: chunked\r\n",
    "Host: b\r\n", "\x00: v\r\n", "T: \x7f\r\n", "\tT: v\r\n", "T: v\r\r\n", "T: " + "v" * 9000 + "\r\n",
    "T:\x0bv\r\n", "T: v\r\n\tw\r\n", "GET / HTTP/1.1\r\n", "T\xe9: v\r\n", "T: \xe9\r\n",
    "Content-Length: x\r\n", "T: v\x85\r\n", "T\t: v\r\n",
]
LEADS = [
    "\r\n", "\r\n\r\n", "\n", "\r", " \r\n", "\r\n" * 8, "\r\n" * 9, "\t", "\r\n ", "\x00", "\n\r\n", "\r\r\n",
    "\n\n", " ", "\xef\xbb\xbf", "\r\n\n",
]
ODD_SPACES = [
    ("  ", " "), (" ", "  "), ("\t", " "), (" ", "\t"), ("", " "), (" ", ""), ("\x0b", " "), (" ", "\x0c"),
    ("\xa0", " "), (" ", "\r "), ("\r", " "), (" ", "\x00"),
]
ODD_LINES = [
    "X", "X Y", " folded", "\tfolded", ": v", "\x00", "X: a\r\n b", "X: a\r\n\tb", "X: a\r\n ", " X: a", "X:",
    "X :a", "@", "GET / HTTP/1.1", "\r", "X: a\rY: b", "X: a\nY: b", "X: a\r\rY: b", "X: a\n b",
]
ODD_ENDS = ["\n", "\r", "\r\r\n", "\n\r", "\x00\r\n", " \r\n", "", "\r\n\r\n", "\x85", "\x0b\r\n"]
ODD_ZEROS = ["0x0", "-0", "", " 0", "0 ", "00000000000000000", "+0", "0_0", "0\x00"]
BYTES = "\x00\t\n\r\x0b\x0c\x1f !\"#%(),-./0159:;<=>?@AZ[\\]^_`az{|}~\x7f\x80\x85\xa0\xe9\xff"


class Case(random.Random):
    """One case, and the dice for it."""

    def __init__(self, seed, number):
        super().__init__(f"{seed}/{number}")
        # How likely an oddity is at each place: many cases have none, some have several.
        self.oddity = self.choice([0, 0, 0.01, 0.03, 0.05, 0.1])

    def bytes(self):
        requests = []
        for _ in range(self.choice([1, 1, 1, 2, 2, 3, 4])):
            # Clients repeat themselves, to the byte or nearly: encke copies a head that it has seen.
            again = requests and self.random() < 0.1
            requests.append(self.choice([requests[-1], self.mutate(requests[-1])]) if again else self.request())
        text = "".join(requests)
        for _ in range(self.choice([0, 0, 0, 0, 0, 1, 1, 2, 4])):
            text = self.mutate(text)
        return text.encode("latin-1")

    def odd(self, factor=1.0):
        return self.random() < self.oddity * factor

    def pick(self, usual, odd, factor=1.0):
        return self.choice(odd if self.odd(factor) else usual)

    # ---- well-formed, but for the oddities ----------------------------------------------------------------------------

    def request(self):
        lead = self.choice(LEADS) if self.odd() else ""
        method = self.pick(METHODS, ODD_METHODS)
        if method == "CONNECT":
            target = self.pick(AUTHORITIES, ODD_AUTHORITIES, 5)
        else:
            target = "*" if method == "OPTIONS" and self.random() < 0.3 else self.pick(TARGETS, ODD_TARGETS)
        if self.odd(0.02):
            target = "/" + "x" * self.choice([20000, 32000, 33000, 40000])
        version = self.pick(VERSIONS, ODD_VERSIONS)
        before, behind = self.pick([(" ", " ")], ODD_SPACES)
        lines = [method + before + target + behind + version]
        count = self.choice([0, 0, 1, 1, 2, 3, 5])
        fields = [self.field(self.pick(NAMES, ODD_NAMES), self.pick(VALUES, ODD_VALUES)) for _ in range(count)]
        fields += self.hosts(version)
        body = self.body(method, version, fields)
        if self.random() < 0.15:
            fields.append(self.field("Connection", self.choice(CONNECTIONS)))
        if self.odd(2):
            fields.append(self.field("Connection", self.choice(CONNECTIONS)))
        if self.odd(3):
            fields.append(self.field("Upgrade", self.choice(UPGRADES)))
            fields.append(self.field("Connection", self.choice(["upgrade", "Upgrade", "x", "keep-alive, upgrade"])))
        if self.odd(2):
            fields.append(self.field("Expect", self.choice(EXPECTS)))
        if self.odd():
            fields.append(self.choice(ODD_LINES))
        if self.odd(0.1):
            fields += [self.field("X", str(n)) for n in range(self.choice([90, 100, 101, 120]))]
        if self.odd(0.05):
            fields += [self.field("X", "v" * self.choice([8000, 15000])) for _ in range(self.choice([2, 3, 5]))]
        self.shuffle(fields)
        lines += fields
        ends = ["\r\n"] * (len(lines) + 1)
        if self.odd():
            wrong = self.choice(ODD_ENDS)
            for at in range(len(ends)) if self.random() < 0.2 else [self.randrange(len(ends))]:
                ends[at] = wrong
        return lead + "".join(line + end for line, end in zip(lines, ends)) + ends[-1] + body

    def name(self, name):
        if not name.isascii():
            return name
        return self.choice([name, name, name, name.lower(), name.upper(), name.swapcase()])

    def field(self, name, value):
        before, behind = self.pick(PADS, ODD_PADS, 0.5)
        return f"{self.name(name)}:{before}{value}{behind}"

    def hosts(self, version):
        if version == "HTTP/1.0" and self.random() < 0.6 or self.odd():
            return []
        host = self.pick(HOSTS, ODD_HOSTS)
        again = [self.field("Host", self.choice([host, "b", ""]))] if self.odd(0.5) else []
        return [self.field("Host", host)] + again

    def body(self, method, version, fields):
        usual = "none" if method in ("GET", "HEAD") else "length"
        kind = self.choice(["none", "length", "chunked", usual])
        if method == "CONNECT" or kind == "chunked" and version == "HTTP/1.0":
            kind = "none" if self.random() < 0.9 else kind
        if kind == "none" and not self.odd():
            return ""
        content = self.content()
        n = len(content)
        shape = {"n": n, "less": max(0, n - 1), "more": n + 1}
        length = self.field("Content-Length", self.pick(LENGTHS_OF, ODD_LENGTHS, 3).format(**shape))
        coding = self.name("Transfer-Encoding") + ": " + self.pick(CODINGS, ODD_CODINGS, 3)
        if kind == "chunked":
            fields.append(coding)
            if self.odd():
                fields.append(self.field("Transfer-Encoding", self.choice(CODINGS + ODD_CODINGS)))
            if self.odd():
                fields.append(length)
            return self.chunks(content)
        fields.append(length)
        if self.odd():
            fields.append(self.field("Content-Length", self.choice([str(n), "0", str(n + 1), "0" + str(n)])))
        if self.odd():
            fields.append(coding)
        return content

    def content(self):
        if self.odd(2):  # what would be a request, if the end of the body were found elsewhere
            return self.choice(["GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", "0\r\n\r\n", "\r\n"])
        return "".join(self.choice("abc\r\n\x00\xff0;:") for _ in range(self.choice([0, 1, 3, 5, 12, 40])))

    def chunks(self, content):
        pieces = []
        rest = content
        while rest:
            n = self.randrange(1, len(rest) + 1)
            shape = {"n": n, "less": n - 1, "more": n + 1}
            size = self.pick(SIZES_OF, ODD_SIZES, 2).format(**shape)
            line = size + self.pick(EXTENSIONS, ODD_EXTENSIONS) + self.pick(["\r\n"], ODD_ENDS, 0.5)
            end = self.pick(["\r\n"], ["\n", "\r", "", "x\r\n", "\r\n\r\n", " \r\n", "\r\r\n", "\n\r"], 0.5)
            pieces.append(line + rest[:n] + end)
            rest = rest[n:]
        last = self.pick(["0", "0", "0", "00", "0000"], ODD_ZEROS, 0.5)
        pieces.append(last + self.pick(EXTENSIONS, ODD_EXTENSIONS, 0.5) + self.pick(["\r\n"], ["\n", "\r", "\r\r\n"], 0.3))
        trailers = self.pick(TRAILERS, ODD_TRAILERS)
        return "".join(pieces) + trailers + self.pick(["\r\n"], ["\n", "\r", "", " \r\n", "\r\r\n"], 0.3)

    # ---- as bytes -------------------------------------------------------------------------------------------------------

    def mutate(self, text):
        at = self.randrange(len(text) + 1)
        match self.randrange(12):
            case 0:
                return text[:at] + self.choice(BYTES) + text[at + 1 :]
            case 1:
                return text[:at] + self.choice(BYTES) + text[at:]
            case 2:
                return text[:at] + text[at + self.choice([1, 1, 1, 2, 5]) :]
            case 3:
                return text[:at]  # the stream ends early
            case 4:
                end = at + self.randrange(20)
                return text[:end] + text[at:end] + text[end:]
            case 5:
                lines = text.split("\r\n")
                here, there = self.randrange(len(lines)), self.randrange(len(lines))
                lines[here], lines[there] = lines[there], lines[here]
                return "\r\n".join(lines)
            case 6:
                lines = text.split("\r\n")
                lines.insert(self.randrange(len(lines)), self.choice(lines))
                return "\r\n".join(lines)
            case 7:
                lines = text.split("\r\n")
                del lines[self.randrange(len(lines))]
                return "\r\n".join(lines)
            case 8:
                found = [i for i in range(len(text)) if text.startswith("\r\n", i)]
                if not found:
                    return text
                at = self.choice(found)
                return text[:at] + self.choice(["\n", "\r", "\n\r", "\r\r\n", "\r\n ", " \r\n", "\t\r\n", ""]) + text[at + 2 :]
            case 9:
                return text[:at] + self.choice([self.request(), text[self.randrange(len(text) + 1) :]])
            case 10:
                found = [i for i, c in enumerate(text) if c in ":; ,=/?"]
                if not found:
                    return text
                at = self.choice(found)
                return text[:at] + self.choice([" ", "\t", text[at], "", "\r\n"]) + text[at:]
            case _:
                bit = 1 << self.choice([0, 1, 2, 3, 4, 5, 5, 5, 6, 7])  # 5: the other case of a letter
                return text[:at] + "".join(chr(ord(c) ^ bit) for c in text[at : at + 1]) + text[at + 1 :]


def case(seed, number):
    return Case(seed, number).bytes()
