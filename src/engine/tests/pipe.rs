//! Owns the in-memory connections between virtual clients and the virtual driver, and the clients' side of them. Rule: what
//! the kernel would tell of a socket is an edge of its pipe, told once.

use std::collections::VecDeque;

use super::driver::Driver;

/// How the server ended a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Closed,
    Reset,
}

/// A connection as the kernel sees it, between one client and the server.
#[derive(Debug, Default)]
pub struct Pipe {
    /// On the way to the server, and to the client.
    pub up: VecDeque<u8>,
    pub down: VecDeque<u8>,
    /// Bytes that the way to the client holds.
    pub room: usize,
    /// The client has closed its sending side; is gone altogether.
    pub fin: bool,
    pub gone: bool,
    pub reset: bool,
    /// The server has closed its sending side; everything.
    pub shut: bool,
    pub ended: Option<Ended>,
    pub connection: Option<u32>,
    pub full: bool,
    pub edge: bool,
    /// Bytes that ever went down.
    pub sent: u64,
}

impl Driver {
    pub fn connect(&mut self, room: usize) -> usize {
        self.pipes.push(Pipe { room, ..Pipe::default() });
        self.news.push(false);
        self.backlog.push_back(self.pipes.len() - 1);
        self.pipes.len() - 1
    }

    pub fn client_sends(&mut self, pipe: usize, bytes: &[u8]) {
        let ends = &mut self.pipes[pipe];
        if ends.ended.is_some() {
            ends.ended = Some(Ended::Reset); // sent to a closed socket
        } else if !bytes.is_empty() {
            ends.up.extend(bytes);
            self.edge(pipe);
        }
    }

    pub fn client_ends(&mut self, pipe: usize) {
        self.pipes[pipe].fin = true;
        self.edge(pipe);
    }

    pub fn client_leaves(&mut self, pipe: usize) {
        self.client_ends(pipe);
        self.pipes[pipe].gone = true;
    }

    pub fn client_resets(&mut self, pipe: usize) {
        let ends = &mut self.pipes[pipe];
        (ends.fin, ends.gone, ends.reset) = (true, true, true);
        ends.up.clear();
        ends.down.clear();
        self.edge(pipe);
    }

    pub fn client_reads(&mut self, pipe: usize, most: usize, into: &mut Vec<u8>) -> usize {
        let ends = &mut self.pipes[pipe];
        let n = most.min(ends.down.len());
        let (front, back) = ends.down.as_slices();
        let first = n.min(front.len());
        into.extend_from_slice(&front[..first]);
        into.extend_from_slice(&back[..n - first]);
        ends.down.drain(..n);
        self.news[pipe] = !ends.down.is_empty();
        if ends.full && ends.down.len() * 3 <= ends.room * 2 {
            ends.full = false;
            self.edge(pipe);
        }
        n
    }

    /// The kernel has something to tell of this pipe.
    pub fn edge(&mut self, pipe: usize) {
        let ends = &mut self.pipes[pipe];
        if !ends.edge && ends.connection.is_some() {
            ends.edge = true;
            self.edges.push(pipe);
        }
    }
}
