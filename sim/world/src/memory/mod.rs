//! Where memory goes: what each component holds while a run goes on, and what a run will take before it begins.

pub(crate) mod accounts;
mod estimate;

pub use estimate::*;
