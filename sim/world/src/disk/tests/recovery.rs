//! redb on the simulated disk: whatever is cut and wherever, every synced row is there and the database is sound.

use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition};
use squall_server::storage::Doubt;

use super::*;

const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");

/// A database on the disk, with a cache small enough that pages are also read back.
///
/// redb 4.5 sets the file's length before it writes its magic number, and refuses a file that has the one without the
/// other. A power cut during creation leaves just that, so whoever creates a database has to discard such a file.
fn database(disk: &Disk) -> Result<Database, DatabaseError> {
    database_of(disk, &Doubt::default())
}

/// The same in a process that knows which of its syncs have failed.
fn database_of(disk: &Disk, doubt: &Doubt) -> Result<Database, DatabaseError> {
    let backend = doubt.settle(disk.open())?;
    let mut magic = [0; 9];
    if backend.len()? > 0 {
        backend.read(0, &mut magic)?;
        if magic == [0; 9] {
            backend.set_len(0)?;
        }
    }
    Database::builder().set_cache_size(256 * 1024).create_with_backend(backend)
}

/// What row `at` holds: of differing sizes, so that commits span several pages and the file grows.
fn row(at: u64) -> Vec<u8> {
    vec![at as u8; 50 + (at as usize * 37) % 3_000]
}

fn commit(db: &Database, rows: std::ops::Range<u64>) -> Result<(), redb::Error> {
    let write = db.begin_write()?;
    {
        let mut table = write.open_table(ROWS)?;
        for at in rows {
            table.insert(at, row(at).as_slice())?;
        }
    }
    write.commit()?;
    Ok(())
}

/// How many rows there are; they must be dense from 0 and whole.
fn count_rows(db: &Database) -> u64 {
    let read = db.begin_read().unwrap();
    let table = match read.open_table(ROWS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return 0,
        Err(error) => panic!("{error}"),
    };
    let mut rows = 0;
    for entry in table.range::<u64>(..).unwrap() {
        let (at, bytes) = entry.unwrap();
        assert_eq!(at.value(), rows, "rows are dense");
        assert_eq!(bytes.value(), row(rows), "row {rows} is whole");
        rows += 1;
    }
    rows
}

/// Works until the armed cut strikes, restarts, and checks; several times on one disk. Returns the disk's digest.
fn cut_and_recover(seed: u64, config: DiskConfig, rounds: u64) -> (u64, DiskStats) {
    let disk = Disk::new(seed, config);
    let mut draws = faults::Draws::new(seed, 99);
    let (mut acked, mut attempted) = (0, 0);
    for round in 0..rounds {
        let nth = 1 + draws.below(60);
        let cut =
            disk.cut_power_at(if draws.chance(0.7) { CutPoint::Write(nth) } else { CutPoint::Sync(1 + nth / 4) });
        if let Ok(db) = database(&disk) {
            let found = count_rows(&db);
            assert!(
                (acked..=attempted).contains(&found),
                "seed {seed} round {round}: {acked} <= {found} <= {attempted}"
            );
            (acked, attempted) = (found, found);
            for _ in 0..40 {
                attempted = acked + 1 + draws.below(4);
                if commit(&db, acked..attempted).is_err() {
                    break;
                }
                acked = attempted;
            }
        }
        disk.disarm(cut);
        disk.power_loss();
        disk.process_started();
        let mut db = database(&disk).unwrap_or_else(|error| panic!("seed {seed} round {round}: {error}"));
        assert!(db.check_integrity().unwrap(), "seed {seed} round {round}");
        let found = count_rows(&db);
        assert!(
            (acked..=attempted).contains(&found),
            "seed {seed} round {round}: {acked} <= {found} <= {attempted}"
        );
        (acked, attempted) = (found, found);
        drop(db);
    }
    (disk.take_digest(), disk.stats())
}

#[test]
fn every_synced_row_survives_a_power_cut_at_any_write_or_sync() {
    let mut total = DiskStats::default();
    for seed in 0..60 {
        let sector_bytes = [64, 512, 4096][seed as usize % 3];
        let survive_share = [0.0, 0.3, 0.8][seed as usize / 3 % 3];
        let config = DiskConfig { sector_bytes, survive_share, tear: true, ..DiskConfig::default() };
        let (_, stats) = cut_and_recover(seed, config, 6);
        total.power_losses += stats.power_losses;
        total.blocks_lost += stats.blocks_lost;
        total.blocks_survived += stats.blocks_survived;
        total.blocks_torn += stats.blocks_torn;
    }
    assert!(total.power_losses == 720 && total.blocks_lost > 500, "every armed cut struck: {total:?}");
    assert!(total.blocks_survived > 500 && total.blocks_torn > 100, "{total:?}");
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let config = DiskConfig { survive_share: 0.3, tear: true, ..DiskConfig::default() };
    assert_eq!(cut_and_recover(7, config, 4), cut_and_recover(7, config, 4));
    assert_ne!(cut_and_recover(7, config, 4).0, cut_and_recover(8, config, 4).0);
}

#[test]
fn a_killed_process_cannot_commit_as_its_database_is_dropped() {
    let disk = disk();
    let db = database(&disk).unwrap();
    commit(&db, 0..10).unwrap();
    let write = db.begin_write().unwrap();
    write.open_table(ROWS).unwrap().insert(10, row(10).as_slice()).unwrap();
    disk.process_died();
    let before = (disk.take_digest(), disk.stats());
    assert!(write.commit().is_err());
    drop(db);
    assert_eq!((disk.take_digest(), disk.stats()), before);

    disk.process_started();
    let mut db = database(&disk).unwrap();
    assert!(db.check_integrity().unwrap());
    assert_eq!(count_rows(&db), 10);
}

#[test]
fn two_databases_cannot_be_open_at_once_but_a_crash_frees_the_lock() {
    let disk = disk();
    let db = database(&disk).unwrap();
    assert!(matches!(database(&disk), Err(DatabaseError::DatabaseAlreadyOpen)));
    drop(db);
    let db = database(&disk).unwrap();
    disk.process_died();
    disk.process_started();
    let second = database(&disk).unwrap();
    drop(db);
    commit(&second, 0..1).unwrap();
}

#[test]
fn every_acked_row_survives_failing_reads_writes_and_syncs() {
    let mut hits = [0; 3];
    for seed in 0..40 {
        let disk = Disk::new(seed, DiskConfig { survive_share: 0.3, ..DiskConfig::default() });
        drop(database(&disk).unwrap());
        let share = 0.02;
        for fault in [
            DiskFault::ReadError { share },
            DiskFault::WriteError { share },
            DiskFault::SyncError { share: 5.0 * share },
        ] {
            disk.add_fault(fault, 1);
        }
        let (mut acked, mut attempted) = (0, 0);
        let doubt = Doubt::default();
        for _ in 0..20 {
            let Ok(db) = database_of(&disk, &doubt) else { continue };
            while attempted < 100 && commit(&db, acked..acked + 2).is_ok() {
                acked += 2;
                attempted = acked;
            }
            attempted = attempted.max(acked + 2);
        }
        let faults = disk.fault_hits();
        faults.iter().zip(&mut hits).for_each(|(fault, hits)| *hits += fault.hits);
        assert!(faults.iter().all(|fault| disk.remove_fault(fault.id)));
        disk.power_loss();
        disk.process_started();
        let mut db = database(&disk).unwrap();
        assert!(db.check_integrity().unwrap());
        assert!((acked..=attempted).contains(&count_rows(&db)), "seed {seed}");
    }
    assert!(hits.iter().all(|&hits| hits > 10), "{hits:?}");
}
