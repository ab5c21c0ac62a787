use std::collections::HashSet;

use super::*;

const PLACE: &str = "asset 1 everybody";

fn keys() -> EncryptionKeys {
    EncryptionKeys::parse(&format!("{:064x}", 7)).unwrap()
}

#[test]
fn a_secret_is_opened_only_where_it_belongs() {
    let keys = keys();
    let sealed = seal(keys.first(), PLACE, &"hunter2".into()).unwrap();
    assert_eq!(open(keys.first(), PLACE, &sealed.text).unwrap().expose_secret(), "hunter2");
    assert!(open(keys.first(), "asset 2 everybody", &sealed.text).is_none(), "moved to another row");
    assert!(open(EncryptionKeys::random().first(), PLACE, &sealed.text).is_none(), "another key");
}

#[test]
fn every_bit_counts() {
    let keys = keys();
    let sealed = seal(keys.first(), PLACE, &"hunter2".into()).unwrap();
    let bytes = STANDARD_NO_PAD.decode(&sealed.text).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open(keys.first(), PLACE, &STANDARD_NO_PAD.encode(&changed)).is_none(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(open(keys.first(), PLACE, &STANDARD_NO_PAD.encode(&bytes[..length])).is_none());
    }
    for text in ["", "x", "ä", "*"] {
        assert!(open(keys.first(), PLACE, text).is_none());
    }
}

#[test]
fn the_same_secret_is_never_stored_twice_in_the_same_form() {
    let keys = keys();
    let mut nonces = HashSet::new();
    for _ in 0..10_000 {
        let sealed = seal(keys.first(), PLACE, &"hunter2".into()).unwrap();
        let bytes = STANDARD_NO_PAD.decode(sealed.text).unwrap();
        assert!(nonces.insert(bytes[1..=NONCE_LENGTH].to_vec()));
    }
}

#[test]
fn keys_are_read_in_both_forms_and_written_in_one() {
    let hex = "00".repeat(31) + "Ff";
    let base64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8=";
    let one = EncryptionKeys::parse(&hex).unwrap();
    let other = EncryptionKeys::parse(base64).unwrap();
    assert_eq!(one.first_id(), other.first_id());
    assert_eq!(other.first_id(), EncryptionKeys::parse(base64.trim_end_matches('=')).unwrap().first_id());
    let both = EncryptionKeys::random().behind(&one);
    let again = EncryptionKeys::parse(&both.to_lines()).unwrap();
    assert_eq!((again.count(), again.first_id()), (2, one.first_id()));
    assert_eq!(EncryptionKeys::parse(&format!("{hex}, {base64}\n{hex}")).unwrap().count(), 3);
}

#[test]
fn a_wrong_key_is_refused_without_being_shown() {
    let code = |text: &str| EncryptionKeys::parse(text).unwrap_err().code();
    assert_eq!(code(""), Some(ErrorCode::ENCRYPTION_KEY_NOT_FOUND));
    assert_eq!(code(" ,\n"), Some(ErrorCode::ENCRYPTION_KEY_NOT_FOUND));
    for wrong in [
        "hunter2",
        &"0".repeat(63),
        &"g".repeat(64),
        &"0".repeat(65),
        &"A".repeat(42),
        &format!("{:064x} hunter2", 1),
    ] {
        assert_eq!(code(wrong), Some(ErrorCode::ENCRYPTION_KEY_INCORRECT_FORMAT), "{wrong}");
        let error = EncryptionKeys::parse(wrong).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let shown = format!("{:?}", EncryptionKeys::parse(&"ab".repeat(32)).unwrap());
    assert!(!shown.contains("abab") && !shown.contains("171, 171"), "{shown}");
}

#[test]
fn a_key_that_is_not_there_is_named() {
    let encryption = Encryption::given(keys());
    let sealed = seal(EncryptionKeys::random().first(), PLACE, &"hunter2".into()).unwrap();
    let error = encryption.open(PLACE, &sealed).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::ENCRYPTION_KEY_NOT_FOUND));
    assert!(error.to_string().contains(&sealed.key.0), "{error}");
    let sealed = SealedSecret { key: keys().first_id().clone(), ..sealed };
    let error = encryption.open(PLACE, &sealed).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::ENCRYPTION_EXCEPTION));
}

#[cfg(feature = "sqlite")]
mod files {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::beside(&folder.path().join("a.db"));
        assert_eq!(file.read().unwrap_err().code(), Some(ErrorCode::ENCRYPTION_KEY_NOT_FOUND));
        file.make().unwrap();
        let first = file.read().unwrap();
        file.make().unwrap();
        assert_eq!(file.read().unwrap().first_id(), first.first_id());
        assert_eq!(file.path(), folder.path().join("a.db.key"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing is left beside it");
    }

    #[test]
    fn of_many_who_make_the_file_all_have_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::beside(&folder.path().join("a.db"));
        let made: HashSet<KeyId> = std::thread::scope(|scope| {
            let make = || {
                file.make().unwrap();
                file.read().unwrap().first_id().clone()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.len(), 1);
    }

    #[test]
    fn one_program_at_a_time_replaces_the_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::beside(&folder.path().join("a.db"));
        file.make().unwrap();
        let lock = file.lock().unwrap();
        assert!(file.lock().unwrap_err().is_conflict());
        let new = file.read().unwrap().behind(&EncryptionKeys::random());
        file.replace(&new, &lock).unwrap();
        drop(lock);
        assert_eq!((file.read().unwrap().count(), file.read().unwrap().first_id()), (2, new.first_id()));
        file.lock().unwrap();
    }
}
