//! What the fuzz targets share: how a target becomes a program.
//!
//! Under cargo-fuzz it is a fuzzer. Otherwise it is a program that gives its target the files named on its command line, which
//! shows again what the fuzzer found, and which is compiled and linted with everything else.

#[cfg(fuzzing)]
pub use libfuzzer_sys;

/// Whether an input is worth keeping: `false` for one that reached no code of interest.
pub type IsKept = bool;

/// Makes a program of a function from an input to whether the input is worth keeping.
#[macro_export]
macro_rules! target {
    ($run:path) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| -> $crate::libfuzzer_sys::Corpus {
            let is_kept: $crate::IsKept = $run(input);
            if is_kept { $crate::libfuzzer_sys::Corpus::Keep } else { $crate::libfuzzer_sys::Corpus::Reject }
        });

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            $crate::run_files(std::env::args_os().skip(1), $run)
        }
    };
}

/// Gives the files to a target, one after the other.
///
/// # Errors
///
/// If a file cannot be read.
///
/// # Panics
///
/// If the target panics: then the file is one that the fuzzer should have found.
pub fn run_files(
    paths: impl Iterator<Item = std::ffi::OsString>,
    target: impl Fn(&[u8]) -> IsKept,
) -> std::io::Result<()> {
    for path in paths {
        target(&std::fs::read(path)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn each_file_is_given_to_the_target_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name).into_os_string());
        for path in &paths {
            std::fs::write(path, path.as_encoded_bytes()).unwrap();
        }
        let given = RefCell::new(Vec::new());
        let target = |input: &[u8]| {
            given.borrow_mut().push(input.to_vec());
            true
        };
        run_files(paths.clone().into_iter(), target).unwrap();
        assert_eq!(*given.borrow(), paths.each_ref().map(|path| path.as_encoded_bytes().to_vec()));
        let missing = folder.path().join("none").into_os_string();
        assert!(run_files([missing].into_iter(), |_| panic!("there is no input")).is_err());
    }
}
