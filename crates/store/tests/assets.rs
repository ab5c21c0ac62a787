//! Assets in every store: names in folders, values of some, secrets that are nowhere in clear, keys that are replaced or missing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use performer_core::model::asset::{
    Asset, AssetReader, AssetScope, AssetSettings, AssetType, AssetValue, NewAsset, NewValue, ValueOf,
};
use performer_core::model::audit::{Act, AuditFilter, FieldChange};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::FolderId;
use performer_core::orchestrator::{
    AssetAdministration as _, ErrorKind, Orchestrator as _, OrchestratorError, Result,
};
use performer_proofs::postgres::Schema;
use performer_store::{AssetSelector, EncryptionKeys, Store};
use secrecy::ExposeSecret as _;

const FINANCE: FolderId = FolderId(7);

/// Memory, a file and a database.
async fn stores(folder: &Path, schema: &Schema) -> Vec<Store> {
    vec![
        Store::memory(),
        Store::sqlite(folder.join("a.db")).await.unwrap(),
        Store::postgres(&schema.url).await.unwrap().with_encryption_keys(EncryptionKeys::random()),
    ]
}

fn text(text: &str) -> NewValue {
    NewValue::plain(ValueOf::Everybody, AssetValue::Text(text.to_owned()))
}

fn password(password: &str) -> NewValue {
    NewValue::credential(ValueOf::Everybody, "ann", Some(password.into()))
}

fn about(name: &str, value_type: AssetType) -> AssetSettings {
    AssetSettings { name: name.to_owned(), description: None, value_type, scope: AssetScope::PerRobot }
}

fn code<T>(answer: Result<T>) -> u16 {
    answer.err().and_then(|error| error.code()).map_or(0, ErrorCode::number)
}

async fn read(store: &Store, name: &str, reader: AssetReader) -> Result<(AssetValue, String)> {
    let asset = store.read_asset_as(name, reader).await?;
    Ok((asset.value, asset.secret.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default()))
}

async fn secret_of(store: &Store, name: &str) -> Result<String> {
    Ok(read(store, name, AssetReader::default()).await?.1)
}

#[tokio::test]
async fn assets_have_a_life_in_every_store() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let threshold =
            NewAsset::global("Threshold", NewValue::plain(ValueOf::Everybody, AssetValue::Integer(5)));
        let made = store.create_asset(threshold.clone().description("when to ask".to_owned())).await.unwrap();
        assert_eq!((made.scope, made.folders.clone()), (AssetScope::Global, vec![FolderId::SHARED]));
        assert_eq!(store.get_asset("THRESHOLD").await.unwrap(), made, "in any case, as it was answered");
        assert_eq!(code(store.create_asset(NewAsset::global("threshold", text("x"))).await), 1001);
        store.create_asset(NewAsset::global("ä SAP", password("hunter2"))).await.unwrap();
        let names: Vec<String> =
            store.list_assets().await.unwrap().into_iter().map(|asset| asset.name).collect();
        assert_eq!(names, ["Threshold", "ä SAP"]);
        assert_eq!(
            read(&store, "Ä sap", AssetReader::default()).await.unwrap(),
            (AssetValue::Credential { user_name: "ann".to_owned() }, "hunter2".to_owned())
        );
        assert_eq!(store.read_asset("threshold").await.unwrap().value, AssetValue::Integer(5));
        // What is replaced keeps its secret unless there is a new one.
        let named = |name: &str, value| NewAsset::global(name, value);
        let kept = NewValue::credential(ValueOf::Everybody, "bob", None);
        let changed = store.update_asset("ä sap", named("SAP", kept)).await.unwrap();
        assert!(changed.modified.is_some() && changed.name == "SAP" && changed.key != made.key);
        assert_eq!(
            read(&store, "SAP", AssetReader::default()).await.unwrap(),
            (AssetValue::Credential { user_name: "bob".to_owned() }, "hunter2".to_owned())
        );
        assert_eq!(code(store.get_asset("ä SAP").await), 1504);
        store.update_asset("SAP", named("SAP", password("better"))).await.unwrap();
        assert_eq!(secret_of(&store, "SAP").await.unwrap(), "better");
        assert_eq!(code(store.update_asset("SAP", named("Threshold", password("x"))).await), 1001);
        assert_eq!(code(store.update_asset("SAP", named("SAP", text("x"))).await), 1502);
        assert_eq!(code(store.set_asset_value("SAP", text("x")).await), 1502);
        assert_eq!(secret_of(&store, "SAP").await.unwrap(), "better", "what is refused changes nothing");
        store.delete_asset("SAP").await.unwrap();
        for gone in [store.delete_asset("SAP").await, store.get_asset("SAP").await.map(drop)] {
            assert_eq!(code(gone), 1504);
        }
        let missing = store.find_asset(AssetSelector::Id(made.id)).await.unwrap();
        store.delete_asset_within(AssetSelector::Id(missing.id), None).await.unwrap();
        let gone = store.find_asset(AssetSelector::Id(made.id)).await.unwrap_err();
        assert_eq!((gone.kind(), gone.code()), (ErrorKind::NotFound, Some(ErrorCode::ITEM_NOT_FOUND)));
        let new = store.create_asset(threshold).await.unwrap();
        assert!(new.id > made.id, "a number is never used again");
    }
}

