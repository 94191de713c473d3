//! The checks against a model: random histories of a correct system pass, and one wrong step in them is caught, by the
//! check that is meant to.

use crate::testing::{Change, History};
use proptest::prelude::*;
use squall_history::{Event, Kind, Via, What};
use squall_protocol::{ClientMsgId, Holders, Right, Seq, UserId, limits};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Device and user; user 3 is no member at first, user 2 has two devices.
const DEVICES: [(u64, u64); 4] = [(1, 1), (2, 2), (3, 3), (4, 2)];
const STRANGER: u64 = 9;

/// A step that the system may take. Numbers pick among what is possible.
#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    ChangeMembership(u64),
    Close(bool),
    Store(usize),
    Answer(usize),
    Display(usize, bool),
    Redeliver(usize),
    PowerLoss,
    Cursor(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = 0..DEVICES.len();
    let step = prop_oneof![
        6 => device.clone().prop_map(Step::Send),
        1 => (2u64..=3).prop_map(Step::ChangeMembership),
        1 => any::<bool>().prop_map(Step::Close),
        6 => device.clone().prop_map(Step::Store),
        5 => device.clone().prop_map(Step::Answer),
        12 => (device.clone(), any::<bool>()).prop_map(|(device, page)| Step::Display(device, page)),
        2 => device.clone().prop_map(Step::Redeliver),
        1 => Just(Step::PowerLoss),
        1 => device.prop_map(Step::Cursor),
    ];
    proptest::collection::vec(step, 10..150)
}

/// Who may write: the owner alone, or everybody.
fn post(closed: bool) -> What {
    What::Setting { right: Right::Post, who: if closed { Holders::Owner } else { Holders::Members } }
}

/// One wrong step.
#[derive(Debug, Clone, Copy)]
enum Mutation {
    DropDisplay,
    SwapDisplays,
    RepeatDisplay,
    AlterBody,
    ExchangeMessages,
    ShowToStranger,
    LoseFromLog,
    AnswerTwice,
}

impl Mutation {
    const ALL: [Mutation; 8] = [
        Mutation::DropDisplay,
        Mutation::SwapDisplays,
        Mutation::RepeatDisplay,
        Mutation::AlterBody,
        Mutation::ExchangeMessages,
        Mutation::ShowToStranger,
        Mutation::LoseFromLog,
        Mutation::AnswerTwice,
    ];

    fn caught_by(self) -> &'static str {
        match self {
            Mutation::DropDisplay => "no-loss",
            Mutation::SwapDisplays => "dense-sequence",
            Mutation::RepeatDisplay => "no-duplicates",
            Mutation::AlterBody => "nothing-unsent",
            Mutation::ExchangeMessages => "same-order",
            Mutation::ShowToStranger => "members-only",
            Mutation::LoseFromLog | Mutation::AnswerTwice => "acked-is-durable",
        }
    }
}

/// A correct system, written down plainly: one log, membership as a list of stays.
struct Model {
    history: History,
    log: Vec<u64>,
    next_message: u64,
    /// Of each device: what it has sent and the shard has not taken, what is taken and unanswered, where it stands.
    sent: BTreeMap<u64, VecDeque<(u64, Option<Change>)>>,
    unanswered: BTreeMap<u64, VecDeque<(u64, Option<u64>)>>,
    position: BTreeMap<u64, u64>,
    /// Only the owner, who is user 1, may write.
    closed: bool,
    /// Of each user: first and last place of each stay.
    stays: BTreeMap<u64, Vec<(u64, u64)>>,
}

