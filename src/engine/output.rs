//! Owns the bytes on their way out, of a connection or of an answer that waits for its turn. Rule: small pieces are
//! copied together, large ones are gathered where they lie, and nothing is forgotten before the kernel has it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;

use crate::push::form::Form;
use crate::push::message::{Bundle, Message};
use crate::PUSH;

use super::spare::Spare;

/// Pieces up to this size are copied together.
pub const COPY_LIMIT: usize = 16 << 10;
/// Small pieces are copied into buffers of about this size: one that is sent is given back while others still wait.
const TAIL_LIMIT: usize = 32 << 10;
/// Segments and marks for which an output that is not used keeps room.
const KEEP: usize = 16;

/// Bytes of the host that are not copied.
pub trait Lent: Send {
    fn bytes(&self) -> &[u8];
}

/// A lent buffer that came back: the answer it belonged to and the host's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    pub slot: u32,
    pub cookie: u64,
}

pub enum Segment {
    /// Small pieces, copied together.
    Copied(Vec<u8>),
    Owned(Vec<u8>),
    /// What others send too, counted for each of them.
    Common(Arc<[u8]>),
    Lent {
        bytes: Box<dyn Lent>,
        released: Released,
    },
    /// A message in one of its forms, which others send too.
    Shared {
        message: Arc<Message>,
        form: Form,
    },
    /// Several of them, which others send too.
    Bundle(Arc<Bundle>),
    /// `left` bytes of the file from `offset`: read by the driver.
    File {
        file: File,
        offset: u64,
        left: u64,
    },
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Segment::Copied(v) => write!(f, "Copied({})", v.len()),
            Segment::Owned(v) => write!(f, "Owned({})", v.len()),
            Segment::Common(v) => write!(f, "Common({})", v.len()),
            Segment::Lent { bytes, .. } => write!(f, "Lent({})", bytes.bytes().len()),
            Segment::Shared { message, form } => write!(f, "Shared({}, {form:?})", message.position),
            Segment::Bundle(bundle) => write!(f, "Bundle({})", bundle.bytes().len()),
            Segment::File { offset, left, .. } => write!(f, "File({offset}, {left})"),
        }
    }
}

impl Segment {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Segment::Copied(v) | Segment::Owned(v) => Some(v),
            Segment::Common(v) => Some(v),
            Segment::Lent { bytes, .. } => Some(bytes.bytes()),
            Segment::Shared { message, form } if PUSH => Some(message.form(*form)),
            Segment::Bundle(bundle) if PUSH => Some(bundle.bytes()),
            Segment::Shared { .. } | Segment::Bundle(_) | Segment::File { .. } => None,
        }
    }

    /// Whether its bytes are the library's, and counted for this output.
    fn is_own(&self) -> bool {
        matches!(self, Segment::Copied(_) | Segment::Owned(_) | Segment::Common(_))
    }
}

/// Reached when everything queued before it was handed to the kernel.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: u64,
    slot: u32,
}

#[derive(Debug, Default)]
pub struct Output {
    segments: VecDeque<Segment>,
    /// Small pieces behind all segments, copied together; grows. Without a byte it owns no memory.
    tail: Vec<u8>,
    /// Bytes of the first segment, or of the tail if there is none, that are gone.
    offset: usize,
    /// Bytes ever queued and ever sent.
    queued: u64,
    sent: u64,
    marks: VecDeque<Mark>,
    /// Bytes of the front that the driver keeps to itself.
    promised: u64,
    /// Bytes that lie in memory of the library.
    memory: usize,
    /// When the last byte was taken, or when the queue began.
    pub progress: u64,
}

/// What is at the front.
#[derive(Debug)]
pub enum Front<'a> {
    Nothing,
    /// This many slices were filled in; true when a file follows them.
    Bytes(usize, bool),
    File {
        file: &'a File,
        offset: u64,
        left: u64,
    },
}

impl Output {
    pub fn is_empty(&self) -> bool {
        self.queued == self.sent
    }

    /// Bytes not yet sent.
    pub fn len(&self) -> u64 {
        self.queued - self.sent
    }

    pub fn memory(&self) -> usize {
        self.memory
    }

    /// A place in the stream of all bytes ever queued.
    pub fn end(&self) -> u64 {
        self.queued
    }

    pub fn sent_so_far(&self) -> u64 {
        self.sent
    }

    /// The buffer to append small pieces to; tell what was appended by [`Output::appended`].
    #[inline(always)]
    pub fn tail(&mut self, spare: &mut Spare) -> &mut Vec<u8> {
        if self.tail.len() >= TAIL_LIMIT {
            self.close_tail();
        }
        if self.tail.capacity() == 0 {
            self.tail = spare.take();
        }
        &mut self.tail
    }

