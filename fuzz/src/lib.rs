//! The fuzz targets of encke as plain functions: each takes any bytes, and panics where the library broke a promise.
//!
//! Nothing here depends on the fuzzer. The programs in `fuzz_targets/` hand its inputs over; `tests/replay.rs` hands over
//! the files of `corpus/` and `regressions/`.

pub mod answers;
pub mod bytes;
pub mod reference;
pub mod targets;

/// Where `src/engine/tests/driver.rs` looks for the engine; that file and two beside it are shared with the simulation.
mod engine {
    pub use encke::engine::{connection, event, id, mailbox, output, peer, progress, settings, Verdict};

    /// The engine as that file sees it from inside its crate.
    #[derive(Debug)]
    pub struct Engine {
        inner: encke::engine::Engine,
    }

    impl Engine {
        pub fn new(settings: settings::Settings, tag: id::Tag, now: u64, unix: u64) -> Engine {
            Engine { inner: encke::engine::Engine::new(settings, tag, now, unix) }
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

/// Likewise for channels.
mod push {
    pub use encke::push::{hub, message};
}

/// The simulation judges deadlines with what only its crate sees; here nobody does.
mod deadlines {
    use super::driver::Driver;

    pub struct Deadlines;

    impl Deadlines {
        pub fn before(_: &Driver) -> Deadlines {
            Deadlines
        }

        pub fn check(self, _: &Driver, _budget: usize) {}
    }
}

/// The in-memory driver of the simulation.
#[path = "../../src/engine/tests/driver.rs"]
mod driver;
#[path = "../../src/engine/tests/pipe.rs"]
mod pipe;
#[path = "../../src/engine/tests/writing.rs"]
mod writing;
