//! Where there is no store of the system, or this build does without.

use super::{Keeper, Unkept};

pub(super) fn put(keeper: Keeper, _: &str, _: &[u8]) -> Result<(), Unkept> {
    Err(unkept(keeper))
}

pub(super) fn take(keeper: Keeper, _: &str) -> Result<Vec<u8>, Unkept> {
    Err(unkept(keeper))
}

pub(super) fn forget(keeper: Keeper, _: &str) -> Result<(), Unkept> {
    Err(unkept(keeper))
}

fn unkept(keeper: Keeper) -> Unkept {
    let name = keeper.name();
    Unkept(format!("{name} is not in this build: it needs the feature os-key-store").into())
}
