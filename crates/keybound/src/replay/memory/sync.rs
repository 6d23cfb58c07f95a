//! Locks and numbers that several threads share: the usual ones, or with `--cfg keybound_shuttle` those of a scheduler that tries out
//! in which order threads may run.

#[cfg(not(keybound_shuttle))]
pub(super) use core::sync::atomic::{AtomicU64, AtomicUsize};
#[cfg(not(keybound_shuttle))]
pub(super) use parking_lot::{Mutex, RwLock};
#[cfg(keybound_shuttle)]
pub(super) use shuttle::sync::atomic::{AtomicU64, AtomicUsize};

#[cfg(keybound_shuttle)]
pub(super) use self::tried::{Mutex, RwLock};

/// With the interface of the usual ones, which know no poison.
#[cfg(keybound_shuttle)]
mod tried {
    use std::sync::PoisonError;

    use shuttle::sync;

    #[derive(Debug)]
    pub(in super::super) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(in super::super) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(in super::super) fn lock(&self) -> sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    #[derive(Debug)]
    pub(in super::super) struct RwLock<T>(sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(in super::super) fn new(value: T) -> Self {
            Self(sync::RwLock::new(value))
        }

        pub(in super::super) fn read(&self) -> sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(in super::super) fn write(&self) -> sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
