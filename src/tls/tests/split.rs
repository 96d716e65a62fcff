//! However the input is cut, the session does the same.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};

use super::pki::{localhost, Authority};
use super::wire::{client, client_with, connect, serving, Wire, VERSIONS};
use crate::tls::Progress;

/// Everything byte by byte, both flights of the handshake and data.
#[test]
fn byte_by_byte() {
    let root = Authority::new("clients");
    let me = root.issue(&["me"]);
    let certificates = serving(&[localhost()]);
    certificates.add_client_roots(root.pem.as_bytes()).unwrap();
    for version in VERSIONS {
        let mut wire = Wire::new(&certificates, &Arc::new(client_with(version, Some(&me))));
        wire.client_says(&[b'x'; 20_000]);
        loop {
            let bytes = wire.client_sends();
            if bytes.is_empty() && wire.to_client.is_empty() {
                break;
            }
            for byte in bytes {
                wire.server_takes(&[byte]).unwrap();
                // One record, never more.
                assert!(wire.session.buffered() < 5 + 16_384 + 256);
            }
            assert_eq!(wire.session.buffered(), 0);
            wire.client_takes().unwrap();
        }
        assert_eq!(wire.server_got, [b'x'; 20_000]);
        assert_eq!(wire.progress.iter().filter(|progress| **progress == Progress::Established).count(), 1);
        assert_eq!(wire.session.client_certificate(), Some(me.leaf.as_ref()));
        wire.exchange();
    }
}

/// Each flight cut in two at every place, the end of the handshake with data and close_notify behind it.
#[test]
fn every_cut() {
    let certificates = serving(&[localhost()]);
    for version in VERSIONS {
        let client = client(version);
        // Resumed handshakes are the cheaper ones here; the flights have the same parts. Full ones are cut above.
        connect(&certificates, &client);
        let mut cut = 1;
        let mut longest = usize::MAX;
        while cut < longest {
            let mut wire = Wire::new(&certificates, &client);
            longest = 0;
            let mut ended = false;
            loop {
                let mut bytes = wire.client_sends();
                if !wire.client.is_handshaking() && !ended {
                    ended = true;
                    wire.client_says(b"request");
                    wire.client.send_close_notify();
                    bytes.extend(wire.client_sends());
                }
                if bytes.is_empty() && wire.to_client.is_empty() {
                    break;
                }
                longest = longest.max(bytes.len());
                let (one, two) = bytes.split_at(cut.min(bytes.len()));
                wire.server_takes(one).unwrap();
                wire.server_takes(two).unwrap();
                wire.client_takes().unwrap();
            }
            assert_eq!(wire.server_got, b"request", "cut at {cut}");
            assert_eq!(wire.progress.last(), Some(&Progress::Closed));
            assert!(!wire.session.is_handshaking());
            assert_eq!(wire.session.buffered(), 0);
            cut += 1;
        }
        assert!(cut > 300);
    }
}

/// Handshake messages in many small records, which rustls must see again until the message is whole.
#[test]
fn fragmented_handshake_messages() {
    let root = Authority::new("clients");
    let me = root.issue(&["me"]);
    let certificates = serving(&[localhost()]);
    certificates.add_client_roots(root.pem.as_bytes()).unwrap();
    for version in VERSIONS {
        for fragment in [32, 33, 64, 200] {
            for piece in [1, 7, 40, 10_000] {
                let mut config = client_with(version, Some(&me));
                config.max_fragment_size = Some(fragment);
                let mut wire = Wire::new(&certificates, &Arc::new(config));
                loop {
                    let bytes = wire.client_sends();
                    if bytes.is_empty() && wire.to_client.is_empty() {
                        break;
                    }
                    for piece in bytes.chunks(piece) {
                        wire.server_takes(piece).unwrap();
                    }
                    assert_eq!(wire.session.buffered(), 0);
                    wire.client_takes().unwrap();
                }
                wire.exchange();
            }
        }
    }
}

/// Two requests and half a third in one read: what is whole is delivered, and no more.
#[test]
fn whole_records_are_delivered_at_once() {
    for version in [&TLS13, &TLS12] {
        let mut wire = connect(&serving(&[localhost()]), &client(version));
        wire.server_got.clear();
        let mut bytes = Vec::new();
        for text in ["first", "second", "third"] {
            wire.client_says(text.as_bytes());
            bytes.extend(wire.client_sends());
        }
        let (most, rest) = bytes.split_at(bytes.len() - 1);
        wire.server_takes(most).unwrap();
        assert_eq!(wire.server_got, b"firstsecond");
        wire.server_takes(rest).unwrap();
        assert_eq!(wire.server_got, b"firstsecondthird");
        assert_eq!(wire.session.buffered(), 0);
    }
}
