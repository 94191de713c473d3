//! Clients choose a gateway as behind a balancer, on a last mile that only notes who goes where.

use squall_core::Time;
use squall_generators::Backend;
use squall_generators::{Fleet, LastMile, Latency, NoFrameFaults, Signal, Sink, Who};
use squall_history::Event;
use squall_protocol::ClientMsgId;
use squall_protocol::token::Issuer;
use squall_scenarios::Scenario;
use squall_scenarios::people::Mix;
use std::io;
use std::sync::Arc;
use std::time::Duration;

const CLIENTS: u32 = 1_200;

/// Every connection that was opened: a client, and the gateway to which it went.
#[derive(Default)]
struct Opened(Vec<(u32, u32)>);

impl LastMile for Opened {
    type Conn = usize;

    fn open(&mut self, client: u32, gateway: u32) -> usize {
        self.0.push((client, gateway));
        self.0.len() - 1
    }

    fn write(&mut self, _: usize, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn read(&mut self, _: usize, _: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }

    fn close(&mut self, _: usize) {}

    fn cut(&mut self, _: usize) {}
}

struct Nobody;

impl Sink for Nobody {
    fn event(&mut self, _: Event) {}

    fn latency(&mut self, _: Latency) {}

    fn was_away(&mut self, _: ClientMsgId, _: u64) {}
    fn is_no_sample(&mut self, _: ClientMsgId) {}
}

fn fleet(seed: u64) -> Fleet<Opened, NoFrameFaults> {
    let mut scenario = Scenario::default();
    scenario.topology.gateways = 4;
    scenario.population.users = CLIENTS;
    scenario.population.devices_per_user = Mix::One(1);
    let secret = Backend::new(Issuer::of_secret([1; 8]), 0, std::time::Duration::from_secs(86_400));
    let mut fleet =
        Fleet::new(Opened::default(), NoFrameFaults, &scenario, Who::everybody(seed, Arc::new(secret)));
    for client in fleet.clients() {
        fleet.come_back_at(client, Time::ZERO);
    }
    fleet.step(Time::ZERO, &mut Nobody);
    fleet
}

/// Ends every connection to a gateway among those opened from `from` on, and lets the clients try again.
fn lose(fleet: &mut Fleet<Opened, NoFrameFaults>, from: usize, gateway: u32, now: Time) -> Vec<(u32, u32)> {
    let opened = fleet.last_mile.0.clone();
    for (conn, (client, _)) in opened.iter().enumerate().skip(from).filter(|(_, (_, to))| *to == gateway) {
        fleet.handle_signal(*client, conn, Signal::Lost("reset"), now, &mut Nobody);
    }
    fleet.step(now + Duration::from_secs(2), &mut Nobody);
    fleet.last_mile.0[opened.len()..].to_vec()
}

fn on_each(opened: &[(u32, u32)]) -> [usize; 4] {
    [0, 1, 2, 3].map(|gateway| opened.iter().filter(|(_, to)| *to == gateway).count())
}

#[test]
fn the_clients_of_a_gateway_that_crashed_spread_over_all_that_are_left() {
    for seed in 0..5 {
        let mut fleet = fleet(seed);
        let first = on_each(&fleet.last_mile.0);
        assert!(first.iter().all(|count| (200..=400).contains(count)), "{first:?}");
        let moved = on_each(&lose(&mut fleet, 0, 0, Time::ZERO));
        assert_eq!((moved[0], moved.iter().sum::<usize>()), (0, first[0]), "{moved:?}");
        let fair = CLIENTS as f64 / 3.0;
        for gateway in 1..4 {
            let now = first[gateway] + moved[gateway];
            assert!(now as f64 <= 1.5 * fair, "gateway-{gateway} has {now} of {CLIENTS}: {moved:?}");
            // As evenly as they left, not only within what is bearable.
            let share = moved[gateway] as f64 / (first[0] as f64 / 3.0);
            assert!((0.7..1.3).contains(&share), "{moved:?}");
        }
    }
}

#[test]
fn a_second_failure_is_drawn_anew() {
    let mut fleet = fleet(7);
    let all = fleet.last_mile.0.len();
    lose(&mut fleet, 0, 0, Time::ZERO);
    // Those who had moved to gateway-1 lose it as well: gateway-0 is one of the others again.
    let again = on_each(&lose(&mut fleet, all, 1, Time::ZERO + Duration::from_secs(3)));
    assert!(again[1] == 0 && [0, 2, 3].iter().all(|gateway| again[*gateway] > 10), "{again:?}");
}
