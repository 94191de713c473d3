//! Every bound of the system, by name. A queue, window, retry or page without a constant here is a bug.
//!
//! **Invariant:** nothing copies a limit: what follows from another one is derived from it, here.

use std::time::Duration;

/// The JSON subprotocol of the WebSocket: text frames.
pub const SUBPROTOCOL_JSON: &str = "squall.v1.json";
/// The Protobuf subprotocol of the WebSocket: binary frames.
pub const SUBPROTOCOL_PROTOBUF: &str = "squall.v1.protobuf";

/// The longest body of a message, in bytes of UTF-8.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// The longest that a body may be in JSON, where control characters take six bytes each: for every reader a body is of the same order.
pub const MAX_BODY_JSON_BYTES: usize = 2 * MAX_BODY_BYTES;
/// The largest WebSocket message that a gateway takes from a device, in bytes: a body in JSON, escaped, and its envelope;
/// a group's creation with all members.
pub const MAX_CLIENT_FRAME_BYTES: usize = 128 * 1024;
/// The largest one before its `hello` has been taken: a token and its envelope.
pub const MAX_HELLO_BYTES: usize = 8 * 1024;
/// Connections of a gateway in their opening handshake, and as many again that have shown no token: beyond, the oldest is closed for
/// the newest, for whoever means well is through in a few round trips.
pub const MAX_GREETINGS: usize = 16_384;
/// Both together take one part in so many of the descriptors that a process may have, so that there are some for whoever has a token.
pub const GREETINGS_SHARE: u64 = 4;
/// A process that has no descriptors left says so this often.
pub const DESCRIPTORS_TOLD_EVERY: Duration = Duration::from_secs(60);
/// The longest request line and headers of an opening handshake, in bytes.
pub const MAX_HANDSHAKE_BYTES: usize = 8 * 1024;
/// The most headers that an opening handshake may have.
pub const MAX_HANDSHAKE_HEADERS: usize = 32;
/// Bytes that either end of a WebSocket reads at a time.
pub const READ_BYTES: usize = 4 * 1024;
/// A gateway hands frames to a connection's stream in pieces of about this many bytes.
pub const WRITE_BYTES: usize = 16 * 1024;
/// The longest payload of a WebSocket control frame (RFC 6455, section 5.5).
pub const MAX_CONTROL_FRAME_BYTES: usize = 125;
/// Members of the largest group, and those whom a creation names: more are added.
pub const MAX_GROUP_MEMBERS: usize = 250_000;
pub const MAX_FOUNDERS: usize = 5_000;
const _: () = assert!(MAX_FOUNDERS * USER_JSON_BYTES < MAX_CLIENT_FRAME_BYTES - 1_024);
/// Users whom one entry adds or takes away.
pub const MAX_NAMED_USERS: usize = 4_096;
/// The longest name of a group, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 256;
/// The longest that a user is in a list in JSON: nineteen digits, quotes and a comma.
pub const USER_JSON_BYTES: usize = 22;
const _: () = assert!(MAX_NAMED_USERS * USER_JSON_BYTES < MAX_CLIENT_FRAME_BYTES - 1_024);
/// A group with more members than this, by default, is a channel: what is written there is not looked up member by member, and its members'
/// gateways follow it. It is one until there are half as many.
pub const CHANNEL_ABOVE: u32 = 5_000;
/// Entries of a channel that a gateway which begins to follow it is given, and the entries and bytes that it keeps of one, and of all of them,
/// for devices that come back. Whoever lacks more than that is answered by the shard.
pub const TAIL_ENTRIES: usize = PAGE_ENTRIES;
pub const MAX_TAIL_ENTRIES: usize = 4 * PAGE_ENTRIES;
pub const MAX_TAIL_BYTES: usize = 4 * PAGE_BYTES;
pub const MAX_TAILS_BYTES: usize = 64 * 1024 * 1024;
/// A gateway that has no answer when it begins to follow asks again after this.
pub const FOLLOW_RETRY_AFTER: Duration = HEADS_RETRY_AFTER;
/// Devices that a gateway tells of a channel's new entries before others have a turn, and how long that one lasts.
pub const TOLD_A_TURN: usize = 256;
pub const TOLD_PAUSE: Duration = Duration::from_millis(1);
/// Syncs that wait at a gateway for a channel's entries to come, in each channel: further ones are asked of the shard.
pub const MAX_SYNCS_WAITING: usize = 65_536;
/// Entries that a newcomer sees from before the join.
pub const NEWCOMER_HISTORY: u64 = 20;

