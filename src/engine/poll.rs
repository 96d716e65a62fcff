//! Owns the answers to long polls. Rule: what is pending for one is mostly pending for the next too, so it is put together
//! once; each answer is counted as if it were alone.

use std::io::Write;
use std::sync::Arc;

use crate::push::form::Form;
use crate::push::message::Message;

use super::answer::{Answer, Body};
use super::subscription::{has_field, recovered_line};
use super::Engine;

const CROWDED: &[u8] = b"503 too many polls wait for their answers\n";

/// What the last poll was answered, where nothing of it was about that poll alone.
#[derive(Debug)]
pub struct Batch {
    messages: Vec<Arc<Message>>,
    body: Arc<[u8]>,
}

impl Batch {
    fn is(&self, messages: &[Arc<Message>]) -> bool {
        self.messages.len() == messages.len() && self.messages.iter().zip(messages).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

impl Engine {
    /// The batch of a long poll, which ends it; an empty one where its time is over.
    pub(super) fn answer_poll(&mut self, slot: u32, messages: Vec<Arc<Message>>) {
        let Some(exchange) = self.exchanges.at(slot) else { return };
        let (id, connection) = (exchange.id, exchange.connection);
        let (mut lines, seen) = self.push.poll_lines.remove(&slot).unwrap_or_default();
        // Who asks many times and takes no answer gets no more of them while memory is scarce.
        if self.is_scarce() && self.connections.at(connection).is_some_and(|c| c.unsent() + c.pending > 0) {
            self.unseat(slot);
            lines.extend_from_slice(b"Retry-After: 1\r\n");
            let (content_type, body) = (Some(&b"text/plain; charset=utf-8"[..]), Body::Copy(CROWDED));
            let content_type = content_type.filter(|_| !seen.content_type);
            let lines = lines.into();
            let answer = Answer { status: 503, close: false, length: None, lines, seen, content_type, body };
            return self.send_whole(connection, id, answer);
        }
        let (position, recovered) = match self.push.feeds.at(slot) {
            Some(subscriber) => {
                let n = messages.last().map_or(subscriber.position, |message| message.position.n);
                (self.push.position(n), subscriber.recovered)
            }
            None => (self.push.position(0), None),
        };
        self.unseat(slot);
        let caching = if has_field(&lines, "cache-control:") { "" } else { "Cache-Control: no-store\r\n" };
        let _ = write!(lines, "Encke-Position: {position}\r\n{caching}"); // into memory: it cannot fail
        if let Some(recovered) = recovered {
            lines.extend_from_slice(recovered_line(recovered).as_bytes());
        }
        let delivered = messages.len() as u64;
        let body = match recovered {
            None if messages.is_empty() => None,
            Some(true) if messages.is_empty() => None,
            None => Some(self.common_batch(messages)),
            Some(_) => Some(put_together(&messages, &position.to_string(), recovered).into()),
        };
        self.counters.delivered += delivered;
        let answer = Answer {
            status: if body.is_some() { 200 } else { 204 },
            close: false,
            length: None,
            lines: lines.into(),
            seen,
            content_type: (body.is_some() && !seen.content_type).then_some(b"application/json"),
            body: body.map_or(Body::Copy(b""), Body::Common),
        };
        self.send_whole(connection, id, answer);
    }

    /// What these messages are in the answer to a poll that has not said where it was.
    fn common_batch(&mut self, messages: Vec<Arc<Message>>) -> Arc<[u8]> {
        if let Some(batch) = self.push.batch.as_ref().filter(|batch| batch.is(&messages)) {
            return batch.body.clone();
        }
        let last = messages.last().map_or(0, |message| message.position.n);
        let body: Arc<[u8]> = put_together(&messages, &self.push.position(last).to_string(), None).into();
        self.push.batch = Some(Batch { messages, body: body.clone() });
        body
    }
}

fn put_together(messages: &[Arc<Message>], position: &str, recovered: Option<bool>) -> Vec<u8> {
    let forms: usize = messages.iter().map(|message| message.form(Form::Json).len() + 1).sum();
    let mut body = Vec::with_capacity(forms + 100);
    body.extend_from_slice(format!("{{\"position\":\"{position}\"").as_bytes());
    if let Some(recovered) = recovered {
        body.extend_from_slice(format!(",\"recovered\":{recovered}").as_bytes());
    }
    body.extend_from_slice(b",\"messages\":[");
    for (i, message) in messages.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(message.form(Form::Json));
    }
    body.extend_from_slice(b"]}");
    body
}
