//! Who has which right in one conversation, as its settings say.
//!
//! **Invariant:** whoever has changed nothing has nothing: the settings of a group in which none was ever made are zero, in memory and on
//! disk.

use squall_protocol::{Holders, Rank, Right};

/// Two bits a right: 0 where no setting speaks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings(u16);

const _: () = assert!(size_of::<Settings>() == 2);

/// Who has a right in a group of which no setting speaks.
const fn by_default(right: Right) -> Holders {
    match right {
        Right::Add | Right::Remove | Right::Rename | Right::Post => Holders::Members,
        Right::Promote => Holders::Owner,
    }
}

const fn place(right: Right) -> u32 {
    2 * match right {
        Right::Add => 0,
        Right::Remove => 1,
        Right::Rename => 2,
        Right::Promote => 3,
        Right::Post => 4,
    }
}

impl Settings {
    /// Those with which a channel begins.
    pub fn channel() -> Self {
        let closed = [Right::Add, Right::Remove, Right::Rename, Right::Post];
        closed.into_iter().fold(Settings::default(), |settings, right| settings.with(right, Holders::Admins))
    }

    pub fn with(self, right: Right, who: Holders) -> Self {
        let number = match who {
            Holders::Owner => 1,
            Holders::Admins => 2,
            Holders::Members => 3,
        };
        Settings(self.0 & !(0b11 << place(right)) | number << place(right))
    }

    pub fn who(self, right: Right) -> Holders {
        match self.0 >> place(right) & 0b11 {
            0 => by_default(right),
            1 => Holders::Owner,
            2 => Holders::Admins,
            _ => Holders::Members,
        }
    }

    /// Whether somebody of this rank has the right.
    pub fn give(self, right: Right, rank: Rank) -> bool {
        match self.who(right) {
            Holders::Owner => rank == Rank::Owner,
            Holders::Admins => rank >= Rank::Admin,
            Holders::Members => true,
        }
    }

    /// As the disk has them.
    pub fn bits(self) -> u32 {
        self.0.into()
    }

    /// `None` for what no settings are.
    pub fn of_bits(bits: u32) -> Option<Self> {
        u16::try_from(bits).ok().filter(|bits| *bits < 1 << (2 * Right::ALL.len())).map(Settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_has_its_own_setting_and_keeps_it() {
        for right in Right::ALL {
            for who in Holders::ALL {
                let settings = Settings::default().with(right, who);
                let others = Right::ALL.into_iter().filter(|other| *other != right);
                assert!(others.clone().all(|other| settings.who(other) == by_default(other)), "{right:?} {who:?}");
                assert_eq!((settings.who(right), Settings::of_bits(settings.bits())), (who, Some(settings)));
            }
        }
        assert_eq!(Settings::of_bits(1 << 10), None);
    }

    #[test]
    fn a_right_is_that_of_a_rank_and_of_those_above() {
        let channel = Settings::channel();
        let gives = |settings: Settings, right| {
            [Rank::Member, Rank::Admin, Rank::Owner].map(|rank| settings.give(right, rank))
        };
        assert_eq!(gives(Settings::default(), Right::Post), [true; 3]);
        assert_eq!(gives(Settings::default(), Right::Promote), [false, false, true]);
        assert_eq!(gives(channel, Right::Post), [false, true, true]);
        assert_eq!(gives(channel.with(Right::Post, Holders::Members), Right::Post), [true; 3]);
    }
}
