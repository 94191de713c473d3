//! What can be asked of a kind of fault: all of it follows from the kind's row.

use super::catalogue::{FaultKind, KindName};
use super::declare::Strikes;
use crate::target::Targets;
use crate::topology::Topology;
use std::fmt;

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl KindName {
    /// What it strikes.
    pub const fn strikes(self) -> Strikes {
        self.row().strikes
    }

    /// Whether it happens at one instant, so that a `for` would mean nothing.
    pub const fn is_instant(self) -> bool {
        self.row().is_instant
    }

    /// Whether it takes long until all is well after its end.
    pub const fn heals_late(self) -> bool {
        self.row().heals_late
    }

    /// Every check that it must expose at some hosts, by name.
    pub fn checks(self) -> impl Iterator<Item = &'static str> {
        self.row().exposes.iter().flat_map(|(_, checks)| *checks).copied()
    }
}

impl FaultKind {
    /// The kind, as files name it.
    pub fn name(&self) -> &'static str {
        self.kind_name().name()
    }

    /// What it strikes.
    pub fn strikes(&self) -> Strikes {
        self.kind_name().strikes()
    }

    /// Whether it happens at one instant, so that a `for` would mean nothing.
    pub fn is_instant(&self) -> bool {
        self.kind_name().is_instant()
    }

    /// Its lists of targets, each with the key that holds it.
    pub fn targets(&self) -> Vec<(&'static str, &Targets)> {
        self.keys().into_iter().filter_map(|(key, value)| Some((key, value.downcast_ref()?))).collect()
    }

    /// The same lists, to be rewritten: targets that are drawn become hosts when the fault begins.
    pub fn targets_mut(&mut self) -> Vec<&mut Targets> {
        self.keys_mut().into_iter().filter_map(|value| value.downcast_mut()).collect()
    }

    /// Its share, when it strikes a share of something.
    pub fn share(&self) -> Option<f64> {
        self.keys()
            .into_iter()
            .find(|(key, _)| *key == "share")
            .and_then(|(_, value)| value.downcast_ref().copied())
    }

    /// The checks that this provokes in every scenario with such hosts, by name.
    pub fn must_expose(&self, topology: &Topology) -> &'static [&'static str] {
        let struck: Vec<_> = self.targets().iter().flat_map(|(_, targets)| targets.hosts(topology)).collect();
        let strikes = |role| struck.iter().any(|host| host.role == role);
        let first =
            self.kind_name().row().exposes.iter().find(|(roles, _)| roles.iter().all(|role| strikes(*role)));
        first.map_or(&[], |(_, checks)| checks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fault, Scenario};
    use crate::parse::parse;
    use std::path::Path;

    /// A fault as its row's examples say it.
    fn fault(kind: KindName) -> (Scenario, Fault) {
        // A clock is wrong in one of three ways, so that each may be left out.
        let more = if kind == KindName::Clock { "ahead = \"1s\"\n" } else { "" };
        let lasts = if kind.is_instant() { "" } else { "for = \"12s\"\n" };
        let text = format!("[[faults]]\nat = \"1s\"\n{lasts}{more}{}", kind.example());
        let scenario =
            parse(&text, Path::new("x.toml")).unwrap_or_else(|problems| panic!("{}\n{text}", problems[0]));
        (scenario.clone(), scenario.faults[0].clone())
    }

    #[test]
    fn the_examples_of_every_row_are_a_sound_fault_that_survives_a_round_trip() {
        for kind in KindName::ALL {
            let (scenario, fault) = fault(*kind);
            assert_eq!(fault.kind.kind_name(), *kind);
            for text in [scenario.to_toml(), scenario.to_short_toml()] {
                assert_eq!(parse(&text, Path::new("x.toml")).as_ref(), Ok(&scenario), "{text}");
            }
            let json = serde_json::to_string(&fault).expect("a fault is JSON");
            assert_eq!(serde_json::from_str::<Fault>(&json).ok(), Some(fault), "{json}");
        }
    }

    #[test]
    fn what_a_row_says_it_strikes_is_what_its_keys_name() {
        for kind in KindName::ALL {
            let (_, mut fault) = fault(*kind);
            let keys: Vec<&str> = fault.kind.targets().iter().map(|(key, _)| *key).collect();
            match kind.strikes() {
                Strikes::Hosts | Strikes::Disks => assert_eq!(keys, ["target"], "{kind}"),
                Strikes::Links => assert_eq!(keys.len(), 2, "{kind}"),
                Strikes::Devices => assert!(keys.is_empty(), "{kind}"),
            }
            assert_eq!(fault.kind.targets_mut().len(), keys.len(), "{kind}");
            assert_eq!(fault.kind.share().is_some(), kind.example().contains("share = "), "{kind}");
        }
    }

    #[test]
    fn what_is_so_anyway_is_left_out_of_a_short_file() {
        let keys = |kind: KindName| kind.defaults().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(KindName::Clock), ["ahead", "behind", "drift_ppm"]);
        // A point that is not named is not written anyway.
        assert!(keys(KindName::Crash).is_empty());
        let (scenario, _) = fault(KindName::Clock);
        let short = scenario.to_short_toml();
        assert!(
            short.contains("ahead = \"1s\"") && !short.contains("drift") && !short.contains("behind"),
            "{short}"
        );
    }

    #[test]
    fn what_a_fault_must_expose_depends_on_the_hosts_that_it_strikes() {
        let exposes = |keys: &str| {
            let text = format!("[[faults]]\nat = \"1s\"\n{keys}");
            let scenario = parse(&text, Path::new("x.toml")).unwrap_or_else(|problems| panic!("{}", problems[0]));
            scenario.faults[0].must_expose(&scenario.topology)
        };
        assert_eq!(exposes("kind = \"power-loss\"\ntarget = [\"busiest-shard\"]")[0], "acked-is-durable");
        assert_eq!(exposes("kind = \"crash\"\ntarget = [\"gateway-*\"]"), ["no-loss"]);
        // A shard that is struck is what matters, whoever else is.
        assert_eq!(exposes("kind = \"crash\"\ntarget = [\"gateway-*\", \"messages-0\"]").len(), 2);
        assert!(exposes("kind = \"crash\"\ntarget = [\"bus-0\"]").is_empty());
        let cut = "kind = \"partition\"\nbetween = [\"gateway-0\"]\nand = ";
        assert_eq!(exposes(&format!("{cut}[\"messages-*\"]")), ["every-send-answered"]);
        assert!(exposes(&format!("{cut}[\"clients\"]")).is_empty());
        assert_eq!(exposes("kind = \"drop-sent-acks\"\nshare = 0.1")[0], "no-duplicates");
    }
}
