//! Owns what is told of things that are no requests: links and their subscriptions. Rule: it is whole in itself, so that
//! nothing has to be looked up when the host takes it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use super::id::Id;

/// Who it is told of.
#[derive(Debug)]
pub struct Owner {
    /// The id that events carry.
    pub id: Id,
    /// The host's value.
    pub user: Arc<AtomicU64>,
    over: AtomicBool,
}

impl Owner {
    pub fn new(id: Id, user: Arc<AtomicU64>) -> Arc<Owner> {
        Arc::new(Owner { id, user, over: AtomicBool::new(false) })
    }

    /// From now on nothing of it is shown.
    pub fn end(&self) {
        self.over.store(true, Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A message came.
    Message,
    /// There is room again for what is to be published.
    Writable,
    /// As the header numbers it.
    State(i32),
}

#[derive(Debug)]
pub struct Word {
    pub owner: Arc<Owner>,
    pub topic: Topic,
    /// Of the other end, where it gave one.
    pub status: u32,
    /// The message of the host's that it is about.
    pub number: u64,
    /// Why, in one line.
    pub text: Box<str>,
    pub channel: Option<Arc<str>>,
    pub letter: Option<Letter>,
    /// Shown although its owner is over.
    pub last: bool,
}

impl Word {
    pub fn new(owner: &Arc<Owner>, topic: Topic) -> Box<Word> {
        Box::new(Word {
            owner: owner.clone(),
            topic,
            status: 0,
            number: 0,
            text: Box::default(),
            channel: None,
            letter: None,
            last: false,
        })
    }

    /// Bytes of it.
    pub fn size(&self) -> u64 {
        let letter = self.letter.as_ref().map_or(0, |letter| letter.texts.len() + letter.data.len());
        (size_of::<Word>() + self.text.len() + letter) as u64
    }

    pub fn is_shown(&self) -> bool {
        self.last || !self.owner.is_over()
    }
}

/// Which text of a letter.
#[derive(Debug, Clone, Copy)]
pub enum Text {
    Channel,
    Kind,
    From,
    Event,
    Key,
}

/// A message on its way to the host: its texts in one piece, each with a NUL behind it.
#[derive(Debug)]
pub struct Letter {
    texts: Box<[u8]>,
    ends: [u32; 5],
    pub data: Vec<u8>,
}

impl Letter {
    pub fn new(texts: [&[u8]; 5], data: Vec<u8>) -> Letter {
        let mut all = Vec::with_capacity(texts.iter().map(|text| text.len() + 1).sum());
        let mut ends = [0; 5];
        for (text, end) in texts.iter().zip(&mut ends) {
            all.extend_from_slice(text);
            *end = all.len() as u32;
            all.push(0);
        }
        Letter { texts: all.into(), ends, data }
    }

    /// Without its NUL.
    pub fn text(&self, which: Text) -> &[u8] {
        let terminated = self.terminated(which);
        &terminated[..terminated.len() - 1]
    }

    /// With its NUL.
    pub fn terminated(&self, which: Text) -> &[u8] {
        let which = which as usize;
        let start = if which == 0 { 0 } else { self.ends[which - 1] as usize + 1 };
        &self.texts[start..=self.ends[which] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let letter = Letter::new([b"news", b"", b"zoe", b"", b"k"], b"data".to_vec());
        assert_eq!(letter.text(Text::Channel), b"news");
        assert_eq!(letter.text(Text::Kind), b"");
        assert_eq!(letter.text(Text::From), b"zoe");
        assert_eq!(letter.text(Text::Event), b"");
        assert_eq!(letter.text(Text::Key), b"k");
    }
}
