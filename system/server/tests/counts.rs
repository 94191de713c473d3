//! Connect counts that are behind, on real sockets: a device whose clock went back, one that counts too far, and two windows of one
//! device.

mod common;

use common::{PATIENCE, Raw, TempDir, token};
use squall_client::{Config, Device, Event, Events, Fixed, Gateways};
use squall_protocol::close::CloseReason;
use squall_protocol::limits::CLOCK_FLOOR_S;
use squall_protocol::{ClientFrame, ClientMsgId, Codec, DeviceId, ServerFrame, UserId};
use squall_server::local::{Local, LocalConfig};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const ANNE: UserId = UserId(1);
const BERT: UserId = UserId(2);

async fn start(data: &Path) -> Local {
    let config = LocalConfig { gateways: 2, ..common::config(data) };
    Local::start(config).await.unwrap()
}

/// Anne's only device, as it was started with this count.
fn anne(local: &Local, connects_before: u64) -> (Device, Events) {
    let urls: Vec<String> = local.gateways().iter().map(|address| format!("ws://{address}")).collect();
    let config = Config { user: ANNE, device: DeviceId(10), codec: Codec::Json, connects_before };
    Device::start(config, Arc::new(Fixed(token(ANNE.0, 10))), Arc::new(Gateways::new(&urls, 0).unwrap()))
}

/// Writes to Bert, and waits until that is stored.
async fn write(device: &Device, events: &mut Events, id: u128) {
    device.send_direct(BERT, ClientMsgId(id), ClientMsgId(id + 1), "hello".into()).await.unwrap();
    let stored = async {
        while let Some(event) = events.recv().await {
            if matches!(event, Event::Stored { client_msg_id, .. } if client_msg_id == ClientMsgId(id + 1)) {
                return;
            }
        }
        panic!("the device has ended");
    };
    timeout(PATIENCE, stored).await.expect("an answer within seconds");
}

#[tokio::test]
async fn a_device_whose_clock_went_back_by_a_day_goes_on_within_seconds() {
    let dir = TempDir::new("counts");
    let local = start(&dir.path().join("data")).await;
    let (device, mut events) = anne(&local, CLOCK_FLOOR_S + 86_400);
    write(&device, &mut events, 100).await;
    device.stop().await;
    let (device, mut events) = anne(&local, CLOCK_FLOOR_S);
    write(&device, &mut events, 200).await;
}

#[tokio::test]
async fn a_device_that_counts_too_far_is_set_right_and_can_go_on() {
    let dir = TempDir::new("counts");
    let local = start(&dir.path().join("data")).await;
    let mut raw = Raw::open(local.gateways()[0], Codec::Json).await;
    raw.send(ClientFrame::Hello { token: token(ANNE.0, 10), connect_count: u64::MAX, invisible: false }).await;
    let told = raw.until(|frame| match frame {
        ServerFrame::Stale { connect_count, superseded: false } => Some(*connect_count),
        _ => None,
    });
    assert!(told.await < u64::from(u32::MAX));
    assert_eq!(raw.close_code().await, CloseReason::CountTooHigh.code());
    let (device, mut events) = anne(&local, u64::MAX - 1);
    write(&device, &mut events, 100).await;
}

#[tokio::test]
async fn of_two_windows_of_one_device_one_stops_and_says_so_and_the_other_goes_on() {
    let dir = TempDir::new("counts");
    let local = start(&dir.path().join("data")).await;
    let mut windows = [anne(&local, CLOCK_FLOOR_S), anne(&local, CLOCK_FLOOR_S + 5)];
    let (left, right) = windows.split_at_mut(1);
    let (left, right) = (&mut left[0].1, &mut right[0].1);
    // Both are read, for a device whose events nobody takes stands still.
    let stopped = async {
        loop {
            let (window, event) = tokio::select! {
                event = left.recv() => (0, event),
                event = right.recv() => (1, event),
            };
            if event.expect("a running device") == Event::Stopped {
                return window;
            }
        }
    };
    let stopped: usize = timeout(2 * PATIENCE, stopped).await.expect("one of them stops");
    let (other, events) = &mut windows[1 - stopped];
    write(other, events, 100).await;
    let quiet = async {
        while let Some(event) = events.recv().await {
            assert!(!matches!(event, Event::Offline { .. } | Event::Stopped), "{event:?}");
        }
    };
    assert!(timeout(Duration::from_secs(3), quiet).await.is_err(), "nobody throws the other one out any more");
    assert!(!windows[stopped].0.status().await.unwrap().online);
}