#[tokio::test]
async fn each_reader_gets_the_value_that_is_meant_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let owners = [
        ValueOf::Everybody,
        ValueOf::Machine(3),
        ValueOf::Robot(4),
        ValueOf::User(5),
        ValueOf::UserOnMachine { user: 5, machine: 3 },
    ];
    let reader = AssetReader::default();
    let schema = Schema::new();
    for store in stores(folder.path(), &schema).await {
        let values =
            owners.map(|of| NewValue::credential(of, of.to_string(), Some(format!("of {of}").into())));
        store
            .create_asset(NewAsset::with_values(about("SAP", AssetType::Credential), values.into()))
            .await
            .unwrap();
        for (reader, of) in [
            (reader, owners[0]),
            (reader.machine(3), owners[1]),
            (reader.robot(4).machine(3), owners[2]),
            (reader.user(5).robot(4).machine(9), owners[3]),
            (reader.user(5).robot(4).machine(3), owners[4]),
            (reader.user(6).robot(6).machine(6), owners[0]),
        ] {
            let (value, secret) = read(&store, "SAP", reader).await.unwrap();
            assert_eq!(value, AssetValue::Credential { user_name: of.to_string() });
            assert_eq!(secret, format!("of {of}"));
        }
        for of in [owners[0], owners[4]] {
            store.remove_asset_value("SAP", of).await.unwrap();
        }
        assert_eq!(code(store.remove_asset_value("SAP", owners[0]).await), 1503);
        assert_eq!(code(read(&store, "SAP", reader).await), 1503);
        assert_eq!(read(&store, "SAP", reader.user(5).machine(3)).await.unwrap().1, "of user 5");
        // A new value needs its secret; one that is there keeps it.
        for (of, expected) in [
            (ValueOf::User(6), 1500),
            (ValueOf::UserOnMachine { user: 5, machine: 3 }, 1500),
            (ValueOf::Robot(6), 1501),
            (ValueOf::Machine(6), 1014),
            (ValueOf::Everybody, 1014),
        ] {
            let empty = NewValue::credential(of, "x", None);
            assert_eq!(code(store.set_asset_value("SAP", empty.clone()).await), expected, "{of}");
            let replaced = NewAsset::with_values(about("SAP", AssetType::Credential), vec![empty.clone()]);
            assert_eq!(code(store.update_asset("SAP", replaced.clone()).await), expected, "{of}");
            let new = NewAsset::with_values(about("Other", AssetType::Credential), vec![empty]);
            assert_eq!(code(store.create_asset(new).await), expected, "{of}");
        }
        store.set_asset_value("SAP", NewValue::credential(ValueOf::User(5), "x", None)).await.unwrap();
        assert_eq!(read(&store, "SAP", reader.user(5)).await.unwrap().1, "of user 5");
        // Values that are left out are gone, with their secrets.
        let only = vec![NewValue::credential(ValueOf::Robot(4), "r", None)];
        store
            .update_asset("SAP", NewAsset::with_values(about("SAP", AssetType::Credential), only))
            .await
            .unwrap();
        let again = NewValue::credential(ValueOf::User(5), "x", None);
        assert_eq!(code(store.set_asset_value("SAP", again).await), 1500);
    }
}