/// A device sends a heartbeat this often.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// The gateway closes a connection after this much silence: three missed heartbeats.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(90);
/// A device that has no answer to a heartbeat or a send for this long reconnects elsewhere.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long an opening handshake and the first frame may take, together.
pub const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// How long a token counts beyond its expiry, and ahead of its beginning, by the clock of the gateway that is shown it: clocks differ.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(60);
/// A token in its compact form. Who a device is takes 200 bytes; an app's backend may say more.
pub const MAX_TOKEN_BYTES: usize = 4 * 1024;
/// How long a token counts is told to a device, and looked at, up to here: longer is as good as ever.
pub const LONGEST_EXPIRY_TOLD: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A device asks for a new token, and shows it, again after this long without an answer.
pub const REFRESH_RETRY_AFTER: Duration = Duration::from_secs(10);
/// A gateway looks at all expiries anew when its clock is found to have been set by as much.
pub const CLOCK_STEP: Duration = Duration::from_secs(1);
/// Gateways that refuse a device's tokens, one after the other, before it gives up: one may have a wrong clock.
pub const MAX_TOKEN_REFUSALS: u8 = 2;
/// Keys under which tokens are checked at once: one that goes, one that comes, and room.
pub const MAX_TOKEN_KEYS: usize = 16;
/// A device whose sends have no answer for this long connects elsewhere even if its gateway answers all else: that one may be cut
/// off from a shard that others reach. A shard that is down for everybody makes nobody leave before.
pub const ELSEWHERE_AFTER: Duration = Duration::from_secs(60);
/// A device sends again what has no ack for this long.
pub const RESEND_AFTER: Duration = Duration::from_secs(3);
/// A device asks again for a page that has not come for this long.
pub const SYNC_RETRY_AFTER: Duration = Duration::from_secs(5);
/// A refusal of the number is answered by a rewind at most this often: every send in flight brings one.
pub const REWIND_PAUSE: Duration = Duration::from_millis(500);
/// How long a device waits for a missing entry to arrive by itself before it syncs.
pub const GAP_GRACE: Duration = Duration::from_millis(300);
/// Sends of one device and conversation on the way at once.
pub const MAX_SENDS_IN_FLIGHT: usize = 16;
/// Entries that a device holds back in one conversation until a gap is filled; beyond that they are dropped and synced.
pub const MAX_HELD_ENTRIES: usize = 64;
/// Conversations that a device syncs at once.
pub const MAX_SYNCS_OPEN: usize = 8;
/// A user is told to be writing in a conversation at most this often; what comes sooner is dropped.
pub const TYPING_INTERVAL: Duration = Duration::from_secs(1);
/// A device whose person goes on writing says so again after this long.
pub const TYPING_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Whoever is told to be writing is shown so for this long, unless their message comes before.
pub const TYPING_SHOWN_FOR: Duration = Duration::from_secs(5);
const _: () = assert!(TYPING_AGAIN_AFTER.as_micros() < TYPING_SHOWN_FOR.as_micros());
/// Members of the largest group in which it is told who is writing.
pub const MAX_TYPING_MEMBERS: usize = 100;
/// Who has been writing a short while ago that one place of enforcement remembers: beyond, everybody has to wait.
pub const MAX_TYPING_REMEMBERED: usize = 65_536;
/// Others whom a device shows as writing at once.
pub const MAX_TYPING_SHOWN: usize = 32;
/// The shortest and longest wait before a device connects again (full jitter between the half and the whole of the step).
pub const BACKOFF_MIN: Duration = Duration::from_millis(500);
pub const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// How long a device that is told a higher connect count than its own listens for further ones before it connects again: every
/// conversation that it has sent into may know another.
pub const STALE_GRACE: Duration = Duration::from_millis(250);
/// A device that is told to come back is told a time up to this: no two devices that are closed together connect together.
pub const COME_BACK_WITHIN: Duration = Duration::from_secs(1);
/// How long a connection lasts on which `come_back` was told: what was asked before it is answered.
pub const ANSWERS_LEAVE: Duration = Duration::from_secs(1);
/// How often a role that is to end looks whether all is done.
pub const STOP_LOOKS_EVERY: Duration = Duration::from_millis(20);
/// How long a shard that is to end waits for its disk.
pub const SHARD_ENDS_WITHIN: Duration = Duration::from_secs(5);
/// A device that was told to come back leaves by itself when nobody has closed by then.
pub const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// A device whose place another connection takes with a higher count twice within this time stops: its person has it open twice.
pub const SUPERSEDED_TWICE_WITHIN: Duration = Duration::from_secs(60);
/// How far a connect count may lead the seconds since the epoch, by a gateway's clock that is never before `CLOCK_FLOOR_S`. What
/// was ever counted is then never far from what a gateway takes next, and a count cannot be exhausted.
pub const CONNECT_COUNT_LEAD: Duration = Duration::from_secs(365 * 24 * 3600);
/// The start of 2026: a machine that believes in an earlier time has not been told the time yet.
pub const CLOCK_FLOOR_S: u64 = 1_767_225_600;
/// A connection that has lasted so long ends the back-off that led to it.
pub const STEADY_AFTER: Duration = Duration::from_secs(2);
/// How long a device waits for an opening handshake and its welcome.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Commands that wait for the task of a device on real sockets.
pub const MAX_DEVICE_COMMANDS: usize = 1_024;
/// Events that wait for their reader. A reader that takes none stops the device: it acks nothing that was not taken.
pub const MAX_DEVICE_EVENTS: usize = 1_024;

