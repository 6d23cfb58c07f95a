//! The load generator against a real gateway, and against services with bad manners.

mod callers;
mod counts;
mod pace;
mod support;
