use super::*;

fn text(of: ValueOf, text: &str) -> OwnedValue {
    OwnedValue { of, value: AssetValue::Text(text.to_owned()) }
}

fn per_robot(values: Vec<OwnedValue>) -> Asset {
    let about = AssetSettings {
        name: "Address".to_owned(),
        description: None,
        value_type: AssetType::Text,
        scope: AssetScope::PerRobot,
    };
    let mut asset = Asset::new(AssetKey::from_bytes([1; 16]), about, FolderId::SHARED, Timestamp::UNIX_EPOCH);
    asset.values = values;
    asset
}

#[test]
fn the_most_special_value_counts() {
    let all = [
        ValueOf::Everybody,
        ValueOf::Machine(3),
        ValueOf::Robot(4),
        ValueOf::User(5),
        ValueOf::UserOnMachine { user: 5, machine: 3 },
    ];
    let reader = AssetReader::default().user(5).robot(4).machine(3);
    // With each that is taken away, the next one counts.
    for last in (0..all.len()).rev() {
        let mut values: Vec<_> = all[..=last].iter().map(|of| text(*of, &of.to_string())).collect();
        values.reverse();
        let asset = per_robot(values);
        assert_eq!(asset.value_for(&reader).unwrap().of, all[last]);
    }
    let of_others = [
        ValueOf::Machine(4),
        ValueOf::Robot(5),
        ValueOf::User(3),
        ValueOf::UserOnMachine { user: 5, machine: 4 },
        ValueOf::UserOnMachine { user: 4, machine: 3 },
    ];
    let asset = per_robot(of_others.iter().map(|of| text(*of, "x")).collect());
    let refused = asset.value_for(&reader).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ASSET_NOT_AVAILABLE_FOR_ROBOT);
    assert!(asset.value_for(&AssetReader::default()).is_err());
}

#[test]
fn whose_value_it_is_is_read_as_it_is_written() {
    for of in [
        ValueOf::Everybody,
        ValueOf::Machine(1),
        ValueOf::Robot(2),
        ValueOf::User(i64::MAX),
        ValueOf::UserOnMachine { user: 3, machine: 4 },
    ] {
        assert_eq!(of.to_string().parse(), Ok(of));
        let json = serde_json::to_string(&of).unwrap();
        assert_eq!(serde_json::from_str::<ValueOf>(&json).unwrap(), of);
    }
    for wrong in ["", "user", "user x", "machine 1 user 2", "everybody 1", "user 1 machine"] {
        assert!(wrong.parse::<ValueOf>().is_err(), "{wrong}");
    }
}

fn new(scope: AssetScope, values: Vec<NewValue>) -> NewAsset {
    let about = AssetSettings { name: "a".to_owned(), description: None, value_type: AssetType::Text, scope };
    NewAsset::with_values(about, values)
}

fn new_text(of: ValueOf, text: &str) -> NewValue {
    NewValue::plain(of, AssetValue::Text(text.to_owned()))
}

#[test]
fn an_asset_is_checked() {
    let everybody = || new_text(ValueOf::Everybody, "x");
    let code = |asset: NewAsset| asset.validate().map_err(|refusal| refusal.code());
    assert_eq!(code(NewAsset::global("a", everybody())), Ok(()));
    assert_eq!(code(new(AssetScope::PerRobot, Vec::new())), Ok(()), "a value may come later");
    let user = |user| new_text(ValueOf::User(user), "x");
    let argument = Err(ErrorCode::INVALID_ARGUMENT);
    let range = Err(ErrorCode::PARAMETER_INVALID);
    assert_eq!(code(new(AssetScope::Global, Vec::new())), argument);
    assert_eq!(code(new(AssetScope::Global, vec![user(1)])), argument);
    assert_eq!(code(new(AssetScope::Global, vec![everybody(), user(1)])), argument);
    assert_eq!(code(new(AssetScope::PerRobot, vec![user(1), user(1)])), argument);
    assert_eq!(code(new(AssetScope::PerRobot, (0..=MAX_VALUES as i64).map(user).collect())), argument);
    let bool = NewValue::plain(ValueOf::Everybody, AssetValue::Bool(true));
    assert_eq!(code(new(AssetScope::Global, vec![bool])), argument);
    for (name, expected) in [("", argument), (" ", argument), ("a\nb", argument), (&*"ä".repeat(257), range)]
    {
        assert_eq!(code(NewAsset::global(name, everybody())), expected);
    }
    assert_eq!(code(NewAsset::global("ä".repeat(256), everybody())), Ok(()));
    let described = |length| NewAsset::global("a", everybody()).description("x".repeat(length));
    assert_eq!((code(described(250)), code(described(251))), (Ok(()), range));
}

