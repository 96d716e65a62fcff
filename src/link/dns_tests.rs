//! Messages as name servers send them, and as they should not; whole, and cut at every byte.

use super::*;
use crate::every;

const ID: u16 = 0x1234;

fn asked(kind: Kind) -> Vec<u8> {
    question(ID, "bus.example.com", kind).unwrap()
}

/// An answer to it: the second word of the head, and records, of which each is one number in the count.
fn answer(kind: Kind, flags: u16, records: &[&[u8]]) -> Vec<u8> {
    let mut message = asked(kind);
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    message.extend(records.concat());
    message
}

/// The owner is written as in the message: labels, or a pointer.
fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let head = [kind.to_be_bytes(), [0, 1], [0, 0], [0, 60], (data.len() as u16).to_be_bytes()];
    [owner, &head.concat(), data].concat()
}

/// The question's name, and "example.com" in it.
const ASKED: &[u8] = &[0xc0, 12];
const EXAMPLE: u8 = 16;
const OK: u16 = 0x8180;

fn found(kind: Kind, flags: u16, records: &[&[u8]]) -> Result<Option<Answer>, Fault> {
    read(&asked(kind), &answer(kind, flags, records))
}

fn addresses(list: &[&str]) -> Result<Option<Answer>, Fault> {
    Ok(Some(Answer::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect())))
}

fn chain(n: u8) -> Vec<Vec<u8>> {
    let label = |i: u8| vec![1, b'a' + i, 0xc0, EXAMPLE];
    let mut records: Vec<_> = (1..n).map(|i| record(&label(i - 1), CNAME, &label(i))).collect();
    records.insert(0, record(ASKED, CNAME, &label(0)));
    records.push(record(&label(n - 1), 1, &[10, 0, 0, 1]));
    records
}

#[test]
fn questions() {
    let expected = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03bus\x07example\x03com\x00\x00\x1c\x00\x01";
    assert_eq!(asked(Kind::Aaaa), expected);
    assert!(question(1, "a..b", Kind::A).is_none() && question(1, "", Kind::A).is_none());
    assert!(question(1, &"x".repeat(64), Kind::A).is_none());
    let long = |n: usize| format!("{}{}", format!("{}.", "x".repeat(63)).repeat(3), "x".repeat(n));
    assert!(question(1, &long(61), Kind::A).is_some() && question(1, &long(62), Kind::A).is_none());
}

