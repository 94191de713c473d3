//! The table of planted bugs.

use super::Plant;

/// A bug that can be planted, and how it is found.
#[derive(Debug)]
pub struct Bug {
    pub plant: Plant,
    pub name: &'static str,
    /// How it happens in real systems, in one sentence.
    pub how: &'static str,
    /// The checks of which one must be the first to see it.
    pub caught_by: &'static [&'static str],
    /// The scenario of `scenarios/bugs/` that finds it.
    pub scenario: &'static str,
    /// The least that shows it: so many devices, so many faults, and why.
    pub devices: u32,
    pub faults: u32,
    pub why: &'static str,
}

/// The bug of that name.
pub fn find(name: &str) -> Option<&'static Bug> {
    BUGS.iter().find(|bug| bug.name == name)
}

macro_rules! bugs {
    ($($plant:ident $name:literal: $how:literal
        [$($check:literal),+] in $scenario:literal, $devices:literal devices, $faults:literal faults: $why:literal)*) => {
        /// All bugs, in the order of the message path.
        pub const BUGS: &[Bug] = &[$(Bug {
            plant: Plant::$plant,
            name: $name,
            how: $how,
            caught_by: &[$($check),+],
            scenario: $scenario,
            devices: $devices,
            faults: $faults,
            why: $why,
        }),*];
    };
}