#[test]
fn values_are_bounded() {
    let code = |value: NewValue| value.validate().map_err(|refusal| refusal.code());
    let range = Err(ErrorCode::PARAMETER_INVALID);
    let text = |length| new_text(ValueOf::Everybody, &"x".repeat(length));
    assert_eq!((code(text(TEXT_LIMIT)), code(text(TEXT_LIMIT + 1))), (Ok(()), range));
    let credential = |name: usize, password: usize| {
        NewValue::credential(ValueOf::Everybody, "n".repeat(name), Some("p".repeat(password).into()))
    };
    assert_eq!(code(credential(USER_NAME_LIMIT, SECRET_LIMIT)), Ok(()));
    assert_eq!(code(credential(USER_NAME_LIMIT + 1, 1)), range);
    assert_eq!(code(credential(1, SECRET_LIMIT + 1)), range);
    let secret_text = NewValue { secret: Some("x".into()), ..text(1) };
    assert_eq!(code(secret_text), Err(ErrorCode::INVALID_ARGUMENT));
    let pair = |key: &str| KeyValue { key: key.to_owned(), value: String::new() };
    let list = |pairs| NewValue::plain(ValueOf::Everybody, AssetValue::KeyValueList(pairs));
    assert_eq!(code(list(vec![pair("a"), pair("b")])), Ok(()));
    assert_eq!(code(list(vec![pair("a"), pair("b"), pair("a")])), Err(ErrorCode::INVALID_ARGUMENT));
    let many = (0..=MAX_PAIRS).map(|n| pair(&n.to_string())).collect();
    assert_eq!(code(list(many)), Err(ErrorCode::INVALID_ARGUMENT));
}

#[test]
fn a_value_is_set_and_removed() {
    let mut asset = per_robot(Vec::new());
    asset.scope = AssetScope::Global;
    let value = |text: &str| AssetValue::Text(text.to_owned());
    asset.set_value(ValueOf::Everybody, value("a")).unwrap();
    assert_eq!(asset.scope, AssetScope::Global);
    asset.set_value(ValueOf::User(1), value("b")).unwrap();
    asset.set_value(ValueOf::User(1), value("c")).unwrap();
    assert_eq!((asset.scope, asset.values.len()), (AssetScope::PerRobot, 2));
    assert_eq!(asset.value(ValueOf::User(1)), Some(&value("c")));
    let refused = asset.set_value(ValueOf::User(1), AssetValue::Integer(1)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ASSET_TYPE_NON_UPDATABLE);
    asset.remove_value(ValueOf::User(1)).unwrap();
    assert_eq!(
        asset.remove_value(ValueOf::User(1)).unwrap_err().code(),
        ErrorCode::ASSET_NOT_AVAILABLE_FOR_ROBOT
    );
    asset.scope = AssetScope::Global;
    assert_eq!(asset.remove_value(ValueOf::Everybody).unwrap_err().code(), ErrorCode::INVALID_ARGUMENT);
}

#[test]
fn an_empty_password_is_refused_by_whose_it_is() {
    let code = |value_type, of| missing_secret(value_type, of).code().number();
    assert_eq!(code(AssetType::Credential, ValueOf::User(1)), 1500);
    assert_eq!(code(AssetType::Credential, ValueOf::UserOnMachine { user: 1, machine: 2 }), 1500);
    assert_eq!(code(AssetType::Credential, ValueOf::Robot(1)), 1501);
    assert_eq!(code(AssetType::Credential, ValueOf::Everybody), 1014);
    assert_eq!(code(AssetType::Secret, ValueOf::User(1)), 1014);
}

#[test]
fn secrets_are_not_shown() {
    let value = NewValue::credential(ValueOf::Everybody, "ann", Some("hunter2".into()));
    assert!(!format!("{:?}", NewAsset::global("SAP", value)).contains("hunter2"));
}

#[test]
fn changes_need_every_folder() {
    let mut asset = per_robot(Vec::new());
    asset.folders = vec![FolderId(1), FolderId(2)];
    assert!(asset.may_be_changed_by(None).is_ok());
    assert!(asset.may_be_changed_by(Some(&[FolderId(2), FolderId(1)])).is_ok());
    assert_eq!(
        asset.may_be_changed_by(Some(&[FolderId(1)])).unwrap_err().code(),
        ErrorCode::FORBIDDEN_OPERATION
    );
}
