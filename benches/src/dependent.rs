//! The crate `benches/dependent`, which is built as a user's would be.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the crate.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dependent")
}

/// A command of cargo on the crate, with the versions of this workspace and none of its settings. `empty` is a folder
/// outside of the workspace.
///
/// Cargo reads its configuration from the folder that it is called in and from those above, and takes more from the
/// environment: `.cargo/config.toml` of this workspace, and the variables that cargo gave to the calling program, are no
/// dependent's.
///
/// # Panics
///
/// If the lock file of the workspace cannot be copied.
pub fn cargo(command: &str, empty: &Path) -> Command {
    let folder = folder();
    // Cargo leaves out of the copy what the crate does not need.
    std::fs::copy(folder.join("../../Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if is_setting(&name.to_string_lossy()) {
            cargo.env_remove(&name);
        }
    }
    cargo.current_dir(empty).args([command, "--offline", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    cargo
}

/// Whether an environment variable changes how a crate is built.
fn is_setting(name: &str) -> bool {
    let of_cargo = name.starts_with("CARGO") && !matches!(name, "CARGO_HOME" | "CARGO_NET_OFFLINE");
    let of_rust = name.starts_with("RUSTFLAGS") || name.starts_with("RUSTC");
    of_cargo || of_rust || name == "LIBSQLITE3_FLAGS" || matches!(name, "CFLAGS" | "OUT_DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_this_workspace_are_not_passed_on() {
        for name in ["LIBSQLITE3_FLAGS", "CARGO_PROFILE_RELEASE_LTO", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"]
        {
            assert!(is_setting(name), "{name}");
        }
        for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR"] {
            assert!(!is_setting(name), "{name}");
        }
    }

    /// To build it takes a minute; that its source compiles is known from the bench `drain`, which contains it.
    #[test]
    fn the_crate_resolves_with_the_versions_of_this_workspace() {
        let empty = tempfile::tempdir().unwrap();
        // Only what this machine needs: the others may not have been downloaded.
        let said =
            cargo("tree", empty.path()).args(["--prefix", "none", "--format", "{p}"]).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let ours = std::fs::read_to_string(folder().join("../../Cargo.lock")).unwrap();
        let tree = String::from_utf8(said.stdout).unwrap();
        let mut packages = tree.lines().filter_map(|line| line.split_once(" v"));
        assert_eq!(packages.next().unwrap().0, "performer-dependent");
        let mut count = 0;
        for (name, version) in packages {
            let version = version.split(' ').next().unwrap();
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            assert!(ours.contains(&entry), "{entry}");
            count += 1;
        }
        assert!(count > 20, "{tree}");
    }
}
