//! Devices that go by a number which is another person's as well, or which was theirs in an earlier life.
//!
//! In the history each device has a number of its own; what the system says of a user and a number is said of the device that has
//! named itself so.

use rustc_hash::{FxHashMap, FxHashSet};
use squall_protocol::{DeviceId, Who};

/// Who has guessed whose number. Empty unless somebody guesses.
#[derive(Default)]
pub(super) struct Guesses {
    devices: FxHashMap<Who, DeviceId>,
    numbers: FxHashMap<DeviceId, DeviceId>,
    guessed: FxHashSet<DeviceId>,
}

impl Guesses {
    /// What this user does under this number is done with `device`.
    pub fn add(&mut self, who: Who, device: DeviceId) {
        self.devices.insert(who, device);
        self.numbers.insert(device, who.1);
        self.guessed.insert(who.1);
    }

    /// The device, as the history names it, of a user and a number as the system has them.
    pub fn device(&self, who: Who) -> DeviceId {
        self.devices.get(&who).copied().unwrap_or(who.1)
    }

    /// The number under which the system knows a device.
    pub fn number(&self, device: DeviceId) -> DeviceId {
        self.numbers.get(&device).copied().unwrap_or(device)
    }

    /// Whether somebody else uses the number of this device as well.
    pub fn is_guessed(&self, device: DeviceId) -> bool {
        self.guessed.contains(&device)
    }
}