/// Shards of a cluster: a gateway keeps a bit for each.
pub const MAX_SHARDS: usize = u64::BITS as usize;
/// What the database of each shard of `chatd` may cache.
pub const STORAGE_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Entries of one page of a sync.
pub const PAGE_ENTRIES: usize = 200;
/// Bytes of bodies, in JSON, after which a page ends early. All pages that a device has asked for fit its outbox.
pub const PAGE_BYTES: usize = 64 * 1024;
const _: () = assert!(MAX_SYNCS_OPEN * (PAGE_BYTES + MAX_BODY_JSON_BYTES) < MAX_OUTBOX_BYTES);
/// Conversations in one `heads` frame.
pub const HEADS_PER_FRAME: usize = 200;

/// Accepted messages of one device and conversation whose ids the shard remembers by heart; older ones are found by `client_seq`.
pub const DEDUP_WINDOW: usize = 32;
/// Refused messages of one device that a shard remembers until its connection is replaced; with more the connection is retired.
pub const MAX_REFUSED_REMEMBERED: usize = 64;
/// Positions in one row of the index from `seq` to place on disk.
pub const INDEX_CHUNK: usize = 64;
/// Places in one row of the index from a device's numbers to its messages.
pub const SENT_CHUNK: usize = 32;
/// Entries that a shard has staged or is committing before it answers "busy", their bytes, and a user's share of these.
pub const MAX_STAGED: usize = 65_536;
pub const MAX_STAGED_BYTES: usize = 64 * 1024 * 1024;
pub const MAX_STAGED_SHARE_BYTES: usize = MAX_STAGED_BYTES / 8;
/// Pages and heads that a gateway's devices wait for at a shard, and a user's share of them: more are not read, and asked for again.
pub const MAX_READS_WAITING: usize = 131_072;
pub const MAX_READS_WAITING_SHARE: usize = 8 * MAX_SYNCS_OPEN;
/// Reads after each other before others have a turn.
pub const READS_AT_ONCE: usize = 8;
/// How often whoever has read a page gives way to those who wait for the shard before the next one is read all the same.
pub const YIELDS_TO_OTHERS: usize = 1_024;
/// Bytes of answers to a gateway beyond which nothing is read for it.
pub const MAX_REPLY_BYTES_FOR_READS: usize = 4 * MAX_BATCH_BYTES;
/// Conversations that a shard keeps in memory: as many as fill a hash table of 2^18 buckets.
pub const MAX_CACHED_CONVERSATIONS: usize = 229_376;
/// Members and senders that are known of all of them, about a hundred bytes each: large groups leave room for
/// fewer. A quarter more may be there while all have their second chance.
pub const MAX_CACHED_ROWS: usize = 16 * MAX_CACHED_CONVERSATIONS;
/// Conversations that are looked at to evict one.
pub const EVICTION_CANDIDATES: usize = 8;
/// Redelivery after an unacked delivery.
pub const REDELIVER_AFTER: Duration = Duration::from_secs(5);
/// Redeliveries to one connection before it is closed.
pub const MAX_REDELIVERIES: u8 = 3;
/// A shard asks the registry again after this long without an answer.
pub const LOOKUP_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Users in one look-up, unless a single entry has more members.
pub const MAX_LOOKUP_USERS: usize = 16_384;
/// Frames of its own (welcomes, pongs, refusals) that a gateway holds for a device that does not read, and their bytes.
pub const MAX_OWN_FRAMES: usize = 1_024;
pub const MAX_OWN_FRAME_BYTES: usize = 128 * 1024;
/// Look-ups that one shard has open at one registry, and the bytes of the entries that wait for them. What finds no room is read from the
/// disk when there is some.
pub const MAX_LOOKUPS_OPEN: usize = 8_192;
pub const MAX_PLANNED_BYTES: usize = 64 * 1024 * 1024;
/// Entries that a shard reads at once to plan what it has not planned yet, and times that it does so before it does anything else.
pub const PLAN_READ_ENTRIES: usize = 128;
pub const PLAN_READS: usize = 16;
/// Members of large groups whose lists a shard keeps from one entry to the next, groups with fewer having none kept, and changes that are
/// noted beside such a list before it is written anew.
pub const MAX_READERS_KEPT: usize = 1024 * 1024;
pub const FEW_READERS: usize = 32;
pub const MAX_READER_CHANGES: usize = 32;
/// Places of owed entries that a debt remembers; beyond that it remembers every other one.
pub const DEBT_MARKS: usize = 16;
/// Devices that a shard tells at once how far their logs go, and such look-ups that it has open at one registry.
pub const MAX_REMINDERS: usize = 16_384;
pub const MAX_REMINDERS_OPEN: usize = 64;
/// Waits between tries of a disk that fails again and again. The first failure is followed by a try at once.
pub const STORAGE_BACKOFF_MIN: Duration = Duration::from_millis(250);
pub const STORAGE_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Rows that cannot be read of which a shard tells, each once.
pub const MAX_DAMAGED_ROWS_TOLD: usize = 1_024;
/// Cursors are written, and told to the others, at the latest this long after the ack or the read: in direct conversations and groups whose
/// members are named in notices; in larger groups; and in channels, where nobody is told of others, unless a device of their user goes before.
pub const CURSOR_FLUSH_INTERVAL: Duration = Duration::from_millis(500);
pub const CURSOR_FLUSH_LARGE: Duration = Duration::from_secs(5);
pub const CURSOR_FLUSH_CHANNEL: Duration = Duration::from_secs(60);
/// Cursors of channels that one commit takes: the others go with the next ones, so that no send waits for those of a whole channel.
pub const MAX_CHANNEL_CURSORS_A_COMMIT: usize = 8_192;
/// Cursors of channels that wait for their minute; when there are more, they are written before it is over.
pub const MAX_CHANNEL_CURSORS_HELD: usize = 131_072;
/// The largest group, by default, of which a notice names who has come how far; of a larger one it says how many have.
pub const RECEIPTS_NAMED_UP_TO: u32 = 100;
/// Members whom one `receipts` frame names at most, a conversation counting as two of them, and its bytes in either codec: one frame for
/// all members of the largest group that has them named.
pub const RECEIPTS_PER_FRAME: usize = RECEIPTS_NAMED_UP_TO as usize + 2;
pub const MAX_RECEIPTS_FRAME_BYTES: usize = 10 * 1024;
const _: () = assert!(MAX_RECEIPTS_FRAME_BYTES < MAX_DEVICE_NOTICE_BYTES);
/// Large groups whose counts a shard remembers; when there are more, all begin anew.
pub const MAX_COUNTS_KEPT: usize = 4_096;
/// Large groups of which a commit of cursors reads all rows, because nothing is known of how far their members have come.
pub const COUNTED_ANEW_A_COMMIT: usize = 1;
/// A device says again what its person has read when it has not been told back by then; each time it waits twice as long, up to the longest.
pub const READ_RETRY_AFTER: Duration = Duration::from_secs(10);
pub const READ_RETRY_MAX: Duration = Duration::from_secs(80);
/// How often a device acks again what it is not told back.
pub const MAX_ACKS_AGAIN: u8 = 3;
/// Unread messages of a conversation that a device counts; more are as many as these.
pub const MAX_UNREAD_COUNTED: usize = 1_000;