impl Model {
    fn run(steps: &[Step]) -> Self {
        let mut history = History::chat();
        history.device(4, 2);
        let mut model = Model {
            history,
            log: vec![1, 2],
            next_message: 3,
            sent: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            position: [(1, 2), (2, 2)].into(),
            closed: false,
            stays: [(1, vec![(1, u64::MAX)]), (2, vec![(1, u64::MAX)])].into(),
        };
        steps.iter().for_each(|step| model.step(step));
        model.drain();
        model
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send(device) => {
                let message = self.message();
                let device = DEVICES[device].0;
                self.history.send(device, message);
                self.sent.entry(device).or_default().push_back((message, None));
            }
            Step::ChangeMembership(user) => {
                let message = self.message();
                let change = if self.is_member(user) { Change::Left(user) } else { Change::Joined(user) };
                self.history.change(1, message, change);
                self.sent.entry(1).or_default().push_back((message, Some(change)));
            }
            Step::Close(closed) => {
                let (message, change) = (self.message(), Change::Rule(post(closed)));
                self.history.change(1, message, change);
                self.sent.entry(1).or_default().push_back((message, Some(change)));
            }
            Step::Store(device) => self.store(DEVICES[device].0),
            Step::Answer(device) => self.answer(DEVICES[device].0),
            Step::Display(device, page) => self.display(DEVICES[device], page),
            Step::Redeliver(device) => {
                let device = DEVICES[device];
                let shown = self.position.get(&device.0).copied().unwrap_or(0);
                if self.may_see(device.1, shown) {
                    self.history.discard(device.0, self.log[shown as usize - 1], shown);
                }
            }
            Step::PowerLoss => {
                self.history.power_loss();
            }
            Step::Cursor(device) => {
                let shown = self.position.get(&DEVICES[device].0).copied().unwrap_or(0);
                self.history.ack(DEVICES[device].0, shown).cursor(DEVICES[device].0, shown / 2);
            }
        }
    }

    fn message(&mut self) -> u64 {
        self.next_message += 1;
        self.next_message - 1
    }

    fn is_member(&self, user: u64) -> bool {
        self.stays.get(&user).is_some_and(|stays| stays.iter().any(|stay| stay.1 == u64::MAX))
    }

    fn may_see(&self, user: u64, seq: u64) -> bool {
        seq > 0 && self.stays.get(&user).is_some_and(|stays| stays.iter().any(|s| s.0 <= seq && seq <= s.1))
    }

    fn store(&mut self, device: u64) {
        let Some((message, change)) = self.sent.get_mut(&device).and_then(VecDeque::pop_front) else { return };
        let user = DEVICES.iter().find(|(d, _)| *d == device).expect("a device of the test").1;
        let sensible = match change {
            None => true,
            Some(Change::Joined(who)) => !self.is_member(who),
            Some(Change::Left(who)) => self.is_member(who),
            Some(Change::Rule(what)) => what != post(self.closed),
        };
        let answers = self.unanswered.entry(device).or_default();
        if !sensible {
            self.history.refused(device, message, "conflict");
            return;
        }
        if !self.stays.get(&user).is_some_and(|stays| stays.iter().any(|stay| stay.1 == u64::MAX)) {
            answers.push_back((message, None));
            return;
        }
        if self.closed && user != 1 {
            self.history.refused(device, message, "not_allowed");
            return;
        }
        self.log.push(message);
        self.history.log(message);
        let seq = self.log.len() as u64;
        answers.push_back((message, Some(seq)));
        match change {
            Some(Change::Joined(who)) => {
                let from = seq.saturating_sub(limits::NEWCOMER_HISTORY).max(1);
                self.stays.entry(who).or_default().push((from, u64::MAX));
            }
            Some(Change::Left(who)) => {
                let stays = self.stays.get_mut(&who).expect("a member has a stay");
                stays.last_mut().expect("a member has a stay").1 = seq;
            }
            Some(Change::Rule(what)) => self.closed = what == post(true),
            None => {}
        }
    }

    fn answer(&mut self, device: u64) {
        let Some((message, seq)) = self.unanswered.get_mut(&device).and_then(VecDeque::pop_front) else { return };
        match seq {
            Some(seq) => self.history.resend(device, message).acked(device, message, seq),
            None => self.history.refused(device, message, "not_a_member"),
        };
    }

    /// Shows the next entry that the user may see, skipping those in between that they may not.
    fn display(&mut self, (device, user): (u64, u64), page: bool) {
        let position = self.position.get(&device).copied().unwrap_or(0);
        let Some(seq) = (position + 1..=self.log.len() as u64).find(|seq| self.may_see(user, *seq)) else {
            return;
        };
        if seq > position + 1 {
            self.history.skip(device, position + 1, seq - 1);
        }
        let via = if page { Via::Page } else { Via::Deliver };
        self.history.display_via(device, self.log[seq as usize - 1], seq, via);
        self.position.insert(device, seq);
    }

    fn drain(&mut self) {
        for device in DEVICES {
            while self.sent.get(&device.0).is_some_and(|sent| !sent.is_empty()) {
                self.store(device.0);
            }
            while self.unanswered.get(&device.0).is_some_and(|sent| !sent.is_empty()) {
                self.answer(device.0);
            }
        }
        for device in DEVICES {
            (0..self.log.len()).for_each(|_| self.display(device, true));
        }
    }

    /// Makes one thing wrong, at a place that `pick` chooses. False where there is no such place.
    fn mutate(&mut self, mutation: Mutation, pick: usize) -> bool {
        let events = self.history.events();
        let displays: Vec<usize> =
            (0..events.len()).filter(|i| matches!(events[*i].kind, Kind::Display { .. })).collect();
        let chosen = displays[pick % displays.len()];
        // The next thing that the same device displays, right after.
        let next = displays.iter().copied().find(|i| *i > chosen && events[*i].at == events[chosen].at);
        match mutation {
            Mutation::DropDisplay => {
                events.remove(chosen);
            }
            Mutation::RepeatDisplay => {
                let copy = events[chosen].clone();
                events.push(copy);
            }
            Mutation::AlterBody => {
                let Kind::Display { body_hash, .. } = &mut events[chosen].kind else { unreachable!() };
                *body_hash ^= 1;
            }
            Mutation::SwapDisplays => {
                let Some(next) = next else { return false };
                events.swap(chosen, next);
            }
            Mutation::ExchangeMessages => {
                let Some(next) = next else { return false };
                let (first, second) = (named(&events[chosen]), named(&events[next]));
                rename(&mut events[chosen], second);
                rename(&mut events[next], first);
            }
            Mutation::ShowToStranger => {
                let mut shown = events[chosen].clone();
                shown.at = squall_history::Entity::Device(squall_protocol::DeviceId(STRANGER));
                if let Kind::Display { user, .. } = &mut shown.kind {
                    *user = UserId(STRANGER);
                }
                events.push(shown);
            }
            Mutation::LoseFromLog => self.history.lose_from_log(pick),
            Mutation::AnswerTwice => {
                let acks: Vec<usize> =
                    (0..events.len()).filter(|i| matches!(events[*i].kind, Kind::Sent { .. })).collect();
                let mut again = events[acks[pick % acks.len()]].clone();
                if let Kind::Sent { seq, .. } = &mut again.kind {
                    *seq = seq.next();
                }
                events.push(again);
            }
        }
        true
    }
}

