//! What survives what: process death, power loss, torn blocks and each fault; redb's recovery on top is in
//! [`recovery`].

mod recovery;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend;

use super::*;

const BLOCK: usize = 4096;

fn disk() -> Disk {
    Disk::new(1, DiskConfig::default())
}

/// A disk of `blocks` synced blocks of the given byte, and a live handle on it.
fn filled(config: DiskConfig, blocks: usize, byte: u8) -> (Disk, Backend) {
    let disk = Disk::new(1, config);
    let backend = disk.open();
    backend.set_len((blocks * BLOCK) as u64).unwrap();
    backend.write(0, &vec![byte; blocks * BLOCK]).unwrap();
    backend.sync_data().unwrap();
    (disk, backend)
}

fn contents(backend: &Backend) -> Vec<u8> {
    let mut out = vec![0; usize::try_from(backend.len().unwrap()).unwrap()];
    backend.read(0, &mut out).unwrap();
    out
}

fn reopen(disk: &Disk) -> Backend {
    disk.process_started();
    disk.open()
}

#[test]
fn what_is_written_is_read_across_blocks_and_the_rest_is_zero() {
    let backend = disk().open();
    backend.set_len(3 * BLOCK as u64).unwrap();
    backend.write(4000, &[7; 200]).unwrap();
    let mut expected = vec![0; 3 * BLOCK];
    expected[4000..4200].fill(7);
    assert_eq!(contents(&backend), expected);
    backend.sync_data().unwrap();
    backend.write(4100, &[8; 10]).unwrap();
    expected[4100..4110].fill(8);
    assert_eq!(contents(&backend), expected);
    assert_eq!(backend.read(3 * BLOCK as u64 - 1, &mut [0; 2]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn unsynced_writes_survive_process_death_and_not_power_loss() {
    let (disk, backend) = filled(DiskConfig::default(), 2, 1);
    backend.set_len(3 * BLOCK as u64).unwrap();
    backend.write(BLOCK as u64, &[2; 2 * BLOCK]).unwrap();
    assert_eq!(disk.stats().unsynced_blocks, 2);

    disk.process_died();
    let backend = reopen(&disk);
    assert_eq!(contents(&backend), [vec![1; BLOCK], vec![2; 2 * BLOCK]].concat());

    assert_eq!(disk.power_loss(), 2);
    let backend = reopen(&disk);
    assert_eq!(contents(&backend), vec![1; 2 * BLOCK]);
    assert_eq!(disk.stats().blocks_lost, 2);
    assert_eq!(disk.stats().unsynced_blocks, 0);
}

#[test]
fn a_dead_handle_changes_nothing_and_a_new_one_is_dead_until_a_process_starts() {
    let (disk, backend) = filled(DiskConfig::default(), 1, 1);
    backend.write(0, &[2; BLOCK]).unwrap();
    for power_goes in [false, true] {
        let live = reopen(&disk);
        assert!(live.is_alive());
        if power_goes {
            disk.power_loss();
        } else {
            disk.process_died();
        }
        let digest = disk.take_digest();
        for dead in [&backend, &live, &disk.open()] {
            assert!(!dead.is_alive());
            assert!(dead.len().is_err() && dead.read(0, &mut [0; 8]).is_err());
            assert!(dead.write(0, &[9; BLOCK]).is_err() && dead.set_len(0).is_err());
            assert!(dead.sync_data().is_err() && dead.close().is_err());
        }
        assert_eq!(disk.take_digest(), digest);
    }
    assert_eq!(contents(&reopen(&disk)), vec![1; BLOCK]);
}

#[test]
fn a_handle_from_before_a_start_stays_dead() {
    let disk = disk();
    disk.process_died();
    let stillborn = disk.open();
    disk.process_started();
    assert!(!stillborn.is_alive());
}

#[test]
fn a_torn_block_has_new_sectors_before_old_ones() {
    let config = DiskConfig { sector_bytes: 512, tear: true, ..DiskConfig::default() };
    let (disk, backend) = filled(config, 1, 1);
    backend.write(0, &[2; BLOCK]).unwrap();
    disk.power_loss();
    let torn = contents(&reopen(&disk));
    let new = torn.iter().take_while(|&&byte| byte == 2).count();
    assert!(new > 0 && new < BLOCK && new % 512 == 0, "{new}");
    assert!(torn[new..].iter().all(|&byte| byte == 1));
    assert_eq!(disk.stats().blocks_torn, 1);
}

#[test]
fn a_drawn_subset_of_unsynced_blocks_survives_power_loss() {
    let config = DiskConfig { survive_share: 0.5, ..DiskConfig::default() };
    let (disk, backend) = filled(config, 64, 1);
    backend.write(0, &[2; 64 * BLOCK]).unwrap();
    let lost = disk.power_loss();
    let kept = contents(&reopen(&disk)).chunks(BLOCK).filter(|block| block.iter().all(|&b| b == 2)).count();
    assert!((10..54).contains(&kept), "{kept}");
    assert_eq!((lost as usize + kept, disk.stats().blocks_survived as usize), (64, kept));
}

#[test]
fn a_truncation_is_unsynced_too() {
    let (disk, backend) = filled(DiskConfig::default(), 3, 1);
    backend.set_len(BLOCK as u64 + 10).unwrap();
    backend.set_len(3 * BLOCK as u64).unwrap();
    let mut truncated = vec![1; BLOCK + 10];
    truncated.resize(3 * BLOCK, 0);
    assert_eq!(contents(&backend), truncated);
    disk.power_loss();
    let backend = reopen(&disk);
    assert_eq!(contents(&backend), vec![1; 3 * BLOCK]);

    backend.set_len(BLOCK as u64 + 10).unwrap();
    backend.set_len(3 * BLOCK as u64).unwrap();
    backend.sync_data().unwrap();
    disk.power_loss();
    assert_eq!(contents(&reopen(&disk)), truncated);
}

#[test]
fn memory_is_taken_only_by_blocks_that_are_not_zero() {
    let (disk, backend) = filled(DiskConfig::default(), 8, 1);
    backend.set_len(1 << 40).unwrap();
    backend.sync_data().unwrap();
    assert_eq!(disk.stats().allocated_bytes, 8 * BLOCK as u64);
    // As many blocks wait for the next writes.
    assert!(disk.memory_bytes() < 18 * BLOCK as u64, "{}", disk.memory_bytes());
    backend.write(0, &[0; 8 * BLOCK]).unwrap();
    backend.sync_data().unwrap();
    assert_eq!(disk.stats().allocated_bytes, 0);
    assert_eq!(disk.take_durable(1).memory_bytes() / BLOCK as u64, 0);
}

#[test]
fn the_digest_tells_apart_what_became_durable() {
    let digest = |byte: u8, index: u64, sync: bool| {
        let (disk, backend) = filled(DiskConfig::default(), 4, 1);
        backend.write(index * BLOCK as u64, &[byte; BLOCK]).unwrap();
        if sync {
            backend.sync_data().unwrap();
        }
        disk.take_digest()
    };
    assert_eq!(digest(2, 1, true), digest(2, 1, true));
    assert_eq!(digest(2, 1, false), digest(3, 2, false));
    let different = [digest(2, 1, true), digest(3, 1, true), digest(2, 2, true), digest(2, 1, false)];
    assert!((1..4).all(|at| !different[..at].contains(&different[at])), "{different:?}");
}

#[test]
fn what_is_taken_out_is_what_was_synced_and_no_old_handle_reaches_it() {
    let (disk, backend) = filled(DiskConfig::default(), 2, 1);
    backend.write(0, &[2; BLOCK]).unwrap();
    let taken = disk.take_durable(1);
    assert!(backend.write(BLOCK as u64, &[3; BLOCK]).is_err());
    assert_eq!(contents(&taken.open()), vec![1; 2 * BLOCK]);
    assert_eq!((disk.stats().allocated_bytes, taken.stats().allocated_bytes), (0, 2 * BLOCK as u64));
}

#[test]
fn an_armed_cut_strikes_once_and_calls_back_without_a_lock() {
    for point in [CutPoint::Write(2), CutPoint::Sync(2)] {
        let (disk, backend) = filled(DiskConfig::default(), 2, 1);
        let struck = Arc::new(AtomicU64::new(0));
        disk.set_on_power_cut({
            let (disk, struck) = (disk.clone(), Arc::clone(&struck));
            move || {
                disk.power_loss();
                struck.fetch_add(disk.stats().power_losses, Ordering::Relaxed);
            }
        });
        disk.cut_power_at(point);
        for _ in 0..2 {
            assert_eq!(struck.load(Ordering::Relaxed), 0);
            let _ = backend.write(0, &[2; BLOCK]).and_then(|()| backend.sync_data());
        }
        assert_eq!(struck.load(Ordering::Relaxed), 2, "{point:?}: the cut's own and the callback's power loss");
        let backend = reopen(&disk);
        for _ in 0..4 {
            backend.write(0, &[3; BLOCK]).unwrap();
            backend.sync_data().unwrap();
        }
    }
}

/// Adds a fault, works, and returns how often the work failed and how often the fault says that it bit.
fn under(fault: DiskFault, mut work: impl FnMut(&Disk, &Backend) -> bool) -> (u64, u64) {
    let (disk, backend) = filled(DiskConfig::default(), 4, 1);
    let id = disk.add_fault(fault, 1);
    let failed = (0..100).filter(|_| !work(&disk, &backend)).count() as u64;
    assert!(disk.remove_fault(id) && !disk.remove_fault(id));
    assert!((0..100).all(|_| work(&disk, &backend)), "{fault:?} has ended");
    let [hits] = disk.fault_hits()[..] else { panic!("one fault") };
    assert_eq!((hits.id, hits.fault, hits.active), (id, fault, false));
    (failed, hits.hits)
}

#[test]
fn errors_bite_by_their_share_and_count() {
    let read = |_: &Disk, backend: &Backend| backend.read(0, &mut [0; BLOCK]).is_ok();
    let write = |_: &Disk, backend: &Backend| backend.write(0, &[2; BLOCK]).is_ok();
    let sync = |_: &Disk, backend: &Backend| backend.sync_data().is_ok();
    for (failed, hits) in [
        under(DiskFault::ReadError { share: 0.3 }, read),
        under(DiskFault::WriteError { share: 0.3 }, write),
        under(DiskFault::SyncError { share: 0.3 }, sync),
    ] {
        assert!(failed == hits && (15..45).contains(&hits), "{failed} {hits}");
    }
}

#[test]
fn a_failed_sync_leaves_each_block_durable_or_clean_until_it_is_written_again() {
    let (disk, backend) = filled(DiskConfig::default(), 64, 1);
    backend.write(0, &[2; 64 * BLOCK]).unwrap();
    disk.add_fault(DiskFault::SyncError { share: 1.0 }, 1);
    assert!(backend.sync_data().is_err());
    assert_eq!(contents(&backend), vec![2; 64 * BLOCK], "the page cache still has all of it");
    let unsynced = disk.stats().unsynced_blocks;
    assert!((10..54).contains(&unsynced), "{unsynced}");
    disk.add_fault(DiskFault::SyncError { share: 0.0 }, 1);
    disk.fault_hits().iter().for_each(|fault| assert!(disk.remove_fault(fault.id)));
    backend.sync_data().unwrap();
    assert_eq!(disk.stats().unsynced_blocks, unsynced, "a later sync that succeeds writes none of them");
    backend.write(0, &[2; 64 * BLOCK]).unwrap();
    backend.sync_data().unwrap();
    assert_eq!(disk.stats().unsynced_blocks, 0);

    backend.write(0, &[3; 64 * BLOCK]).unwrap();
    disk.add_fault(DiskFault::SyncError { share: 1.0 }, 1);
    assert!(backend.sync_data().is_err());
    let unsynced = disk.stats().unsynced_blocks;
    backend.forget_clean().unwrap();
    let kept = contents(&backend).chunks(BLOCK).filter(|block| block[0] == 2).count() as u64;
    assert_eq!((kept, disk.power_loss()), (unsynced, 0), "what is read is what is durable");
}

#[test]
fn a_full_disk_rewrites_what_it_has_and_refuses_new_blocks() {
    let (disk, backend) = filled(DiskConfig { capacity_bytes: 4 * BLOCK as u64, ..DiskConfig::default() }, 3, 1);
    backend.set_len(8 * BLOCK as u64).unwrap();
    let full = disk.add_fault(DiskFault::Full, 1);
    backend.write(0, &[2; BLOCK]).unwrap();
    assert_eq!(backend.write(3 * BLOCK as u64, &[2; BLOCK]).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.remove_fault(full);
    let past_capacity = backend.write(3 * BLOCK as u64, &[2; 2 * BLOCK]);
    assert_eq!(past_capacity.unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(contents(&backend)[3 * BLOCK..5 * BLOCK], [[2; BLOCK], [0; BLOCK]].concat());
    assert_eq!((disk.fault_hits()[0].hits, disk.stats().full_writes), (1, 2));
}

#[test]
fn a_lying_sync_loses_what_it_confirmed() {
    let (disk, backend) = filled(DiskConfig::default(), 1, 1);
    let lie = disk.add_fault(DiskFault::LyingSync, 1);
    backend.sync_data().unwrap();
    assert_eq!(disk.fault_hits()[0].hits, 0, "nothing was there to lie about");
    backend.write(0, &[2; BLOCK]).unwrap();
    backend.sync_data().unwrap();
    assert_eq!(disk.fault_hits()[0].hits, 1);
    assert_eq!(disk.power_loss(), 1);
    disk.remove_fault(lie);
    assert_eq!(contents(&reopen(&disk)), vec![1; BLOCK]);
}

#[test]
fn sync_delays_add_up_and_end_one_by_one() {
    let disk = disk();
    let slow = disk.add_fault(DiskFault::SlowSync { extra_us: 100 }, 1);
    disk.add_fault(DiskFault::SlowSync { extra_us: 20 }, 1);
    let stall = disk.add_fault(DiskFault::Stalled { until_us: 5_000 }, 1);
    assert_eq!(disk.extra_sync_delay(1_000), 4_120);
    assert_eq!(disk.extra_sync_delay(5_000), 120);
    disk.remove_fault(slow);
    disk.remove_fault(stall);
    assert_eq!(disk.extra_sync_delay(0), 20);
    assert_eq!(disk.fault_hits().iter().map(|f| f.hits).collect::<Vec<_>>(), [2, 3, 1]);
}

#[test]
fn power_loss_faults_bite_and_count() {
    let (disk, backend) = filled(DiskConfig::default(), 64, 1);
    disk.add_fault(DiskFault::TornBlock, 1);
    disk.add_fault(DiskFault::UnsyncedSurvive { share: 0.5 }, 1);
    backend.write(0, &[2; 64 * BLOCK]).unwrap();
    let lost = disk.power_loss();
    assert_eq!(disk.fault_hits().iter().map(|f| f.hits).collect::<Vec<_>>(), [1, 64 - lost]);
}

#[test]
fn a_fault_draws_alike_whatever_other_faults_do() {
    let bitten = |with_another: bool| {
        let (disk, backend) = filled(DiskConfig::default(), 1, 1);
        disk.add_fault(DiskFault::ReadError { share: 0.3 }, 1);
        let other = with_another.then(|| disk.add_fault(DiskFault::ReadError { share: 0.5 }, 2));
        for round in 0..200 {
            if round == 100 {
                other.map(|id| disk.remove_fault(id));
            }
            let _ = backend.read(0, &mut [0; 8]);
        }
        disk.fault_hits()[0].hits
    };
    assert_eq!(bitten(false), bitten(true));
}
