//! Bugs that are planted on purpose, one at a time, to show that the checks catch them.
//!
//! **Invariant:** without the feature `plants` nothing can be planted: [`planted`] is a constant `false`, the compiler
//! removes what hangs on it, and there is no way to set one. The server that ships is built without it.

/// A bug, one that real systems have had. `squall bugs` says of each how it happens and which check must catch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Plant {
    AckBeforeCommit = 1,
    CommitWithoutSync,
    CreationNotRecorded,
    FailedSyncTrusted,
    NoServerDedup,
    DedupForgottenOnRestart,
    DedupByUserNotDevice,
    SequenceReusedAfterCrash,
    OrderByWallClock,
    DeliverBeforePersist,
    NoClientDedup,
    NoGapDetection,
    CursorAdvancedOnConnect,
    CursorAdvancedOnLaterReceipt,
    PageEdgeOffByOne,
    NoRedelivery,
    RedeliveryStopsAfterReconnect,
    RedeliveryGivesUp,
    WatermarkIgnoresDebts,
    StaleRegistryEntryKept,
    RegistrationNotRebuilt,
    NoSyncAfterRegistration,
    LastWriterWinsRegistration,
    BusDropsSilently,
    FanOutForgetsSecondDevice,
    ResendReorders,
    ShownAfterLeaving,
    MembersOutliveFailedCommit,
    NewcomerMissesRacingEntry,
    NewcomerSeesAllHistory,
    ReceiptGoesBack,
    HalfOpenNeverNoticed,
    ResendWithNewId,
    SendAbandonedOnReconnect,
    HeadsOmitNewConversations,
    BodyTruncated,
    CreationTakesAnyName,
    AnybodyMayJoin,
    PagesForWhoeverAsks,
    RefusalNotFenced,
    FenceLostBesideJoin,
    ChangeSkipsSenderRow,
    EarlierStayForgotten,
    ColdHeadsForMembersOnly,
    RestampedDuplicate,
    RecoveredTailRestamped,
    ReturnerNotLetIn,
    RedeliveryBacksOffForLong,
    PagesFromChunkBorder,
    RefusedSendsCounted,
    LargeCreationNeverFits,
    WaitInSeconds,
    SendForgottenWhenToldToWait,
    HeadsFirstPartOnly,
    ShortPageIsLast,
    BodyEndsAtNul,
    ReturnShowsTheGap,
    LookupGivenUp,
    DebtEvicted,
    LeaverTakesAway,
    DirectNamesWhoever,
    LargeGroupForgetsTheJoin,
    HeadsAskedAgainOnce,
    AdditionsChargedToTheAdded,
    BusBatchEndsAtAMiss,
    DeliveryEndsAtAGoneDevice,
    ReadsOutliveTheirLink,
    AuthorLeftOutAnywhere,
    HeadsSkipTheAcked,
    AcksRoutedByUser,
    DrainAllAtOnce,
    DrainUnregistersFirst,
    ShardEndsBeforeItsCommit,
    TailForgetsWhoLeft,
    TailShownFromItsBeginning,
    FollowedOnFirstLinkOnly,
    TailOwedIsForgotten,
    TailToldByItsEnd,
    CrossingLeftToFollowers,
    OneGoneAllUnfollowed,
    PageOfTheOneBefore,
    AckTakenForHeads,
    ExpiredTokenTaken,
    AlgorithmFromTheToken,
    RefreshByAnothersToken,
    RefreshMovesNothing,
    ConnectionsOutliveTokens,
    ClockSetUnnoticed,
    RemovedAdminPosts,
    BlockerStillWrites,
    BlockForgottenOnRestart,
    MemberTakesPromotion,
    SettingLostByRecovery,
    DemotedAdminStaysAdmin,
    ForGoodUndoneByOthers,
    ReturnedAdminIsAdmin,
    NobodySucceedsTheOwner,
    TypingLimitPerDevice,
    TypingOutlivesLeaving,
    TypingExpiryRestarts,
    TypingOutlivesItsMessage,
    TypingShownToItsAuthor,
    TypingInPlaceOfADelivery,
    StaleNoticeTold,
    ReadAheadOfDelivered,
    ReceiptAfterLeaving,
    EverybodyIsNamed,
    ReadAloneNotWritten,
    ReceiptBeforeCommit,
    ReadElsewhereUnheard,
    DeliveredWhenPublished,
    OldReceiptCounts,
    WatchOutlivesMembership,
    RefusalsAddUp,
    HidingEndsNoGrace,
    HiddenTellLastSeen,
    MessageEndsAllTyping,
    SilentStayOnline,
    LastSeenOfTheOlder,
    OfflineWaveAfterRestart,
    InvisibleToldBySnapshot,
    LastStateSwallowed,
    SubscribedOnFirstLinkOnly,
    GoneTakesTheNewer,
}

/// Whether this bug is planted in the process.
#[cfg(not(feature = "plants"))]
#[inline(always)]
pub const fn planted(_: Plant) -> bool {
    false
}

#[cfg(feature = "plants")]
pub use switch::{plant, planted};

#[cfg(feature = "plants")]
mod switch {
    use super::Plant;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// The planted bug; 0 for none.
    static CURRENT: AtomicU8 = AtomicU8::new(0);

    /// Plants a bug for the rest of the process, which is one run.
    pub fn plant(plant: Plant) {
        CURRENT.store(plant as u8, Ordering::Relaxed);
    }

    /// Whether this bug is planted in the process.
    #[inline]
    pub fn planted(plant: Plant) -> bool {
        CURRENT.load(Ordering::Relaxed) == plant as u8
    }
}