#[tokio::test]
async fn an_asset_lives_in_folders_and_its_name_is_unique_in_each() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let finance = store.in_scope(FINANCE, Some(5));
        let shared = store.create_asset(NewAsset::global("Address", text("shared"))).await.unwrap();
        let other = finance.create_asset(NewAsset::global("Address", text("finance"))).await.unwrap();
        assert_eq!((other.creator, other.folders.clone()), (Some(5), vec![FINANCE]));
        assert_eq!(code(finance.find_asset(AssetSelector::Id(shared.id)).await), 1002, "of another folder");
        assert_eq!(code(store.share_asset("Address", vec![FINANCE], Vec::new()).await), 1004);
        finance.update_asset("Address", NewAsset::global("Street", text("finance"))).await.unwrap();
        store.share_asset("Address", vec![FINANCE], Vec::new()).await.unwrap();
        assert_eq!(finance.find_asset(AssetSelector::Id(shared.id)).await.unwrap().folders.len(), 2);
        assert_eq!(code(finance.update_asset("Street", NewAsset::global("address", text("x"))).await), 1001);
        let names = |assets: Vec<Asset>| assets.into_iter().map(|asset| asset.name).collect::<Vec<_>>();
        let everywhere: Arc<[FolderId]> = Arc::new([FolderId::SHARED, FINANCE]);
        assert_eq!(names(store.assets_in_folders(everywhere).await.unwrap()), ["Address", "Street"]);
        assert_eq!(names(store.list_assets().await.unwrap()), ["Address"]);
        assert_eq!(names(store.assets_in_folders(Arc::default()).await.unwrap()), [""; 0]);
        // It is one asset in both folders: who may not change it in one may not change it.
        let reach = Some(Arc::from([FINANCE]));
        let which = || AssetSelector::Id(shared.id);
        assert_eq!(code(finance.delete_asset_within(which(), reach.clone()).await), 1017);
        assert_eq!(code(finance.set_value_of_asset(which(), text("x"), reach.clone()).await), 1017);
        assert_eq!(
            code(finance.replace_asset(shared.id, NewAsset::global("A", text("x")), reach).await),
            1017
        );
        assert_eq!(
            code(store.share_asset("Address", Vec::new(), vec![FINANCE, FolderId::SHARED]).await),
            1009
        );
        finance.share_asset("Address", Vec::new(), vec![FolderId::SHARED]).await.unwrap();
        assert_eq!(code(store.get_asset("Address").await), 1504);
        store.create_asset(NewAsset::global("Address", text("again"))).await.unwrap();
    }
}

#[tokio::test]
async fn the_audit_says_what_changed_and_no_value() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        store.create_asset(NewAsset::global("SAP", password("hunter2"))).await.unwrap();
        store.update_asset("SAP", NewAsset::global("SAP 2", password("hunter3"))).await.unwrap();
        store.set_asset_value("SAP 2", password("hunter3")).await.unwrap();
        store.share_asset("SAP 2", vec![FINANCE], Vec::new()).await.unwrap();
        store.delete_asset("SAP 2").await.unwrap();
        let refused = store.delete_asset("SAP 2").await;
        assert!(refused.is_err());
        let records = store.audit(AuditFilter::default()).await.unwrap();
        let shown = format!("{records:?}");
        assert!(!shown.contains("hunter") && !shown.contains("ann"), "{shown}");
        let acts: Vec<&str> = records.iter().rev().map(|record| record.entry.act.name()).collect();
        assert_eq!(acts, ["AssetCreated", "AssetEdited", "AssetEdited", "AssetShared", "AssetDeleted"]);
        let of_secret = &records[2].entry.changes;
        assert_eq!(of_secret[..], [FieldChange::without_values("Value of everybody")]);
        assert_eq!(store.check_audit(None).await.unwrap().broken, None);
    }
}

