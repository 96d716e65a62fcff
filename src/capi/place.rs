//! Owns what the host looks at while the library moves its owner about. Rule: moving a place says nothing about who looks at
//! what lies in it; a box would claim that nobody else does.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

pub struct Place<T>(NonNull<T>);

// SAFETY: a place owns what lies in it, as a box does.
unsafe impl<T: Send> Send for Place<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Place<T> {}

impl<T> Place<T> {
    pub fn new(value: T) -> Place<T> {
        Place(NonNull::from(Box::leak(Box::new(value))))
    }
}

impl<T> Deref for Place<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: it lives as long as its place.
        unsafe { self.0.as_ref() }
    }
}

/// Only where the host may not look any more.
impl<T> DerefMut for Place<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; whoever has the place is the only one of the library.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and is given up here alone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
