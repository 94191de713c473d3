//! Random programs of timers, channels and tasks, and what reaches a host from outside.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use squall_runtime::Marker;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// Something that a task does; times are in µs.
#[derive(Clone, Debug)]
pub enum Op {
    Sleep(u64),
    Interval {
        period: u64,
        times: u8,
        delays: bool,
    },
    Timeout(u64, Vec<Op>),
    Send(usize),
    Receive(usize, u64),
    Notify(usize, bool),
    Await(usize, u64),
    Publish,
    /// Waits for a change; `watch` spreads its waiters by tokio's randomness.
    Watch(u64),
    /// Sleeps of equal length, of which an unbiased `select!` picks one.
    Race(u64),
    Spawn(Vec<Op>),
    SpawnLocal(Vec<Op>),
    Join(Vec<Vec<Op>>),
    Abort(u64, Vec<Op>),
    Yield,
    /// Waits for a letter from outside.
    Letter(u64),
    /// Waits to be woken directly from outside.
    Direct(u64),
    Draw,
}

/// Times at which things collide, and others.
fn time_us() -> impl Strategy<Value = u64> {
    prop_oneof![4 => (0u64..12).prop_map(|ms| ms * 1_000), 2 => 0u64..40_000, 1 => 60_000u64..70_000, 1 => 0u64..300_000]
}

/// With what draws from tokio's randomness or meets the outside, or without.
pub fn ops(all: bool) -> impl Strategy<Value = Vec<Op>> {
    let shared = prop_oneof![
        4 => time_us().prop_map(Op::Sleep),
        2 => (500u64..9_000, 1u8..6, any::<bool>())
            .prop_map(|(period, times, delays)| Op::Interval { period, times, delays }),
        2 => (0usize..2).prop_map(Op::Send),
        2 => (0usize..2, time_us()).prop_map(|(channel, us)| Op::Receive(channel, us)),
        1 => (0usize..2, any::<bool>()).prop_map(|(which, all)| Op::Notify(which, all)),
        2 => (0usize..2, time_us()).prop_map(|(which, us)| Op::Await(which, us)),
        1 => Just(Op::Yield),
    ];
    let drawing = prop_oneof![
        1 => Just(Op::Publish),
        1 => time_us().prop_map(Op::Watch),
        1 => time_us().prop_map(Op::Race),
        3 => time_us().prop_map(Op::Letter),
        1 => time_us().prop_map(Op::Direct),
        1 => Just(Op::Draw),
    ];
    let leaf = match all {
        true => prop_oneof![3 => shared, 2 => drawing].boxed(),
        false => shared.boxed(),
    };
    let op = leaf.prop_recursive(3, 24, 4, move |op| {
        let some = || prop::collection::vec(op.clone(), 0..4);
        prop_oneof![
            3 => op.clone(),
            1 => (time_us(), some()).prop_map(|(us, ops)| Op::Timeout(us, ops)),
            1 => some().prop_map(Op::Spawn),
            // Under turmoil a task of the runtime is outside of its `LocalSet`.
            1 => some().prop_map(move |ops| if all { Op::SpawnLocal(ops) } else { Op::Spawn(ops) }),
            1 => prop::collection::vec(some(), 1..4).prop_map(Op::Join),
            1 => (time_us(), some()).prop_map(|(us, ops)| Op::Abort(us, ops)),
        ]
    });
    prop::collection::vec(op, 1..8)
}

/// A line of what a program did: monotonic and wall clock and tokio's own, in µs, and what.
pub type Line = (u64, u64, u64, String);
pub type Log = Arc<Mutex<Vec<Line>>>;

/// What the tasks of one life share.
pub struct Shared {
    log: Log,
    began: Instant,
    channels: [(mpsc::UnboundedSender<u32>, tokio::sync::Mutex<mpsc::UnboundedReceiver<u32>>); 2],
    notifies: [Notify; 2],
    published: watch::Sender<u32>,
    mailbox: Mailbox,
    direct: Arc<Notify>,
}

impl Shared {
    pub fn new(log: &Log, mailbox: &Mailbox, direct: &Arc<Notify>) -> Arc<Self> {
        let channel = || {
            let (sender, receiver) = mpsc::unbounded_channel();
            (sender, tokio::sync::Mutex::new(receiver))
        };
        Arc::new(Shared {
            log: Arc::clone(log),
            began: Instant::now(),
            channels: [channel(), channel()],
            notifies: [Notify::new(), Notify::new()],
            published: watch::Sender::new(0),
            mailbox: mailbox.clone(),
            direct: Arc::clone(direct),
        })
    }

    #[expect(clippy::disallowed_methods, reason = "inside a host the interposer answers")]
    fn write(&self, who: &str, what: String) {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let tokio = self.began.elapsed();
        let micros = |duration: Duration| duration.as_micros() as u64;
        let std = clock_us(libc::CLOCK_MONOTONIC);
        self.log.lock().unwrap().push((std, micros(wall), micros(tokio), format!("{who} {what}")));
    }
}