/// Frames of one user that a gateway reads by default, a second in the long run and at once, by weight: whoever sends more is not
/// read meanwhile. What a device answers to deliveries comes on top.
pub const USER_FRAMES: (u32, u32) = (500, 5_000);
/// A connection pays for so many frames at once, and for no more of its next ones than it has had; or for this share of what its user may
/// send at once if that is less.
pub const FRAMES_BOUGHT: u32 = 16;
pub const FRAMES_BOUGHT_SHARE: u32 = 64;
/// However few frames a user is given, they are so many for each of their sends.
pub const FRAMES_A_SEND: u32 = 4;
/// What weighs as much as a frame: so many bytes of one, so many entries of a page, and so many bytes of their bodies.
pub const FRAME_WEIGHT_BYTES: usize = 4 * 1024;
pub const FRAME_WEIGHT_ENTRIES: usize = 20;
/// Frames of one connection, by weight, before others have a turn.
pub const FRAMES_A_TURN: u32 = 64;
/// The shortest time that whoever sends too many is not read, if their bucket does not fill before.
pub const FRAMES_PAUSE: Duration = Duration::from_millis(50);
/// Acks of a connection that are nothing its user has caused: one for each frame that it was sent, and no more than this.
pub const MAX_ACKS_OWED: u32 = USER_FRAMES.1;
/// WebSocket frames that a connection may send before its `hello`, pings and fragments: beyond, it is closed.
pub const MAX_FRAMES_BEFORE_HELLO: u8 = 64;
/// What one user may do by default, a second in the long run and at once. Far above what people and their devices do, also when
/// they come back with a backlog, and of the order that public services allow bots: 30 to 80 messages a second.
pub const USER_SENDS: (u32, u32) = (50, 500);
pub const USER_CREATIONS: (u32, u32) = (2, 200);
/// Two of the largest creations at once.
pub const USER_ADDITIONS: (u32, u32) = (50, 2 * MAX_FOUNDERS as u32);
/// Joins and leaves, each of which leaves a row behind for good.
pub const USER_CHANGES: (u32, u32) = (10, 500);
/// Users of whom one place of enforcement knows that they have done something a short while ago.
pub const MAX_LIMITED_USERS: usize = 65_536;
/// The longest that a device lets itself be told to wait with a conversation.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// A gateway's lease on its registry entries, and how often it renews.
pub const LEASE: Duration = Duration::from_secs(30);
pub const LEASE_RENEWAL: Duration = Duration::from_secs(10);
/// Connections that a gateway has told a registry and that have no answer yet; and how long it waits for one before it tells it again.
pub const MAX_REGISTRATIONS_ON_THE_WAY: usize = 1_024;
pub const REGISTRATION_RETRY_AFTER: Duration = Duration::from_secs(2);
/// A gateway asks for the heads without waiting longer for the registry.
pub const HEADS_WITHOUT_REGISTRY_AFTER: Duration = Duration::from_secs(2);
/// A gateway asks a shard for heads again after this long without an answer.
pub const HEADS_RETRY_AFTER: Duration = Duration::from_secs(3);

