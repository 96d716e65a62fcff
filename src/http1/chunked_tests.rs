//! Chunked bodies: what is taken, what is refused, and the same for any cut of the bytes.

use super::*;
use crate::every;

/// Decodes to the end of the input, cut at the given places; what was decoded, and how it ended.
fn run(input: &[u8], cuts: &[usize], max_data: usize) -> (Vec<u8>, Result<Option<usize>, Fault>) {
    let mut decoder = Decoder::new();
    let mut body = Vec::new();
    let (mut at, mut end) = (0, 0);
    for cut in cuts.iter().copied().chain([input.len()]) {
        end = end.max(cut);
        loop {
            let decoded = match decoder.decode(&input[at..end], max_data) {
                Ok(decoded) => decoded,
                Err(fault) => {
                    let again = decoder.decode(&input[at..end], max_data);
                    assert_eq!(again, Err(fault), "a fault stays");
                    return (body, Err(fault));
                }
            };
            assert!(decoded.data.end <= decoded.consumed && decoded.consumed <= end - at);
            assert!(decoded.data.len() <= max_data);
            body.extend_from_slice(&input[at..end][decoded.data.clone()]);
            at += decoded.consumed;
            if decoded.done {
                let after = decoder.decode(&input[at..], max_data).unwrap();
                assert_eq!(after, Decoded { consumed: 0, data: 0..0, done: true });
                return (body, Ok(Some(at)));
            }
            if decoded.data.is_empty() {
                assert_eq!(at, end, "without data everything was consumed");
                break;
            }
        }
    }
    (body, Ok(None))
}

/// The whole at once, byte by byte, and cut in two at every place: always the same.
fn every_way(input: &[u8]) -> (Vec<u8>, Result<Option<usize>, Fault>) {
    let whole = run(input, &[], usize::MAX);
    let everywhere: Vec<usize> = (0..input.len()).collect();
    assert_eq!(run(input, &everywhere, usize::MAX), whole);
    assert_eq!(run(input, &everywhere, 1), whole);
    for cut in (0..=input.len()).step_by(every(29)) {
        assert_eq!(run(input, &[cut], usize::MAX), whole, "cut at {cut}");
        assert_eq!(run(input, &[cut], 3), whole, "cut at {cut}");
    }
    whole
}

#[track_caller]
fn ok(input: &str, body: &str) {
    let (decoded, end) = every_way(input.as_bytes());
    assert_eq!((decoded.as_slice(), end), (body.as_bytes(), Ok(Some(input.len()))), "{input:?}");
    let (decoded, end) = every_way(format!("{input}GET").as_bytes());
    assert_eq!((decoded.as_slice(), end), (body.as_bytes(), Ok(Some(input.len()))), "{input:?} and more");
    for end in (0..input.len()).step_by(every(29)) {
        assert_eq!(run(&input.as_bytes()[..end], &[], usize::MAX).1, Ok(None), "prefix {end}");
    }
}

#[track_caller]
fn refused(input: &str, what: &str) {
    refused_with(input, 400, what);
}

#[track_caller]
fn refused_with(input: &str, status: u16, what: &str) {
    let fault = every_way(input.as_bytes()).1.expect_err(input);
    assert_eq!((fault.status, fault.text.contains(what)), (status, true), "{input:?}: {fault:?}");
}

#[test]
fn bodies() {
    assert!(std::mem::size_of::<Decoder>() <= 24);
    ok("0\r\n\r\n", "");
    ok("5\r\nhello\r\n0\r\n\r\n", "hello");
    ok("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world");
    ok("A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n", "01234567890123456789");
    ok("0000000000000002\r\n\r\n\r\n0\r\n\r\n", "\r\n");
}

#[test]
fn data_is_handed_out_in_runs() {
    let input = b"5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n";
    let mut decoder = Decoder::new();
    let first = decoder.decode(input, usize::MAX).unwrap();
    assert_eq!(first, Decoded { consumed: 13, data: 3..8, done: false });
    let rest = decoder.decode(&input[13..], usize::MAX).unwrap();
    assert_eq!(rest, Decoded { consumed: input.len() - 13, data: 0..3, done: true });

    let mut decoder = Decoder::new();
    let none = decoder.decode(input, 0).unwrap();
    assert_eq!(none, Decoded { consumed: 3, data: 0..0, done: false });
    let some = decoder.decode(&input[3..], 2).unwrap();
    assert_eq!(some, Decoded { consumed: 2, data: 0..2, done: false });
    assert_eq!(decoder.decode(b"", 2).unwrap(), Decoded { consumed: 0, data: 0..0, done: false });
}

#[test]
fn sizes() {
    let digits = "plain hexadecimal";
    for size in
        ["0x5", "+5", "-5", "1_0", " 5", "\t5", "5 ", "5\t", "5 \r", "g", "5g", "\u{665}", "5\0", "\"5\"", "5,5"]
    {
        refused(&format!("{size}\r\nhello\r\n0\r\n\r\n"), digits);
    }
    refused("\r\n", "without a size");
    refused(";a\r\n", "without a size");
    refused("5\nhello\r\n0\r\n\r\n", "bare LF");
    refused("5\rhello\r\n", "bare CR");
    refused("5\r\rhello\r\n", "bare CR");
    refused("00000000000000005\r\nhello", "out of range");
    refused("10000000000000000\r\n", "out of range");
    refused("5\r\nhello\r\n00000000000000000\r\n\r\n", "out of range");
    let (body, end) = every_way(b"ffffffffffffffff\r\nabc");
    assert_eq!((body.as_slice(), end), (&b"abc"[..], Ok(None)));
}

