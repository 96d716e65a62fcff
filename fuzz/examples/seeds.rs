//! Writes the hand-made seeds into `corpus/`: `cargo run --example seeds`, after the reading of inputs has changed; with names
//! of targets behind it only theirs.
//!
//! What the fuzzer found besides lies there under names of its own and stays.

use std::path::Path;

fn write(target: &str, name: &str, seed: &[u8]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join(format!("seed-{name}")), seed).expect("a file");
}

const ALL: [(&str, fn()); 9] = [
    ("http1", http1),
    ("engine", engine),
    ("response", response),
    ("tls", tls),
    ("push", push),
    ("channels", channels),
    ("certificates", certificates),
    ("link", link),
    ("mounts", mounts),
];

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = names.iter().find(|name| !ALL.iter().any(|(target, _)| target == name)) {
        eprintln!("no seeds of {unknown}; there are: {}", ALL.map(|(target, _)| target).join(" "));
        std::process::exit(2);
    }
    for (_, seeds) in ALL.iter().filter(|(target, _)| names.is_empty() || names.iter().any(|name| name == target)) {
        seeds();
    }
}

// ---- http1: what is read, how it is cut, the bytes -------------------------------------------------------------------

fn http1() {
    const P: &str = "POST / HTTP/1.1\r\nHost: a\r\n";
    const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked = format!("{P}Transfer-Encoding: chunked\r\n\r\n");
    let streams = [
        ("plain", "GET / HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (
            "browser",
            "GET /a/b?c=d HTTP/1.1\r\nHost: example.com:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux) A/1\r\n\
            Accept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\nCookie: a=b; c=\"d e\"\r\n\
            Connection: keep-alive\r\nCache-Control: max-age=0\r\n\r\n"
                .into(),
        ),
        (
            "pipeline",
            format!("{P}Content-Length: 5\r\n\r\nhello{chunked}5\r\nhello\r\n0\r\n\r\nHEAD /x HTTP/1.0\r\n\r\n"),
        ),
        ("empty-lines", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("later-minor", "OPTIONS * HTTP/1.7\r\nHost: a.b\r\nX: y\r\n\r\n".into()),
        ("absolute", "GET HTTPS://[2001:db8::1]:8443/p?q HTTP/1.1\r\nHost: x\r\n\r\n".into()),
        ("connect", "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n".into()),
        (
            "websocket",
            "GET /w HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .into(),
        ),
        ("upgrade", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c, a/b\r\n\r\n".into()),
        ("expect", format!("{P}Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")),
        ("expect-other", format!("{P}Expect: 200-ok\r\n\r\n")),
        ("blanks", "GET / HTTP/1.1\r\nHost:\t a \t\r\nX:\r\nY: \u{e9} b\t\r\n\r\n".into()),
        ("http-1.0", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n".into()),
        ("http-2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ("http-0.9", "GET /\r\n".into()),
        ("bare-lf", "GET / HTTP/1.1\nHost: a\n\n".into()),
        ("bare-lf-late", "GET / HTTP/1.1\r\nHost: a\r\nX: b\n\r\n".into()),
        ("bare-cr", "GET / HTTP/1.1\r\nX: \rHost: a\r\n\r\n".into()),
        ("nul", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n".into()),
        ("folded", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n".into()),
        ("space-colon", format!("{P}Content-Length : 5\r\n\r\nhello")),
        ("no-host", "GET / HTTP/1.1\r\n\r\n".into()),
        ("two-hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into()),
        ("length-list", format!("{P}Content-Length: 5, 5\r\n\r\nhello")),
        ("length-twice", format!("{P}Content-Length: 0\r\nContent-Length: 44\r\n\r\n{SMUGGLED}")),
        ("length-huge", format!("{P}Content-Length: 18446744073709551616\r\n\r\n")),
        ("both-framings", format!("{P}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        ("chunked-1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into()),
        ("gzip-chunked", format!("{P}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        ("chunked-twice", format!("{P}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("chunked-bad", format!("{chunked}5\r\nhelloX\r\n0\r\n\r\n")),
        ("many-fields", format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A:b\r\n".repeat(66))),
        ("tls-hello", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".into()),
    ];
    for (i, (name, text)) in streams.iter().enumerate() {
        // '0' is 48: the usual limits; every third step takes the next row of the table.
        let limits = if *name == "many-fields" { 48 + 15 } else { 48 };
        write("http1", name, &[&[limits, b'0' + i as u8 % 8], text.as_bytes()].concat());
    }
    for (row, name) in
        ["connect", "one-field", "small", "smaller", "some-fields", "most-fields", "no-limit"].iter().enumerate()
    {
        let text = "\r\nGET /abc?d HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
        write("http1", &format!("limit-{name}"), &[&[48 + 3 * (row as u8 + 1), b'3'], text.as_bytes()].concat());
    }
    let bodies = [
        ("empty", "0\r\n\r\n"),
        ("usual", "5\r\nhello\r\n1A;x=\"y\\\"z\";w\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\nC:\r\n\r\nGET"),
        ("extensions", "3;a = b ; c=d;e=\"\\\\f;\" ;g\r\n\r\n\r\r\n00\r\n\r\n"),
        ("largest", "ffffffffffffffff;q\r\nabcdef"),
        ("too-large", "10000000000000000\r\nabcdef"),
        ("longer", "5\r\nhello!\r\n0\r\n\r\n"),
        ("no-size", ";a\r\n"),
        ("bad-trailer", "0\r\nA : b\r\n\r\n"),
        ("folded-trailer", "0\r\nA: b\r\n c\r\n\r\n"),
        ("bare-lf", "5\nhello\r\n"),
        ("quoted-line", "5;a=\"\r\n\"\r\nhello\r\n"),
    ];
    for (i, (name, text)) in bodies.iter().enumerate() {
        write("http1", &format!("chunked-{name}"), &[&[b'1', b'0' + i as u8], text.as_bytes()].concat());
    }
    let targets = [
        ("path", '0', "/a/b?c=d?e/%zz|{\"}`^<>\\"),
        ("absolute", '0', "http://a.b:80/x?y"),
        ("absolute-query", '1', "HTTP://a?q=/"),
        ("asterisk", '1', "*"),
        ("authority", '2', "[::ffff:1.2.3.4]:8443"),
        ("name", '2', "a%20b.~!$&'()*+,;=:0443"),
        ("future", '2', "[vF.a:b]:65536"),
        ("user", '3', "https://u:p@a/"),
        ("fragment", '4', "/a#b"),
    ];
    for (name, manner, text) in targets {
        write("http1", &format!("target-{name}"), format!("2{manner}{text}").as_bytes());
    }
}

// ---- engine: settings, then steps -------------------------------------------------------------------------------------

/// Steps by name; the numbers are those of `targets/engine/step.rs`.
struct Script(Vec<u8>);

impl Script {
    /// 14 bytes of settings, all usual; `set` changes single ones.
    fn new(set: &[(usize, u8)]) -> Script {
        let mut settings = vec![0; 14];
        for (at, value) in set {
            settings[*at] = *value;
        }
        Script(settings)
    }

    fn step(mut self, bytes: &[u8]) -> Script {
        self.0.extend_from_slice(bytes);
        self
    }

    fn connect(self) -> Script {
        self.step(&[0, 0])
    }

    fn says(self, client: u8, saying: u8) -> Script {
        self.step(&[4, client, saying, 0])
    }

    fn cut(self, client: u8, saying: u8, manner: u8) -> Script {
        self.step(&[4, client, saying, manner])
    }

    fn text(self, client: u8, text: &[u8]) -> Script {
        self.step(&[1, client, text.len() as u8]).step(text)
    }

    fn body(self, client: u8, n: u16) -> Script {
        let n = n.to_be_bytes();
        self.step(&[8, client, n[0], n[1]])
    }

    fn serve(self) -> Script {
        self.step(&[12])
    }

    fn settle_down(self) -> Script {
        self.step(&[31])
    }

    /// A call of the host: the verb, and which request counted from the newest.
    fn host(self, verb: u8, back: u8, more: &[u8]) -> Script {
        self.step(&[17, verb, back]).step(more)
    }
}

/// Offsets of the settings.
const HIGH: usize = 0;
const LOW: usize = 1;
const PIPELINE: usize = 2;
const BUFFER: usize = 3;
const WINDOW: usize = 4;
const HELD: usize = 5;
const MEMORY: usize = 6;
const BODY: usize = 9;
const FLAGS: usize = 11;
const SCRATCH: usize = 12;
const TURN: usize = 13;

fn engine() {
    let all_events = 8 + 16 + 32;
    let new = || Script::new(&[(FLAGS, all_events)]).connect();
    let seeds = [
        ("get", new().says(0, 0).serve().host(0, 0, &[0, 10]).settle_down()),
        ("head-and-get", new().says(0, 1).says(0, 0).serve().host(2, 0, &[0, 10]).host(1, 0, &[0, 220]).settle_down()),
        (
            "out-of-order",
            new().says(0, 0).says(0, 2).says(0, 0).serve().host(0, 0, &[0, 5]).host(1, 0, &[0, 5]).host(3, 0, &[0, 5]),
        ),
        ("stream", new().says(0, 0).serve().host(5, 0, &[0]).host(8, 0, &[100]).settle_down().host(10, 0, &[1])),
        ("stream-length", new().says(0, 0).serve().host(5, 0, &[24, 20, 50]).host(8, 0, &[50]).host(10, 0, &[0])),
        ("stream-short", new().says(0, 0).serve().host(5, 0, &[16, 50]).settle_down().host(10, 0, &[0]).settle_down()),
        ("stream-1.0", new().says(0, 14).serve().host(5, 0, &[0]).host(8, 0, &[100]).host(10, 0, &[0]).settle_down()),
        ("stream-to-head", new().says(0, 1).serve().host(5, 0, &[0]).host(8, 0, &[210]).host(10, 0, &[0])),
        (
            "high-water",
            Script::new(&[(HIGH, 2), (LOW, 2), (TURN, 2), (FLAGS, 8)])
                .step(&[0, 2])
                .says(0, 0)
                .serve()
                .host(5, 0, &[0])
                .host(8, 0, &[210])
                .host(8, 0, &[210])
                .host(14, 0, &[])
                .step(&[11, 0, 0, 200])
                .serve()
                .settle_down(),
        ),
        ("chunked", new().cut(0, 4, 1).cut(0, 5, 1).cut(0, 6, 2).cut(0, 7, 1).serve().host(0, 0, &[0, 10])),
        (
            "body-in-pieces",
            Script::new(&[(BUFFER, 2), (WINDOW, 2), (FLAGS, 8), (SCRATCH, 1)])
                .connect()
                .says(0, 3)
                .body(0, 2000)
                .serve()
                .serve()
                .host(13, 0, &[0, 100])
                .serve()
                .host(13, 0, &[3, 0])
                .serve()
                .host(0, 0, &[0, 10]),
        ),
        ("body-refused", Script::new(&[(BUFFER, 2)]).connect().says(0, 27).serve().host(0, 0, &[0, 9]).body(0, 39_000)),
        ("body-too-large", Script::new(&[(BODY, 2)]).connect().says(0, 4).says(0, 6).says(0, 6).says(0, 6).serve()),
        (
            "expect",
            Script::new(&[(BUFFER, 2), (FLAGS, 8)]).connect().says(0, 8).serve().settle_down().says(0, 9).serve(),
        ),
        ("expect-manual", Script::new(&[(FLAGS, 9)]).connect().says(0, 8).serve().host(12, 0, &[0]).says(0, 9).serve()),
        ("expect-refused", Script::new(&[(FLAGS, 9)]).connect().says(0, 10).serve().host(0, 0, &[2, 9]).says(0, 7)),
        (
            "tunnel",
            new()
                .says(0, 11)
                .text(0, b"early")
                .serve()
                .host(5, 0, &[5])
                .host(8, 0, &[30])
                .text(0, b"raw")
                .serve()
                .step(&[9, 0])
                .serve()
                .host(10, 0, &[0])
                .settle_down(),
        ),
        ("tunnel-with-body", new().says(0, 12).text(0, b"abcderaw").serve().host(5, 0, &[5]).serve().step(&[9, 0])),
        ("tunnel-refused", new().says(0, 11).says(0, 0).serve().host(0, 0, &[2, 5]).serve()),
        (
            "connect",
            new().says(0, 13).serve().host(5, 0, &[64]).text(0, b"raw").serve().host(8, 0, &[9]).step(&[10, 0, 1]),
        ),
        ("connect-off", Script::new(&[(FLAGS, 4)]).connect().says(0, 13).serve().settle_down()),
        ("websocket", new().says(0, 26).serve().host(5, 0, &[5]).text(0, b"\x81\x85\0\0\0\0hello").serve()),
        ("1.0", new().says(0, 15).says(0, 16).says(0, 14).serve().settle_down()),
        ("close", new().says(0, 17).says(0, 0).serve().host(0, 0, &[0, 9]).settle_down()),
        ("host-closes", new().says(0, 0).says(0, 0).serve().host(0, 1, &[230, 9]).settle_down()),
        ("bad-behind-good", new().says(0, 0).says(0, 19).says(0, 0).serve().host(0, 0, &[0, 9]).settle_down()),
        ("ambiguous", new().says(0, 21).says(0, 7).serve()),
        (
            "aborts",
            new().says(0, 0).says(0, 0).says(0, 0).serve().host(11, 1, &[]).host(5, 0, &[8, 40]).host(11, 0, &[]),
        ),
        ("abort-begun", new().says(0, 0).serve().host(5, 0, &[8, 40]).settle_down().host(11, 0, &[]).settle_down()),
        (
            "peer-resets",
            new().says(0, 0).says(0, 3).serve().step(&[10, 0, 1]).serve().host(0, 0, &[0, 9]).host(11, 0, &[]),
        ),
        ("peer-leaves", new().says(0, 0).serve().host(2, 0, &[0, 250]).step(&[10, 0, 0]).serve()),
        ("half-close", new().says(0, 0).says(0, 3).step(&[9, 0]).serve().host(0, 0, &[0, 9])),
        (
            "threads",
            new().says(0, 0).says(0, 0).serve().host(133, 0, &[0]).host(136, 0, &[50]).host(130, 1, &[0, 9]).serve(),
        ),
        (
            "late",
            new().says(0, 0).serve().host(0, 0, &[0, 9]).host(0, 240, &[0, 9]).host(10, 240, &[0]).host(
                13,
                240,
                &[0, 1],
            ),
        ),
        (
            "twice-begun",
            new().says(0, 0).serve().host(5, 0, &[0]).host(5, 0, &[0]).host(0, 0, &[0, 1]).host(12, 0, &[0]),
        ),
        (
            "held",
            Script::new(&[(HELD, 1)])
                .connect()
                .says(0, 0)
                .says(0, 0)
                .says(0, 3)
                .serve()
                .step(&[28, 0])
                .serve()
                .step(&[28, 3])
                .serve(),
        ),
        (
            "memory",
            Script::new(&[(MEMORY, 1), (BUFFER, 0)])
                .connect()
                .connect()
                .says(0, 3)
                .says(1, 3)
                .body(0, 2000)
                .body(1, 1900)
                .serve(),
        ),
        (
            "pipeline-safe",
            Script::new(&[(FLAGS, 2), (PIPELINE, 3)])
                .connect()
                .says(0, 0)
                .says(0, 2)
                .says(0, 0)
                .serve()
                .host(0, 0, &[0, 9])
                .serve(),
        ),
        (
            "drain",
            new()
                .connect()
                .says(0, 0)
                .says(1, 2)
                .serve()
                .step(&[29, 1])
                .serve()
                .host(0, 0, &[0, 9])
                .serve()
                .step(&[27, 3])
                .serve(),
        ),
        ("cut", new().says(0, 0).says(0, 0).serve().host(2, 0, &[0, 250]).step(&[30, 0]).serve()),
        (
            "time-outs",
            Script::new(&[(FLAGS, 128 + 8)])
                .connect()
                .connect()
                .says(0, 24)
                .says(1, 0)
                .serve()
                .step(&[27, 3])
                .serve()
                .settle_down(),
        ),
        (
            "slow-reader",
            Script::new(&[(FLAGS, 128)]).step(&[0, 1]).says(0, 0).serve().host(1, 0, &[0, 250]).step(&[27, 3]).serve(),
        ),
        ("file", new().says(0, 0).serve().host(3, 0, &[0, 250]).says(0, 0).serve().host(3, 0, &[2, 250]).settle_down()),
        ("split", new().cut(0, 0, 1).cut(0, 22, 2).cut(0, 23, 3).serve().settle_down()),
        ("nonsense", new().text(0, b"\x16\x03\x01\x02\x00\x01\x00").serve().settle_down()),
        (
            "small-turns",
            new()
                .says(0, 0)
                .says(0, 0)
                .step(&[16, 0, 1, 1])
                .step(&[16, 0, 1, 1])
                .host(0, 0, &[0, 9])
                .step(&[16, 0, 0, 0]),
        ),
    ];
    for (name, script) in seeds {
        write("engine", name, &script.0);
    }
}

// ---- response: fields, heads, whole answers --------------------------------------------------------------------------

fn field(name: u8, value: &str) -> Vec<u8> {
    [&[name, value.len() as u8][..], value.as_bytes()].concat()
}

fn named(name: &str, value: &str) -> Vec<u8> {
    [&[200, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

fn response() {
    for place in 0..4u8 {
        let all: Vec<u8> = (0..43).flat_map(|name| field(name, "v")).collect();
        write("response", &format!("every-name-{place}"), &[&[0, place][..], &all].concat());
        let odd = [
            named("X-Y", " \tv \t"),
            named("X Y", "v"),
            named("X:", "v"),
            named("X\r\n", "v"),
            named("X", "a\r\nSet-Cookie: b"),
            named("X", "a\0b"),
            named("X", "a\nb"),
            named("", ""),
            named("X", ""),
            named("\u{e9}", "\u{e9}"),
            named("X", "\u{7f}"),
            named("X", "0123456789abcdef\u{1}"),
        ];
        write("response", &format!("odd-fields-{place}"), &[&[0, place][..], &odd.concat()].concat());
    }
    let head = |status: &[u8], fields: &[Vec<u8>], rest: &[u8]| {
        [status, &[fields.len() as u8], &fields.concat(), rest].concat()
    };
    let heads = [
        head(&[0], &[], &[1, 1, 1, 2, 5, 0]),
        head(&[0], &[], &[1, 1, 1, 2, 5, 0]),
        head(&[0], &[field(38, "y")], &[2, 1, 1, 2, 6, 1]),
        head(&[1], &[], &[0, 0, 0, 0, 3]),
        head(&[2, 0, 99], &[field(6, "d"), field(7, "s")], &[3, 2, 2, 3, 255, 255, 255, 255, 255, 255, 255, 255, 2]),
        head(&[2, 3, 132], &[], &[0, 1, 0, 1, 1]),
    ];
    write("response", "heads", &[&[1][..], &heads.concat()].concat());
    // Events, server, request, step, a first answer before; informs; the next one first; begins; status; close; fields.
    for request in 0..9u8 {
        let start = |step: u8| vec![2, 1, 1, request, step, request & 1];
        let reply = [&[0, 0, 0, 0, 0, 1][..], &field(38, "y"), &[0, 0, 3, 5], b"hello", &[0]].concat();
        write("response", &format!("whole-{request}"), &[start(0), reply].concat());
        let begin =
            [&[1, 1, 0, 1, 1, 0, 0, 0][..], &[1, 3, 4], b"abcd", &[1, 3, 0, 1, 1, 2, 1, 0, 200, 1, 0, 1]].concat();
        write("response", &format!("begun-{request}"), &[start(1), begin, field(38, "trailer")].concat());
        let named = [&[0, 0, 1, 0, 0, 0, 0, 5, 3, 5][..], b"hello", &[1]].concat();
        write("response", &format!("length-{request}"), &[start(3), named].concat());
    }
}

// ---- tls: what the client is, then steps -----------------------------------------------------------------------------

fn tls() {
    // Bytes of nobody.
    let raw = |bytes: &[u8]| [&[0, 2][..], bytes].concat();
    let raws: [(&str, &[u8]); 8] = [
        ("http", b"GET / HTTP/1.1\r\n\r\n"),
        ("nothing", b""),
        ("ssl2", b"\x80\x2e\x01\x03\x01\x00\x15"),
        ("empty-record", b"\x16\x03\x01\x00\x00"),
        ("too-long", b"\x16\x03\x01\x48\x00"),
        ("empty-hello", b"\x16\x03\x01\x00\x04\x01\x00\x00\x00"),
        ("long-hello", b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"),
        ("data-first", b"\x17\x03\x03\x00\x01\x00"),
    ];
    for (name, bytes) in raws {
        write("tls", &format!("raw-{name}"), &raw(bytes));
    }
    write("tls", "raw-hello", &raw(&hello()));
    // Choice: 1 + 4 * (version + 2 * mode + 16 * shows).
    for (name, version) in [("13", 0u8), ("12", 1)] {
        let with = |mode: u8, shows: u8| 1 + 4 * (version + 2 * mode + 16 * shows);
        let plain = with(0, 0);
        let seeds: Vec<(&str, Vec<u8>)> = vec![
            ("whole", vec![plain, 17, 6, 0, 9, 17, 7, 0, 9, 17, 9, 17, 8, 17]),
            ("cut", vec![plain, 1, 1, 12, 1, 2, 12, 6, 100, 0, 1, 3, 7, 100, 0, 12]),
            ("resumed", vec![plain, 17, 6, 0, 4, 17, 13, 17, 6, 0, 4, 17, 13, 17, 11, 17]),
            ("certificate", vec![with(2, 1), 17, 6, 0, 4, 17]),
            ("certificate-optional", vec![with(1, 0), 17, 13, 17, 6, 0, 4, 17]),
            ("certificate-missing", vec![with(2, 0), 17]),
            ("damaged-hello", vec![plain, 3, 0, 60, 1, 0, 17]),
            ("damaged-record", vec![plain, 17, 6, 0, 50, 3, 0, 20, 128, 2, 17]),
            ("twice", vec![plain, 17, 6, 0, 5, 5, 0, 17]),
            ("dropped", vec![plain, 17, 6, 0, 5, 4, 3, 17]),
            ("key-update", vec![plain, 17, 10, 17, 6, 0, 5, 17, 7, 0, 5, 17, 10, 10, 10, 17]),
            ("partial", vec![plain, 17, 6, 90, 0, 15, 0, 100, 15, 64, 3, 15, 0, 1, 17]),
            ("injected", vec![plain, 17, 14, 1, 3, 2, 1, 0, 17]),
            ("injected-early", vec![plain, 14, 2, 3, 3, 1, 0, 0, 17]),
            ("fragments", vec![plain, 16, 8, 1, 0, 0, 4, 3, 3, 0, 0, 2, 17]),
            ("half-hello", vec![plain, 15, 0, 100, 15, 0, 50, 12, 17]),
            ("closed", vec![plain, 17, 8, 6, 0, 5, 17, 9, 17, 7, 0, 5, 0, 2, 1, 65]),
        ];
        for (seed, bytes) in seeds {
            write("tls", &format!("{seed}-{name}"), &bytes);
        }
    }
}

/// A ClientHello of TLS 1.3 with X25519 and Ed25519, written by hand.
fn hello() -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &with_length(body)].concat();
    let extensions = [
        extension(0, &with_length(&[&[0][..], &with_length(b"localhost")].concat())),
        extension(10, &[0, 2, 0, 29]),
        extension(13, &[0, 4, 8, 7, 4, 3]),
        extension(16, &with_length(b"\x08http/1.1")),
        extension(43, &[2, 3, 4]),
        extension(51, &with_length(&[&[0, 29][..], &with_length(&[9; 32])].concat())),
    ]
    .concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 4, 0x13, 1, 0x13, 2], &[1, 0], &with_length(&extensions)].concat();
    let message = [&[1, 0][..], &with_length(&body)].concat();
    [&[22, 3, 1][..], &with_length(&message)].concat()
}

// ---- certificates ----------------------------------------------------------------------------------------------------

fn certificates() {
    let texts: [(&str, &[u8]); 30] = [
        ("chain", b"0@s\n@a\n%%\n@S\n"),
        ("leaf", b"0@s\n%%\n@S\n"),
        ("p256", b"0@p\n%%\n@P\n"),
        ("rsa", b"0@r\n%%\n@R\n"),
        ("together", b"0@s\n@S\n%%\n@s\n@S\n"),
        ("swapped", b"0@S\n%%\n@s\n"),
        ("wrong-key", b"0@s\n%%\n@P\n"),
        ("two-keys", b"0@s\n%%\n@P\n@S\n"),
        ("wrong-order", b"0@a\n@s\n%%\n@S\n"),
        ("sec1", b"0@p\n%%\n@k\n"),
        ("pkcs1", b"0@r\n%%\n@K\n"),
        ("encrypted", b"0@s\n%%\n@e\n"),
        ("version-1", b"0@v\n%%\n@S\n"),
        ("empty", b"0"),
        ("no-pem", b"0hello\n%%\nhello\n"),
        ("der", b"0\x30\x82\x01\x00\n%%\n@S\n"),
        ("bom", b"0\xef\xbb\xbf@s\n%%\n@S\n"),
        ("text-around", b"0subject=CN\n@s\nissuer=CN\n%%\n# key\n@S\n"),
        ("cut-off", b"0-----BEGIN CERTIFICATE-----\nMIIB\n%%\n@S\n"),
        ("bad-base64", b"0-----BEGIN CERTIFICATE-----\n****\n-----END CERTIFICATE-----\n%%\n@S\n"),
        ("no-der", b"0-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n%%\n@S\n"),
        ("other-label", b"0-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n%%\n@S\n"),
        ("proc-type", b"0@s\n%%\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIB\n-----END RSA PRIVATE KEY-----\n"),
        ("bad-begin", b"0-----BEGIN CERTIFICATE\nMIIB\n%%\n@S\n"),
        ("roots", b"1@a\n@s\n"),
        ("roots-none", b"1@S\n"),
        ("swap", b"2@s\n%%\n@S\n%%\n@a\n"),
        ("swap-nothing", b"2hello\n"),
        ("damaged-leaf", b"3\x04\x00\x40\x02\x00\x80\x00"),
        ("damaged-key", b"3\x02\x00\x10\x02\xff\x00\x05"),
    ];
    for (name, text) in texts {
        write("certificates", name, text);
    }
    write("certificates", "damaged-root", b"3\x03\x00\x30\x30\xfe\x00\x00");
}

// ---- link: what is read, how it is cut, what a server sends -----------------------------------------------------------

fn link() {
    const EVENTS: &str = "1aHTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    const PARTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=00MsgBus00\r\n";
    let long = "x".repeat(700);
    for (name, text) in [
        ("answers", "0aHTTP/1.1 204 OK\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("answers-chunked", "0bHTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\nHTTP/1.0 400 x\r\n\r\nbody".to_owned()),
        ("parts-chunked", format!("1b{PARTS}Transfer-Encoding: chunked\r\n\r\nd\r\n--00MsgBus00\n\r\n\
            2d\r\nContent-Type: text/plain\n\nhello\n--00MsgBus00\n\r\n0\r\n\r\n")),
        ("parts-length", format!("1c{PARTS}Encke-Position: a:1\r\n\r\n--00MsgBus00\nFrom: a\nContent-Location: /msgbus/b\n\
            Content-Type: t\nContent-Length: 3\nEncke-Position: a:2\nEncke-Event: e\nEncke-Key: k\n\nabc--00MsgBus00\n")),
        ("parts-open", format!("1d{PARTS}\r\n--00MsgBus00\r\nContent-Type: t\r\n\r\nabc\r\n--00MsgBus00\r\n\r\nx--00MsgBus00--\r\n")),
        ("parts-too-large", format!("1e{PARTS}\r\n--00MsgBus00\nEncke-Position: a:3\nContent-Length: 9999\n\n")),
        ("events", format!("{EVENTS}\r\n\u{feff}retry: 10\r\nid: 1\r\nevent: e\r\ndata: a\r\ndata: b\r\n\r\n: c\n\ndata\n\nid\ndata:x\r\r")),
        ("events-chunked", format!("{EVENTS}Transfer-Encoding: chunked\r\n\r\n7\r\ndata: a\r\n2\r\n\n\n\r\n0\r\n\r\n")),
        ("events-length", format!("{EVENTS}Content-Length: 9\r\n\r\ndata: a\n\nrest")),
        ("events-too-large", format!("{EVENTS}\r\nid: 2\ndata: {long}\n\ndata: {long}{long}{long}{long}{long}{long}{long}\n\ndata: b\n\n")),
        ("no-stream", "1aHTTP/1.1 302 x\r\nLocation: http://a/\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n".to_owned()),
    ] {
        write("link", name, text.as_bytes());
    }
    write("link", "frames", b"2a\x01\x02he\x89\x02hi\x80\x03llo\x82\x7e\x00\x80\
        0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456\
        7\x8a\x00\x88\x05\x03\xe9bye");
    write("link", "frames-text", b"2b\x01\x01\xc3\x80\x01\xab\x81\x01\xff");
    let record =
        |kind: u8, data: &[u8]| [&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 9, 0, data.len() as u8][..], data].concat();
    for (name, records) in [
        ("address", vec![record(1, &[10, 0, 0, 1]), record(28, &[1; 16]), record(16, b"\x01x")]),
        ("alias", vec![record(5, b"\x01w\xc0\x10"), [&b"\x01w\xc0\x10"[..], &record(1, &[10, 0, 0, 2])[2..]].concat()]),
        ("loop", vec![record(5, b"\xc0\x0c"), record(5, b"\xc0\xff")]),
    ] {
        for kind in *b"01" {
            let head = [&[b'n', kind, 0x81, 0x80, 0, records.len() as u8][..], &records.concat()].concat();
            write("link", &format!("name-{name}-{}", char::from(kind)), &head);
        }
    }
    write("link", "name-refused", b"n0\x81\x85\0\0");
    for (n, url) in [
        "http://127.0.0.1:8888/msgbus/",
        "https://[::1]:4444/bus/",
        "unix:/run/x.sock:/msgbus/",
        "wss://bus.example.com/a?b=c#d",
        "http://u:p@a:0/x",
    ]
    .iter()
    .enumerate()
    {
        write("link", &format!("url-{n}"), &[b"u0", url.as_bytes()].concat());
    }
    write("link", "frames-masked", b"2c\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    write("link", "frames-too-large", b"2d\x82\x7e\x02\x59");
}

// ---- push: what is read, how it is cut, the bytes ----------------------------------------------------------------------

fn push() {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let frame = |first: u8, payload: &[u8]| {
        let mut out = vec![first];
        match u8::try_from(payload.len()) {
            Ok(n) if n < 126 => out.push(0x80 | n),
            _ => out.extend([&[0x80 | 126][..], &(payload.len() as u16).to_be_bytes()].concat()),
        }
        out.extend(MASK);
        out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    };
    let deflated = |data: &[u8]| encke::ws::deflate::deflate(data).expect("it shrinks");
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    for (name, manner, frames) in [
        ("text", b"00", vec![frame(0x81, b"Hello"), frame(0x88, b"\x03\xe8bye")]),
        ("fragments", b"01", vec![frame(0x01, b"a\xc3"), frame(0x89, b"p"), frame(0x80, b"\xab"), frame(0x80, b"x")]),
        ("long", b"00", vec![frame(0x82, &[b'x'; 300])]),
        ("close", b"0a", vec![frame(0x82, b""), frame(0x8a, b"pong"), frame(0x88, b""), frame(0x81, b"late")]),
        ("deflate", b"10", vec![frame(0xc1, hello), frame(0x81, b"x")]),
        ("deflate-fragments", b"1c", vec![frame(0x41, &hello[..3]), frame(0x89, b""), frame(0x80, &hello[3..])]),
        ("bomb", b"10", vec![frame(0xc2, &deflated(&[0; 20_000]))]),
        ("deflate-long", b"1d", vec![frame(0xc1, &deflated(&b"again and ".repeat(400)))]),
    ] {
        write("push", name, &[&manner[..], &frames.concat()].concat());
    }
    write("push", "position", b"20000000000000000a:7");
    write("push", "globs", b"30text/*,!*html*,image/?ng\0text/plain");
    write("push", "extensions", b"40permessage-deflate; client_max_window_bits=10, x; y=\"z\"");
    for (name, message) in [
        ("text", &b"news/a\ntext/plain\nzoe\ntick\nhello"[..]),
        ("lines", b"a\n\n\n\na\nb\r\nc\rd\r\n\r\n"),
        ("empty", b"a\n\n\n\n"),
        ("bytes", b"a b%2F?\nimage/png\n a \n\n\xff\xd8\x00\n--00MsgBus00\n--encke-part\r\n"),
        ("json", "Zo\u{eb}\n\u{2028}\n\"\\\u{85}\n\u{feff}\n\"\u{2029}\\ \t".as_bytes()),
        ("long", &[b"a\n\n\n\n", &b"again and "[..].repeat(40)[..]].concat()),
    ] {
        write("push", &format!("form-{name}"), &[b"fa", message].concat());
    }
}

// ---- channels: settings, then steps --------------------------------------------------------------------------------------

fn channels() {
    const USUAL: [u8; 5] = [0, 0, 0, 0, 0];
    // Steps by their numbers in `targets/channels.rs`. Of `subscribe`: whom, pattern, transport and more, since, timeout.
    let says = |saying: u8| vec![1, 0, saying, 8];
    let subscribe = |how: u8| vec![9, 0, 0, how, 0, 0];
    let publish = |how: u8, n: u8| vec![12, 0, how, n];
    let frame = |first: u8, text: &[u8]| [&[3, 0, first, text.len() as u8][..], text].concat();
    let seeds: [(&str, Vec<Vec<u8>>); 14] = [
        ("sse", vec![says(0), subscribe(0), publish(1, 2), publish(0, 2), vec![8], publish(129, 1), vec![8]]),
        ("multipart", vec![says(1), subscribe(1), publish(1, 2), vec![8, 7, 0, 255, 255], publish(5, 200)]),
        (
            "long-poll",
            vec![publish(1, 1), says(2), subscribe(0), says(2), subscribe(3), vec![8], publish(1, 3), vec![8]],
        ),
        ("plain", vec![says(1), subscribe(5), publish(1, 1), vec![10, 0, 5, 1], vec![8]]),
        ("http-1.0", vec![says(7), subscribe(2), publish(1, 1), vec![8], publish(1, 9), vec![10, 0, 5, 0, 8]]),
        ("head", vec![says(8), subscribe(2), publish(1, 1), vec![8]]),
        (
            "resumed",
            vec![publish(1, 1), publish(1, 2), publish(1, 3), says(5), vec![9, 0, 0, 0, 2, 0], publish(1, 4), vec![8]],
        ),
        ("foreign", vec![says(5), subscribe(128), publish(1, 4), vec![8], says(5), subscribe(0), vec![8]]),
        ("old-handshake", vec![says(6), subscribe(4), vec![8], says(6), vec![10, 0, 0, 0, 8]]),
        (
            "socket",
            vec![
                says(3),
                vec![10, 0, 0, 0],
                frame(0x81, b"hello"),
                frame(0x89, b"p"),
                vec![8, 10, 0, 2, 3, 10, 0, 2, 4],
                frame(0x88, b"\x03\xe8"),
                vec![8],
            ],
        ),
        (
            "socket-closed",
            vec![
                says(3),
                vec![10, 0, 128, 0, 8],
                frame(0x02, b"ab"),
                frame(0x80, b"cd"),
                vec![8, 10, 0, 132, 1, 8],
                frame(0x88, b""),
                vec![8],
            ],
        ),
        (
            "socket-subscribed",
            vec![
                says(4),
                subscribe(4),
                publish(1, 9),
                vec![13, 0, 1, 141, 0, 1],
                publish(1, 1),
                frame(0x82, b"x"),
                vec![8],
            ],
        ),
        ("socket-bad", vec![says(3), vec![10, 0, 0, 0], frame(0x83, b""), vec![8], frame(0x81, b"late"), vec![8]]),
        (
            "slow",
            vec![
                vec![0, 1],
                vec![14, 0, 3, 3, 14, 0, 4, 1],
                vec![1, 0, 0, 8],
                subscribe(0),
                publish(9, 20),
                publish(9, 20),
                publish(9, 20),
                vec![8, 7, 0, 1, 0, 8],
                publish(9, 20),
                vec![15, 200, 8],
            ],
        ),
    ];
    for (name, steps) in seeds {
        write("channels", name, &[&USUAL[..], &steps.concat()].concat());
    }
    write(
        "channels",
        "scarce",
        &[
            &[2, 4, 1, 2, 1][..],
            &says(3),
            &[10, 0, 0, 0],
            &frame(0x02, &[7; 200]),
            &says(0),
            &subscribe(0),
            &publish(1, 200),
            &[8, 15, 255, 8],
        ]
        .concat(),
    );
}

// ---- mounts: what, how it is set up, and what is read ------------------------------------------------------------------

fn mounts() {
    let requests = [
        ("index", "GET\n\n"),
        ("file", "GET\na/b%20c.txt\nAccept-Encoding: br;q=0.5, gzip, *;q=0\n"),
        ("out", "GET\na/%2e%2E/b\n"),
        ("dot", "HEAD\n.git/config?x\n"),
        ("put", "PUT\na\n"),
        ("range", "GET\na\nRange: bytes=0-1, 4-5,-1\n"),
        ("range-behind", "GET\na\nRange: bytes=99999-\nIf-Range: \"x\"\n"),
        ("tags", "GET\na\nIf-None-Match: \"x\", W/\"6affd2b7.5-1-7\", *\n"),
        ("dates", "GET\na\nIf-Modified-Since: Fri, 20 Nov 2026 08:40:23 GMT\n"),
        ("other-dates", "GET\na\nIf-Unmodified-Since: Friday, 20-Nov-26 08:40:22 GMT\nIf-Match: *\n"),
        ("password", "GET\na\nAuthorization: Basic dTpwdw==\n"),
        ("no-password", "GET\na\nAuthorization: basic dTpwdw\n"),
        ("publish", "POST\nfoo/bar\nContent-Type: text/plain\nContent-Length: 0\nEncke-Key: k\n"),
        ("subscribe", "GET\nZo%C3%AB*?type=a/b&sender=%2a\nAuthorization: Basic dTpwdw==\n"),
        ("events", "GET\nfoo\nAccept: text/event-stream\nLast-Event-ID: 1.2.3\nOrigin: https://a.example\n"),
        ("preflight", "OPTIONS\nfoo\nOrigin: null\nAccess-Control-Request-Method: POST\n"),
    ];
    for (n, (name, text)) in requests.iter().enumerate() {
        for (kind, place) in [(b'0', "files"), (b'1', "bus")] {
            write("mounts", &format!("{place}-{name}"), &[&[kind, 7 * n as u8], text.as_bytes()].concat());
        }
    }
    for (n, path) in ["a%2Fb", "f%256fo", "Zo%c3%ab", "%FF", "a%0Ab", "*", "%C2%85"].iter().enumerate() {
        write("mounts", &format!("path-{n}"), format!("20{path}").as_bytes());
    }
    for (n, name) in ["two words", "50%", "f%6fo", "a?b#\u{20ac}", "%C3%AB", "\u{85}"].iter().enumerate() {
        write("mounts", &format!("name-{n}"), format!("30{name}").as_bytes());
    }
    let fields = ["bytes=0-0,5-6,-1", "Bytes=10-", "bytes=99-99999999999999999999999", "bytes=5-4", "bytes=-0,,7-"];
    for (n, field) in fields.iter().enumerate() {
        write("mounts", &format!("range-{n}"), format!("\u{4}1\u{0}d{field}").as_bytes());
    }
}