/// Somebody is online while a device of theirs has been heard within this.
pub const PRESENCE_TTL: Duration = SILENCE_LIMIT;
/// The shortest that a deployment may choose: devices that a network makes silent for a moment are there.
pub const PRESENCE_TTL_MIN: Duration = Duration::from_secs(5);
/// Whoever has lost their last connection is online for as long: a flaky network tells nobody anything.
pub const PRESENCE_GRACE: Duration = Duration::from_secs(10);
/// A gateway has to ask again by then whether a device may still watch; it does so after half of it, and again after this without an answer.
pub const WATCH_LEASE: Duration = Duration::from_secs(60);
pub const WATCH_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Users in one watch, watches of one connection, and users whom all devices of a gateway watch: more are left out, and counted.
pub const MAX_WATCHED_AT_ONCE: usize = 50;
pub const MAX_WATCHES: usize = 16;
pub const MAX_WATCHED_USERS: usize = 262_144;
/// Nobody is told of one user more often than this: what changes meanwhile is told as it then is.
pub const PRESENCE_TOLD_EVERY: Duration = Duration::from_secs(1);
/// In a turn, a presence host tells a gateway of as many users, and a gateway as many devices what they watch; the rest waits for the
/// next one, and is told as it then is.
pub const PRESENCE_TURN: Duration = Duration::from_millis(100);
pub const PRESENCE_A_TURN: usize = 2_048;
pub const WATCHERS_A_TURN: usize = 1_024;
/// A device for which more bytes wait is told nothing that may be late.
pub const OUTBOX_BYTES_FOR_PRESENCE: usize = MAX_OUTBOX_BYTES / 64;
/// Users who are offline and whose last time a presence host remembers: beyond, those who have been away for longest are forgotten.
pub const MAX_LAST_SEEN: usize = 1024 * 1024;
/// A presence host that has just started says "unknown" of whoever it has not heard of, for as long as a gateway's devices may live without a
/// sign of it; and a gateway says so of whoever a host knows that has been away for as long.
pub const PRESENCE_UNKNOWN_FOR: Duration = LEASE;

