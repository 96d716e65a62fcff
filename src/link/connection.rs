//! Owns one connection of a subscription, from the answer of the server on. Rule: a server that wants an answer has it, and one
//! that is left hears so, as far as that goes without waiting.

use std::task::{Context, Waker};

use super::reader::Reader;
use super::response::Fault;
use super::stream::Stream;

/// Bytes of answers that may wait until the server takes them; beyond, it gets no more.
const MAX_ANSWERS: usize = 4096;

#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    pub reader: Reader,
}

impl Connection {
    /// Sends what the server wants to hear.
    pub fn answer(&mut self) -> Result<(), Fault> {
        let Reader::Socket(socket) = &mut self.reader else { return Ok(()) };
        let answer = std::mem::take(&mut socket.answer);
        if answer.is_empty() || self.stream.unsent() >= MAX_ANSWERS {
            return Ok(());
        }
        self.stream.queue(&answer)?;
        self.send();
        Ok(())
    }

    /// As much as the system takes now; the rest goes out while the connection is read.
    fn send(&mut self) {
        let _ = self.stream.poll_send(&mut Context::from_waker(Waker::noop()));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Reader::Socket(socket) = &mut self.reader {
            if socket.leave().is_ok() && self.answer().is_ok() {
                self.send();
            }
        }
    }
}
