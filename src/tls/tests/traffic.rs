//! After the handshake: bytes both ways, key updates, the two ends.

use rustls::version::TLS13;

use super::pki::localhost;
use super::wire::{client, connect, serving, Wire, VERSIONS};
use crate::tls::Progress;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// The sizes of the records in `bytes`, headers included.
fn records(mut bytes: &[u8]) -> Vec<usize> {
    let mut sizes = Vec::new();
    while let [_, _, _, high, low, ..] = *bytes {
        let len = 5 + usize::from(u16::from_be_bytes([high, low]));
        sizes.push(len);
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty());
    sizes
}

#[test]
fn much_data_both_ways() {
    for version in VERSIONS {
        let mut wire = connect(&serving(&[localhost()]), &client(version));
        wire.server_got.clear();
        wire.client_got.clear();
        for len in [1, 16_383, 16_384, 16_385, 100_000, 1 << 20] {
            let data = pattern(len);
            // The client's own buffer is limited.
            for part in data.chunks(32_768) {
                wire.client_says(part);
                wire.run().unwrap();
            }
            assert!(wire.server_got == data);
            wire.server_says(&data);
            wire.run().unwrap();
            assert!(wire.client_got == data);
            assert_eq!(wire.session.buffered(), 0);
            wire.server_got.clear();
            wire.client_got.clear();
        }
    }
}

#[test]
fn as_few_records_as_possible() {
    for version in VERSIONS {
        let mut wire = connect(&serving(&[localhost()]), &client(version));
        for (len, expected) in [(0, 0), (1, 1), (16_384, 1), (16_385, 2), (40_000, 3)] {
            wire.server_says(&pattern(len));
            assert_eq!(records(&wire.to_client).len(), expected);
            wire.run().unwrap();
        }
    }
}

#[test]
fn what_is_appended_is_appended() {
    let mut wire = connect(&serving(&[localhost()]), &client(&TLS13));
    let mut out = b"before".to_vec();
    wire.session.encrypt(b"one", &mut out).unwrap();
    wire.session.close(&mut out);
    assert_eq!(&out[..6], b"before");
    assert_eq!(records(&out[6..]), [5 + 3 + 1 + 16, 5 + 2 + 1 + 16]);
    wire.to_client.extend_from_slice(&out[6..]);
    wire.run().unwrap();
    assert!(wire.client_got.ends_with(b"one"));
}

#[test]
fn the_client_ends_first() {
    for version in VERSIONS {
        let mut wire = connect(&serving(&[localhost()]), &client(version));
        wire.client_says(b"last words");
        wire.client.send_close_notify();
        let bytes = wire.client_sends();
        assert_eq!(wire.server_takes(&bytes), Ok(Progress::Closed));
        assert!(wire.server_got.ends_with(b"last words"));
        // What comes after the end is not looked at, and the answer can still be sent.
        assert_eq!(wire.server_takes(b"\x17\x03\x03\x00\x04junk"), Ok(Progress::Closed));
        assert_eq!(wire.server_takes(b""), Ok(Progress::Closed));
        assert_eq!(wire.session.buffered(), 0);
        wire.server_says(b"the answer");
        wire.session.close(&mut wire.to_client);
        wire.client_takes().unwrap();
        assert!(wire.client_got.ends_with(b"the answer"));
        assert!(wire.client.process_new_packets().unwrap().peer_has_closed());
    }
}

/// The end arrives in pieces, and other bytes right behind it.
#[test]
fn the_end_in_pieces() {
    for version in VERSIONS {
        let mut wire = connect(&serving(&[localhost()]), &client(version));
        wire.client.send_close_notify();
        let mut bytes = wire.client_sends();
        bytes.extend_from_slice(b"\x17\x03\x03\x00\x04junk\x17");
        assert_eq!(wire.server_takes(&bytes[..3]), Ok(Progress::Going));
        assert_eq!(wire.session.buffered(), 3);
        assert_eq!(wire.server_takes(&bytes[3..]), Ok(Progress::Closed));
        assert_eq!(wire.session.buffered(), 0);
        wire.server_says(b"still there");
        wire.session.close(&mut wire.to_client);
        wire.client_takes().unwrap();
        assert!(wire.client_got.ends_with(b"still there"));
    }
}

#[test]
fn we_end_first() {
    for version in VERSIONS {
        let mut wire = connect(&serving(&[localhost()]), &client(version));
        wire.server_takes(b"\x17\x03\x03").unwrap();
        wire.session.close(&mut wire.to_client);
        assert_eq!(wire.session.buffered(), 0);
        let said = wire.to_client.len();
        wire.session.close(&mut wire.to_client);
        assert_eq!(wire.to_client.len(), said);
        wire.session.encrypt(b"too late", &mut wire.to_client).unwrap_err();
        assert_eq!(wire.to_client.len(), said);
        wire.client_takes().unwrap();
        assert!(wire.client.process_new_packets().unwrap().peer_has_closed());
        // What still comes is not looked at, good or bad.
        wire.client_says(b"more");
        let mut bytes = wire.client_sends();
        bytes.extend_from_slice(b"\x17\x03\x03\x00\x20 this is not any record of theirs ");
        let (got, sent) = (wire.server_got.len(), wire.to_client.len());
        for piece in bytes.chunks(7) {
            assert_eq!(wire.server_takes(piece), Ok(Progress::Going));
        }
        assert_eq!((wire.server_got.len(), wire.to_client.len(), wire.session.buffered()), (got, sent, 0));
    }
}

/// All in one piece: the end of the handshake, a request, the end.
#[test]
fn a_whole_life_in_one_call() {
    for version in VERSIONS {
        let mut wire = Wire::new(&serving(&[localhost()]), &client(version));
        let hello = wire.client_sends();
        wire.server_takes(&hello).unwrap();
        wire.client_takes().unwrap();
        let mut bytes = wire.client_sends();
        let closed_early = version == &TLS13;
        if closed_early {
            wire.client_says(b"request");
            wire.client.send_close_notify();
            bytes.extend(wire.client_sends());
        }
        assert_eq!(wire.server_takes(&bytes), Ok(if closed_early { Progress::Closed } else { Progress::Established }));
        assert!(!wire.session.is_handshaking());
        assert_eq!(wire.server_got, if closed_early { &b"request"[..] } else { b"" });
        wire.session.encrypt(b"answer", &mut wire.to_client).unwrap();
        wire.client_takes().unwrap();
        assert_eq!(wire.client_got, b"answer");
    }
}

#[test]
fn key_updates() {
    let mut wire = connect(&serving(&[localhost()]), &client(&TLS13));
    for _ in 0..100 {
        wire.client.refresh_traffic_keys().unwrap();
        let bytes = wire.client_sends();
        // In two pieces, with an answer encrypted between them.
        wire.server_takes(&bytes[..7]).unwrap();
        wire.server_says(b"between");
        wire.server_takes(&bytes[7..]).unwrap();
        wire.run().unwrap();
        assert!(wire.client_got.ends_with(b"between"));
        wire.exchange();
    }
    assert_eq!(wire.session.buffered(), 0);
}

/// Many key updates without data are refused, with an alert.
#[test]
fn too_many_key_updates() {
    let mut wire = connect(&serving(&[localhost()]), &client(&TLS13));
    let failure = (0..100).find_map(|_| {
        wire.client.refresh_traffic_keys().unwrap();
        let bytes = wire.client_sends();
        let failure = wire.server_takes(&bytes).err();
        wire.client_takes().ok();
        failure
    });
    assert!(failure.unwrap().to_string().contains("TooManyKeyUpdateRequests"));
}
