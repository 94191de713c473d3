//! Processes that die, end or stall: `crash`, at a time or at a named point, `stop`, and `pause`. A rolling restart is taken apart into
//! crashes or stops.
//!
//! **Invariant:** a machine runs when no strike holds it down, and is not paused when no strike has paused it: each counts for
//! itself.

use super::Stage;
use super::strike::Strike;
use crate::hosts::machine::Power;
use crate::hosts::points::{Armed, Cut};
use squall_generators::rng::Stream;
use squall_history::{Entity, Event, Kind};
use squall_network::CloseStyle;
use squall_protocol::Role;
use squall_scenarios::{DEFAULT_WINDOW, Point, Span, Targets};

/// What a strike on processes holds.
pub(in crate::nemesis) enum Held {
    Down(Down),
    /// Those that were asked to end; `down` those that have.
    Stopping {
        asked: Vec<usize>,
        down: Down,
    },
    Paused(Vec<usize>),
}

/// Machines that a strike holds down.
#[derive(Default)]
pub(in crate::nemesis) struct Down(Vec<usize>);

impl Down {
    pub fn hold(&mut self, machine: usize, stage: &mut Stage<'_>) {
        stage.machines[machine].held_down += 1;
        self.0.push(machine);
    }

    /// Lets go of its machines. Those that no other strike holds down start again.
    pub fn release(self, strike: &mut Strike, stage: &mut Stage<'_>) {
        for machine in self.0 {
            stage.machines[machine].held_down -= 1;
            if stage.machines[machine].held_down > 0 {
                continue;
            }
            let host = stage.machines[machine].host;
            if !strike.struck.contains(&host.to_string()) {
                // It was down already, and this fault is why it stayed so.
                strike.count("held_down", 1);
                strike.strikes(host);
            }
            if stage.machines[machine].host.role == Role::Messages && stage.unanswered_sends() > 0 {
                stage.mailbox.lock().count("shard_restarted_with_sends_waiting");
            }
            let group = stage.group_of(machine);
            stage.machines[machine].restart(&mut stage.groups[group]);
            stage.tell(Event { t: stage.now, at: Entity::Host(machine as u16), kind: Kind::Restart });
        }
    }
}

/// How a process's kernel says good-bye for it.
fn close_style(stream: &mut Stream) -> CloseStyle {
    if stream.chance(0.5) { CloseStyle::Fin } else { CloseStyle::Rst }
}

pub(super) fn crash(strike: &mut Strike, target: &Targets, stage: &mut Stage<'_>) -> Held {
    let mut down = Down::default();
    for machine in stage.machines_of(target) {
        down.hold(machine, stage);
        if stage.machines[machine].power == Power::Up {
            strike.count("processes", 1);
            kill(machine, strike, stage);
        }
    }
    Held::Down(down)
}

/// The process dies at once, with all its connections.
fn kill(machine: usize, strike: &mut Strike, stage: &mut Stage<'_>) {
    let style = close_style(&mut strike.stream);
    let connections = stage.network.connections_of(stage.machines[machine].probe.host).len() as u64;
    strike.count("connections", connections);
    strike.strikes(stage.machines[machine].host);
    stage.break_connections(machine);
    let group = stage.group_of(machine);
    stage.machines[machine].crash(&mut stage.groups[group], style);
    stage.tell(Event { t: stage.now, at: Entity::Host(machine as u16), kind: Kind::Crash });
}

/// The processes are asked to end. Which do is seen as they do.
pub(super) fn stop(
    fault: usize,
    strike: &mut Strike,
    target: &Targets,
    window: Option<Span>,
    stage: &mut Stage<'_>,
) -> Held {
    let window = window.unwrap_or(DEFAULT_WINDOW);
    let machines = stage.machines_of(target).into_iter();
    let asked: Vec<usize> = machines.filter(|machine| stage.machines[*machine].power == Power::Up).collect();
    for machine in &asked {
        let connections = stage.network.connections_of(stage.machines[*machine].probe.host).len() as u64;
        strike.count("connections_at_first", connections);
        stage.machines[*machine].probe.ask_to_end(fault, window.as_duration());
        let group = stage.group_of(*machine);
        stage.groups[group].wake();
        let kind = Kind::Stopping { window: window.as_micros() };
        stage.tell(Event { t: stage.now, at: Entity::Host(*machine as u16), kind });
    }
    Held::Stopping { asked, down: Down::default() }
}

/// Whoever passes the point first dies there. Until then nothing is held.
pub(super) fn crash_at(
    fault: usize,
    strike: &mut Strike,
    point: Point,
    target: &Targets,
    stage: &mut Stage<'_>,
) -> Held {
    for machine in stage.machines_of(target) {
        let cut = Cut::Process(close_style(&mut strike.stream));
        stage.armed.arm(Armed { host: machine as u16, point, fault, cut });
    }
    Held::Down(Down::default())
}

pub(super) fn pause(strike: &mut Strike, target: &Targets, stage: &mut Stage<'_>) -> Held {
    let machines = stage.machines_of(target);
    for machine in &machines {
        let machine = &mut stage.machines[*machine];
        if machine.power == Power::Up {
            strike.count("processes", 1);
            strike.strikes(machine.host);
        }
        machine.pause();
    }
    Held::Paused(machines)
}

pub(super) fn end(fault: usize, held: Held, strike: &mut Strike, stage: &mut Stage<'_>) {
    match held {
        Held::Down(down) => {
            stage.armed.disarm(fault);
            down.release(strike, stage);
        }
        Held::Stopping { asked, mut down } => {
            for machine in asked {
                // Whoever asks for an end has patience for so long, and no longer.
                if stage.machines[machine].probe.was_asked_by(fault) {
                    strike.count("killed", 1);
                    kill(machine, strike, stage);
                    down.hold(machine, stage);
                }
            }
            down.release(strike, stage);
        }
        Held::Paused(machines) => machines.into_iter().for_each(|machine| stage.machines[machine].resume()),
    }
}
