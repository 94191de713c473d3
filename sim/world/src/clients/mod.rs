//! The devices' side of the world: the last mile between them and the gateways, and the faults of single clients and frames.

pub mod faults;
pub mod last_mile;
