//! Owns the counters that any thread may read. Rule: the loop thread alone counts, and publishes what it counted after
//! each run and each drain.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($name:ident),*) => {
        /// What the loop thread has counted.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Counters { $(pub $name: u64),* }

        #[derive(Debug, Default)]
        pub struct Stats { $($name: AtomicU64),* }

        impl Stats {
            pub fn publish(&self, counters: &Counters) {
                $(self.$name.store(counters.$name, Relaxed);)*
            }

            pub fn read(&self) -> Counters {
                Counters { $($name: self.$name.load(Relaxed)),* }
            }
        }
    };
}

counters!(
    connections,
    accepted,
    requests,
    held,
    aborted,
    refused,
    bytes_in,
    bytes_out,
    queued_bytes,
    memory,
    subscribers,
    delivered,
    dropped
);
