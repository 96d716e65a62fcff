//! The C boundary as a C program drives it, with pointers, lengths and threads of its own. Connections are made in the engine
//! and their bytes handed to it: nothing here needs a socket, so that all of it runs under Miri as well. Rule: what the header
//! lets a host read is read as late as it may be, and what was lent goes as soon as it may.
#![cfg(all(feature = "mounts", feature = "links"))]

use std::ffi::{c_char, c_int, CStr};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

use super::answering::*;
use super::channels::*;
use super::config::*;
use super::driving::*;
use super::event::*;
use super::info::*;
use super::links::*;
use super::mounts::*;
use super::param::*;
use super::response::*;
use super::result::*;
use super::sender::*;
use super::server::*;
use super::stats::*;
use super::tls::*;
use super::token::*;
use super::types::*;
use super::version::*;
use super::websocket::*;
use crate::engine::id::Id;
use crate::engine::output::Front;
use crate::engine::peer::Peer;
use crate::engine::word::{Letter, Owner, Topic, Word};
use crate::engine::Engine;

mod given;
mod lent;
mod push;
mod shown;

/// A program that has an encke and one connection to it.
struct Host {
    e: *mut encke,
    sender: *mut encke_sender,
    connection: u32,
}

fn want(kind: u32) -> u64 {
    1 << kind
}

fn config(options: &[(c_int, u64)]) -> *mut encke_config {
    let config = encke_config_new();
    for (option, value) in options.iter().chain(&[(ENCKE_OPT_WATCH, u64::from(ENCKE_WATCH_EACH))]) {
        // SAFETY: the config lives, and this thread alone has it.
        assert_eq!(unsafe { encke_config_set(config, *option, *value) }, ENCKE_OK);
    }
    config
}

impl Host {
    fn new(options: &[(c_int, u64)]) -> Host {
        let config = config(options);
        let mut e = null_mut();
        // SAFETY: the config lives, and so does what is made of it.
        let sender = unsafe {
            assert_eq!(encke_new(config, &mut e), ENCKE_OK);
            encke_config_free(config);
            encke_get_sender(e)
        };
        let mut host = Host { e, sender, connection: 0 };
        host.connection = host.engine().accept(Id::NONE, Peer::unknown(), false).unwrap();
        host
    }

    fn engine(&mut self) -> &mut Engine {
        // SAFETY: this is the loop thread, and no call is under way.
        unsafe { &mut (*(*self.e).inner()).driver.engine }
    }

    fn says(&mut self, text: &str) {
        let connection = self.connection;
        self.engine().receive(connection, text.as_bytes());
    }

    fn next(&mut self) -> Option<encke_event> {
        let mut event = MaybeUninit::uninit();
        // SAFETY: the encke lives, there is room for an event, and it was filled in.
        unsafe {
            let found = encke_next(self.e, event.as_mut_ptr(), size_of::<encke_event>());
            assert!(matches!(found, 0 | 1), "{found}");
            let event = event.assume_init();
            assert_eq!(found == 0, event.kind == 0);
            (found == 1).then_some(event)
        }
    }

    #[track_caller]
    fn event(&mut self, kind: u32) -> encke_event {
        let event = self.next().expect("an event");
        assert_eq!(event.kind, kind, "{event:?}");
        event
    }

    #[track_caller]
    fn asked(&mut self, text: &str) -> encke_event {
        self.says(text);
        self.event(ENCKE_EV_REQUEST)
    }

    fn run(&mut self) {
        // SAFETY: the encke lives.
        while unsafe { encke_run(self.e, 0) } > 0 {}
    }

    /// The next bytes of the answers, so many at the most, as if the kernel had taken them.
    fn takes(&mut self, most: usize) -> Vec<u8> {
        let connection = self.connection;
        let mut all: Vec<u8> = Vec::new();
        while all.len() < most {
            let mut slices = [IoSlice::new(&[]); 8];
            let Front::Bytes(n, _) = self.engine().front(connection, &mut slices) else { break };
            let before = all.len();
            for slice in &slices[..n] {
                all.extend_from_slice(&slice[..slice.len().min(most - all.len())]);
            }
            self.engine().sent(connection, all.len() - before);
        }
        all
    }

    fn written(&mut self) -> String {
        String::from_utf8(self.takes(usize::MAX)).unwrap()
    }

    fn reply(&mut self, id: encke_id, text: &str) -> c_int {
        // SAFETY: the sender lives as long as the encke, and the text for the call.
        unsafe { encke_reply(self.sender, id, 200, c"text/plain".as_ptr(), text.as_ptr().cast(), text.len()) }
    }

    fn free(&mut self) {
        // SAFETY: no call is under way, and NULL is fine.
        unsafe { encke_free(std::mem::replace(&mut self.e, null_mut())) };
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.free();
    }
}

/// Text of the library, with the NUL behind it.
///
/// # Safety
/// The text is still readable.
unsafe fn text<'a>(text: encke_str) -> &'a str {
    if text.p.is_null() {
        return "";
    }
    // SAFETY: the caller's promise, and every text of the library has a NUL behind it.
    let bytes = unsafe { std::slice::from_raw_parts(text.p.cast::<u8>(), text.n + 1) };
    assert_eq!(bytes[text.n], 0);
    std::str::from_utf8(&bytes[..text.n]).unwrap()
}

fn str_of(text: &str) -> encke_str {
    encke_str { p: text.as_ptr().cast(), n: text.len() }
}

fn field(name: &str, value: &str) -> encke_field {
    encke_field { name: str_of(name), value: str_of(value) }
}

/// The detail of the last failure.
fn why() -> String {
    // SAFETY: static, or this thread's until its next failure.
    unsafe { CStr::from_ptr(encke_last_error()) }.to_str().unwrap().to_owned()
}

const NOTHING: encke_response = encke_response {
    status: 200,
    flags: 0,
    fields: null(),
    nfields: 0,
    body: null(),
    body_len: 0,
    cookie: 0,
    length: 0,
    offset: 0,
    file: 0,
};

/// A pointer that goes to another thread, as any does in C.
struct Anywhere<T>(*mut T);

// SAFETY: whoever uses it elsewhere keeps to the rules of the header.
unsafe impl<T> Send for Anywhere<T> {}

impl<T> Anywhere<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// A reference of another thread's own.
fn referenced(host: &Host) -> Anywhere<encke_sender> {
    // SAFETY: the encke lives, and its sender with it.
    Anywhere(unsafe { encke_sender_ref(host.sender) })
}
