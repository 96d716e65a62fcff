//! Owns the way of bytes from the engine into the pipes, and what becomes of a pipe afterwards. Rule: as in `io`: what does
//! not fit blocks the socket until there is an edge.

use std::io::IoSlice;
use std::os::unix::fs::FileExt;

use crate::engine::output::Front;
use crate::engine::Verdict;

use super::driver::Driver;
use super::pipe::Ended;

const SLICES: usize = 32;
/// Bytes that a secure connection takes for a record.
const RECORD: usize = 1000;

/// Passes on `len` bytes of the slices from `at` on, or as many as there are.
fn append(slices: &[IoSlice<'_>], mut at: usize, mut len: usize, mut take: impl FnMut(&[u8])) {
    for slice in slices {
        let n = len.min(slice.len().saturating_sub(at));
        if n > 0 {
            take(&slice[at..at + n]);
        }
        (at, len) = (at.saturating_sub(slice.len()), len - n);
    }
}

impl Driver {
    pub fn flush(&mut self) {
        while let Some(connection) = self.engine.next_dirty() {
            self.write(connection);
        }
    }

    /// Writes what a turn gave.
    pub fn give(&mut self, connection: u32) {
        let Some(bytes) = self.engine.straight() else { return self.write(connection) };
        let socket = self.sockets[connection as usize].as_mut().expect("a turn of a connection that is none");
        assert!(!socket.secure && !bytes.is_empty(), "the short way is not this one's");
        let pipe = &mut self.pipes[socket.pipe];
        if pipe.reset && !socket.blocked {
            return self.forget(connection);
        }
        let (free, whole) = (pipe.room - pipe.down.len().min(pipe.room), bytes.len());
        let n = if socket.blocked { 0 } else { whole.min(free) };
        pipe.down.extend(&bytes[..n]);
        pipe.sent += n as u64;
        self.news[socket.pipe] |= n > 0;
        pipe.full |= !socket.blocked && n < whole;
        if n > 0 {
            socket.went = self.engine.now();
        }
        if pipe.gone && n > 0 {
            pipe.down.clear();
            pipe.reset = true;
            let pipe = socket.pipe;
            self.edge(pipe);
        }
        self.moved += n as u64;
        self.given += n as u64;
        if !self.engine.went_straight(n) {
            assert!(n < whole);
            if let Some(socket) = self.sockets[connection as usize].as_mut() {
                socket.blocked = true;
            }
            self.obey(connection);
        }
    }

    pub fn write(&mut self, connection: u32) {
        let mut turn = 0;
        loop {
            let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return };
            if socket.blocked {
                break;
            }
            let pipe = &mut self.pipes[socket.pipe];
            let mut slices = [IoSlice::new(&[]); SLICES];
            let front = self.engine.front(connection, &mut slices);
            if pipe.reset && !matches!(front, Front::Nothing) {
                return self.forget(connection);
            }
            let free = pipe.room - pipe.down.len().min(pipe.room);
            let (n, offered) = match front {
                Front::Nothing => break,
                Front::Bytes(filled, _) => {
                    let offered = slices[..filled].iter().map(|slice| slice.len()).sum::<usize>();
                    let n = offered.min(free);
                    append(&slices[..filled], 0, n, |bytes| pipe.down.extend(bytes));
                    if socket.secure {
                        let mut front = Vec::new();
                        append(&slices[..filled], 0, socket.promised.len(), |bytes| front.extend_from_slice(bytes));
                        assert!(front == socket.promised, "what was promised is at the front no more");
                        socket.promised.drain(..n.min(socket.promised.len()));
                        if socket.promised.is_empty() {
                            let promised = &mut socket.promised;
                            append(&slices[..filled], n, RECORD, |bytes| promised.extend_from_slice(bytes));
                        }
                    }
                    (n, offered)
                }
                Front::File { left: 0, .. } => (0, 0),
                Front::File { .. } if free == 0 => (0, 1),
                Front::File { file, offset, left } => {
                    let most = free.min(left as usize).min(self.file.len());
                    match file.read_at(&mut self.file[..most], offset).expect("reading a file") {
                        0 => {
                            self.engine.file_failed(connection);
                            continue;
                        }
                        n => {
                            pipe.down.extend(&self.file[..n]);
                            (n, 0)
                        }
                    }
                }
            };
            pipe.sent += n as u64;
            self.news[socket.pipe] |= n > 0;
            if n > 0 || offered == 0 {
                socket.went = self.engine.now(); // a drain has one time
            }
            let bounced = pipe.gone && n > 0;
            if bounced {
                // Nobody is there to read: the peer's kernel answers with a reset.
                pipe.down.clear();
                pipe.reset = true;
            }
            if n < offered {
                pipe.full = true;
            }
            socket.blocked = n < offered;
            let promised = socket.promised.len();
            if bounced {
                let pipe = socket.pipe;
                self.edge(pipe);
            }
            if n == 0 && offered > 0 {
                self.engine.promised(connection, promised);
                break;
            }
            self.moved += n as u64;
            self.given += n as u64;
            let all = self.engine.sent(connection, n);
            self.engine.promised(connection, promised);
            if all {
                break;
            }
            turn += n as u64;
            if turn >= self.write_turn && !self.sockets[connection as usize].as_ref().is_some_and(|s| s.blocked) {
                self.engine.make_ready(connection);
                break;
            }
        }
        self.obey(connection);
    }

    pub fn obey(&mut self, connection: u32) {
        let verdict = self.engine.verdict(connection);
        let Some(Some(socket)) = self.sockets.get(connection as usize) else { return };
        let pipe = &mut self.pipes[socket.pipe];
        match verdict {
            Verdict::Stay => {}
            Verdict::Shutdown => {
                self.moved += 1;
                (pipe.shut, self.news[socket.pipe]) = (true, true);
                let (pipe, fin) = (socket.pipe, pipe.fin);
                if let Some(Some(socket)) = self.sockets.get_mut(connection as usize) {
                    socket.shut = self.now;
                }
                if fin {
                    self.edge(pipe);
                }
                self.engine.make_ready(connection);
            }
            Verdict::Close => self.forget(connection),
            Verdict::Reset => {
                pipe.ended = Some(Ended::Reset);
                self.forget(connection);
            }
        }
    }
}
