//! Programs that must not compile because they would swallow a BusinessException, with the compiler's messages.
//!
//! It is called with the libraries that this test was built with. (The crate trybuild, which is made for this, checks all of
//! them anew, twice: two minutes.)

use std::path::{Path, PathBuf};
use std::process::Command;

/// A library beside this test: the newest, where it was built with several sets of features.
fn library(folder: &Path, name: &str) -> PathBuf {
    let start = format!("lib{name}-");
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let named = files.filter(|path| {
        let file = path.file_name().unwrap().to_string_lossy();
        file.starts_with(&start) && file.ends_with(".rlib")
    });
    named.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).expect(name)
}

/// Why a program does not compile.
fn refusal(program: &Path) -> String {
    let test = std::env::current_exe().unwrap();
    let libraries = test.parent().unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut compiler = Command::new("rustc");
    compiler
        .args(["--edition=2024", "--emit=metadata", "--diagnostic-width=140", "--out-dir"])
        .arg(out.path());
    compiler.arg("-L").arg(format!("dependency={}", libraries.display()));
    for name in ["performer", "anyhow"] {
        compiler.arg("--extern").arg(format!("{name}={}", library(libraries, name).display()));
    }
    let output = compiler.arg(program).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{} compiles", program.display());
    let end = said.find("\nerror: aborting").unwrap_or(said.len());
    said[..end].to_owned()
}

/// The version of a compiler's messages: "1.95".
fn version() -> String {
    let told = Command::new("rustc").arg("--version").output().unwrap().stdout;
    let told = String::from_utf8(told).unwrap();
    let number = told.split_whitespace().nth(1).unwrap();
    number.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

/// The part of a refusal that each version of the compiler says alike: which errors there are, and where.
fn errors(said: &str) -> Vec<&str> {
    let code = |line| str::split_once(line, ']').map_or(line, |(code, _)| code);
    let kept = |line: &&str| line.starts_with("error[") || line.trim_start().starts_with("--> tests/");
    said.lines().filter(kept).map(code).collect()
}

/// Each program has beside it what is said. `PERFORMER_GOLDEN=write` writes it, and with which version of the compiler; any
/// other version has to refuse the same lines with the same errors, in words of its own.
#[test]
fn a_business_exception_cannot_be_swallowed() {
    let folder = Path::new("tests/compile_fail");
    let (version, written) = (version(), folder.join("rustc-version"));
    let writes = std::env::var_os("PERFORMER_GOLDEN").is_some();
    if writes {
        std::fs::write(&written, format!("{version}\n")).unwrap();
    }
    let same_words = std::fs::read_to_string(&written).unwrap().trim() == version;
    let mut programs = 0;
    for entry in folder.read_dir().unwrap() {
        let program = entry.unwrap().path();
        if program.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        programs += 1;
        let said = refusal(&program);
        let golden = program.with_extension("stderr");
        if writes {
            std::fs::write(&golden, &said).unwrap();
        }
        let golden = std::fs::read_to_string(&golden).unwrap();
        assert!(errors(&said).len() >= 2, "{}: {said}", program.display());
        assert_eq!(errors(&said), errors(&golden), "{}", program.display());
        if same_words {
            assert_eq!(said, golden, "{}", program.display());
        }
    }
    assert_eq!(programs, 4);
}
