//! Owns the choice of how a stream of messages is read: by the type that its answer has, or as a WebSocket.

use super::event_stream::Events;
use super::parts::{Part, Parts, Terms};
use super::response::{Body, Fault, Framing, Head, Media};
use super::websocket::Socket;

/// What a stream is read by.
#[derive(Debug)]
pub enum Reader {
    Parts(Parts),
    Events(Box<(Body, Events)>),
    Socket(Box<Socket>),
}

impl Reader {
    /// What this answer says that comes behind it. `None`: it is no stream of messages.
    pub fn of(head: &Head, goes_on: &[u8]) -> Option<Reader> {
        match &head.media {
            Media::Parts(boundary) => Some(Reader::Parts(Parts::new(Body::new(head.framing), boundary))),
            // What has no body has no events either.
            Media::Events if head.framing != Framing::Nothing => Some(Reader::Events(Box::new((
                Body::new(head.framing),
                Events::new(goes_on.to_vec(), head.recovered.is_some()),
            )))),
            _ => None,
        }
    }

    /// Bytes kept for a message that is not complete.
    pub fn kept(&self) -> usize {
        match self {
            Reader::Parts(parts) => parts.kept(),
            Reader::Events(both) => both.1.kept(),
            Reader::Socket(socket) => socket.kept(),
        }
    }

    /// Tells each message that is complete. True: the stream has ended.
    pub fn receive(&mut self, mut input: &[u8], terms: &Terms<'_>, tell: &mut dyn FnMut(Part)) -> Result<bool, Fault> {
        match self {
            Reader::Parts(parts) => parts.receive(input, terms, tell),
            Reader::Events(both) => loop {
                let (body, events) = &mut **both;
                let step = body.step(input)?;
                events.receive(&input[step.data], terms, tell)?;
                if step.done || step.consumed == 0 {
                    return Ok(step.done);
                }
                input = &input[step.consumed..];
            },
            Reader::Socket(socket) => socket.receive(input, terms, tell).map(|()| false),
        }
    }
}
