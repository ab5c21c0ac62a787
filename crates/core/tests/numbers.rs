//! The documented numbers of every enumeration (orchestrator-api 12.2), and how they are read.

use performer::model::{
    ErrorCode, EventAction, JobState, LogLevel, Outcome, RobotState, StopStrategy, UserType,
};
use performer::{ExceptionType, Priority, ReviewStatus, Status};
use performer_core::model::{asset::AssetScope, asset::AssetType, job::JobSource};

/// Checks names and numbers, and that each value is read from its name in any case, its number, and JSON.
macro_rules! check {
    ($type:ty: $($name:literal = $number:literal),+ $(,)?) => {{
        let expected = [$(($name, $number)),+];
        let found: Vec<(&str, u8)> = <$type>::ALL.iter().map(|value| (value.name(), value.number())).collect();
        assert_eq!(found, expected);
        for value in <$type>::ALL.iter().copied() {
            assert_eq!(value.to_string(), value.name());
            assert_eq!(value.name().parse(), Ok(value));
            assert_eq!(value.name().to_uppercase().parse(), Ok(value));
            assert_eq!(value.number().to_string().parse(), Ok(value));
            assert_eq!(<$type>::from_number(value.number().into()), Ok(value));
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(json, format!("{:?}", value.name()));
            assert_eq!(serde_json::from_str::<$type>(&json).unwrap(), value);
            assert_eq!(serde_json::from_str::<$type>(&value.number().to_string()).unwrap(), value);
        }
        assert!("no such name".parse::<$type>().is_err());
        for wrong in ["-1", "255", "true", "\"no such name\""] {
            assert!(serde_json::from_str::<$type>(wrong).is_err(), "{wrong}");
        }
        assert!(<$type>::from_number(-1).is_err() && <$type>::from_number(255).is_err());
    }};
}

#[test]
fn names_and_numbers_are_the_documented_ones() {
    check!(Status: "New" = 0, "InProgress" = 1, "Failed" = 2, "Successful" = 3, "Abandoned" = 4, "Retried" = 5, "Deleted" = 6);
    check!(ReviewStatus: "None" = 0, "InReview" = 1, "Verified" = 2, "Retried" = 3);
    check!(ExceptionType: "ApplicationException" = 0, "BusinessException" = 1);
    check!(Priority: "High" = 0, "Normal" = 1, "Low" = 2);
    check!(JobState: "Pending" = 0, "Running" = 1, "Stopping" = 2, "Terminating" = 3, "Faulted" = 4, "Successful" = 5,
        "Stopped" = 6, "Suspended" = 7, "Resumed" = 8);
    check!(JobSource: "Manual" = 0, "Trigger" = 1);
    check!(RobotState: "Available" = 0, "Busy" = 1, "Disconnected" = 2, "Unknown" = 3);
    check!(AssetScope: "Global" = 0, "PerRobot" = 1);
    check!(AssetType: "Text" = 2, "Bool" = 3, "Integer" = 4, "Credential" = 5,
        "KeyValueList" = 7, "Secret" = 8);
    check!(LogLevel: "Trace" = 0, "Debug" = 1, "Info" = 2, "Warn" = 3, "Error" = 4, "Fatal" = 5);
}

/// These are stored in files: a number that changes makes old files lie.
#[test]
fn numbers_of_our_own_do_not_change() {
    check!(StopStrategy: "SoftStop" = 0, "Kill" = 1);
    // The first four are documented.
    check!(UserType: "User" = 0, "Robot" = 1, "DirectoryUser" = 2, "DirectoryGroup" = 3, "DirectoryRobot" = 4, "DirectoryExternalApplication" = 5);
    check!(EventAction: "Create" = 0, "Edit" = 1, "Delete" = 2, "Status" = 3, "Retry" = 4);
    check!(Outcome: "Successful" = 1, "BusinessException" = 2, "ApplicationException" = 3, "Unspecified" = 4, "Abandoned" = 5);
}

#[test]
fn every_published_code_is_there_with_its_text() {
    let text = |number| ErrorCode::new(number).text();
    assert_eq!(text(1003), "Protect call failed for provided string.");
    assert_eq!(text(1502), "The asset type cannot be updated.");
    assert_eq!(text(1672), "Starting jobs is not possible. A valid license is required.");
    assert_eq!(text(1914), "Robot Licensing Failed. There are no available licenses on the server.");
    assert_eq!(text(1920), "");
    let known: Vec<u16> = ErrorCode::known().map(ErrorCode::number).collect();
    for block in [
        1000..=1004,
        1006..=1018,
        1200..=1209,
        1300..=1302,
        1403..=1415,
        1500..=1503,
        1650..=1667,
        1670..=1680,
        1900..=1920,
    ] {
        for number in block {
            assert!(known.contains(&number), "{number}");
        }
    }
}