/// Everything that is on disk beside a database.
fn bytes_on_disk(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.extension().is_none_or(|extension| extension != "key") {
            all.extend(std::fs::read(path).unwrap());
        }
    }
    all
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn secrets_are_nowhere_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    {
        let store = Store::sqlite(&file).await.unwrap();
        assert!(!folder.path().join("a.db.key").exists(), "a key is made when it is needed");
        store.create_asset(NewAsset::global("Plain", text("in clear"))).await.unwrap();
        assert!(!folder.path().join("a.db.key").exists());
        for name in ["hunter2-a", "hunter2-b"] {
            store.create_asset(NewAsset::global(name, password("hunter2-secret"))).await.unwrap();
        }
        store.set_asset_value("hunter2-a", password("hunter2-another")).await.unwrap();
        store.delete_asset("hunter2-b").await.unwrap();
        let listed = format!("{:?}", store.list_assets().await.unwrap());
        assert!(!listed.contains("hunter2-another"));
        let bytes = bytes_on_disk(folder.path());
        assert!(
            contains(&bytes, "in clear") && contains(&bytes, "hunter2-a"),
            "the look finds what is there"
        );
        assert!(!contains(&bytes, "hunter2-secret") && !contains(&bytes, "hunter2-another"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(folder.path().join("a.db.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // Another process reads them with the key beside the file.
    let again = Store::sqlite(&file).await.unwrap();
    assert_eq!(secret_of(&again, "hunter2-a").await.unwrap(), "hunter2-another");
    assert!(!contains(&bytes_on_disk(folder.path()), "hunter2-another"));
}

#[tokio::test]
async fn without_its_key_a_secret_is_refused_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let store = Store::sqlite(&file).await.unwrap();
    store.create_asset(NewAsset::global("SAP", password("hunter2"))).await.unwrap();
    store.create_asset(NewAsset::global("Plain", text("x"))).await.unwrap();
    drop(store);
    let key = folder.path().join("a.db.key");
    let aside = folder.path().join("aside");
    std::fs::rename(&key, &aside).unwrap();
    let store = Store::sqlite(&file).await.unwrap();
    let explain = |error: OrchestratorError| (error.code().unwrap().number(), error.to_string());
    let (missing, message) = explain(store.read_asset("SAP").await.unwrap_err());
    assert_eq!(missing, 1800, "{message}");
    assert!(message.contains("a.db.key") && message.contains("SAP"), "{message}");
    // No new key is made: what was encrypted with the old one would be lost for good.
    assert_eq!(code(store.set_asset_value("SAP", password("x")).await), 1800);
    assert!(!key.exists());
    assert_eq!(store.read_asset("Plain").await.unwrap().value, AssetValue::Text("x".to_owned()));
    assert_eq!(store.list_assets().await.unwrap().len(), 2);
    store.set_asset_value("Plain", text("y")).await.unwrap();
    // A wrong key is named, and a file that has no key says so.
    for (content, expected) in [
        (format!("{:064x}\n", 1), 1800),
        ("hunter2\n".to_owned(), 1801),
        ("not a key, but long\n".to_owned(), 1801),
    ] {
        std::fs::write(&key, content).unwrap();
        let (found, message) = explain(store.read_asset("SAP").await.unwrap_err());
        assert_eq!(found, expected, "{message}");
        assert!(!message.contains("hunter2") && message.contains("a.db.key"), "{message}");
    }
    std::fs::remove_file(&key).unwrap();
    std::fs::rename(&aside, &key).unwrap();
    assert_eq!(secret_of(&store, "SAP").await.unwrap(), "hunter2", "found again without a restart");
}

#[tokio::test]
async fn a_secret_that_was_moved_or_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let store = Store::sqlite(&file).await.unwrap();
    for name in ["A", "B", "C"] {
        store.create_asset(NewAsset::global(name, password(name))).await.unwrap();
    }
    let other = opened(&file);
    other
        .execute_batch(
            "UPDATE asset_secret SET sealed = (SELECT sealed FROM asset_secret WHERE asset_id = 1) WHERE asset_id = 2;
             UPDATE asset_secret SET sealed = 'AAAA' WHERE asset_id = 3;",
        )
        .unwrap();
    for name in ["B", "C"] {
        let error = secret_of(&store, name).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::ENCRYPTION_EXCEPTION), "{error}");
    }
    assert_eq!(secret_of(&store, "A").await.unwrap(), "A");
    // Writing it anew heals it.
    store.set_asset_value("B", password("new")).await.unwrap();
    assert_eq!(secret_of(&store, "B").await.unwrap(), "new");
}

