//! Owns how far the host is: whether it is taking events, and whether a run left something over. Rule: together with the
//! engine it knows of all work that no socket tells of, so every driver's readiness is the truth by the same words.

use super::Engine;

/// Kept by a driver beside its engine.
#[derive(Debug, Default)]
pub struct Progress {
    /// The host takes events: its answers are collected.
    draining: bool,
    /// What was answered was written in this drain, and what that brought is being shown.
    flushed: bool,
    /// Submissions or deadlines were left over.
    left_over: bool,
}

impl Progress {
    /// Whether answers are collected now.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// The host took an event.
    #[inline(always)]
    pub fn took(&mut self) {
        self.draining = true;
    }

    /// There was no event, and the answers are written. True: what that brought is shown, once: otherwise a fast reader
    /// could keep the host in this drain for ever.
    #[inline]
    pub fn goes_on(&mut self, engine: &Engine) -> bool {
        engine.has_events() && !std::mem::replace(&mut self.flushed, true)
    }

    /// The drain is over.
    #[inline]
    pub fn end_drain(&mut self) {
        self.draining = false;
        self.flushed = false;
    }

    /// A run is over; `more`: submissions or deadlines wait for the next one.
    #[inline]
    pub fn ran(&mut self, engine: &Engine, more: bool) {
        self.left_over = more;
        self.draining = engine.has_events();
    }

    /// The next run has something to do that the engine does not know of.
    pub fn leave_over(&mut self) {
        self.left_over = true;
    }

    /// Whether run or next would do or show something that no socket tells of.
    #[inline]
    pub fn has_work(&self, engine: &Engine) -> bool {
        self.draining
            || self.left_over
            || engine.has_events()
            || engine.ready_len() > 0
            || engine.withholds()
            || engine.is_dirty()
            || engine.has_turns()
            || engine.has_passed()
    }
}
