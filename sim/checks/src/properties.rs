//! The table of properties.

use crate::property::Property;
use crate::{
    acked_is_durable, bounded, current_routes, cursor_behind_acks, cursor_follows_acks, cursor_never_back,
    dense_sequence, drains_gently, every_send_answered, in_time, limits_hold, members_only, no_duplicates,
    no_loss, no_vain_syncs, nothing_unsent, presence_holds, receipts_hold, same_order, same_stamps, sender_order,
    tables_agree, tokens_hold, typing_holds, wire_privacy,
};

/// All properties, in the order of reports.
pub(crate) const TABLE: &[Property] = &[
    acked_is_durable::PROPERTY,
    no_loss::PROPERTY,
    no_duplicates::PROPERTY,
    dense_sequence::PROPERTY,
    same_order::PROPERTY,
    sender_order::PROPERTY,
    nothing_unsent::PROPERTY,
    members_only::PROPERTY,
    every_send_answered::PROPERTY,
    cursor_behind_acks::PROPERTY,
    cursor_never_back::PROPERTY,
    cursor_follows_acks::PROPERTY,
    current_routes::PROPERTY,
    tables_agree::PROPERTY,
    in_time::PROPERTY,
    no_vain_syncs::PROPERTY,
    wire_privacy::PROPERTY,
    same_stamps::PROPERTY,
    bounded::PROPERTY,
    limits_hold::PROPERTY,
    drains_gently::PROPERTY,
    tokens_hold::PROPERTY,
    typing_holds::PROPERTY,
    receipts_hold::PROPERTY,
    presence_holds::PROPERTY,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_check_once_and_says_what_it_counts() {
        let names: Vec<_> = TABLE.iter().map(|property| property.name).collect();
        assert_eq!(
            names,
            [
                "acked-is-durable",
                "no-loss",
                "no-duplicates",
                "dense-sequence",
                "same-order",
                "sender-order",
                "nothing-unsent",
                "members-only",
                "every-send-answered",
                "cursor-behind-acks",
                "cursor-never-back",
                "cursor-follows-acks",
                "current-routes",
                "tables-agree",
                "in-time",
                "no-vain-syncs",
                "wire-privacy",
                "same-stamps",
                "bounded-and-back",
                "limits-hold",
                "drains-gently",
                "tokens-hold",
                "typing-holds",
                "receipts-hold",
                "presence-holds",
            ]
        );
        for property in TABLE {
            assert!(property.guarantee.ends_with('.'), "{}", property.name);
            assert!(!property.evaluation.is_empty() && !property.exposure.is_empty(), "{}", property.name);
        }
    }
}
