//! Clients that are wrong, broken or bad: an alert, an error, and never more than that.

use std::sync::Arc;

use rustls::version::TLS13;
use rustls::{AlertDescription, Error};

use super::pki::localhost;
use super::wire::{client, client_with, connect, serving, Wire, VERSIONS};
use crate::tls::{Progress, Session};

/// The unencrypted alert in `out`.
fn alert(out: &[u8]) -> u8 {
    let [21, 3, _, 0, 2, 2, description] = *out else {
        panic!("no fatal alert: {out:?}");
    };
    description
}

fn send(bytes: &[u8]) -> (Session, Vec<u8>, Result<Progress, crate::tls::Failure>) {
    let mut session = Session::new(serving(&[localhost()]));
    let mut out = Vec::new();
    let result = session.receive(&mut bytes.to_vec(), &mut out, &mut |_| panic!("plaintext"));
    (session, out, result)
}

#[test]
fn plain_http() {
    for text in ["GET / HTTP/1.1\r\n\r\n", "P", "options *"] {
        let (mut session, out, result) = send(text.as_bytes());
        assert_eq!(result, Ok(Progress::Plain));
        assert!(out.is_empty() && session.is_handshaking() && session.buffered() == 0);
        // Nothing was taken: the same again.
        let again = session.receive(&mut text.as_bytes().to_vec(), &mut Vec::new(), &mut |_| {});
        assert_eq!(again, Ok(Progress::Plain));
    }
    // Later it is no HTTP, but a broken record.
    let (mut session, _, result) = send(b"\x16");
    assert_eq!(result, Ok(Progress::Going));
    session.receive(&mut b"GET /".to_vec(), &mut Vec::new(), &mut |_| {}).unwrap_err();
}

#[test]
fn garbage() {
    for (bytes, expected) in [
        (&b"\x00\x00\x00\x00\x00"[..], 50),
        (b"\x80\x2e\x01\x03\x01\x00\x15", 50), // SSL 2
        (b"\xff\xff\xff\xff\xff\xff\xff", 50),
        (b"\x16\x03\x01\x00\x00", 50), // empty
        (b"\x16\x03\x01\x48\x00", 50), // too long, known before it is here
        (b"\x16\x03\x01\xff\xff", 50),
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 50), // a hello without anything
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", 50), // a server's hello
        (b"\x17\x03\x03\x00\x01\x00", 10),             // data first
        (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", 0),  // a hello of 16 MB
    ] {
        let (mut session, mut out, result) = send(bytes);
        let failure = result.unwrap_err();
        assert!(!failure.to_string().is_empty());
        let description = if out.is_empty() { 0 } else { alert(&out) };
        assert_eq!(description, expected, "{bytes:?}: {failure}");
        // Whatever is called afterwards says the same.
        out.clear();
        assert_eq!(session.receive(&mut [22, 3, 1], &mut out, &mut |_| panic!()), Err(failure.clone()));
        assert_eq!(session.receive(&mut [], &mut out, &mut |_| panic!()), Err(failure.clone()));
        assert_eq!(session.encrypt(b"x", &mut out), Err(failure));
        session.close(&mut out);
        assert!(out.is_empty() && session.buffered() == 0 && session.is_handshaking());
        assert_eq!((session.alpn(), session.version_and_suite(), session.client_certificate()), (None, None, None));
    }
}

/// Old clients and clients without anything in common are told so.
#[test]
fn a_damaged_hello() {
    let certificates = serving(&[localhost()]);
    let hello = Wire::new(&certificates, &client(&TLS13)).client_sends();
    // Every byte of it changed, one at a time: an error or not, but no panic, and an answer that a client can read.
    for place in 0..hello.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = hello.clone();
            bytes[place] ^= change;
            let mut session = Session::new(certificates.clone());
            let mut out = Vec::new();
            let result = session.receive(&mut bytes, &mut out, &mut |_| panic!("plaintext"));
            assert!(out.is_empty() || [21, 22].contains(&out[0]));
            if result.is_err() {
                assert!(session.buffered() == 0);
                session.receive(&mut bytes, &mut out, &mut |_| {}).unwrap_err();
            }
        }
    }
}