#[test]
fn answers() {
    let one = record(ASKED, 1, &[10, 0, 0, 1]);
    let two = record(b"\x03BUS\xc0\x10", 1, &[10, 0, 0, 2]);
    let six = record(ASKED, 28, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    let alias = record(ASKED, CNAME, b"\x01w\xc0\x10");
    let of_alias = record(b"\x01W\x07example\x03COM\x00", 1, &[10, 0, 0, 3]);
    let other = record(b"\x05other\xc0\x10", 1, &[10, 0, 0, 9]);
    let text = record(ASKED, 16, b"\x01x");
    let mut chaos = record(ASKED, 1, &[10, 0, 0, 9]);
    chaos[5] = 3;
    for (kind, records, expected) in [
        (Kind::A, vec![&one], vec!["10.0.0.1"]),
        (Kind::A, vec![&one, &text, &two], vec!["10.0.0.1", "10.0.0.2"]),
        (Kind::Aaaa, vec![&six], vec!["2001:db8::7"]),
        (Kind::A, vec![&alias, &of_alias], vec!["10.0.0.3"]),
        (Kind::A, vec![&of_alias, &other, &alias], vec!["10.0.0.3"]),
        (Kind::A, vec![&alias], vec![]),
        (Kind::A, vec![&other, &of_alias, &chaos, &six], vec![]),
        (Kind::Aaaa, vec![&one], vec![]),
        (Kind::A, vec![], vec![]),
    ] {
        let records: Vec<&[u8]> = records.into_iter().map(|record| &record[..]).collect();
        assert_eq!(found(kind, OK, &records), addresses(&expected), "{records:?}");
    }
    let many = vec![&one[..]; 100];
    assert_eq!(found(Kind::A, OK, &many), addresses(&["10.0.0.1"; MAX_ADDRESSES]));
    assert_eq!(found(Kind::A, OK | 3, &[]), Ok(Some(Answer::NoSuchName)));
    for (code, text) in [(1, "FORMERR"), (2, "SERVFAIL"), (4, "NOTIMP"), (5, "REFUSED"), (9, "error 9")] {
        assert!(found(Kind::A, OK | code, &[&one]).unwrap_err().contains(text));
    }
}

#[test]
fn aliases_end() {
    for n in [1, 2, MAX_CHAIN as u8] {
        let records = chain(n);
        let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
        assert_eq!(found(Kind::A, OK, &records), addresses(&["10.0.0.1"]), "{n}");
    }
    let records = chain(MAX_CHAIN as u8 + 1);
    let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
    assert!(found(Kind::A, OK, &records).unwrap_err().contains("aliases"));
    let (there, back) = (record(ASKED, CNAME, b"\x01w\xc0\x10"), record(b"\x01w\xc0\x10", CNAME, ASKED));
    assert!(found(Kind::A, OK, &[&there, &back]).unwrap_err().contains("aliases"));
}

#[test]
fn what_is_truncated_is_used_as_far_as_it_goes() {
    let truncated = OK | 0x200;
    let one = record(ASKED, 1, &[10, 0, 0, 1]);
    assert_eq!(found(Kind::A, truncated, &[&one, &one[..5]]), addresses(&["10.0.0.1"]));
    assert!(found(Kind::A, truncated, &[]).unwrap_err().contains("truncated"));
    assert!(found(Kind::A, truncated, &[&one[..5]]).unwrap_err().contains("truncated"));
}

#[test]
fn what_was_not_asked_is_no_answer() {
    let asked = asked(Kind::A);
    let good = answer(Kind::A, OK, &[&record(ASKED, 1, &[10, 0, 0, 1])]);
    assert!(matches!(read(&asked, &good), Ok(Some(_))));
    let mut mixed = good.clone();
    mixed[13..16].copy_from_slice(b"BuS");
    // The owner of the record points to it.
    assert_eq!(read(&asked, &mixed), addresses(&["10.0.0.1"]));
    // The id, QR, the opcode, the count, a label's length, the name, its end, the type, the class.
    for (at, byte) in
        [(0, 0), (1, 0), (2, 1), (2, 0x89), (5, 0), (5, 2), (4, 1), (12, 4), (13, b'c'), (28, 1), (30, 28), (32, 3)]
    {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(read(&asked, &bad), Ok(None), "{at}");
    }
    assert_eq!(read(&asked, b""), Ok(None));
    assert_eq!(read(&asked, &asked), Ok(None));
}

#[test]
fn pointers_lead_back_and_end() {
    let begin = asked(Kind::A).len() as u8;
    // As the owner of a record, and as what an alias stands for.
    for (at, owns) in [(begin, true), (begin + 12, false)] {
        let names: [&[u8]; 9] = [
            &[0xc0, at],              // itself
            &[0xc0, at + 2],          // forward
            &[0xff, 0xff],            // out of the message
            &[0xc0, 0],               // into the head
            &[0xc0, 11],              // the same
            &[1, b'x', 0xc0, at],     // its own beginning, for ever
            &[1, b'x', 0xc0, at + 2], // a pointer to itself behind a label
            &[0x40, 0],               // no kind of label that there is
            &[0x80, 0],               // the same
        ];
        for name in names {
            let bad = match owns {
                true => record(name, 1, &[10, 0, 0, 1]),
                false => record(ASKED, CNAME, name),
            };
            assert!(found(Kind::A, OK, &[&bad]).unwrap_err().contains("malformed"), "{name:?}");
        }
    }
    // Backwards in many steps, until the name is too long.
    let mut records = vec![record(&[&[63][..], &[b'x'; 63], &[0]].concat(), 16, b"")];
    let mut before = begin;
    for step in 1..4 {
        let here = begin as usize + records.concat().len();
        records.push(record(&[&[63][..], &[b'x'; 63], &[0xc0, before]].concat(), 16, b""));
        before = here as u8;
        let all: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
        assert_eq!(found(Kind::A, OK, &all).is_ok(), step < 3, "{step}");
    }
    let longest = [&[63][..], &[b'x'; 63]].concat().repeat(4);
    let bad = record(&[&longest[..], &[0]].concat(), 1, &[10, 0, 0, 1]);
    assert!(found(Kind::A, OK, &[&bad]).unwrap_err().contains("malformed"));
}

#[test]
fn data_has_its_size() {
    for (kind, bad) in [
        (Kind::A, record(ASKED, 1, &[10, 0, 0])),
        (Kind::A, record(ASKED, 1, &[10, 0, 0, 1, 1])),
        (Kind::Aaaa, record(ASKED, 28, &[10, 0, 0, 1])),
        (Kind::A, record(ASKED, CNAME, b"\x01w\xc0\x10\x00")),
        (Kind::A, record(ASKED, CNAME, b"\x01w")),
        (Kind::A, record(ASKED, CNAME, b"")),
    ] {
        assert!(found(kind, OK, &[&bad]).unwrap_err().contains("malformed"), "{bad:?}");
    }
    let many = record(ASKED, 16, &[0; 5000]);
    assert!(found(Kind::A, OK, &[&many]).unwrap_err().contains("too large"));
}

#[test]
fn cut_and_changed_at_every_byte() {
    let aliases = chain(3);
    let mut lists: Vec<(Kind, Vec<&[u8]>)> = vec![(Kind::A, aliases.iter().map(|record| &record[..]).collect())];
    let (one, six) = (record(ASKED, 1, &[10, 0, 0, 1]), record(ASKED, 28, &[1; 16]));
    lists.push((Kind::A, vec![&one, &one]));
    lists.push((Kind::Aaaa, vec![&six]));
    for (kind, records) in lists {
        let message = answer(kind, OK, &records);
        let asked = asked(kind);
        for cut in 0..message.len() {
            assert!(!matches!(read(&asked, &message[..cut]), Ok(Some(_))), "{cut}");
        }
        // Whatever stands there, it ends.
        for at in 0..message.len() {
            for byte in (0..=255).step_by(every(51)) {
                let mut changed = message.clone();
                changed[at] = byte;
                let _ = read(&asked, &changed);
            }
        }
    }
}
