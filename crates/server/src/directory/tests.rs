//! Names, permissions, and what belongs to a user.

use super::*;
use performer_core::model::code::ErrorCode;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const VIEW: Permission = Permission(Area::Queues, Action::View);

fn directory() -> Directory {
    Directory::new(Uuid::nil(), Uuid::nil())
}

fn folder(directory: &mut Directory, name: &str, parent: Option<FolderId>) -> FolderId {
    let change = Change::AddFolder { key: Uuid::nil(), name: name.to_owned(), description: None, parent };
    FolderId(directory.change(change, NOW).unwrap())
}

fn user(directory: &mut Directory, name: &str) -> i64 {
    let user = NewUser::new(Uuid::nil(), name, UserType::User);
    directory.change(Change::AddUser(Box::new(user)), NOW).unwrap()
}

#[test]
fn folders_have_full_names() {
    let mut directory = directory();
    let finance = folder(&mut directory, "Finance", Some(FolderId::SHARED));
    let payroll = folder(&mut directory, "Löhne", Some(finance));
    assert_eq!(directory.full_name(payroll), "Shared/Finance/Löhne");
    assert_eq!(directory.folder_named("shared/FINANCE/löhne").unwrap().id, payroll);
    for nowhere in ["", "Finance", "Shared/", "/Shared", "Shared//Finance", "Shared/Finance/x"] {
        assert!(directory.folder_named(nowhere).is_none(), "{nowhere}");
    }
    let again = Change::AddFolder {
        key: Uuid::nil(),
        name: "FINANCE".to_owned(),
        description: None,
        parent: Some(FolderId::SHARED),
    };
    assert_eq!(directory.change(again, NOW).unwrap_err().code(), ErrorCode::NAME_ALREADY_USED);
    assert_eq!(directory.change(Change::RemoveFolder(finance), NOW).unwrap_err().code().number(), 1012);
    directory.change(Change::RemoveFolder(payroll), NOW).unwrap();
    directory.change(Change::RemoveFolder(finance), NOW).unwrap();
    assert!(directory.change(Change::RemoveFolder(FolderId::SHARED), NOW).is_err());
    let mut parent = None;
    for level in 0..MOST_LEVELS {
        parent = Some(folder(&mut directory, &format!("{level}"), parent));
    }
    let change = Change::AddFolder { key: Uuid::nil(), name: "x".to_owned(), description: None, parent };
    assert!(directory.change(change, NOW).is_err());
}

#[test]
fn nobody_may_do_anything_until_somebody_says_so() {
    let mut directory = directory();
    let finance = folder(&mut directory, "Finance", None);
    let below = folder(&mut directory, "Below", Some(finance));
    let ann = user(&mut directory, "ann");
    let viewer = directory.role_named("viewer").unwrap().id;
    let allows = |directory: &Directory, folder| directory.allows(directory.user(ann).unwrap(), folder, VIEW);
    assert!(!allows(&directory, None) && !allows(&directory, Some(finance)));
    let assign =
        |folder, roles: &[i64]| Change::Assign { user: ann, folder, roles: roles.iter().copied().collect() };
    directory.change(assign(Some(finance), &[viewer]), NOW).unwrap();
    assert!(allows(&directory, Some(finance)) && allows(&directory, Some(below)));
    assert!(!allows(&directory, None) && !allows(&directory, Some(FolderId::SHARED)));
    assert!(directory.is_assigned(directory.user(ann).unwrap(), below));
    let edit = Permission(Area::Queues, Action::Edit);
    assert!(!directory.allows(directory.user(ann).unwrap(), Some(finance), edit));
    directory.change(assign(Some(finance), &[]), NOW).unwrap();
    directory.change(assign(None, &[viewer]), NOW).unwrap();
    assert!(allows(&directory, Some(FolderId::SHARED)) && allows(&directory, None));
    let off = Change::EditUser { id: ann, edit: UserEdit::active(false) };
    directory.change(off, NOW).unwrap();
    assert!(!allows(&directory, None), "whoever is switched off may do nothing");
    assert_eq!(directory.change(assign(None, &[999]), NOW).unwrap_err().code(), ErrorCode::ITEM_NOT_FOUND);
}

#[test]
fn what_belongs_to_a_user_goes_with_it() {
    let mut directory = directory();
    let user = NewUser::new(Uuid::nil(), "app", UserType::DirectoryExternalApplication);
    let add = Change::AddClient {
        id: "app".to_owned(),
        name: "app".to_owned(),
        secret: "digest".to_owned(),
        scopes: Scopes::all(),
        user: Box::new(user),
    };
    let user = directory.change(add, NOW).unwrap();
    directory.change(Change::AddRobot { key: Uuid::nil(), name: "r".to_owned(), user }, NOW).unwrap();
    assert_eq!(directory.change(Change::RemoveUser(user), NOW).unwrap_err().code().number(), 1013);
    directory.change(Change::RemoveClient("app".to_owned()), NOW).unwrap();
    assert_eq!((directory.robots().count(), directory.users().count()), (0, 0));
    assert_eq!(directory.take_revoked(), [TokensOf::User(user)]);
    assert!(directory.take_revoked().is_empty(), "told once");
}

#[test]
fn the_roles_of_the_beginning_stay() {
    let mut directory = directory();
    let administrator = directory.role_named(ADMINISTRATOR).unwrap().id;
    let remove = directory.change(Change::RemoveRole(administrator), NOW);
    assert_eq!(remove.unwrap_err().code(), ErrorCode::CANNOT_DELETE_STATIC_ROLE);
    let edit =
        Change::EditRole { id: administrator, name: ADMINISTRATOR.to_owned(), permissions: BTreeSet::new() };
    let edit = directory.change(edit, NOW);
    assert_eq!(edit.unwrap_err().code(), ErrorCode::ROLE_IS_NOT_EDITABLE);
    let add = Change::AddRole { name: "Clerk".to_owned(), permissions: [VIEW].into() };
    let clerk = directory.change(add, NOW).unwrap();
    let edit = Change::EditRole { id: clerk, name: "Viewer".to_owned(), permissions: BTreeSet::new() };
    assert_eq!(directory.change(edit, NOW).unwrap_err().code(), ErrorCode::NAME_ALREADY_USED);
    let ann = user(&mut directory, "ann");
    let assign =
        |roles: &[i64]| Change::Assign { user: ann, folder: None, roles: roles.iter().copied().collect() };
    directory.change(assign(&[clerk]), NOW).unwrap();
    assert_eq!(directory.change(Change::RemoveRole(clerk), NOW).unwrap_err().code().number(), 1013);
    directory.change(assign(&[]), NOW).unwrap();
    directory.change(Change::RemoveRole(clerk), NOW).unwrap();
    assert!(directory.take_revoked().is_empty(), "roles are no tokens");
    let text = serde_json::to_string(&directory).unwrap();
    let again: Directory = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
}
