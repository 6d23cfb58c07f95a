//! What holds of every proof and token, key and text: one flipped bit refuses, and what parses prints back the same.

#[path = "properties/flips.rs"]
mod flips;
#[path = "properties/prints.rs"]
mod prints;