fn clock_us(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a local.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

/// Says that the task was dropped before its end.
struct Fall(Arc<Shared>, String);

impl Drop for Fall {
    fn drop(&mut self) {
        self.0.write(&self.1, "dropped".to_owned());
    }
}

fn micros(us: u64) -> Duration {
    Duration::from_micros(us)
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a program as the task `who`.
pub fn play(shared: Arc<Shared>, who: String, ops: Vec<Op>) -> Task {
    Box::pin(async move {
        let fall = Fall(Arc::clone(&shared), who.clone());
        for (index, op) in ops.into_iter().enumerate() {
            let child = |n: usize| format!("{who}.{index}/{n}");
            let done = match op {
                Op::Sleep(us) => {
                    sleep(micros(us)).await;
                    "slept".to_owned()
                }
                Op::Interval { period, times, delays } => {
                    let mut interval = interval(micros(period));
                    interval.set_missed_tick_behavior(match delays {
                        true => MissedTickBehavior::Delay,
                        false => MissedTickBehavior::Burst,
                    });
                    for n in 0..times {
                        interval.tick().await;
                        shared.write(&child(usize::from(n)), "ticked".to_owned());
                    }
                    "interval over".to_owned()
                }
                Op::Timeout(us, ops) => {
                    let inner = play(Arc::clone(&shared), child(0), ops);
                    format!("in time {}", timeout(micros(us), inner).await.is_ok())
                }
                Op::Send(channel) => {
                    let _ = shared.channels[channel].0.send(index as u32);
                    "sent".to_owned()
                }
                Op::Receive(channel, us) => {
                    let receive = async { shared.channels[channel].1.lock().await.recv().await };
                    format!("received {:?}", timeout(micros(us), receive).await)
                }
                Op::Notify(which, all) => {
                    let notify = &shared.notifies[which];
                    if all {
                        notify.notify_waiters()
                    } else {
                        notify.notify_one()
                    }
                    "notified".to_owned()
                }
                Op::Await(which, us) => {
                    format!(
                        "was notified {}",
                        timeout(micros(us), shared.notifies[which].notified()).await.is_ok()
                    )
                }
                Op::Publish => {
                    shared.published.send_modify(|value| *value += 1);
                    "published".to_owned()
                }
                Op::Watch(us) => {
                    let mut watch = shared.published.subscribe();
                    format!("saw {}", timeout(micros(us), watch.changed()).await.is_ok())
                }
                Op::Race(us) => {
                    let first = tokio::select! {
                        () = sleep(micros(us)) => 1,
                        () = sleep(micros(us)) => 2,
                        () = sleep(micros(us)) => 3,
                    };
                    format!("raced {first}")
                }
                Op::Spawn(ops) => {
                    tokio::spawn(play(Arc::clone(&shared), child(0), ops));
                    "spawned".to_owned()
                }
                Op::SpawnLocal(ops) => {
                    tokio::task::spawn_local(play(Arc::clone(&shared), child(0), ops));
                    "spawned here".to_owned()
                }
                Op::Join(all) => {
                    let mut set = JoinSet::new();
                    for (n, ops) in all.into_iter().enumerate() {
                        let inner = play(Arc::clone(&shared), child(n), ops);
                        set.spawn(async move {
                            inner.await;
                            n
                        });
                    }
                    let mut order = Vec::new();
                    while let Some(n) = set.join_next().await {
                        order.push(n.unwrap());
                    }
                    format!("joined {order:?}")
                }
                Op::Abort(us, ops) => {
                    let task = tokio::spawn(play(Arc::clone(&shared), child(0), ops));
                    sleep(micros(us)).await;
                    task.abort();
                    format!("aborted {}", task.await.is_err())
                }
                Op::Yield => {
                    tokio::task::yield_now().await;
                    "yielded".to_owned()
                }
                Op::Letter(us) => format!("read {:?}", timeout(micros(us), shared.mailbox.receive()).await),
                Op::Direct(us) => {
                    format!("was woken {}", timeout(micros(us), shared.direct.notified()).await.is_ok())
                }
                Op::Draw => format!("drew {}", getrandom04::u32().unwrap()),
            };
            shared.write(&who, done);
        }
        shared.write(&who, "ended".to_owned());
        std::mem::forget(fall);
    })
}

/// Something outside that wakes tasks through a pump, as a network does.
#[derive(Clone, Default)]
pub struct Mailbox(Arc<Mutex<Letters>>);

#[derive(Default)]
struct Letters {
    sent: u32,
    letters: VecDeque<u32>,
    waiting: Vec<Waker>,
    woken: Vec<Waker>,
    pump: Option<Waker>,
}

impl Mailbox {
    pub fn send(&self) {
        let mut all = self.0.lock().unwrap();
        all.sent += 1;
        let letter = all.sent;
        all.letters.push_back(letter);
        let waiting = std::mem::take(&mut all.waiting);
        all.woken.extend(waiting);
        if !all.woken.is_empty()
            && let Some(pump) = all.pump.take()
        {
            drop(all);
            pump.wake();
        }
    }

    /// The process that waited has died.
    pub fn forget(&self) {
        let mut all = self.0.lock().unwrap();
        let sent = all.sent;
        let old = std::mem::replace(&mut *all, Letters { sent, ..Letters::default() });
        drop(all);
        drop(old);
    }

    pub async fn receive(&self) -> u32 {
        poll_fn(|cx| {
            let mut all = self.0.lock().unwrap();
            match all.letters.pop_front() {
                Some(letter) => Poll::Ready(letter),
                None => {
                    all.waiting.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    pub fn poll_woken(&self, cx: &mut Context<'_>) -> Poll<Vec<Waker>> {
        let mut all = self.0.lock().unwrap();
        if all.woken.is_empty() {
            all.pump = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut all.woken))
    }
}

/// Marks nothing of its own accord.
pub fn unmarked() -> Marker {
    squall_runtime::Marks::default().marker(0)
}
