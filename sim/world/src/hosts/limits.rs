//! Which point says that a limit of the system was reached, or why no run of the simulator reaches it.
//!
//! **Invariant:** every limit of `system/protocol/src/limits.rs` has a row here, and every point that a row names is one that
//! campaigns report. Checked by the test below, which reads that file.

use Reached::{ByPoint, Never};

/// How it is known whether a campaign has reached a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// A point of `SOMETIMES` that is passed only where the limit is met.
    ByPoint(&'static str),
    /// No run of the simulator reaches it, or nothing of it can be seen, for this reason.
    Never(&'static str),
}

const A_PACE: &str = "how often something is done, and no bound that anything meets";
const A_BUFFER: &str = "the size of a buffer: everything passes it";
const SOCKETS: &str = "only on real sockets: the fleet and its hosts do not use it";
const TOO_MANY: &str = "more than a run of a sweep has: tried by a test of the code that holds it";

/// Every limit, in the order of their file.
pub const LIMITS: &[(&str, Reached)] = &[
    ("MAX_BODY_BYTES", ByPoint("body_of_most_bytes")),
    ("MAX_CLIENT_FRAME_BYTES", ByPoint("closed_for_frame_too_large")),
    ("MAX_HELLO_BYTES", Never("the fleet's tokens are short: server/tests/protocol.rs sends long ones")),
    ("MAX_GREETINGS", Never(TOO_MANY)),
    ("GREETINGS_SHARE", Never("simulated hosts have no descriptors: server/tests/descriptors.rs has a few")),
    ("DESCRIPTORS_TOLD_EVERY", Never(SOCKETS)),
    ("MAX_HANDSHAKE_BYTES", Never("the fleet's handshakes are short: server/tests/protocol.rs sends long ones")),
    ("MAX_HANDSHAKE_HEADERS", Never("the fleet's handshakes have few: server/tests/protocol.rs sends many")),
    ("READ_BYTES", Never(A_BUFFER)),
    ("WRITE_BYTES", Never(A_BUFFER)),
    (
        "MAX_CONTROL_FRAME_BYTES",
        Never("the fleet's control frames are short: server/tests/protocol.rs sends long ones"),
    ),
    ("MAX_GROUP_MEMBERS", Never(TOO_MANY)),
    ("MAX_FOUNDERS", Never(TOO_MANY)),
    ("MAX_NAMED_USERS", Never(TOO_MANY)),
    ("MAX_NAME_BYTES", Never("the fleet's names are short: core/src/messages/rights.rs has longer ones")),
    ("USER_JSON_BYTES", Never("how long a number is: nothing waits for it")),
    ("NEWCOMER_HISTORY", ByPoint("history_withheld_from_newcomer")),
    ("HEARTBEAT_INTERVAL", Never(A_PACE)),
    ("SILENCE_LIMIT", ByPoint("closed_for_silence")),
    ("ANSWER_LIMIT", ByPoint("left_without_answer")),
    ("HELLO_LIMIT", ByPoint("closed_for_want_of_hello")),
    ("TOKEN_LEEWAY", ByPoint("closed_for_an_expired_token")),
    ("MAX_TOKEN_BYTES", Never("the fleet's tokens are short: protocol/src/token/keys.rs has long ones")),
    ("LONGEST_EXPIRY_TOLD", Never("longer than any run: core's tests meet it")),
    ("REFRESH_RETRY_AFTER", Never("how often a device asks is not told; core's tests meet it")),
    ("CLOCK_STEP", Never(A_PACE)),
    ("MAX_TOKEN_REFUSALS", ByPoint("token_refused_twice")),
    ("MAX_TOKEN_KEYS", Never("a bound on what chatd is given; protocol/src/token/keys.rs meets it")),
    ("RESEND_AFTER", ByPoint("resent")),
    ("SYNC_RETRY_AFTER", ByPoint("page_asked_again")),
    ("REWIND_PAUSE", Never("nothing of it is seen outside the outbox, whose tests meet it")),
    ("GAP_GRACE", ByPoint("gap_waited_for")),
    ("MAX_SENDS_IN_FLIGHT", ByPoint("window_of_sends_full")),
    ("MAX_HELD_ENTRIES", ByPoint("held_as_many_as_it_may")),
    ("MAX_SYNCS_OPEN", ByPoint("syncs_all_open")),
    ("TYPING_INTERVAL", ByPoint("typing_too_soon")),
    ("TYPING_AGAIN_AFTER", Never(A_PACE)),
    ("TYPING_SHOWN_FOR", Never("how long somebody is shown is told to no host: the check typing-holds judges it")),
    ("MAX_TYPING_MEMBERS", ByPoint("typing_in_a_large_group")),
    ("MAX_TYPING_REMEMBERED", Never(TOO_MANY)),
    ("MAX_TYPING_SHOWN", Never("more than people of a run write at once to one of them; core's tests meet it")),
    ("BACKOFF_MIN", Never(A_PACE)),
    ("BACKOFF_MAX", ByPoint("back_off_at_its_longest")),
    ("CONNECT_LIMIT", ByPoint("left_without_welcome")),
    ("MAX_DEVICE_COMMANDS", Never(SOCKETS)),
    ("MAX_DEVICE_EVENTS", Never(SOCKETS)),
    ("MAX_SHARDS", Never("a run of a sweep has few hosts; more are refused as it is read")),
    ("STORAGE_CACHE_BYTES", Never("a cache of chatd; the simulator's is as large as it pleases the database")),
    ("PAGE_ENTRIES", ByPoint("page_of_most_entries")),
    ("PAGE_BYTES", ByPoint("page_cut_by_bytes")),
    ("HEADS_PER_FRAME", ByPoint("heads_part_full")),
    ("DEDUP_WINDOW", ByPoint("old_send_looked_up")),
    ("INDEX_CHUNK", ByPoint("log_longer_than_an_index_row")),
    ("MAX_STAGED", Never(TOO_MANY)),
    ("MAX_STAGED_BYTES", Never(TOO_MANY)),
    ("MAX_STAGED_SHARE_BYTES", Never(TOO_MANY)),
    ("MAX_READS_WAITING", Never(TOO_MANY)),
    ("MAX_READS_WAITING_SHARE", ByPoint("read_refused")),
    ("READS_AT_ONCE", Never(A_PACE)),
    ("YIELDS_TO_OTHERS", Never(A_PACE)),
    ("MAX_REPLY_BYTES_FOR_READS", Never(TOO_MANY)),
    ("MAX_CACHED_CONVERSATIONS", Never(TOO_MANY)),
    ("MAX_CACHED_ROWS", Never(TOO_MANY)),
    ("EVICTION_CANDIDATES", Never("nothing is evicted before MAX_CACHED_CONVERSATIONS are there")),
    ("REDELIVER_AFTER", ByPoint("redelivered")),
    ("MAX_REDELIVERIES", ByPoint("unacked_closed")),
    ("LOOKUP_RETRY_AFTER", ByPoint("lookup_retried")),
    ("MAX_LOOKUP_USERS", Never(TOO_MANY)),
    ("MAX_OWN_FRAMES", Never(TOO_MANY)),
    ("MAX_OWN_FRAME_BYTES", Never(TOO_MANY)),
    ("MAX_LOOKUPS_OPEN", Never(TOO_MANY)),
    ("MAX_PLANNED_BYTES", Never(TOO_MANY)),
    ("PLAN_READ_ENTRIES", Never(A_PACE)),
    ("PLAN_READS", Never(A_PACE)),
    ("MAX_READERS_KEPT", Never(TOO_MANY)),
    ("FEW_READERS", Never("nothing of it is seen: a list that is not kept is made again")),
    ("MAX_READER_CHANGES", Never("nothing of it is seen: messages/readers.rs meets it")),
    (
        "DEBT_MARKS",
        Never(
            "a debt is remembered less exactly from there on, which nobody sees: tried in core/src/messages/debt.rs",
        ),
    ),
    ("MAX_REMINDERS", Never(TOO_MANY)),
    ("MAX_REMINDERS_OPEN", Never(TOO_MANY)),
    ("STORAGE_BACKOFF_MIN", ByPoint("recovery_failed")),
    (
        "STORAGE_BACKOFF_MAX",
        Never("how long a disk is waited for is not told; regressions/disk-full-for-long.toml waits for longest"),
    ),
    ("MAX_DAMAGED_ROWS_TOLD", Never("no fault of a simulated disk damages a row")),
    ("CURSOR_FLUSH_INTERVAL", Never(A_PACE)),
    ("CURSOR_FLUSH_LARGE", Never(A_PACE)),
    ("CURSOR_FLUSH_CHANNEL", Never(A_PACE)),
    ("MAX_CHANNEL_CURSORS_A_COMMIT", Never(TOO_MANY)),
    ("MAX_CHANNEL_CURSORS_HELD", Never(TOO_MANY)),
    (
        "RECEIPTS_NAMED_UP_TO",
        Never("what a notice says of a larger group is another thing: receipts-hold counts names"),
    ),
    ("RECEIPTS_PER_FRAME", Never("nothing of it is seen: there is another frame")),
    (
        "MAX_RECEIPTS_FRAME_BYTES",
        Never("RECEIPTS_PER_FRAME is such that no frame is longer: server/src/messages/receipts.rs"),
    ),
    ("MAX_COUNTS_KEPT", Never(TOO_MANY)),
    ("COUNTED_ANEW_A_COMMIT", Never("counts are told a little later: server/src/messages/counts.rs meets it")),
    ("READ_RETRY_AFTER", Never(A_PACE)),
    ("READ_RETRY_MAX", Never(A_PACE)),
    ("MAX_ACKS_AGAIN", Never("what large groups are not told back is acked no more: core/src/client/receipts.rs")),
    ("MAX_UNREAD_COUNTED", Never(TOO_MANY)),
    ("CHANNEL_ABOVE", ByPoint("channel_told")),
    ("TAIL_ENTRIES", ByPoint("page_not_in_tail")),
    ("MAX_TAIL_ENTRIES", ByPoint("page_not_in_tail")),
    ("MAX_TAIL_BYTES", ByPoint("page_not_in_tail")),
    ("MAX_TAILS_BYTES", Never(TOO_MANY)),
    ("FOLLOW_RETRY_AFTER", Never(A_PACE)),
    ("TOLD_A_TURN", Never(A_PACE)),
    ("TOLD_PAUSE", Never(A_PACE)),
    ("MAX_SYNCS_WAITING", Never(TOO_MANY)),
    ("LEASE", ByPoint("registry_entries_cleared")),
    ("LEASE_RENEWAL", Never(A_PACE)),
    ("MAX_REGISTRATIONS_ON_THE_WAY", Never(TOO_MANY)),
    ("REGISTRATION_RETRY_AFTER", Never(A_PACE)),
    ("HEADS_WITHOUT_REGISTRY_AFTER", ByPoint("heads_without_registry")),
    ("HEADS_RETRY_AFTER", ByPoint("heads_asked_again")),
    ("PRESENCE_TTL", Never("the same as SILENCE_LIMIT, which has a point")),
    (
        "PRESENCE_TTL_MIN",
        Never("a bound on what a deployment may choose: a scenario that asks for less is refused"),
    ),
    ("PRESENCE_GRACE", Never("how long a host waits is not told; core's tests meet it")),
    ("WATCH_LEASE", ByPoint("watch_lapsed")),
    ("WATCH_RETRY_AFTER", Never(A_PACE)),
    ("MAX_WATCHED_AT_ONCE", Never("the fleet asks for no more: server/tests/presence.rs does")),
    ("MAX_WATCHES", Never("the fleet asks for no more: core's tests do")),
    ("MAX_WATCHED_USERS", Never(TOO_MANY)),
    ("PRESENCE_TOLD_EVERY", ByPoint("presence_sampled")),
    ("PRESENCE_TURN", Never(A_PACE)),
    ("PRESENCE_A_TURN", Never(TOO_MANY)),
    ("WATCHERS_A_TURN", Never(TOO_MANY)),
    ("OUTBOX_BYTES_FOR_PRESENCE", ByPoint("presence_held_back")),
    ("MAX_LAST_SEEN", Never(TOO_MANY)),
    ("PRESENCE_UNKNOWN_FOR", ByPoint("presence_unknown")),
    ("LINGER", Never("what a closed connection still reads is nobody's")),
    ("HOUSEKEEPING_INTERVAL", Never(A_PACE)),
    ("MAX_OUTBOX_BYTES", ByPoint("closed_as_too_slow")),
    ("MAX_LINK_QUEUE", Never(TOO_MANY)),
    ("MAX_LINK_QUEUE_BYTES", Never(TOO_MANY)),
    ("MAX_LINK_SHARE", Never(TOO_MANY)),
    ("MAX_LINK_SHARE_BYTES", ByPoint("queue_full")),
    ("NOTICE_STALE_AFTER", ByPoint("notices_dropped")),
    ("MAX_NOTICES", Never(TOO_MANY)),
    ("MAX_NOTICE_BYTES", Never(TOO_MANY)),
    ("MAX_NOTICES_SHARE", Never(TOO_MANY)),
    ("MAX_NOTICE_SHARE_BYTES", Never(TOO_MANY)),
    ("NOTICES_A_TURN", Never(A_PACE)),
    ("MAX_NOTICE_USERS", Never(TOO_MANY)),
    ("MAX_DEVICE_NOTICES", Never(TOO_MANY)),
    ("MAX_DEVICE_NOTICE_BYTES", Never(TOO_MANY)),
    ("MAX_DEVICES_NOTICE_BYTES", Never(TOO_MANY)),
    ("MAX_BATCH", Never("the queue of a link tells nobody how it is taken apart; links/queue.rs has the tests")),
    (
        "MAX_BATCH_BYTES",
        Never("the queue of a link tells nobody how it is taken apart; links/queue.rs has the tests"),
    ),
    ("LINK_WINDOW_BYTES", Never(A_BUFFER)),
    ("MAX_INTERNAL_MESSAGE_BYTES", Never("a batch is never so large")),
    ("LINK_KEEPALIVE_INTERVAL", Never(A_PACE)),
    ("LINK_KEEPALIVE_TIMEOUT", ByPoint("link_down")),
    ("LINK_BACKOFF_MIN", Never(A_PACE)),
    ("LINK_BACKOFF_MAX", Never(A_PACE)),
    ("LINK_CONNECT_LIMIT", ByPoint("link_down")),
    ("IN_PROCESS_PIPE_BYTES", Never(SOCKETS)),
    ("MAX_IN_PROCESS_BACKLOG", Never(SOCKETS)),
    ("STALE_GRACE", Never("how long the answer to a lower count is kept back is not told; core's tests meet it")),
    ("COME_BACK_WITHIN", ByPoint("closed_for_restart")),
    ("ANSWERS_LEAVE", ByPoint("closed_for_restart")),
    ("STOP_LOOKS_EVERY", Never(A_PACE)),
    (
        "SHARD_ENDS_WITHIN",
        Never("a disk that makes a shard wait so long has a fault of its own; the shard ends all the same"),
    ),
    (
        "LEAVE_LIMIT",
        Never("a gateway that told a device to come back closes it long before; core's tests meet it"),
    ),
    (
        "SUPERSEDED_TWICE_WITHIN",
        Never("no honest device of a run has a twin, which is what it takes; core's tests have one"),
    ),
    ("CONNECT_COUNT_LEAD", Never("counts of simulated devices begin at 1; core's tests ask for higher ones")),
    ("CLOCK_FLOOR_S", Never("counts of simulated devices begin at 1, and are read from no clock")),
    ("MAX_REFUSED_REMEMBERED", Never(TOO_MANY)),
    ("SENT_CHUNK", Never("the size of a row: every device that sends more has several")),
    ("UNDISTURBED_CROSSING", Never("part of a bound that a check judges, and nothing that a role waits for")),
    ("PROMPT_PAGE", Never("part of a bound that a check judges, and nothing that a role waits for")),
    ("STEADY_AFTER", Never(A_PACE)),
    ("MAX_BODY_JSON_BYTES", Never("no honest body of a run is so long in JSON; protocol's tests have some")),
    ("OUTBOX_BYTES_FOR_DELIVERIES", ByPoint("reminded_instead")),
    ("USER_FRAMES", ByPoint("held_back")),
    ("FRAMES_BOUGHT", Never(A_PACE)),
    ("FRAMES_BOUGHT_SHARE", Never(A_PACE)),
    ("FRAMES_A_SEND", Never("a floor under another limit, which core's tests meet")),
    ("FRAME_WEIGHT_BYTES", Never(A_PACE)),
    ("FRAME_WEIGHT_ENTRIES", Never(A_PACE)),
    ("FRAMES_A_TURN", Never(A_PACE)),
    ("FRAMES_PAUSE", Never(A_PACE)),
    (
        "MAX_ACKS_OWED",
        Never("nothing of it is seen outside a connection: server/tests/floods.rs owes a few hundred"),
    ),
    ("MAX_FRAMES_BEFORE_HELLO", Never("the fleet begins with its hello: server/tests/floods.rs does not")),
    ("USER_SENDS", ByPoint("told_to_wait")),
    ("USER_CREATIONS", ByPoint("told_to_wait")),
    ("USER_ADDITIONS", ByPoint("told_to_wait")),
    ("USER_CHANGES", ByPoint("told_to_wait")),
    ("MAX_LIMITED_USERS", Never(TOO_MANY)),
    ("RETRY_AFTER_MAX", Never("no bucket takes so long to fill; core's tests meet it")),
    ("ELSEWHERE_AFTER", Never("which reason a device leaves for is not told; core's tests meet it")),
];

/// The limits that a point tells of, each with the point.
pub fn limits_with_points() -> impl Iterator<Item = (&'static str, &'static str)> {
    LIMITS.iter().filter_map(|(limit, reached)| match reached {
        ByPoint(point) => Some((*limit, *point)),
        Never(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::points::SOMETIMES;
    use squall_generators::Corner;
    use std::collections::BTreeSet;

    #[test]
    fn every_limit_has_a_point_or_a_reason() {
        let source = include_str!("../../../../system/protocol/src/limits.rs");
        let constants = source.lines().filter_map(|line| line.strip_prefix("pub const "));
        // Names of subprotocols and functions bound nothing.
        let limits = constants.filter(|rest| !rest.starts_with("fn ") && !rest.contains(": &str"));
        let there: BTreeSet<&str> = limits.filter_map(|rest| rest.split(':').next()).collect();
        let told: BTreeSet<&str> = LIMITS.iter().map(|(limit, _)| *limit).collect();
        let missing: Vec<_> = there.difference(&told).collect();
        let gone: Vec<_> = told.difference(&there).collect();
        assert!(
            missing.is_empty(),
            "say in LIMITS which point is passed where these are reached, or why none is: {missing:?}"
        );
        assert!(gone.is_empty(), "there is no such limit any more: {gone:?}");
        assert_eq!(told.len(), LIMITS.len(), "a limit has two rows");
    }

    #[test]
    fn what_is_named_is_reported() {
        let unknown: Vec<_> = limits_with_points().filter(|(_, point)| !SOMETIMES.contains(point)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let corners: Vec<_> = Corner::ALL.iter().filter(|corner| !SOMETIMES.contains(&corner.name())).collect();
        assert!(corners.is_empty(), "{corners:?}");
        let distinct: BTreeSet<_> = SOMETIMES.iter().collect();
        assert_eq!(distinct.len(), SOMETIMES.len(), "a point stands there twice");
        let reasons =
            LIMITS.iter().filter_map(|(_, reached)| if let Never(reason) = reached { Some(reason) } else { None });
        assert!(reasons.clone().all(|reason| reason.len() > 10));
    }
}
