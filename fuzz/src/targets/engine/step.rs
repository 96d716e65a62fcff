//! Owns the steps of an input: what a byte of it makes happen.

use encke::engine::event::End;

use crate::bytes::{pattern, pieces, Bytes};

use super::client::Client;
use super::{say, World};

const MOST_CLIENTS: usize = 8;
const MOST_BODY: usize = 100_000;

/// Requests, good and bad, so that short inputs say much.
const SAYINGS: [&[u8]; 28] = [
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HEAD /a?b HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"3;e=1\r\nabc\r\n",
    b"A\r\n0123456789\r\n",
    b"0\r\nT: v\r\n\r\n",
    b"PUT /e HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\nExpect: 100-continue\r\n\r\n",
    b"0123456789012345678901234567890123456789",
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    b"GET /u HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n",
    b"GET /u HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\nContent-Length: 5\r\n\r\n",
    b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
    b"GET /0 HTTP/1.0\r\n\r\n",
    b"GET /0 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"HEAD /0 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /l HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"\r\n",
    b"GET /bad HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc",
    b"GET /bad HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET http://other/x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    b"G",
    b"POST /a HTTP/1.1\r\nHost: h\r\nX: ",
    b"GET /w HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n",
];

impl World {
    pub(super) fn step(&mut self, input: &mut Bytes<'_>) {
        let what = input.u8();
        if self.clients.is_empty() {
            self.connect(what);
        }
        match what % 32 {
            0 => self.connect(input.u8()),
            1..=3 => {
                let client = self.client(input);
                let text = input.text();
                self.send(client, text, 0);
            }
            4..=7 => {
                let client = self.client(input);
                let saying = SAYINGS[input.below(SAYINGS.len())];
                self.send(client, saying, input.u8());
            }
            8 => {
                let client = self.client(input);
                let n = input.u16() as usize % 40_000;
                if self.clients[client].sent.len() + n < MOST_BODY {
                    self.send(client, &pattern(client as u64, n), 0);
                }
            }
            9 => {
                let client = self.client(input);
                if !self.clients[client].left && !self.clients[client].fin {
                    say!("client {client} ends");
                    self.clients[client].fin = true;
                    self.driver.client_ends(self.clients[client].pipe);
                }
            }
            10 => {
                let client = self.client(input);
                self.leave(client, input.flag());
            }
            11 => {
                let client = self.client(input);
                let n = input.u16() as usize;
                say!("client {client} reads {n}");
                self.clients[client].read(&mut self.driver, n);
            }
            12..=15 => self.serve(256, 1000, usize::MAX),
            16 => {
                let (budget, hears, most) = (1 + input.below(4), input.below(4), input.below(5));
                self.serve(budget as u32, hears, most);
            }
            17..=26 => {
                let verb = input.u8();
                self.host.act(verb, input, &mut self.driver);
                self.calm &= !self.host.unruly;
            }
            27 => {
                self.calm = false;
                self.driver.now += [1, 10, 300, 1000, 70_000][input.below(5)];
                say!("it is {}", self.driver.now);
            }
            28 => {
                let n = input.pick(&[0, 1, 2, 100]);
                self.set_max_held(n);
            }
            29 => {
                self.calm = false;
                let grace = input.pick(&[0, 100, 10_000]);
                say!("drain within {grace}");
                self.driver.drain(grace);
            }
            30 => {
                self.calm = false;
                let client = self.client(input);
                if let Some(connection) = self.driver.connection_of(self.clients[client].pipe) {
                    say!("cut of client {client}");
                    self.host.speak(&mut self.driver);
                    self.driver.engine.cut(connection, End::Host);
                    self.driver.after_answer();
                }
            }
            _ => {
                // All at once: what is there is read and answered.
                self.serve(256, 1000, usize::MAX);
                for client in &mut self.clients {
                    client.read(&mut self.driver, usize::MAX);
                }
            }
        }
    }

    fn client(&mut self, input: &mut Bytes<'_>) -> usize {
        input.below(self.clients.len())
    }

    fn connect(&mut self, room: u8) {
        if self.clients.len() < MOST_CLIENTS && !self.driver.engine.is_draining() {
            let room = [200_000, 1, 100, 3000][room as usize % 4];
            let pipe = self.driver.connect(room);
            say!("a client connects, pipe {pipe}, room {room}");
            self.clients.push(Client::new(pipe));
        }
    }

    /// In pieces, with a turn of the server between them.
    fn send(&mut self, client: usize, bytes: &[u8], manner: u8) {
        let pieces = pieces(bytes, manner);
        let last = pieces.len() - 1;
        for (i, piece) in pieces.into_iter().enumerate() {
            let client = &mut self.clients[client];
            if client.left || client.fin || client.sent.len() > MOST_BODY {
                return;
            }
            say!("client on pipe {} sends {:?}", client.pipe, String::from_utf8_lossy(piece));
            client.sent.extend_from_slice(piece);
            self.driver.client_sends(client.pipe, piece);
            if i < last {
                self.run_once(256, 0);
            }
        }
    }

    fn leave(&mut self, client: usize, resets: bool) {
        let client = &mut self.clients[client];
        if client.left {
            return;
        }
        say!("the client on pipe {} leaves, resetting: {resets}", client.pipe);
        client.left = true;
        // Whose kernel has unread bytes says so by a reset.
        if resets || !self.driver.pipes[client.pipe].down.is_empty() {
            self.driver.client_resets(client.pipe);
        } else {
            self.driver.client_leaves(client.pipe);
        }
    }

    fn serve(&mut self, budget: u32, hears: usize, most: usize) {
        say!("run: {budget} connections, {hears} submissions, {most} events");
        self.run_once(budget, hears);
        self.take_events(most);
    }
}