/// How long a closed connection is kept, so that the close frame reaches a peer that is still sending.
pub const LINGER: Duration = Duration::from_secs(2);
/// A gateway and a shard look for what is due this often.
pub const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(250);
/// Bytes that a gateway queues for one device before it closes the connection as too slow.
pub const MAX_OUTBOX_BYTES: usize = 1024 * 1024;
/// Beyond this, deliveries only tell how far a log goes: the device pages at its own speed, and nobody can fill its outbox for it.
pub const OUTBOX_BYTES_FOR_DELIVERIES: usize = MAX_OUTBOX_BYTES / 8;
/// Items that wait for one internal link, or in one topic of a bus, before further ones are refused, and their bytes.
pub const MAX_LINK_QUEUE: usize = 131_072;
pub const MAX_LINK_QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// One user's share of such a queue.
pub const MAX_LINK_SHARE: usize = MAX_LINK_QUEUE / 32;
pub const MAX_LINK_SHARE_BYTES: usize = MAX_LINK_QUEUE_BYTES / 16;
/// A notice (who is writing, who has read what) that has waited this long in one place is dropped: nobody is told what was a while ago.
pub const NOTICE_STALE_AFTER: Duration = Duration::from_secs(1);
/// Notices that wait for an internal link, in one topic of a bus, or at a shard for their look-up, beside all else and behind it; their
/// bytes, and one user's share.
pub const MAX_NOTICES: usize = 4_096;
pub const MAX_NOTICE_BYTES: usize = 1024 * 1024;
pub const MAX_NOTICES_SHARE: usize = MAX_NOTICES / 32;
pub const MAX_NOTICE_SHARE_BYTES: usize = MAX_NOTICE_BYTES / 32;
/// Notices that a shard judges before others have a turn, and users in one look-up for notices, of which a registry has one at a time.
pub const NOTICES_A_TURN: usize = 32;
pub const MAX_NOTICE_USERS: usize = 1_024;
/// Notices that wait at a gateway for one device until all else that waits for it is written, their bytes, and those of all its devices.
pub const MAX_DEVICE_NOTICES: usize = 64;
pub const MAX_DEVICE_NOTICE_BYTES: usize = 16 * 1024;
pub const MAX_DEVICES_NOTICE_BYTES: usize = 16 * 1024 * 1024;
/// Requests or payloads in one batch on an internal link, and their bytes.
pub const MAX_BATCH: usize = 512;
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The flow-control windows of an internal link: room for several batches on the way.
pub const LINK_WINDOW_BYTES: usize = 4 * MAX_BATCH_BYTES;
/// The largest gRPC message between roles.
pub const MAX_INTERNAL_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Keep-alive of internal links: a ping this often, the link is dead when none is answered for this long.
pub const LINK_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
pub const LINK_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Waits between attempts to open an internal link.
pub const LINK_BACKOFF_MIN: Duration = Duration::from_millis(50);
pub const LINK_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long an attempt to open an internal link may take.
pub const LINK_CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Bytes on the way between two roles of one process, each direction of each link.
pub const IN_PROCESS_PIPE_BYTES: usize = 64 * 1024;
/// Links within a process that wait to be accepted, at each role.
pub const MAX_IN_PROCESS_BACKLOG: usize = 128;