#[test]
fn line_end_behind_the_data() {
    let what = "longer than its size";
    for input in
        ["5\r\nhello!\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\nhello\r\r\n", "5\r\nhello0\r\n\r\n"]
    {
        refused(input, what);
    }
    // Data before a fault is handed out.
    assert_eq!(run(b"5\r\nhello!", &[], usize::MAX).0, b"hello");
}

#[test]
fn extensions() {
    for extension in [
        ";a",
        ";a=b",
        ";a;b",
        ";a=b;c=d",
        "; a",
        ";a =b",
        ";a= b",
        ";a = b ; c",
        ";a\t;\tb",
        ";a=\"\"",
        ";a=\"b\"",
        ";a=\"\\\"\"",
        ";a=\"b;c\\\\\";d",
        ";a=\"\u{e9}\t\" ;d",
        ";a=\"b\" ; c=\"d\"",
    ] {
        ok(&format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n"), "hello");
    }
    for extension in [
        ";",
        ";;",
        "; ",
        ";a;",
        ";=b",
        ";a=",
        ";a==b",
        ";a= ",
        ";a ",
        ";a=b ",
        ";a=\"b\" ",
        ";a b",
        ";a=b c",
        ";a=b=c",
        ";a=\"b\"c",
        ";a=\"b\"\"c\"",
        ";\"a\"",
        ";a@",
        ";\u{e9}",
        ";a=\u{e9}",
    ] {
        refused(&format!("5{extension}\r\nhello\r\n0\r\n\r\n"), "malformed chunk extension");
    }
    for extension in [";\n", ";a\n", ";a=\n", ";a=b\n", ";a=\"b\n", ";a=\"\\\n", ";a=\"b\"\n", ";a \n"] {
        refused(&format!("5{extension}hello\r\n0\r\n\r\n"), "bare LF");
    }
    for extension in [";a=\"\r\n\"", ";a=\"\\\r\n\"", ";a\rb", ";a=b\rc"] {
        refused(&format!("5{extension}\r\nhello\r\n"), "bare CR");
    }
    for extension in [";\0", ";a\x0b", ";a=\x01", ";a=b\x7f", ";a=\"\0\"", ";a=\"\\\x08\""] {
        refused(&format!("5{extension}\r\nhello\r\n"), "control character");
    }
}

#[test]
fn extensions_are_bounded_over_the_whole_message() {
    let of = |len: usize| format!(";{}", "a".repeat(len - 1));
    let whole = |input: String| run(input.as_bytes(), &[], usize::MAX).1;
    assert!(whole(format!("0{}\r\n\r\n", of(4096))).is_ok());
    assert_eq!(whole(format!("0{}\r\n\r\n", of(4097))).unwrap_err().text, "chunk extensions too long");
    let chunks = |count| format!("{}0\r\n\r\n", format!("1{}\r\nx\r\n", of(1024)).repeat(count));
    assert!(whole(chunks(4)).is_ok());
    assert_eq!(whole(chunks(5)).unwrap_err().text, "chunk extensions too long");
    let quoted = format!("0;a=\"{}\"\r\n\r\n", "\\\"".repeat(3000));
    assert_eq!(whole(quoted).unwrap_err().text, "chunk extensions too long");
}

#[test]
fn trailers() {
    ok("0\r\nA: b\r\n\r\n", "");
    ok("1\r\nx\r\n0\r\nA:\r\nB-c: \t d \u{e9} \r\n\r\n", "x");
    refused("0\r\nA : b\r\n\r\n", "before the colon");
    refused("0\r\nA: b\r\n c\r\n\r\n", "line folding");
    refused("0\r\n A: b\r\n\r\n", "line folding");
    refused("0\r\nA\r\n\r\n", "malformed trailer");
    refused("0\r\nA\n\r\n", "malformed trailer");
    refused("0\r\n: b\r\n\r\n", "malformed trailer");
    refused("0\r\nA@: b\r\n\r\n", "malformed trailer");
    refused("0\r\nGET / HTTP/1.1\r\n\r\n", "before the colon");
    refused("0\r\nA: b\n\r\n", "bare LF");
    refused("0\r\n\n", "bare LF");
    refused("0\r\nA: b\r\n\n", "bare LF");
    refused("0\r\nA: b\rc\r\n\r\n", "bare CR");
    refused("0\r\nA: b\r\r\n\r\n", "bare CR");
    refused("0\r\n\rX", "bare CR");
    refused("0\r\n\r\r\n", "bare CR");
    refused("0\r\nA: \0\r\n\r\n", "control character");
    refused("0\r\nA: \x7f\r\n\r\n", "control character");
    let whole = |len: usize| run(format!("0\r\nA:{}\r\n\r\n", "b".repeat(len)).as_bytes(), &[], usize::MAX).1;
    assert!(whole(8192 - 5).is_ok());
    let fault = whole(8192 - 4).unwrap_err();
    assert_eq!((fault.status, fault.text), (431, "trailer section too large"));
}

/// Damaged bodies, cut anywhere: no panic, and the same reading.
#[test]
fn any_cut_gives_the_same() {
    let seeds: [&[u8]; 3] = [
        b"5\r\nhello\r\n1a;x=\"y\\\"z\";w\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\nC:\r\n\r\nGET / HTTP/1.1",
        b"3;a = b ; c=d\r\n\r\n\r\r\n00\r\n\r\n",
        b"ffffffffffffffff;q\r\nabcdef",
    ];
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % bound
    };
    for round in 0..4_000 / every(400) {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        for _ in 0..below(3) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] = below(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\r\n;\" =0:"[below(8)]),
                _ => bytes[at] ^= 1 << below(8),
            }
        }
        let (body, end) = every_way(&bytes);
        assert!(body.len() <= bytes.len() && end != Ok(Some(0)));
    }
}
