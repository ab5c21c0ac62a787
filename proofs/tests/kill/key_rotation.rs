//! The key of secrets is replaced by a process that ends at each of its crash points, while a store of another process writes: no secret is
//! lost, and the next process goes on.

use std::os::unix::process::ExitStatusExt as _;

use performer::model::{NewAsset, NewValue, ValueOf};
use performer::orchestrator::AssetAdministration as _;
use performer::orchestrator::store::Store;
use performer::secrecy::ExposeSecret as _;

use super::victim::runtime;
use super::world::World;

/// More than two chunks.
const SECRETS: usize = 230;

const POINTS: [(&str, &[u64]); 4] = [
    ("rotate.after_file", &[1]),
    ("rotate.after_use", &[1]),
    ("rotate.after_chunk", &[1, 2, 3]),
    ("rotate.before_clean", &[1]),
];

const ABORTED: Option<i32> = Some(6);

fn asset(number: usize, text: &str) -> NewAsset {
    let value = NewValue::secret(ValueOf::Everybody, text.into());
    NewAsset::global(format!("S{number}"), value)
}

/// The program that is killed.
pub async fn rotate(store: &Store) {
    store.rotate_encryption_key().await.unwrap();
}

/// Every secret is what it was, in a process that has no key in memory.
async fn check(store: &Store, case: &str) {
    for number in 0..SECRETS {
        let read = store.read_asset_as(&format!("S{number}"), Default::default()).await;
        let read = read.unwrap_or_else(|error| panic!("{case}: S{number}: {error}"));
        assert_eq!(read.secret.unwrap().expose_secret(), format!("secret {number}"), "{case}");
    }
}

pub fn at_every_crash_point() {
    let runtime = runtime();
    let mut kills = 0;
    for (point, hit) in POINTS.iter().flat_map(|(point, hits)| hits.iter().map(move |hit| (point, hit))) {
        let case = format!("{point}={hit}");
        let mut world = World::new();
        let other = runtime.block_on(async {
            let store = Store::sqlite(world.file()).await.unwrap();
            for number in 0..SECRETS {
                store.create_asset(asset(number, &format!("secret {number}"))).await.unwrap();
            }
            store
        });
        let process = world.spawn("rotate", 0, Some(&case));
        let status = world.wait_for_end(process);
        assert_eq!(status.signal(), ABORTED, "{case}: {status}");
        kills += 1;
        runtime.block_on(async {
            check(&Store::sqlite(world.file()).await.unwrap(), &case).await;
            // The other process had the old key, and writes.
            other.update_asset("S0", asset(0, "secret 0")).await.unwrap();
            check(&other, &case).await;
        });
        let process = world.spawn("rotate", 0, None);
        assert!(world.wait_for_end(process).success(), "{case}");
        let mut keys = world.file().into_os_string();
        keys.push(".key");
        let keys = std::fs::read_to_string(keys).unwrap();
        assert_eq!(keys.lines().count(), 1, "{case}: the old key is gone");
        runtime.block_on(check(&other, &case));
    }
    println!("{kills} processes ended while they replaced the key of secrets, none is lost");
}
