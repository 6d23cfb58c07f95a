//! AWS-LC.
