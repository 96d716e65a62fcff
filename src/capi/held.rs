//! Owns the heads that are in the host's hands: the C view over the engine's head. Rule: what a view points to does not
//! move and does not change until the lease's rules (L3) have ended it.

use std::ffi::c_char;

use super::place::Place;
use super::types::{encke_field, encke_head, encke_str};
use crate::engine::head::Head;
use crate::engine::id::Id;
use crate::http1::request::Span;

pub struct Held {
    head: Option<Box<Head>>,
    fields: Vec<encke_field>,
    pub view: encke_head,
    /// What the view was made of: a head of the same pattern and connection at the same place has the same texts.
    of: (*const u8, u64, Id),
}

// SAFETY: the pointers of the view point into the buffers that move with it; nothing is changed while others read.
unsafe impl Send for Held {}

#[inline]
fn str_of(head: &Head, span: Span) -> encke_str {
    debug_assert!(span.end() < head.bytes.len());
    encke_str { p: head.bytes.as_ptr().wrapping_add(span.start as usize).cast::<c_char>(), n: span.len as usize }
}

impl Held {
    pub fn new() -> Place<Held> {
        Place::new(Held {
            head: None,
            fields: Vec::new(),
            view: encke_head::EMPTY,
            of: (std::ptr::null(), 0, Id::NONE),
        })
    }

    /// Takes over a head and makes the view.
    #[inline]
    pub fn show(&mut self, head: Box<Head>) {
        let of = (head.bytes.as_ptr(), head.pattern, head.connection);
        if self.of != of {
            self.make(&head);
            self.of = of;
        }
        let body_len = head.bytes.len() - head.body as usize;
        let body = head.bytes.as_ptr().wrapping_add(head.body as usize);
        self.view.id = head.id.0;
        self.view.body = if body_len == 0 { std::ptr::null() } else { body.cast() };
        self.view.body_len = body_len;
        self.view.content_length = head.content_length;
        self.view.flags = head.flags;
        self.head = Some(head);
    }

    /// All but what differs from one request to the next.
    #[inline(never)]
    fn make(&mut self, head: &Head) {
        self.fields.clear();
        self.fields.extend(
            head.fields
                .iter()
                .map(|field| encke_field { name: str_of(head, field.name), value: str_of(head, field.value) }),
        );
        self.view = encke_head {
            connection: head.connection.0,
            listener: head.listener.0,
            method: str_of(head, head.method),
            target: str_of(head, head.target),
            path: str_of(head, head.path),
            query: str_of(head, head.query),
            host: str_of(head, head.host),
            peer: str_of(head, head.peer),
            fields: self.fields.as_ptr(),
            nfields: self.fields.len(),
            version: head.version,
            ..encke_head::EMPTY
        };
    }

    pub fn head(&self) -> Option<&Head> {
        self.head.as_deref()
    }

    /// The view is over.
    pub fn take(&mut self) -> Option<Box<Head>> {
        self.head.take()
    }
}