bugs! {
    AckBeforeCommit "ack-before-commit":
        "The server answers when a message is in memory, to be quick; a crash before the commit loses what was acked."
        ["acked-is-durable", "dense-sequence"] in "power-loss", 1 devices, 1 faults:
        "One sender, and a power loss between its ack and the commit."
    CommitWithoutSync "commit-without-sync":
        "A setting, or a buffer of the process, says \"synced\" and writes later; a crash or a power loss takes the last commits."
        ["acked-is-durable", "dense-sequence"] in "power-loss", 1 devices, 1 faults:
        "One sender, and a power loss after its ack."
    FailedSyncTrusted "failed-sync-trusted":
        "After a failed fsync the page cache is believed: what is read there was never written, and no later fsync writes it."
        ["acked-is-durable", "dense-sequence"] in "failed-syncs", 1 devices, 2 faults:
        "One sender, a sync that fails, a resend that is answered from what was read, and a power loss."
    CreationNotRecorded "creation-not-recorded":
        "Whether there is a database is told by looking for one; what a crash has made unreadable is taken for a first start and begun anew."
        ["acked-is-durable", "every-send-answered"] in "power-loss", 1 devices, 1 faults:
        "One sender, and a power loss after its ack."
    NoServerDedup "no-server-dedup":
        "The server stores whatever comes, whatever its id and number; a message whose ack was lost is sent again and stored again."
        ["no-duplicates"] in "lost-acks", 1 devices, 1 faults:
        "One sender, whose ack is lost."
    DedupForgottenOnRestart "dedup-forgotten-on-restart":
        "What has been stored is remembered in memory only; a resend that meets a restarted server is stored again."
        ["no-duplicates", "same-stamps"] in "power-loss-unheard", 1 devices, 2 faults:
        "One sender, whose shard restarts between the commit and the ack, and who says it again before it comes back from the log."
    DedupByUserNotDevice "dedup-by-user-not-device":
        "Messages are numbered by device and deduplicated by user; the second device's first message passes for the first device's."
        ["acked-is-durable", "dense-sequence"] in "fair-weather", 2 devices, 0 faults:
        "Two devices of one user that write to the same conversation."
    SequenceReusedAfterCrash "sequence-reused-after-crash":
        "The counter of a log is written apart from its entries and is one behind after a crash; the last number is given twice."
        ["dense-sequence"] in "power-loss", 1 devices, 1 faults:
        "One sender that goes on after its shard restarted."
    OrderByWallClock "order-by-wall-clock":
        "The log is read in the order of time stamps; when a clock jumps, those who sync see another order than those who were there."
        ["same-order", "dense-sequence"] in "backlog", 2 devices, 2 faults:
        "A clock that jumps back, and a device that was away over the jump."
    DeliverBeforePersist "deliver-before-persist":
        "The fan-out starts beside the commit; a crash between the two leaves a message on screens that no log has."
        ["same-order", "same-stamps"] in "power-loss", 2 devices, 1 faults:
        "A sender, a receiver, and a power loss during the commit."
    NoClientDedup "no-client-dedup":
        "The client shows whatever arrives; a delivery whose ack was lost comes again and is shown again."
        ["no-duplicates"] in "lost-acks", 2 devices, 1 faults:
        "A sender, and a receiver whose ack is lost."
    NoGapDetection "no-gap-detection":
        "The client takes what arrives for what comes next; a lost delivery becomes a hole in the history."
        ["dense-sequence"] in "lost-acks", 2 devices, 1 faults:
        "A receiver that was away for one message and is there for the next."
    CursorAdvancedOnConnect "cursor-advanced-on-connect":
        "The server takes a device that connects for up to date and moves its cursor to the end of the log."
        ["cursor-behind-acks"] in "lost-acks", 1 devices, 1 faults:
        "A device that connects again where entries stand that it never acked."
    CursorAdvancedOnLaterReceipt "cursor-advanced-on-later-receipt":
        "The client acks the newest message that it got, not the last one before the first gap."
        ["cursor-behind-acks"] in "lost-acks", 2 devices, 1 faults:
        "A receiver that lacks one message and gets the next."
    PageEdgeOffByOne "page-edge-off-by-one":
        "A full page leaves out the entry that the next page begins after."
        ["no-loss"] in "backlog", 2 devices, 0 faults:
        "A device that comes back to more than a page."
    NoRedelivery "no-redelivery":
        "A delivery is sent once; nobody notices that it was not acked."
        ["no-loss"] in "lost-deliveries", 2 devices, 1 faults:
        "A bus that loses the last message of a conversation whose device stays connected."
    RedeliveryStopsAfterReconnect "redelivery-stops-after-reconnect":
        "The timer of a debt belongs to a connection and ends with it; what the new connection owes joins the old debt and starts none."
        ["no-loss"] in "lost-deliveries", 2 devices, 2 faults:
        "An open debt, a reconnect, and another delivery that is lost before the first is acked."
    RedeliveryGivesUp "redelivery-gives-up":
        "After the last try the debt is written off, though the order to close the connection was lost like the tries."
        ["no-loss"] in "lost-deliveries", 2 devices, 1 faults:
        "A bus that is out of reach for longer than all tries take."
    WatermarkIgnoresDebts "watermark-ignores-debts":
        "The mark up to which a restart need not look is moved past entries that nobody has acked."
        ["no-loss"] in "lost-deliveries", 2 devices, 2 faults:
        "A delivery that is lost, and a shard that restarts before it tries again."
    BusDropsSilently "bus-drops-silently":
        "The bus drops what its small queue cannot hold, and the shard takes published for delivered."
        ["no-loss", "in-time"] in "fair-weather", 2 devices, 0 faults:
        "Two messages in one commit, the last ones of their conversations."
    StaleRegistryEntryKept "stale-registry-entry-kept":
        "A good-bye does not clear the registry; whoever has left is delivered to for ever."
        ["current-routes"] in "long-absences", 2 devices, 0 faults:
        "A device that leaves, and one that writes to it after it should be known."
    RegistrationNotRebuilt "registration-not-rebuilt":
        "The registry restarts empty and the gateways tell it of new connections only."
        ["no-loss"] in "registry-restart", 2 devices, 1 faults:
        "A device that stays connected while the registry restarts, and a message after it."
    NoSyncAfterRegistration "no-sync-after-registration":
        "The registry is whole again, and nobody tells the devices what was published while it was empty."
        ["no-loss"] in "registry-restart", 2 devices, 1 faults:
        "A message that is planned while the registry does not know its receiver."
    LastWriterWinsRegistration "last-writer-wins-registration":
        "The last registration of a device wins, also when it is the older connection's that comes late."
        ["no-loss"] in "old-connections", 2 devices, 2 faults:
        "A connection that is half open at one gateway, its successor at another, and a registry that asks both."
    FanOutForgetsSecondDevice "fan-out-forgets-second-device":
        "The registry's answer is kept in a map by user: of two devices one is delivered to."
        ["no-loss", "in-time"] in "fair-weather", 2 devices, 0 faults:
        "Two devices of one user."
    ResendReorders "resend-reorders":
        "The server takes a device's messages in any order; one that was lost and sent again stands behind its successor."
        ["sender-order"] in "power-loss", 1 devices, 1 faults:
        "Two sends on the way, of which the first is lost."
    ShownAfterLeaving "shown-after-leaving":
        "The fan-out goes to everybody who ever was a member."
        ["members-only", "cursor-follows-acks"] in "fair-weather", 2 devices, 0 faults:
        "A member who leaves, and a message after it."
    MembersOutliveFailedCommit "members-outlive-failed-commit":
        "After a failed commit a shard takes back what was staged, place by place, and leaves members as they had become."
        ["tables-agree", "cursor-follows-acks"] in "failed-syncs", 2 devices, 1 faults:
        "Somebody who is added by an entry that is never stored, since its author goes before it can be sent again."
    NewcomerMissesRacingEntry "newcomer-misses-racing-entry":
        "The fan-out reads who is a member before the commit: whoever joins in that commit is not told."
        ["no-loss"] in "fair-weather", 2 devices, 0 faults:
        "A join that is the last message of its group."
    NewcomerSeesAllHistory "newcomer-sees-all-history":
        "A newcomer may see the log from its beginning, not from shortly before the join."
        ["members-only"] in "fair-weather", 2 devices, 0 faults:
        "A join after more entries than a newcomer may see."
    ReceiptGoesBack "receipt-goes-back":
        "The last receipt that arrives wins, also when it is an older one that took a longer way."
        ["cursor-never-back"] in "old-connections", 2 devices, 2 faults:
        "An ack that is held on its way, and a later one by another gateway."
    HalfOpenNeverNoticed "half-open-never-noticed":
        "The client waits for ever on a connection that the network has forgotten."
        ["no-loss", "every-send-answered"] in "silence", 1 devices, 1 faults:
        "A connection that goes silent, and a message either way."
    ResendWithNewId "resend-with-new-id":
        "The client makes a new id for each attempt, so that no server can tell a resend."
        ["nothing-unsent"] in "lost-acks", 1 devices, 1 faults:
        "One sender, whose ack is lost."
    SendAbandonedOnReconnect "send-abandoned-on-reconnect":
        "The client forgets what was on the way when its connection breaks."
        ["every-send-answered"] in "lost-acks", 1 devices, 1 faults:
        "One sender, whose ack is lost."
    HeadsOmitNewConversations "heads-omit-new-conversations":
        "A device is told of the conversations in which it has a cursor; one that was created while it was away has none."
        ["no-loss"] in "backlog", 2 devices, 0 faults:
        "A conversation that somebody creates with a device that is away."
    BodyTruncated "body-truncated":
        "A column is shorter than the longest message and the database cuts without a word."
        ["nothing-unsent"] in "fair-weather", 1 devices, 0 faults:
        "One message that is longer than the column."
    CreationTakesAnyName "creation-takes-any-name":
        "A conversation has the id that its creator says; a third person makes a group of the id that two others have for theirs."
        ["nothing-unsent", "members-only"] in "strangers", 1 devices, 1 faults:
        "A stranger who knows two people's numbers."
    AnybodyMayJoin "anybody-may-join":
        "Who adds themselves is taken for a newcomer, and nobody asks who let them in."
        ["nothing-unsent", "members-only"] in "strangers", 1 devices, 1 faults:
        "A group, and a stranger who knows its number."
    PagesForWhoeverAsks "pages-for-whoever-asks":
        "Deliveries go to members; pages go to whoever knows the id."
        ["members-only", "no-duplicates"] in "strangers", 1 devices, 1 faults:
        "A conversation with something in it, and a stranger who asks for it."
    RefusalNotFenced "refusal-not-fenced":
        "A refusal is an answer like any other; a copy that another gateway still had in its queue is stored when the sender is a member again."
        ["every-send-answered"] in "late-copies", 2 devices, 2 faults:
        "A message that is refused while an older copy is held up, and a sender who is let in again before it comes."
    FenceLostBesideJoin "fence-lost-beside-join":
        "What keeps a refusal final is written by a path of its own, which a commit that also changes who is a member does not take."
        ["every-send-answered"] in "late-copies", 2 devices, 2 faults:
        "A refusal in one commit with a join, an older copy that is held up, and a sender who is let in again before it comes."
    ChangeSkipsSenderRow "change-skips-sender-row":
        "Texts and changes of membership are written by two paths, and one of them forgets what the sender's next number is."
        ["no-duplicates", "every-send-answered"] in "restless-power", 1 devices, 1 faults:
        "A member who changes the group, and a shard that restarts before the member's next message."
    EarlierStayForgotten "earlier-stay-forgotten":
        "Who has been a member since when is one row a person; whoever comes again loses what they could see of the time before."
        ["no-loss"] in "restless-power", 1 devices, 0 faults:
        "A member who left and came again, with a device that was away over both."
    ColdHeadsForMembersOnly "cold-heads-for-members-only":
        "Of conversations that nobody has used since the server started only those who are members now are told."
        ["no-loss"] in "restless-power", 1 devices, 1 faults:
        "A member who is taken out while away, and a shard that restarts before they are back."
    RestampedDuplicate "restamped-duplicate":
        "What comes again is answered like what comes for the first time: with the time at which it came."
        ["same-stamps"] in "lost-acks", 1 devices, 1 faults:
        "One sender, whose ack is lost."
    RecoveredTailRestamped "recovered-tail-restamped":
        "What a restarted server still has to deliver goes through the constructor of new messages, which looks at the clock."
        ["same-stamps"] in "power-loss", 2 devices, 1 faults:
        "A shard that restarts before it has dispatched what is stored, and a second copy."
    ReturnerNotLetIn "returner-not-let-in":
        "Who may write is asked of the first row that is found of a member: whoever has left once is a stranger for good."
        ["every-send-answered"] in "late-copies", 1 devices, 0 faults:
        "A member who left, came again and writes."
    RedeliveryBacksOffForLong "redelivery-backs-off-for-long":
        "Tries back off without a cap: after the second one nothing happens for a minute and a half, which only the next message ends."
        ["in-time"] in "late-reminders", 2 devices, 1 faults:
        "A bus that is out of reach for a little longer than the first try takes, and a conversation that falls silent."
    PagesFromChunkBorder "pages-from-chunk-border":
        "Pages begin where a chunk of the index does: what the device has already does no harm, as it is shown once only."
        ["wire-privacy"] in "late-copies", 2 devices, 1 faults:
        "A newcomer who fetches what they lack, soon after the join."
    RefusedSendsCounted "refused-sends-counted":
        "The limiter counts before it asks; whoever obeys and comes back is further away than before."
        ["every-send-answered"] in "tight-limits", 1 devices, 0 faults:
        "One sender with more to say than it may at once."
    LargeCreationNeverFits "large-creation-never-fits":
        "What costs more than the bucket holds is told to wait for a moment that never comes."
        ["every-send-answered"] in "tight-limits", 1 devices, 0 faults:
        "A group that has more members than may be added at once."
    WaitInSeconds "wait-in-seconds":
        "Retry-after is in seconds in one protocol and in milliseconds in the other; the client waits a thousand times too long."
        ["every-send-answered"] in "tight-limits", 1 devices, 0 faults:
        "One sender that is told to wait shortly before the end."
    SendForgottenWhenToldToWait "send-forgotten-when-told-to-wait":
        "The outbox takes any refusal for the end of a message, and only the final ones are shown."
        ["every-send-answered", "sender-order"] in "tight-limits", 1 devices, 0 faults:
        "One sender that is told to wait."
    HeadsFirstPartOnly "heads-first-part-only":
        "The list of conversations comes in parts and the first one is taken for all; nobody has as many friends as the few who have."
        ["no-loss"] in "hundreds-of-conversations", 2 devices, 0 faults:
        "Two people with more conversations than a part holds, one of whom was away, and nothing more said in the last ones."
    ShortPageIsLast "short-page-is-last":
        "A page with fewer entries than were asked for is taken for the last one; it was short because its bodies were long."
        ["no-loss"] in "backlog", 2 devices, 0 faults:
        "A device that was away for more bytes than a page holds, in fewer entries."
    BodyEndsAtNul "body-ends-at-nul":
        "Somewhere a text is handed on as a C string, which ends at its first NUL."
        ["nothing-unsent"] in "restless-groups", 1 devices, 0 faults:
        "One message with a NUL in it."
    ReturnShowsTheGap "return-shows-the-gap":
        "Who comes back to a group is shown what was written since they left, as if they had only been away."
        ["members-only"] in "restless-groups", 2 devices, 0 faults:
        "A member who leaves a group, more messages than a newcomer may see, and the member's return."
    LookupGivenUp "lookup-given-up":
        "Who asks the registry gives up after a while, and what was to be delivered is forgotten with the question."
        ["no-loss"] in "silent-conversations", 2 devices, 1 faults:
        "A registry that does not answer, and a last message in the meantime."
    DebtEvicted "debt-evicted":
        "The table of what is owed is bounded and forgets the oldest; devices that never ack push out what others are owed."
        ["no-loss"] in "never-acking", 2 devices, 2 faults:
        "An open debt for a delivery that was lost, and many newer ones."
    LeaverTakesAway "leaver-takes-away":
        "Who may take somebody out of a group is asked as it is for reading: whoever has been in it may."
        ["members-only"] in "insiders", 1 devices, 1 faults:
        "A member who has left, and takes away one who has not."
    DirectNamesWhoever "direct-names-whoever":
        "A conversation of two has the members that its creator names, if the creator is one: the other one is left out of what is theirs."
        ["members-only"] in "insiders", 1 devices, 1 faults:
        "One of two people, who creates their conversation for themselves."
    LargeGroupForgetsTheJoin "large-group-forgets-the-join":
        "Where a group has many members, the stay that begins with an entry is looked for before it."
        ["no-loss", "members-only"] in "large-groups", 2 devices, 0 faults:
        "A group of more than 32, and somebody who joins it."
    HeadsAskedAgainOnce "heads-asked-again-once":
        "A gateway asks a shard for a device's heads, once more if no answer comes, and never again; the device stays connected and knows of nothing."
        ["no-loss", "in-time"] in "one-out-of-reach", 2 devices, 1 faults:
        "A shard that one gateway cannot reach for longer than two questions take, and a device that connects meanwhile."
    AdditionsChargedToTheAdded "additions-charged-to-the-added":
        "A limit of additions is counted against the person who is added: whoever others put into many groups may add nobody, and who adds is never limited."
        ["limits-hold"] in "restless-limits", 2 devices, 0 faults:
        "Somebody who adds others more often than the limit allows."
    BusBatchEndsAtAMiss "bus-batch-ends-at-a-miss":
        "A bus hands a batch on until it meets a gateway that has not subscribed, and drops the rest: those on other gateways have theirs by a redelivery."
        ["in-time"] in "one-gateway-away", 3 devices, 1 faults:
        "A group on two gateways, of which one is down and has somebody whom the registry still knows there."
    DeliveryEndsAtAGoneDevice "delivery-ends-at-a-gone-device":
        "A gateway hands a delivery on until it meets a connection that is gone; whoever is named after it has theirs by a redelivery."
        ["in-time"] in "restless-sessions", 3 devices, 0 faults:
        "Two people of a group on one gateway, of whom one leaves as an entry is on its way."
    ReadsOutliveTheirLink "reads-outlive-their-link":
        "A task is started for each link and ends at the next thing that it has to do: if the link is lost while it waits, there is none."
        ["bounded-and-back"] in "one-gateway-away", 1 devices, 1 faults:
        "A link between a gateway and a shard that is lost."
    AuthorLeftOutAnywhere "author-left-out-anywhere":
        "The device that sent an entry is left out of its fan-out, for its ack is its delivery, on whatever connection it is: also on one that it has had since it was installed anew, which waits for no ack."
        ["no-loss"] in "installed-anew", 2 devices, 2 faults:
        "A disk that stalls, and a device that is installed anew while its last message is staged."
    HeadsSkipTheAcked "heads-skip-the-acked":
        "To spare frames, a shard does not name those conversations in its heads of which a device has acked everything: whoever has forgotten what it acked is told nothing."
        ["no-loss"] in "installed-anew", 2 devices, 1 faults:
        "A device that is installed anew, and a conversation in which nothing more is said."
    AcksRoutedByUser "acks-routed-by-user":
        "Acks are a device's, so a gateway sends them to the shard that its user's number names, not to the one that has the conversation: cursors stay where they are, debts stay open, and devices are called back for nothing."
        ["cursor-follows-acks"] in "fair-weather", 2 devices, 0 faults:
        "Two shards, and an ack."
    DrainAllAtOnce "drain-all-at-once":
        "A gateway that is to end tells all its devices at once to come back, and only their closes keep to the window: whoever is told leaves by itself."
        ["drains-gently"] in "graceful-stops", 2 devices, 1 faults:
        "A gateway with more than a few devices that is asked to end."
    DrainUnregistersFirst "drain-unregisters-first":
        "A gateway that is to end takes all its connections out of the registry first: whoever is told late has nothing delivered until it is elsewhere."
        ["in-time"] in "graceful-stops", 2 devices, 1 faults:
        "A gateway that is asked to end, and a message for somebody on it whose turn is seconds away."
    ShardEndsBeforeItsCommit "shard-ends-before-its-commit":
        "A shard that is to end answers those who wait, so that nobody is left without an answer, and does not wait for the commit."
        ["dense-sequence", "same-order"] in "graceful-stops", 1 devices, 1 faults:
        "A shard that is asked to end while something is staged."
    TailForgetsWhoLeft "tail-forgets-who-left":
        "A gateway that tells devices of a channel's entries goes by who followed it, and does not look who has left in what it tells."
        ["members-only", "wire-privacy"] in "regimes", 2 devices, 0 faults:
        "A member who leaves a channel, and a message after that."
    TailShownFromItsBeginning "tail-shown-from-its-beginning":
        "A gateway answers syncs from its cache for whoever is a member, and forgets that a newcomer sees the last entries only."
        ["members-only", "wire-privacy"] in "regimes", 2 devices, 0 faults:
        "A channel with a log longer than a newcomer may see, and a newcomer who asks for it from the beginning."
    FollowedOnFirstLinkOnly "followed-on-first-link-only":
        "A gateway subscribes when it first needs a channel; the link to the shard is lost, and the subscription with it."
        ["no-loss", "in-time"] in "regimes", 2 devices, 1 faults:
        "A link between a gateway and a shard that is lost, and a message after that."
    TailOwedIsForgotten "tail-owed-is-forgotten":
        "While one hint is on its way others are left out, to be told together; and nobody looks for them when it is acknowledged."
        ["in-time", "no-loss"] in "regimes", 2 devices, 0 faults:
        "Two messages, the second while the first is on its way to a gateway."
    TailToldByItsEnd "tail-told-by-its-end":
        "What a slow gateway was not told in time is told together, and only the newest of it is kept."
        ["no-loss", "dense-sequence"] in "regimes", 2 devices, 0 faults:
        "Two messages that are told together."
    CrossingLeftToFollowers "crossing-left-to-followers":
        "The entry with which a group becomes a channel is dispatched as a channel's, and nobody follows it yet."
        ["in-time", "no-loss"] in "regimes", 2 devices, 0 faults:
        "A group that becomes a channel, and a member who stays connected."
    OneGoneAllUnfollowed "one-gone-all-unfollowed":
        "A gateway ends its subscription when a member's connection ends, as if it had been the last."
        ["in-time", "no-loss"] in "regimes", 3 devices, 0 faults:
        "Two members on one gateway, one who goes, and a message after that."
    PageOfTheOneBefore "page-of-the-one-before":
        "Those who come back together ask for the same page, so it is made once for all of them; that not all are shown the same is forgotten."
        ["no-loss", "wire-privacy"] in "channel-deploy", 2 devices, 1 faults:
        "A channel, two members who come back to a gateway that does not follow it yet, and somebody who came in while they were away."
    AckTakenForHeads "ack-taken-for-heads":
        "With the answer to a message that was stored before comes how far the log goes now, and the gateway takes its author's device for told of all that."
        ["no-loss", "in-time"] in "silent-channels", 2 devices, 1 faults:
        "A message that is sent again while another one is on its way to the gateway, and nothing after that."
    ExpiredTokenTaken "expired-token-taken":
        "Whether a token has expired is for the app to know, so a gateway looks at its signature only when it lets somebody in."
        ["tokens-hold"] in "expiring-tokens", 1 devices, 1 faults:
        "Somebody who shows a token that has long expired."
    AlgorithmFromTheToken "algorithm-from-the-token":
        "The header says which algorithm the token has, so it is checked with that one: a MAC under a public key, which everybody knows, is as good as a signature."
        ["tokens-hold"] in "expiring-tokens", 1 devices, 1 faults:
        "Somebody who knows the public key of the server."
    RefreshByAnothersToken "refresh-by-anothers-token":
        "Whoever is connected has shown who they are, so of a newer token only the signature and the expiry matter: anybody's makes the connection last."
        ["tokens-hold"] in "expiring-tokens", 1 devices, 1 faults:
        "Somebody who has a token of another person's device."
    RefreshMovesNothing "refresh-moves-nothing":
        "A newer token is checked and answered, and the connection's expiry stays where the first one had put it: everybody is thrown out, a token's lifetime and a minute after they came."
        ["tokens-hold"] in "expiring-tokens", 1 devices, 0 faults:
        "Somebody who is connected for longer than the first token counts."
    ConnectionsOutliveTokens "connections-outlive-tokens":
        "A token is asked for at the door, and nobody looks at it again: a connection goes on for as long as it is there."
        ["tokens-hold"] in "expiring-tokens", 1 devices, 1 faults:
        "Somebody who shows no newer token, and stays."
    ClockSetUnnoticed "clock-set-unnoticed":
        "When a connection expires is reckoned once, as a time from now; that the clock by which it expires is set meanwhile is not noticed."
        ["tokens-hold"] in "expiring-tokens", 1 devices, 1 faults:
        "A clock that is set ahead by more than the leeway, and somebody who sends meanwhile."
    RemovedAdminPosts "removed-admin-posts":
        "Who may write is answered from a list of admins that is longer-lived than their membership; one who was removed writes on."
        ["members-only", "no-vain-syncs"] in "roles", 2 devices, 0 faults:
        "An admin who is taken away, and a device of theirs that has not heard."
    BlockerStillWrites "blocker-still-writes":
        "A block is looked up for the one who is blocked only; the one who blocks goes on writing to somebody who cannot answer."
        ["members-only"] in "blocks", 1 devices, 0 faults:
        "One person who blocks and writes."
    BlockForgottenOnRestart "block-forgotten-on-restart":
        "Blocks are kept in memory, and their rows are not read back; after a restart the blocked one is heard again."
        ["every-send-answered", "members-only"] in "roles-restart", 2 devices, 1 faults:
        "One who blocks, one who writes, and a crash of their shard between."
    MemberTakesPromotion "member-takes-promotion":
        "To change one's own rank needs no right, which was meant for stepping down; a member makes an admin of themselves."
        ["members-only"] in "roles", 1 devices, 0 faults:
        "One member who tries."
    SettingLostByRecovery "setting-lost-by-recovery":
        "Settings are written with the rows of members; one that comes alone stays in memory, and a restart takes it back."
        ["members-only", "tables-agree"] in "roles-restart", 2 devices, 0 faults:
        "A setting after the last change of members."
    DemotedAdminStaysAdmin "demoted-admin-stays-admin":
        "Ranks are merged by taking the higher one; who is made a member again goes on adding."
        ["every-send-answered", "tables-agree"] in "roles", 2 devices, 0 faults:
        "An admin who is made a member."
    ForGoodUndoneByOthers "for-good-undone-by-others":
        "Who has left for good is kept from being invited by the app, and not by the server; a member adds them again."
        ["every-send-answered", "members-only"] in "roles", 2 devices, 0 faults:
        "One who leaves for good, and one who adds them."
    ReturnedAdminIsAdmin "returned-admin-is-admin":
        "A rank belongs to a user and not to their stay; an admin who was taken away and is added again is an admin."
        ["every-send-answered", "tables-agree"] in "roles", 2 devices, 0 faults:
        "An admin who is taken away and added again."
    NobodySucceedsTheOwner "nobody-succeeds-the-owner":
        "An owner who leaves is taken off the list like anybody; the group has nobody any more who could change a setting."
        ["every-send-answered", "tables-agree"] in "roles", 2 devices, 0 faults:
        "An owner who leaves."
    TypingLimitPerDevice "typing-limit-per-device":
        "How often somebody may be told to be writing is counted for each device; whoever has the conversation open twice is told twice as often."
        ["typing-holds"] in "typing", 3 devices, 0 faults:
        "Somebody who writes on two devices for long, and somebody who is told."
    TypingOutlivesLeaving "typing-outlives-leaving":
        "Who is told is taken from those who ever were in the group, for that list is at hand; whoever has left sees who writes there."
        ["typing-holds"] in "typing", 2 devices, 0 faults:
        "One who has left, and one who writes long after."
    TypingExpiryRestarts "typing-expiry-restarts":
        "One timer a conversation clears whoever is shown there, and each new notice restarts it; in a lively group whoever has stopped is shown on and on."
        ["typing-holds"] in "typing", 3 devices, 0 faults:
        "One who stops without sending, and one who goes on."
    TypingOutlivesItsMessage "typing-outlives-its-message":
        "What is shown of somebody's writing ends by its time alone; they are shown as writing beside what they wrote."
        ["typing-holds"] in "typing", 2 devices, 0 faults:
        "One who writes and sends, and one who is told."
    TypingShownToItsAuthor "typing-shown-to-its-author":
        "The device that said so is left out and the user is not; on their other devices people see themselves writing."
        ["typing-holds"] in "typing", 2 devices, 0 faults:
        "Two devices of one user."
    TypingInPlaceOfADelivery "typing-in-place-of-a-delivery":
        "A device's queue drops the last of what waits to make room for the newest; a notice pushes a message out."
        ["in-time", "no-loss"] in "typing", 3 devices, 0 faults:
        "A message and a notice that reach a device's gateway together."
    StaleNoticeTold "stale-notice-told":
        "What waits for a link that is away is told when it is back, as everything is; people are shown as writing what they sent half a minute ago."
        ["typing-holds"] in "typing-out-of-reach", 2 devices, 1 faults:
        "A link that is away for longer than a notice may wait, and somebody who has stopped meanwhile."
    ReadAheadOfDelivered "read-ahead-of-delivered":
        "A read moves what is read and nothing else; where the ack before it was lost with its connection, somebody has read what was never delivered."
        ["receipts-hold", "tables-agree"] in "read-and-told", 2 devices, 1 faults:
        "A reader whose ack is lost, and whose read is not."
    ReceiptAfterLeaving "receipt-after-leaving":
        "Whoever was ever a member is told who has read what, for the list of members is that of everybody whom the log names."
        ["receipts-hold"] in "left-and-told", 2 devices, 0 faults:
        "Somebody who leaves a group in which others go on reading."
    EverybodyIsNamed "everybody-is-named":
        "A large group is told by name like a small one: each of its members of each, which grows with the square of the group."
        ["receipts-hold"] in "read-and-told", 2 devices, 0 faults:
        "A group in which more have shown something than may be named."
    ReadAloneNotWritten "read-alone-not-written":
        "The row of a user is written when something more was delivered to them; what they have read goes along with it, and by itself it is nothing new."
        ["receipts-hold"] in "read-and-told", 2 devices, 0 faults:
        "A read after which nothing more is delivered."
    ReceiptBeforeCommit "receipt-before-commit":
        "Others are told of a cursor as it is about to be written: from memory, which may know less than the disk, or when the shard dies before it is written."
        ["receipts-hold"] in "read-and-told", 2 devices, 1 faults:
        "A reader, somebody else who is there, and a commit."
    ReadElsewhereUnheard "read-elsewhere-unheard":
        "A device clears what is read on it and does not go by what was read on another one: its user sees as unread what they have read."
        ["receipts-hold"] in "read-and-told", 2 devices, 0 faults:
        "Two devices of one user, of which one is read on."
    DeliveredWhenPublished "delivered-when-published":
        "An entry counts as delivered when it is handed to the bus for a device, and not when that has shown it."
        ["cursor-behind-acks", "receipts-hold"] in "read-and-told", 2 devices, 1 faults:
        "A delivery that is lost on its way."
    OldReceiptCounts "old-receipt-counts":
        "A device takes what it is told last for what is true; what a notice says goes back when heads come that were read before it."
        ["receipts-hold"] in "read-and-told", 2 devices, 0 faults:
        "A notice, and an older answer on another way."
    WatchOutlivesMembership "watch-outlives-membership":
        "A lease is renewed for whoever had it: the renewal asks whether the conversation knows the user, not whether they are still in it."
        ["presence-holds"] in "watching-leavers", 2 devices, 0 faults:
        "A member who is taken away, and one who goes on watching them."
    RefusalsAddUp "refusals-add-up":
        "A device counts the refusals of its tokens to give up after two in a row; to be welcomed in between does not begin the count anew."
        ["tokens-hold"] in "two-clocks", 2 devices, 1 faults:
        "Two refusals, with a connection in between."
    HidingEndsNoGrace "hiding-ends-no-grace":
        "Whoever has just gone stays online for a while; to come back invisible does not end that."
        ["presence-holds"] in "hiding", 2 devices, 0 faults:
        "One who goes, comes back, hides and goes again within the grace, and one who watches them."
    HiddenTellLastSeen "hidden-tell-last-seen":
        "Last seen is when the last device left, whether or not anybody could see it."
        ["presence-holds"] in "watching", 2 devices, 0 faults:
        "One who hides and leaves, and one who watches them."
    MessageEndsAllTyping "message-ends-all-typing":
        "Whoever has sent a message writes no more: it ends what is shown of them everywhere, not in its conversation alone."
        ["typing-holds"] in "typing", 2 devices, 0 faults:
        "One who writes in two conversations with the same person."
    SilentStayOnline "silent-stay-online":
        "Presence is set when a connection opens and cleared when it closes; one that is given up for its silence is closed by another path, which clears nothing."
        ["presence-holds"] in "watching-silence", 2 devices, 1 faults:
        "Somebody who is put away while their last mile is dead, and one who watches them."
    LastSeenOfTheOlder "last-seen-of-the-older":
        "Last seen is written when a device leaves, and the row of the user keeps what was there first: with two devices it is the time of the one that left before."
        ["presence-holds"] in "watching", 2 devices, 0 faults:
        "One who comes and goes twice, and one who watches them."
    OfflineWaveAfterRestart "offline-wave-after-restart":
        "A presence host that has just started knows nobody and says so: until its gateways have told it whom they hold, everybody is offline."
        ["presence-holds"] in "watching", 2 devices, 1 faults:
        "A presence host that restarts, and gateways of which one is back before the other."
    InvisibleToldBySnapshot "invisible-told-by-snapshot":
        "Whoever hides says so when they begin to; the snapshot with which a new link begins is made from the table of connections, which does not know."
        ["presence-holds"] in "watching", 2 devices, 1 faults:
        "One who hides, a link to a presence host that begins anew, and one who watches."
    LastStateSwallowed "last-state-swallowed":
        "Whoever was told of a user within the last second is told nothing, and nobody remembers that there was something to tell."
        ["presence-holds"] in "watching", 2 devices, 0 faults:
        "One who changes twice within a second, and one who watches them."
    SubscribedOnFirstLinkOnly "subscribed-on-first-link-only":
        "A gateway subscribes when a user is first watched; the link is lost, and the subscription with it."
        ["presence-holds"] in "watching", 2 devices, 1 faults:
        "A presence host that restarts, and somebody who comes or goes after that."
    GoneTakesTheNewer "gone-takes-the-newer":
        "A gateway that has lost a device says which device it was, not which connection; the device is elsewhere by then, and is taken away there."
        ["presence-holds"] in "watching-outages", 2 devices, 1 faults:
        "A device that changes its gateway, and an old gateway that is heard late."
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_row_names_checks_and_a_scenario_that_exist() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/bugs");
        for bug in BUGS {
            assert!((1..=2).contains(&bug.caught_by.len()), "{} names many checks", bug.name);
            for check in bug.caught_by {
                assert!(squall_checks::names().any(|name| name == *check), "{}: no check {check}", bug.name);
            }
            let scenario = squall_scenarios::load(&folder.join(format!("{}.toml", bug.scenario)));
            assert!(scenario.is_ok(), "{}: {:?}", bug.name, scenario.err());
            assert!(bug.how.ends_with('.') && bug.why.ends_with('.'), "{} has no sentences", bug.name);
        }
    }

    #[test]
    fn every_bug_has_one_name_and_one_row() {
        let names: BTreeSet<_> = BUGS.iter().map(|bug| bug.name).collect();
        let plants: BTreeSet<_> = BUGS.iter().map(|bug| bug.plant as u8).collect();
        assert_eq!((names.len(), plants.len()), (BUGS.len(), BUGS.len()));
        assert_eq!(plants.last().copied(), Some(BUGS.len() as u8), "a variant has no row");
        assert!(find("no-redelivery").is_some() && find("no-such-bug").is_none());
    }

    #[test]
    fn every_scenario_of_the_folder_finds_something() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/bugs");
        for file in squall_scenarios::files_in(&folder).unwrap() {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(BUGS.iter().any(|bug| bug.scenario == name), "{name} finds nothing");
        }
    }
}