    /// What comes next goes behind the tail, but not into it.
    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.segments.push_back(Segment::Copied(std::mem::take(&mut self.tail)));
        }
    }

    fn push_segment(&mut self, segment: Segment) {
        self.close_tail();
        self.segments.push_back(segment);
    }

    #[inline]
    pub fn appended(&mut self, n: usize) {
        self.queued += n as u64;
        self.memory += n;
    }

    /// Queues bytes: copied when small, as they are when large.
    pub fn push(&mut self, bytes: &[u8], spare: &mut Spare) {
        if bytes.len() <= COPY_LIMIT {
            self.tail(spare).extend_from_slice(bytes);
            self.appended(bytes.len());
        } else {
            self.push_owned(bytes.to_vec(), spare);
        }
    }

    pub fn push_owned(&mut self, bytes: Vec<u8>, spare: &mut Spare) {
        if bytes.len() <= COPY_LIMIT {
            return self.push(&bytes, spare);
        }
        let n = bytes.len();
        self.push_segment(Segment::Owned(bytes));
        self.appended(n);
    }

    pub fn push_common(&mut self, bytes: Arc<[u8]>) {
        let n = bytes.len();
        self.push_segment(Segment::Common(bytes));
        self.appended(n);
    }

    pub fn push_lent(&mut self, bytes: Box<dyn Lent>, released: Released) {
        self.queued += bytes.bytes().len() as u64;
        self.push_segment(Segment::Lent { bytes, released });
    }

    pub fn push_shared(&mut self, message: Arc<Message>, form: Form) {
        self.queued += message.form(form).len() as u64;
        self.push_segment(Segment::Shared { message, form });
    }

    pub fn push_bundle(&mut self, bundle: Arc<Bundle>) {
        self.queued += bundle.bytes().len() as u64;
        self.push_segment(Segment::Bundle(bundle));
    }

    /// Pieces that wait, but those that are copied together.
    pub fn pieces(&self) -> usize {
        self.segments.len()
    }

    /// Takes messages out that are wanted no more, the oldest first, until so many bytes are saved, or so many messages are
    /// out; none that has begun to go out or that the driver was promised. How many bytes and messages those were.
    pub fn take_back_shared(&mut self, bytes: u64, messages: u64, which: impl Fn(&Message) -> bool) -> (u64, u64) {
        let (mut saved, mut n) = (0, 0);
        // Where a segment begins, counted from what is sent.
        let mut at = -(self.offset as i64);
        let promised = self.promised as i64;
        self.segments.retain(|segment| {
            let len = match segment {
                Segment::File { left, .. } => *left as i64,
                segment => segment.bytes().map_or(0, |bytes| bytes.len() as i64),
            };
            let begins = at;
            at += len;
            let Segment::Shared { message, .. } = segment else { return true };
            // What has begun to go out begins before 0.
            if begins < promised || saved >= bytes || n >= messages || !which(message) {
                return true;
            }
            saved += len as u64;
            n += 1;
            false
        });
        self.queued -= saved;
        (saved, n)
    }

    /// So many bytes of the front are as good as sent: the driver has them in another form.
    pub fn promise(&mut self, n: u64) {
        self.promised = n;
    }

    pub fn push_file(&mut self, file: File, offset: u64, left: u64) {
        self.queued += left;
        self.push_segment(Segment::File { file, offset, left });
    }

    /// Asks to be told of `slot` when everything queued so far is sent.
    pub fn mark(&mut self, slot: u32) {
        self.marks.push_back(Mark { at: self.queued, slot });
    }

    /// Moves bytes behind the tail, by copying where they fit into it.
    fn join(&mut self, more: &mut Vec<u8>) {
        if self.tail.len() + more.len() > TAIL_LIMIT {
            self.close_tail();
        }
        if self.tail.is_empty() {
            std::mem::swap(&mut self.tail, more);
        } else {
            self.tail.extend_from_slice(more);
        }
        more.clear();
    }

    /// Moves everything of `other` behind this.
    pub fn append(&mut self, other: &mut Output) {
        debug_assert!(other.sent == 0 && other.offset == 0 && other.marks.is_empty());
        self.queued += other.queued;
        self.memory += other.memory;
        for segment in other.segments.drain(..) {
            match segment {
                Segment::Copied(mut more) => self.join(&mut more),
                segment => self.push_segment(segment),
            }
        }
        self.join(&mut other.tail);
        other.queued = 0;
        other.memory = 0;
    }

    /// Fills in what can be written in one call.
    pub fn front<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> Front<'a> {
        let mut filled = 0;
        let mut offset = self.offset;
        for segment in &self.segments {
            let Some(bytes) = segment.bytes() else {
                if filled > 0 {
                    return Front::Bytes(filled, true);
                }
                if let Segment::File { file, offset, left } = segment {
                    return Front::File { file, offset: *offset, left: *left };
                }
                break;
            };
            if filled == slices.len() {
                break;
            }
            if bytes.len() > offset {
                slices[filled] = IoSlice::new(&bytes[offset..]);
                filled += 1;
            }
            offset = 0;
        }
        if filled < slices.len() && self.tail.len() > offset {
            slices[filled] = IoSlice::new(&self.tail[offset..]);
            filled += 1;
        }
        if filled == 0 {
            Front::Nothing
        } else {
            Front::Bytes(filled, false)
        }
    }

    /// `n` bytes of the front were handed to the kernel.
    pub fn advance(&mut self, n: usize, released: &mut Vec<Released>, spare: &mut Spare) {
        self.sent += n as u64;
        self.promised = self.promised.saturating_sub(n as u64);
        let mut n = n;
        while let Some(segment) = self.segments.front_mut() {
            match segment {
                Segment::File { offset, left, .. } => {
                    let step = (*left).min(n as u64);
                    *offset += step;
                    *left -= step;
                    n -= step as usize;
                    if *left > 0 {
                        break;
                    }
                }
                segment => {
                    let len = segment.bytes().map_or(0, |bytes| bytes.len()) - self.offset;
                    if n < len {
                        if segment.is_own() {
                            self.memory -= n;
                        }
                        self.offset += n;
                        break;
                    }
                    if segment.is_own() {
                        self.memory -= len;
                    }
                    n -= len;
                }
            }
            self.offset = 0;
            match self.segments.pop_front() {
                Some(Segment::Copied(v)) => spare.give(v),
                Some(Segment::Lent { released: r, .. }) => released.push(r),
                _ => {}
            }
        }
        if self.segments.is_empty() {
            self.memory -= n;
            self.offset += n;
            if self.offset == self.tail.len() {
                self.offset = 0;
                spare.give(std::mem::take(&mut self.tail));
            }
        }
    }

    /// The next slot whose mark was passed.
    #[inline]
    pub fn passed(&mut self) -> Option<u32> {
        match self.marks.front() {
            Some(mark) if mark.at <= self.sent => self.marks.pop_front().map(|mark| mark.slot),
            _ => None,
        }
    }

    /// Slots whose marks were not reached, each with the bytes that are missing to its mark.
    pub fn marked(&mut self) -> Vec<(u32, u64)> {
        let sent = self.sent;
        self.marks.drain(..).map(|mark| (mark.slot, mark.at - sent)).collect()
    }

    /// Makes an empty output like new. It owns next to no memory then.
    #[inline]
    pub fn reset(&mut self, spare: &mut Spare) {
        debug_assert!(self.is_empty() && self.marks.is_empty());
        if !self.segments.is_empty() {
            self.segments.clear(); // files and loans without a byte
        }
        if self.segments.capacity() > KEEP {
            self.segments = VecDeque::new();
        }
        if self.marks.capacity() > KEEP {
            self.marks = VecDeque::new();
        }
        if self.tail.capacity() > 0 {
            spare.give(std::mem::take(&mut self.tail));
        }
        self.offset = 0;
        self.queued = 0;
        self.sent = 0;
        self.promised = 0;
        self.memory = 0;
    }

    /// Forgets everything; lent buffers come back.
    pub fn clear(&mut self, released: &mut Vec<Released>) {
        for segment in self.segments.drain(..) {
            if let Segment::Lent { released: r, .. } = segment {
                released.push(r);
            }
        }
        self.tail = Vec::new();
        self.marks.clear();
        self.offset = 0;
        self.queued = 0;
        self.sent = 0;
        self.promised = 0;
        self.memory = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::message::{Account, Parts};
    use crate::push::position::Position;

    struct Loan(&'static [u8]);
    impl Lent for Loan {
        fn bytes(&self) -> &[u8] {
            self.0
        }
    }

    fn drain(out: &mut Output, step: usize, released: &mut Vec<Released>) -> Vec<u8> {
        let (mut all, mut spare) = (Vec::new(), Spare::default());
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let Front::Bytes(n, _) = out.front(&mut slices) else { panic!("no bytes") };
            let flat: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).take(step).collect();
            all.extend_from_slice(&flat);
            out.advance(flat.len(), released, &mut spare);
        }
        all
    }

    #[test]
    fn any_step_gives_the_same_bytes() {
        for step in [1, 2, 3, 7, 100, 1 << 20].map(|step| step * crate::every(61)) {
            let (mut out, mut spare, mut released) = (Output::default(), Spare::default(), Vec::new());
            out.push(b"one", &mut spare);
            out.push(b"two", &mut spare);
            out.mark(1);
            out.push_lent(Box::new(Loan(b"three")), Released { slot: 9, cookie: 3 });
            out.push(b"", &mut spare);
            out.mark(2);
            out.push_owned(vec![b'x'; COPY_LIMIT + 1], &mut spare);
            assert_eq!(out.memory(), 6 + COPY_LIMIT + 1);
            assert_eq!(out.passed(), None);
            let all = drain(&mut out, step, &mut released);
            assert_eq!(&all[..11], b"onetwothree");
            assert_eq!(all.len(), 11 + COPY_LIMIT + 1);
            assert_eq!(released, [Released { slot: 9, cookie: 3 }]);
            assert_eq!((out.passed(), out.passed(), out.passed()), (Some(1), Some(2), None));
            assert_eq!((out.memory(), out.len()), (0, 0));
        }
    }

    #[test]
    fn a_mark_on_nothing_is_passed_at_once() {
        let mut out = Output::default();
        out.mark(4);
        assert_eq!(out.passed(), Some(4));
    }

    #[test]
    fn waiting_output_joins_in_order() {
        let (mut out, mut waiting, mut spare, mut released) =
            (Output::default(), Output::default(), Spare::default(), Vec::new());
        out.push(b"a", &mut spare);
        waiting.push(b"b", &mut spare);
        waiting.push_lent(Box::new(Loan(b"c")), Released { slot: 1, cookie: 1 });
        waiting.push(b"d", &mut spare);
        out.append(&mut waiting);
        assert!(waiting.is_empty());
        assert_eq!(drain(&mut out, 100, &mut released), b"abcd");
    }

    #[test]
    fn what_was_sent_is_given_back_although_the_queue_is_never_empty() {
        const QUEUED: u64 = 100 << 10;
        let (mut out, mut spare, mut released) = (Output::default(), Spare::default(), Vec::new());
        for _ in 0..100_000 / crate::every(50) {
            out.push(&[b'x'; 100], &mut spare);
            if out.len() > QUEUED {
                out.advance(100, &mut released, &mut spare);
            }
            let held: usize = out
                .segments
                .iter()
                .map(|segment| match segment {
                    Segment::Copied(v) | Segment::Owned(v) => v.capacity(),
                    _ => 0,
                })
                .sum::<usize>()
                + out.tail.capacity();
            assert!(held <= 4 * QUEUED as usize, "{held} bytes for {}", out.len());
            assert!(spare.buffers() <= 1 + out.segments.len());
        }
    }

    #[test]
    fn messages_are_taken_back_oldest_first() {
        let message = |n: u64, data: &[u8]| {
            let parts = Parts { data: data.into(), key: format!("{}", n % 2), ..Parts::default() };
            Arc::new(Message::new("a".into(), Position { epoch: 1, n }, 0, parts, Account::default()))
        };
        let (mut out, mut released, mut spare) = (Output::default(), Vec::new(), Spare::default());
        for n in 0..6 {
            out.push_shared(message(n, &[b'0' + n as u8; 2]), Form::Plain);
        }
        out.advance(1, &mut released, &mut spare); // the first has begun to go out
        assert_eq!(out.take_back_shared(u64::MAX, 2, |_| true), (4, 2), "as many as were asked");
        assert_eq!(out.take_back_shared(u64::MAX, u64::MAX, |old| old.parts.key == "0"), (2, 1));
        assert_eq!(out.pieces(), 3);
        assert_eq!(drain(&mut out, 100, &mut released), b"03355");
    }

    #[test]
    fn what_was_needed_once_is_not_kept_for_ever() {
        let mut spare = Spare::default();
        let large: Vec<Vec<u8>> = (0..100).map(|_| Vec::with_capacity(60 << 10)).collect();
        let small: Vec<Vec<u8>> = (0..1000).map(|_| Vec::with_capacity(100)).collect();
        large.into_iter().chain(small).for_each(|buffer| spare.give(buffer));
        assert!(spare.bytes() <= 640 << 10 && spare.buffers() > 256, "{} bytes, {}", spare.bytes(), spare.buffers());
        assert!(spare.take().capacity() < 1000 && spare.take_large().capacity() >= 60 << 10);
        let (mut out, mut released) = (Output::default(), Vec::new());
        for _ in 0..1000 {
            out.push_owned(vec![b'x'; COPY_LIMIT + 1], &mut spare);
            out.mark(1);
        }
        let n = out.len() as usize;
        out.advance(n, &mut released, &mut spare);
        while out.passed().is_some() {}
        out.reset(&mut spare);
        assert!(out.segments.capacity() <= KEEP && out.marks.capacity() <= KEEP && out.tail.capacity() == 0);
    }

    #[test]
    fn clear_gives_lent_buffers_back() {
        let (mut out, mut released) = (Output::default(), Vec::new());
        out.push_lent(Box::new(Loan(b"c")), Released { slot: 1, cookie: 5 });
        out.clear(&mut released);
        assert_eq!(released.len(), 1);
        assert!(out.is_empty());
    }
}
