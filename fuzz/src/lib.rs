//! The fuzz targets of encke as plain functions: each takes any bytes, and panics where the library broke a promise.
//!
//! Nothing here depends on the fuzzer. The programs in `fuzz_targets/` hand its inputs over; `tests/replay.rs` hands over
//! the files of `corpus/` and `regressions/`.

pub mod answers;
pub mod bytes;
pub mod reference;
pub mod targets;

/// Where the driver looks for the engine.
mod engine {
    pub use encke::engine::{event, id, mailbox, output, peer, settings, Verdict};

    /// The engine as that file sees it from inside its crate. `ready` is private outside, and only printed there.
    #[derive(Debug)]
    pub struct Engine {
        inner: encke::engine::Engine,
        pub ready: &'static str,
    }

    impl Engine {
        pub fn new(settings: settings::Settings, tag: id::Tag, now: u64, unix: u64) -> Engine {
            Engine { inner: encke::engine::Engine::new(settings, tag, now, unix), ready: "not shown" }
        }
    }

    impl std::ops::Deref for Engine {
        type Target = encke::engine::Engine;
        fn deref(&self) -> &encke::engine::Engine {
            &self.inner
        }
    }

    impl std::ops::DerefMut for Engine {
        fn deref_mut(&mut self) -> &mut encke::engine::Engine {
            &mut self.inner
        }
    }
}

/// An in-memory driver: sockets, turns and truth as `src/io/driver.rs` has them.
mod driver;
