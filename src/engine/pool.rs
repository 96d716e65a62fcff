//! Owns what connections and requests give back when they end or have nothing to say, for the next. Rules: what once held
//! much is made small first; what nobody needs for a while goes, so that a crowd that has left leaves no memory behind.

use super::connection::Input;
use super::head::Head;
use super::output::Output;
use super::spare::Spare;
use super::unused::Unused;
use crate::http1::request::Scan;

/// Each list keeps this many at the most.
pub const KEEP: usize = 256;
/// Inputs are kept with a buffer up to this size.
const COMMON_INPUT: usize = 4 << 10;
/// Heads above this size are not kept.
pub const COMMON_HEAD: usize = 8 << 10;
/// How long something may lie unused, in milliseconds.
const PERIOD: u64 = 2_000;

#[derive(Debug, Default)]
pub struct Pool {
    inputs: Unused<Box<Input>>,
    outputs: Unused<Box<Output>>,
    heads: Unused<Box<Head>>,
    pub buffers: Spare,
    /// When this period began.
    since: u64,
}

impl Pool {
    pub fn input(&mut self) -> Box<Input> {
        self.inputs.take().unwrap_or_default()
    }

    pub fn give_input(&mut self, mut input: Box<Input>) {
        if self.inputs.len() < KEEP {
            if input.bytes.capacity() > COMMON_INPUT {
                input.bytes = Vec::new();
            }
            input.bytes.clear();
            input.start = 0;
            input.scan = Scan::new();
            input.body = None;
            self.inputs.give(input);
        }
    }

    #[inline]
    pub fn output(&mut self) -> Box<Output> {
        self.outputs.take().unwrap_or_default()
    }

    #[inline]
    pub fn give_output(&mut self, mut output: Box<Output>) {
        debug_assert!(output.is_empty());
        if self.outputs.len() < KEEP {
            output.reset(&mut self.buffers);
            self.outputs.give(output);
        }
    }

    pub fn buffer(&mut self) -> Vec<u8> {
        self.buffers.take_large()
    }

    pub fn give_buffer(&mut self, buffer: Vec<u8>) {
        self.buffers.give(buffer);
    }

    pub fn head(&mut self) -> Box<Head> {
        self.heads.take().unwrap_or_default()
    }

    #[inline]
    pub fn give_head(&mut self, head: Box<Head>) {
        if self.heads.len() < KEEP && head.bytes.capacity() <= COMMON_HEAD {
            self.heads.give(head);
        }
    }

    /// Whether a period is over; what nobody needed in it is gone then.
    #[inline]
    pub fn thin(&mut self, now: u64) -> bool {
        let over = now >= self.since + PERIOD;
        if over {
            self.since = now;
            drop(self.inputs.thin());
            drop(self.outputs.thin());
            drop(self.heads.thin());
            self.buffers.thin();
        }
        over
    }

    /// Whether everything that lies here is empty, and little in number and size.
    #[cfg(test)]
    pub fn is_modest(&self) -> bool {
        self.inputs.iter().all(|input| input.bytes.is_empty() && input.body.is_none())
            && self.outputs.iter().all(|output| output.is_empty() && output.memory() == 0)
            && self.outputs.len().max(self.inputs.len()).max(self.heads.len()) <= KEEP
            && self.buffers.bytes() <= 2 << 20
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.inputs.len() + self.outputs.len() + self.heads.len() + self.buffers.buffers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_that_has_left_leaves_no_memory_behind() {
        let mut pool = Pool::default();
        let inputs: Vec<_> = (0..1000)
            .map(|_| {
                let mut input = pool.input();
                input.bytes.extend_from_slice(&[1; 3000]);
                input
            })
            .collect();
        inputs.into_iter().for_each(|input| pool.give_input(input));
        (0..9).for_each(|_| pool.give_buffer(Vec::with_capacity(50 << 10)));
        assert!(pool.is_modest());
        assert_eq!(pool.len(), KEEP + 9);
        for second in 0..10 {
            let input = pool.input();
            pool.give_input(input);
            pool.thin(second * 1000);
        }
        assert!(pool.len() < 40, "{} are kept", pool.len());
        assert_eq!(pool.buffers.bytes(), 9 * (50 << 10), "few are no burden");
    }
}