async fn with_secrets(store: &Store, count: usize) {
    for number in 0..count {
        let name = format!("S{number:04}");
        store.create_asset(NewAsset::global(&name, password(&format!("secret {number}")))).await.unwrap();
    }
}

async fn has_secrets(store: &Store, count: usize) {
    for number in 0..count {
        assert_eq!(secret_of(store, &format!("S{number:04}")).await.unwrap(), format!("secret {number}"));
    }
}

#[tokio::test]
async fn the_key_of_a_file_is_replaced_while_others_use_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let (one, other) = (Store::sqlite(&file).await.unwrap(), Store::sqlite(&file).await.unwrap());
    let nothing = one.rotate_encryption_key().await.unwrap_err();
    assert!(nothing.is_invalid(), "{nothing}");
    with_secrets(&one, 230).await;
    has_secrets(&other, 1).await; // it has the old key now
    let key = folder.path().join("a.db.key");
    let before = std::fs::read_to_string(&key).unwrap();
    let rotation = one.rotate_encryption_key().await.unwrap();
    assert_eq!((rotation.encrypted, rotation.left.len()), (230, 0));
    let after = std::fs::read_to_string(&key).unwrap();
    assert_ne!(before, after);
    assert_eq!((after.lines().count(), rotation.cleaned.as_deref()), (1, Some(&*key)));
    for store in [&one, &other] {
        has_secrets(store, 230).await;
    }
    // The one that had the old key writes with the new one.
    other.set_asset_value("S0000", password("secret 0")).await.unwrap();
    has_secrets(&one, 1).await;
    let used: BTreeSet<String> = opened(&file)
        .prepare("SELECT DISTINCT key_id FROM asset_secret")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(|id| id.unwrap())
        .collect();
    assert_eq!(used, [rotation.key.clone()].into());
    let mut changed = AuditFilter::default();
    changed.acts = vec![Act::EncryptionKeyChanged];
    let audited = one.audit(changed).await.unwrap();
    assert_eq!((audited.len(), &audited[0].entry.changes[0].after), (1, &Some(rotation.key.clone().into())));
    let again = one.rotate_encryption_key().await.unwrap();
    assert!(again.key != rotation.key && again.encrypted == 230);
}

#[tokio::test]
async fn keys_of_the_program_are_replaced_by_the_first_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = [format!("{:064x}", 1), format!("{:064x}", 2)];
    let keys = |text: &str| EncryptionKeys::parse(text).unwrap();
    let schema = Schema::new();
    for store in stores(folder.path(), &schema).await {
        let before = store.with_encryption_keys(keys(&old));
        with_secrets(&before, 3).await;
        let same = before.rotate_encryption_key().await.unwrap_err();
        assert!(same.is_invalid() && same.to_string().contains("put a new one before it"), "{same}");
        let alone = store.with_encryption_keys(keys(&new));
        assert_eq!(
            code(alone.set_asset_value("S0000", password("x")).await),
            1800,
            "it has not the key in use"
        );
        let both = store.with_encryption_keys(keys(&format!("{new},{old}")));
        has_secrets(&both, 3).await;
        both.set_asset_value("S0001", password("secret 1")).await.unwrap();
        has_secrets(&before, 3).await;
        let rotation = both.rotate_encryption_key().await.unwrap();
        assert_eq!((rotation.encrypted, rotation.cleaned), (3, None));
        has_secrets(&alone, 3).await;
        assert_eq!(
            code(before.set_asset_value("S0000", password("x")).await),
            1800,
            "the old key writes no more"
        );
        assert_eq!(code(before.read_asset("S0000").await), 1800);
    }
}