fn named(event: &Event) -> ClientMsgId {
    let Kind::Display { client_msg_id, .. } = event.kind else { unreachable!("only displays are exchanged") };
    client_msg_id
}

fn rename(event: &mut Event, id: ClientMsgId) {
    let Kind::Display { client_msg_id, .. } = &mut event.kind else { unreachable!("only displays are exchanged") };
    *client_msg_id = id;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_correct_system_violates_nothing(steps in steps()) {
        let outcome = Model::run(&steps).history.audit();
        let first = outcome.0.iter().find_map(|report| report.first.as_ref());
        prop_assert!(first.is_none(), "{:?}", first);
    }

    #[test]
    fn one_wrong_step_is_caught_by_the_check_that_is_meant_to(
        steps in steps(),
        mutation in proptest::sample::select(&Mutation::ALL[..]),
        pick in any::<usize>(),
    ) {
        let mut model = Model::run(&steps);
        prop_assume!(model.mutate(mutation, pick));
        let violated = model.history.audit().violated_checks();
        prop_assert!(violated.contains(&mutation.caught_by()), "{:?} violated only {:?}", mutation, violated);
    }

    #[test]
    fn membership_is_what_the_model_says(steps in steps()) {
        // Every device of a member has displayed exactly the union of the member's stays.
        let mut model = Model::run(&steps);
        let mut shown: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for event in model.history.events() {
            if let Kind::Display { user, seq: Seq(seq), .. } = event.kind {
                shown.entry(user.0).or_default().insert(seq);
            }
        }
        let owed: u64 = DEVICES.iter().map(|(_, user)| shown.get(user).map_or(0, |s| s.len() as u64)).sum();
        let report = model.history.audit().report("no-loss");
        prop_assert_eq!(report.evaluated, owed);
    }
}
