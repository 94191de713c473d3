//! Which properties a fault is declared against: a scenario that has the fault must expose them.
//!
//! **Invariant:** only what the fault provokes in every scenario is named, since a property that is named and not exposed
//! makes the run inconclusive.

/// The checks that a fault of a scenario puts to the test. `kind` is the fault's kind as scenario files name it; `roles`
/// are the roles of the hosts that it strikes (`gateway`, `messages`, `registry`, `bus`), for a fault between two sets of
/// hosts those of both sides. Nothing for a fault that need not break anything: a latency, a short hold.
pub fn against(kind: &str, roles: &[&str]) -> &'static [&'static str] {
    let strikes = |role| roles.contains(&role);
    match kind {
        "crash" | "power-loss" | "rolling-restart" if strikes("messages") => {
            &["acked-is-durable", "dense-sequence"]
        }
        "crash" | "power-loss" | "rolling-restart" if strikes("gateway") => &["no-loss"],
        "partition" | "partition-one-way" if strikes("gateway") && strikes("messages") => &["every-send-answered"],
        "drop-sent-acks" => &["no-duplicates", "every-send-answered"],
        "drop-device-acks" | "duplicate-sends" | "resend-everything" => &["no-duplicates"],
        "liars" => &["members-only", "nothing-unsent"],
        "disconnect" | "half-open" => &["no-loss"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_only_checks_that_exist() {
        let roles = ["gateway", "messages", "registry", "bus"];
        let kinds = ["crash", "power-loss", "partition", "partition-one-way", "hold", "latency", "drop-sent-acks"];
        let of_devices =
            ["drop-device-acks", "duplicate-sends", "resend-everything", "liars", "disconnect", "half-open"];
        for kind in kinds.into_iter().chain(of_devices).chain(["rolling-restart", "no such fault"]) {
            for role in roles {
                for name in against(kind, &[role]).iter().chain(against(kind, &roles)) {
                    assert!(crate::names().any(|known| known == *name), "{kind} against {name}");
                }
            }
        }
    }

    #[test]
    fn a_shard_that_loses_power_puts_durability_to_the_test() {
        assert!(against("power-loss", &["messages"]).contains(&"acked-is-durable"));
        assert!(!against("power-loss", &["gateway"]).contains(&"acked-is-durable"));
        assert_eq!(against("drop-sent-acks", &[]).first(), Some(&"no-duplicates"));
        assert!(against("latency", &["gateway", "messages"]).is_empty());
    }
}
