//! Owns what the host knows of one request: what it said, what it has seen, and what may come of its body.

use std::sync::Arc;

use encke::engine::event::End;
use encke::engine::id::Id;
use encke::engine::output::Lent;

use crate::answers::Asked;

use super::client::Client;

/// An answer as the host gave it.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub body: Vec<u8>,
    pub begun: bool,
    pub length: Option<u64>,
    /// Settled with all that was promised.
    pub whole: bool,
    pub trailers: bool,
    pub tunnel: bool,
    pub close: bool,
}

#[derive(Debug)]
pub struct Record {
    pub id: Id,
    pub client: usize,
    /// Its place among the requests of its client.
    pub n: usize,
    pub asked: Asked,
    pub http10: bool,
    pub upgrade: bool,
    pub keep_alive: bool,
    pub head_size: u64,
    /// What it says goes through the mailbox, as from another thread.
    pub threaded: bool,
    pub follows: bool,
    pub body_over: bool,
    /// It waits for 100-continue, which the library had not sent when it was handed over.
    pub expects: bool,
    /// An answer was begun instead of 100-continue: the body ended without a byte of it.
    pub refused: bool,
    pub tunnel_over: bool,
    pub got: Vec<u8>,
    pub unacked: u64,
    pub informs: Vec<u16>,
    pub said: Option<Said>,
    pub given_up: bool,
    /// AGAIN was the last answer to a write, so WRITABLE will come; and how many may come at the most: one for each series
    /// of AGAINs, as the first may still be on its way when a write finds room and the next does not.
    pub again: bool,
    pub writables: u32,
    pub half_closed: bool,
    pub settled: bool,
    pub settle_heard: bool,
    pub settled_gone: bool,
    pub aborted: Option<End>,
    pub done: Option<(End, u64)>,
    pub loan: Option<(u64, Arc<Vec<u8>>)>,
    pub user: u64,
}

impl Record {
    /// Whether the host has done something with it that ends its connection.
    pub fn ends_connection(&self) -> bool {
        let said = self.said.as_ref();
        self.given_up || said.is_some_and(|said| said.close || said.tunnel || self.http10 && said.begun)
    }

    /// What came so far is what the client sent; `more` says whether that was all.
    pub fn check_body(&mut self, client: &Client, more: bool) {
        let tunnel = self.said.as_ref().is_some_and(|said| said.tunnel);
        assert!(self.follows || tunnel, "BODY without BODY_FOLLOWS");
        assert!(!self.body_over || tunnel, "BODY after the last piece");
        assert!(!self.tunnel_over, "BODY after the end of the tunnel");
        let body = if self.follows { client.body(self.n) } else { Vec::new() };
        let end = client.end_of_body(self.n);
        if self.got.len() <= body.len() && !(self.body_over && !more) {
            assert!(body.starts_with(&self.got), "the body arrived changed");
            if !more {
                let whole = end.is_some() && self.got.len() == body.len();
                let begun = self.said.as_ref().is_some_and(|said| said.begun);
                self.refused = !whole && self.expects && begun && self.got.is_empty() && !self.informs.contains(&100);
                assert!(whole || self.refused, "the last piece came before the end of the body");
                self.body_over = true;
            }
            return;
        }
        assert!(tunnel, "more body than was sent");
        let end = end.expect("raw bytes before the end of the body");
        let all = [&body[..], &client.sent[end..]].concat();
        assert!(all.starts_with(&self.got), "the tunnel changes bytes");
        if !more {
            assert!(client.fin || client.left, "the end of a tunnel that has no end");
            assert_eq!(self.got.len(), all.len(), "the end of the tunnel came too early");
            self.tunnel_over = true;
        }
    }
}

#[derive(Debug)]
pub struct Loan(pub Arc<Vec<u8>>);

impl Lent for Loan {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}