/// As if the process had been killed: after the file was replaced, after the new key was put to use, after a chunk.
#[tokio::test]
async fn a_replacement_that_broke_off_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let store = Store::sqlite(&file).await.unwrap();
    with_secrets(&store, 150).await;
    let key = folder.path().join("a.db.key");
    let old = std::fs::read_to_string(&key).unwrap();
    // After the file was replaced: there are two keys, and the old one is in use.
    let begun = format!("{:064x}", 9);
    std::fs::write(&key, format!("{begun}\n{old}")).unwrap();
    let fresh = Store::sqlite(&file).await.unwrap();
    has_secrets(&fresh, 150).await;
    fresh.set_asset_value("S0000", password("secret 0")).await.unwrap();
    has_secrets(&store, 150).await;
    let rotation = fresh.rotate_encryption_key().await.unwrap();
    assert_eq!(rotation.key, with_key(&begun).await, "the key that was there already");
    assert_eq!(rotation.encrypted, 150);
    has_secrets(&store, 150).await;
    // After the new key was put to use, and in the middle: most secrets have the old one still.
    let before = std::fs::read_to_string(&key).unwrap();
    let next = format!("{:064x}", 10);
    std::fs::write(&key, format!("{next}\n{before}")).unwrap();
    let next = with_key(&next).await;
    let other = opened(&file);
    other.execute("UPDATE encryption SET key_id = ?1", [&next]).unwrap();
    has_secrets(&fresh, 150).await;
    store.set_asset_value("S0007", password("secret 7")).await.unwrap();
    let again = store.rotate_encryption_key().await.unwrap();
    assert_eq!((again.encrypted, again.key), (149, next));
    assert_eq!(std::fs::read_to_string(&key).unwrap().lines().count(), 1);
    has_secrets(&fresh, 150).await;
}

/// The id of a key, as a store shows it.
async fn with_key(text: &str) -> String {
    let store = Store::memory();
    let keys = |text: &str| EncryptionKeys::parse(text).unwrap();
    let old = format!("{:064x}", 1);
    with_secrets(&store.with_encryption_keys(keys(&old)), 1).await;
    let both = store.with_encryption_keys(keys(&format!("{text} {old}")));
    both.rotate_encryption_key().await.unwrap().key
}

#[tokio::test]
async fn secrets_that_cannot_be_decrypted_are_left_with_the_old_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let store = Store::sqlite(&file).await.unwrap();
    with_secrets(&store, 3).await;
    let other = opened(&file);
    other.execute("UPDATE asset_secret SET sealed = 'AAAA' WHERE asset_id = 2", []).unwrap();
    let rotation = store.rotate_encryption_key().await.unwrap();
    assert_eq!((rotation.encrypted, rotation.left.len(), rotation.cleaned.clone()), (2, 1, None));
    assert_eq!(rotation.left[0].0, "asset 2");
    let key = folder.path().join("a.db.key");
    assert_eq!(std::fs::read_to_string(&key).unwrap().lines().count(), 2, "the old key is needed still");
    store.delete_asset("S0001").await.unwrap();
    let again = store.rotate_encryption_key().await.unwrap();
    assert_eq!((again.encrypted, again.key, again.left.len()), (0, rotation.key, 0));
    assert_eq!(std::fs::read_to_string(&key).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_database_needs_a_key_from_elsewhere() {
    let schema = Schema::new();
    let store = Store::postgres(&schema.url).await.unwrap();
    let error = store.create_asset(NewAsset::global("SAP", password("hunter2"))).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::ENCRYPTION_KEY_NOT_FOUND));
    let message = error.to_string();
    assert!(message.contains("PERFORMER_ENCRYPTION_KEY") && message.contains("PostgreSQL"), "{message}");
    store.create_asset(NewAsset::global("Plain", text("x"))).await.unwrap();
    assert_eq!(store.read_asset("Plain").await.unwrap().value, AssetValue::Text("x".to_owned()));
}

#[tokio::test]
async fn names_stay_unique_when_many_write_at_once() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    store.create_asset(NewAsset::global("One", password(&number.to_string()))).await
                })
            })
            .collect();
        let mut made = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => made += 1,
                Err(error) => assert_eq!(error.code(), Some(ErrorCode::NAME_ALREADY_USED), "{error}"),
            }
        }
        assert_eq!((made, store.list_assets().await.unwrap().len()), (1, 1));
    }
}

#[expect(clippy::disallowed_methods, reason = "the test looks into the file as another program would")]
fn opened(file: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(file).unwrap()
}
