//! A handshake and a request, cut at every byte: the answer is always the same. Client and server take turns on one thread
//! over a socket pair, so that each piece is read by itself.
//!
//! A recording cannot be played back, the keys differ each time: it is the same script, cut elsewhere.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::api::Tls;
use super::client::{post_head, Answer};
use super::server::Server;
use super::setup::{speaking, usual, VERSIONS};

struct Script {
    server: Server,
    tls: Tls,
    config: Arc<ClientConfig>,
}

/// How many bytes may be sent in one piece, of those from `sent` on.
type Cut<'a> = &'a dyn Fn(usize) -> usize;

impl Script {
    fn new(config: Arc<ClientConfig>, tls: Tls) -> Script {
        Script { server: Server::new(&[]), tls, config }
    }

    /// Plays it; returns the answers and how many bytes were sent.
    fn play(&mut self, cut: Cut<'_>) -> (Vec<Answer>, usize) {
        let (mut socket, theirs) = UnixStream::pair().expect("a socket pair");
        socket.set_nonblocking(true).expect("non-blocking");
        self.server.encke.adopt(theirs.into(), &self.tls);
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(self.config.clone(), name).expect("a client");
        let requests = post_head("/echo", 5) + "helloGET /small HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.writer().write_all(requests.as_bytes()).expect("room");
        let (mut sent, mut plain, mut answers) = (0, Vec::new(), Vec::new());
        while answers.len() < 2 {
            let mut out = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut out).expect("room");
            }
            let mut out = &out[..];
            let mut moved = !out.is_empty();
            while !out.is_empty() {
                let n = cut(sent).min(out.len());
                socket.write_all(&out[..n]).expect("a server that listens");
                (sent, out) = (sent + n, &out[n..]);
                self.server.turn();
            }
            loop {
                match client.read_tls(&mut socket) {
                    Ok(0) => panic!("the server hung up after {sent} bytes"),
                    Ok(_) => moved = true,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
                let n = client.process_new_packets().expect("a good server").plaintext_bytes_to_read();
                let start = plain.len();
                plain.resize(start + n, 0);
                client.reader().read_exact(&mut plain[start..]).expect("what rustls has");
            }
            while let Some((answer, n)) = Answer::parse(&plain) {
                plain.drain(..n);
                answers.push(answer);
            }
            assert!(moved || answers.len() == 2, "nothing moves any more after {sent} bytes");
        }
        assert!(plain.is_empty() && answers.len() == 2);
        (answers, sent)
    }

    fn finish(mut self, played: usize) {
        self.server.turn();
        let watched = self.server.watched();
        let log = watched.log.lock().unwrap();
        assert_eq!((log.opened, log.closed, log.requests.len()), (played, played, 2 * played));
    }
}

fn everywhere(config: Arc<ClientConfig>, tls: Tls) {
    let mut script = Script::new(config, tls);
    let (expected, total) = script.play(&|_| usize::MAX);
    assert_eq!((expected[0].body.as_slice(), expected[1].body.as_slice()), (&b"hello"[..], &b"hello"[..]));
    for at in 1..total {
        let cut = |sent: usize| if sent < at { at - sent } else { usize::MAX };
        assert_eq!(script.play(&cut), (expected.clone(), total), "cut at {at} of {total}");
    }
    for piece in [1, 7] {
        assert_eq!(script.play(&|_| piece), (expected.clone(), total), "in pieces of {piece}");
    }
    script.finish(total + 2);
}

#[test]
fn tls13_at_every_byte() {
    everywhere(speaking(VERSIONS[0]), usual());
}

#[test]
fn tls12_at_every_byte() {
    everywhere(speaking(VERSIONS[1]), usual());
}