#[test]
fn a_damaged_record() {
    for version in VERSIONS {
        for place in [5, 13, 20] {
            let mut wire = connect(&serving(&[localhost()]), &client(version));
            let got = wire.server_got.len();
            wire.client_says(b"good");
            let mut bytes = wire.client_sends();
            wire.client_says(b"damaged");
            let second = bytes.len();
            bytes.extend(wire.client_sends());
            bytes[second + place] ^= 1;
            let failure = wire.server_takes(&bytes).unwrap_err();
            // What came before it was good.
            assert_eq!(&wire.server_got[got..], b"good");
            assert_eq!(wire.client_takes(), Err(Error::AlertReceived(AlertDescription::BadRecordMac)));
            assert_eq!(wire.session.encrypt(b"more", &mut wire.to_client), Err(failure.clone()));
            wire.session.close(&mut wire.to_client);
            assert_eq!(wire.server_takes(&bytes), Err(failure));
            assert!(wire.to_client.is_empty());
        }
    }
}

#[test]
fn an_oversize_record() {
    for version in VERSIONS {
        let mut wire = connect(&serving(&[localhost()]), &client(version));
        // Its header is enough.
        wire.server_takes(b"\x17\x03\x03\x48\x00").unwrap_err();
        assert!(matches!(wire.client_takes(), Err(Error::AlertReceived(_))));

        let mut wire = connect(&serving(&[localhost()]), &client(version));
        let mut bytes = b"\x17\x03\x03\x47\xff".to_vec();
        bytes.resize(5 + 0x47ff, 0);
        wire.server_takes(&bytes).unwrap_err();
        assert!(matches!(wire.client_takes(), Err(Error::AlertReceived(_))));
    }
}

#[test]
fn plain_records_after_the_handshake() {
    for version in VERSIONS {
        for record in
            [&b"\x15\x03\x03\x00\x02\x01\x00"[..], b"\x16\x03\x03\x00\x04\x00\x00\x00\x00", b"\x14\x03\x03\x00\x01\x01"]
        {
            let mut wire = connect(&serving(&[localhost()]), &client(version));
            wire.server_takes(record).unwrap_err();
            assert!(matches!(wire.client_takes(), Err(Error::AlertReceived(_))));
        }
    }
}

/// A handshake message of 64 KB in records of one byte: what is kept is bounded.
#[test]
fn a_message_in_too_many_pieces() {
    let mut session = Session::new(serving(&[localhost()]));
    let mut out = Vec::new();
    let mut most = 0;
    let mut message = vec![1, 0, 0xff, 0xff];
    message.resize(70_000, 0);
    let failed = message.iter().position(|byte| {
        let result = session.receive(&mut [22, 3, 1, 0, 1, *byte], &mut out, &mut |_| panic!());
        most = most.max(session.buffered());
        result.is_err()
    });
    assert!(failed.is_some());
    assert!(most <= (1 << 16) + 18_436, "{most}");
    assert_eq!(session.buffered(), 0);

    // The same in one piece.
    let mut session = Session::new(serving(&[localhost()]));
    let mut bytes: Vec<u8> = message.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    session.receive(&mut bytes, &mut out, &mut |_| panic!()).unwrap_err();
    assert_eq!(session.buffered(), 0);
}

#[test]
fn early_data_is_not_taken() {
    let certificates = serving(&[localhost()]);
    let mut config = client_with(&TLS13, None);
    config.enable_early_data = true;
    let client = Arc::new(config);
    connect(&certificates, &client);
    let mut wire = Wire::new(&certificates, &client);
    assert!(wire.client.early_data().is_none());
    wire.run().unwrap();
    wire.exchange();
}

/// The stream ends in the middle: the session has nothing to say about it, and no plaintext that is not whole.
#[test]
fn truncated() {
    for version in VERSIONS {
        let mut wire = connect(&serving(&[localhost()]), &client(version));
        let got = wire.server_got.len();
        wire.client_says(b"half of this");
        let bytes = wire.client_sends();
        assert_eq!(wire.server_takes(&bytes[..bytes.len() - 1]), Ok(Progress::Going));
        assert_eq!(wire.server_got.len(), got);
        assert_eq!(wire.session.buffered(), bytes.len() - 1);
    }
}