/// The connect count with which a device goes on that has counted too far: what a device that counts in seconds has at `wall_ms`.
pub const fn current_connect_count(wall_ms: u64) -> u64 {
    let seconds = wall_ms / 1_000;
    if seconds > CLOCK_FLOOR_S { seconds } else { CLOCK_FLOOR_S }
}

/// The highest connect count that a gateway takes at `wall_ms`.
pub const fn highest_connect_count(wall_ms: u64) -> u64 {
    current_connect_count(wall_ms) + CONNECT_COUNT_LEAD.as_secs()
}

/// Who is connected and whom nothing harms has every entry that they may see within this: a link is found dead and opened again, a
/// lease is renewed and a registration said again, a look-up and the heads are asked for again, a delivery comes a second and a third
/// time, a page is asked for again. Whoever has a backlog has [`PROMPT_PAGE`] more for each page of it.
pub const fn prompt_bound() -> Duration {
    let link = LINK_KEEPALIVE_INTERVAL.as_micros()
        + LINK_KEEPALIVE_TIMEOUT.as_micros()
        + LINK_BACKOFF_MAX.as_micros()
        + LINK_CONNECT_LIMIT.as_micros();
    let registry =
        LEASE_RENEWAL.as_micros() + REGISTRATION_RETRY_AFTER.as_micros() + LOOKUP_RETRY_AFTER.as_micros();
    let device = HEADS_RETRY_AFTER.as_micros() + SYNC_RETRY_AFTER.as_micros();
    Duration::from_micros((link + registry + device + 2 * REDELIVER_AFTER.as_micros()) as u64)
}
/// Whose way nothing has harmed for longer than [`prompt_bound`] has an entry within this: a delivery that is missing is waited for,
/// its page asked for, and both cross the last mile; a look-up may have to be made again. No redelivery is needed.
pub const fn undisturbed_bound() -> Duration {
    let micros = LOOKUP_RETRY_AFTER.as_micros() + GAP_GRACE.as_micros() + 3 * UNDISTURBED_CROSSING.as_micros();
    Duration::from_micros(micros as u64)
}
const _: () = assert!(undisturbed_bound().as_micros() < REDELIVER_AFTER.as_micros());
/// What a crossing of the last mile takes there at most.
pub const UNDISTURBED_CROSSING: Duration = Duration::from_millis(400);
/// What is shown of somebody who writes was said by them at most this long ago, where no device reads or is read late: a notice may wait
/// in each of the places where notices wait (gateway, shard, look-up, shard again, bus, gateway again), and on each of the three links between them until
/// that is found dead.
pub const fn typing_age_bound() -> Duration {
    let waits = 6 * NOTICE_STALE_AFTER.as_micros();
    let links = 3 * (LINK_KEEPALIVE_INTERVAL.as_micros() + LINK_KEEPALIVE_TIMEOUT.as_micros());
    let miles = 2 * UNDISTURBED_CROSSING.as_micros();
    Duration::from_micros((waits + links + miles) as u64)
}
/// What a page of a backlog may take.
pub const PROMPT_PAGE: Duration = Duration::from_secs(1);

/// After a heal, everything owed has arrived within this: a half-open connection is noticed, the longest back-off
/// passes, a redelivery and a page follow.
pub const fn liveness_bound() -> Duration {
    Duration::from_micros(
        (SILENCE_LIMIT.as_micros() + BACKOFF_MAX.as_micros() + 2 * REDELIVER_AFTER.as_micros()) as u64,
    )
}
