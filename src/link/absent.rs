//! Stands in for links in builds without them: there are none, and every function says so.

mod options;

use std::sync::Arc;

use crate::engine::id::{Id, Tag};
use crate::engine::Error;
use crate::io::driver::Driver;
use crate::push::message::Parts;

pub use options::{Options, Wish};

pub mod door {
    use super::*;

    #[derive(Debug, Default)]
    pub struct Doors {
        _none: (),
    }

    impl Doors {
        pub fn is_link(&self, _: Id) -> bool {
            false
        }

        pub fn set_user(&self, _: Id, _: u64) -> bool {
            false
        }

        pub fn publish(&self, _: Id, _: &str, _: impl FnOnce() -> Parts) -> Result<bool, Error> {
            Err(Error::Gone)
        }

        pub fn follow(&self, _: Id, _: Wish) -> Result<(), Error> {
            Err(Error::Gone)
        }

        pub fn leave(&self, _: Id, _: &str) -> Result<(), Error> {
            Err(Error::Gone)
        }

        pub fn close(&self) {}
    }
}

#[derive(Debug)]
pub struct Links;

impl Links {
    pub fn new(_: Tag, _: Arc<door::Doors>) -> Links {
        Links
    }

    pub fn last_generation(&self) -> u32 {
        0
    }

    pub fn may_be(_: Id) -> bool {
        false
    }

    pub fn open(&mut self, _: &mut Driver, _: &str, _: Options) -> Result<Id, Error> {
        Err(Error::NotSupported("this build has no links".into()))
    }

    pub fn subscribe(&mut self, _: &mut Driver, _: Id, _: Wish) -> Result<Id, Error> {
        Err(Error::NotSupported("this build has no links".into()))
    }

    pub fn has_commands(&self) -> bool {
        false
    }

    pub fn hear(&mut self, _: &mut Driver) -> bool {
        false
    }

    pub fn close(&mut self, _: &mut Driver, _: Id) -> Result<(), Error> {
        Err(Error::Gone)
    }
}
