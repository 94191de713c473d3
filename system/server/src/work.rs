//! Work that the server counts as it does it: what a capacity model prices.
//!
//! It is counted where it is done and never timed, so that two runs that do the same count the same. Who listens may price it
//! (`Observer::worked`); nothing in `system/` depends on what anything costs.

/// A kind of work, in units of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Opening handshakes answered, well or badly.
    Handshake,
    /// Tokens checked: one MAC each.
    Token,
    /// Frames read from a device or encoded for one.
    Frame,
    /// Bytes of those frames.
    FrameByte,
    /// Requests of gateways taken by a shard.
    Request,
    /// Rows read from a shard's database.
    Row,
    /// Bytes of bodies in these rows.
    RowByte,
    /// Commits of a shard, whatever their size.
    Commit,
    /// Entries in them.
    Entry,
    /// Bytes of bodies in these entries.
    EntryByte,
    /// Members looked at: those whom a creation names, those who are listed as readers, and those who are to receive an entry.
    Member,
    /// Publications handed to a bus, taken by one, or taken from one.
    Publication,
    /// Users whose places a registry was asked for.
    Lookup,
    /// Registrations that a registry took.
    Registration,
}

impl Work {
    /// Every kind, in the order of reports.
    pub const ALL: [Work; 14] = [
        Work::Handshake,
        Work::Token,
        Work::Frame,
        Work::FrameByte,
        Work::Request,
        Work::Row,
        Work::RowByte,
        Work::Commit,
        Work::Entry,
        Work::EntryByte,
        Work::Member,
        Work::Publication,
        Work::Lookup,
        Work::Registration,
    ];

    /// Its place in [`Work::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in scenarios and records.
    pub const fn name(self) -> &'static str {
        match self {
            Work::Handshake => "handshake",
            Work::Token => "token",
            Work::Frame => "frame",
            Work::FrameByte => "frame_byte",
            Work::Request => "request",
            Work::Row => "row",
            Work::RowByte => "row_byte",
            Work::Commit => "commit",
            Work::Entry => "entry",
            Work::EntryByte => "entry_byte",
            Work::Member => "member",
            Work::Publication => "publication",
            Work::Lookup => "lookup",
            Work::Registration => "registration",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_place_under_a_name_of_its_own() {
        let mut names: Vec<&str> = Work::ALL.iter().map(|work| work.name()).collect();
        assert!(Work::ALL.iter().enumerate().all(|(place, work)| work.index() == place));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Work::ALL.len());
    }
}
