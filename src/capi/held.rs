//! Owns the heads that are in the host's hands: the C view over the engine's head. Rule: what a view points to does not
//! move and does not change until the lease's rules (L3) have ended it.

use std::ffi::c_char;

use super::types::{encke_field, encke_head, encke_str};
use crate::engine::head::Head;
use crate::http1::request::Span;

pub struct Held {
    pub head: Box<Head>,
    fields: Vec<encke_field>,
    pub view: encke_head,
}

// SAFETY: the pointers of the view point into the buffers that move with it; nothing is changed while others read.
unsafe impl Send for Held {}

fn str_of(head: &Head, span: Span) -> encke_str {
    let text = head.text(span);
    encke_str { p: text.as_ptr() as *const c_char, n: text.len() }
}

impl Held {
    pub fn new() -> Box<Held> {
        Box::new(Held { head: Box::default(), fields: Vec::new(), view: encke_head::EMPTY })
    }

    /// Takes over a head and makes the view; gives back the head it had before.
    pub fn show(&mut self, head: Box<Head>) -> Box<Head> {
        self.fields.clear();
        self.fields.extend(
            head.fields
                .iter()
                .map(|field| encke_field { name: str_of(&head, field.name), value: str_of(&head, field.value) }),
        );
        let body = head.body();
        self.view = encke_head {
            id: head.id.0,
            connection: head.connection.0,
            listener: head.listener.0,
            method: str_of(&head, head.method),
            target: str_of(&head, head.target),
            path: str_of(&head, head.path),
            query: str_of(&head, head.query),
            host: str_of(&head, head.host),
            peer: str_of(&head, head.peer),
            fields: self.fields.as_ptr(),
            nfields: self.fields.len(),
            body: if body.is_empty() { std::ptr::null() } else { body.as_ptr().cast() },
            body_len: body.len(),
            content_length: head.content_length,
            version: head.version,
            flags: head.flags,
        };
        std::mem::replace(&mut self.head, head)
    }
}
