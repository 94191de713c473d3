//! The one place where a scenario is drawn from a seed instead of read from a file.

use squall_scenarios::{Fault, FaultKind, Scenario, Span};

/// The scenario that a seed draws; the same one for the same seed, and one that can run.
pub fn scenario(seed: u64) -> Scenario {
    let fault = |kind: FaultKind, at: u64, lasts: Option<u64>| {
        let name = format!("{}-1", kind.name());
        Fault { name, at: Span::from_secs(at), lasts: lasts.map(Span::from_secs), every: None, kind }
    };
    let mut scenario = Scenario { name: format!("swarm-{seed}"), ..Scenario::default() };
    scenario.workload.send_interval = Span::from_secs(2);
    scenario.faults = vec![
        fault(FaultKind::DropSentAcks { share: 0.3 }, 3, Some(5)),
        fault(FaultKind::Crash { target: vec![format!("gateway-{}", seed % 2)] }, 10, Some(3)),
        fault(FaultKind::Disconnect { share: 0.3 }, 20, None),
    ];
    scenario
}
