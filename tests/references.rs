//! Every citation of `docs/reference` leads to a heading or a row, and every relative link of a Markdown file to a file and
//! a heading.
//!
//! `docs/reference/README.md` says how to cite. The wrong citations in the unit tests below are why this file is not read
//! itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

const REFERENCE: &str = "docs/reference/";

/// The pages that are cited, each with the letters of its identifiers.
const PAGES: [(&str, &str); 4] =
    [("orchestrator-api", ""), ("lifecycle", "TXI"), ("checks", "KF"), ("choices", "")];

/// How many lines at the top of a file may name the page of the identifiers below them.
const HEAD: usize = 20;

// What there is

/// What can be cited of one page.
#[derive(Debug, Default)]
struct Page {
    sections: BTreeSet<String>,
    identifiers: BTreeSet<String>,
}

impl Page {
    /// Sections are the numbers that headings begin with, identifiers those in the first cells of tables.
    fn read(markdown: &str) -> Self {
        let mut page = Self::default();
        for line in markdown.lines() {
            if let Some(heading) = line.strip_prefix("##") {
                let number = heading.trim_start_matches('#').split_whitespace().next().unwrap_or_default();
                if is_section(number) {
                    page.sections.insert(number.to_owned());
                }
            } else if let Some(row) = line.strip_prefix("| ") {
                let cell = row.split(" |").next().unwrap_or_default();
                page.identifiers
                    .extend(cell.split(", ").filter(|word| is_identifier(word)).map(str::to_owned));
            }
        }
        page
    }

    fn has(&self, what: &str) -> bool {
        self.sections.contains(what) || self.identifiers.contains(what)
    }
}

fn is_section(word: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    word.split('.').all(is_number)
}

/// A capital letter and one or two digits.
fn is_identifier(word: &str) -> bool {
    let digits = word.get(1..).unwrap_or_default();
    page_of(word).is_some() && (1..=2).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit())
}

/// The page whose identifiers begin with this letter.
fn page_of(identifier: &str) -> Option<&'static str> {
    let letter = identifier.chars().next()?;
    PAGES.iter().find(|(_, letters)| letters.contains(letter)).map(|(page, _)| *page)
}

// What is cited

/// One citation.
#[derive(Debug, PartialEq, Eq)]
struct Citation {
    line: usize,
    /// The page as it is written, or the one that the identifier belongs to.
    page: String,
    /// A section or an identifier; for something that is in no page at all, the words.
    what: String,
    /// Whether the page stands before it.
    is_named: bool,
}

/// A word of a text, and the line it is in.
type Word<'a> = (usize, &'a str);

/// The words of a text. The marks that begin a line of a comment or a quotation are none.
fn words(text: &str) -> Vec<Word<'_>> {
    let is_mark = |word: &str| !word.is_empty() && word.chars().all(|c| "/!#*>|-".contains(c));
    let lines = text.lines().enumerate().flat_map(|(at, line)| {
        let words = line.split_whitespace().enumerate();
        words.filter(move |(place, word)| *place > 0 || !is_mark(word)).map(move |(_, word)| (at + 1, word))
    });
    lines.collect()
}

/// Every citation of a text, in any kind of file.
fn citations(text: &str) -> Vec<Citation> {
    let words = words(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let (line, word) = words[at];
        at += 1;
        let name = bare(word);
        let next = words.get(at).map_or("", |(_, word)| bare(word));
        if is_of_old(name, next) {
            let what = format!("{name} {next}");
            found.push(Citation { line, page: String::new(), what, is_named: true });
        } else if let Some((page, _)) = PAGES.iter().find(|(page, _)| *page == name && ends_open(word)) {
            let (listed, read) = list(&words[at..]);
            at += read;
            found.extend(listed.into_iter().map(|(line, what)| Citation {
                line,
                page: (*page).to_owned(),
                what,
                is_named: true,
            }));
        } else {
            found.extend(identifiers(word).into_iter().map(|what| Citation {
                line,
                page: page_of(&what).unwrap_or_default().to_owned(),
                what,
                is_named: false,
            }));
        }
    }
    found
}

/// A word without what stands around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// Whether nothing ends with a word: a name before a full stop is no beginning of a citation.
fn ends_open(word: &str) -> bool {
    word.ends_with(char::is_alphanumeric)
}

/// Documents that are not in the repository, as comments cited them before the pages were there.
fn is_of_old(name: &str, next: &str) -> bool {
    let is_document = ["contract", "reliability"].iter().any(|document| {
        name.get(..document.len()).is_some_and(|start| start.eq_ignore_ascii_case(document))
            && ["", "'s"].contains(&&name[document.len()..])
    });
    is_document && (is_section(next) || ["section", "sections", "rules"].contains(&next))
}

/// The list of sections and identifiers that a text begins with, and how many words it takes: `4.3`, `9.1, 13.2`,
/// `4, 6 to 9 and 11`, `T1-T24`.
fn list(words: &[Word<'_>]) -> (Vec<(usize, String)>, usize) {
    let mut listed = Vec::new();
    let (mut read, mut at) = (0, 0);
    while let Some((line, word)) = words.get(at) {
        // A link ends within its word: `4.3](orchestrator-api.md#43-values)`.
        let shown = word.split(']').next().unwrap_or_default();
        let item = shown.trim_matches(|c: char| !c.is_alphanumeric());
        let ends: Vec<&str> = item.split(['-', '/']).collect();
        if ends.iter().any(|end| !is_section(end) && !is_identifier(end)) {
            break;
        }
        listed.extend(ends.into_iter().map(|end| (*line, end.to_owned())));
        at += 1;
        read = at;
        let joins = words.get(at).is_some_and(|(_, word)| ["and", "or", "to"].contains(word));
        let goes_on = word.ends_with(|c: char| c.is_alphanumeric() || c == '`') && joins;
        if goes_on {
            at += 1;
        } else if !word.ends_with(',') {
            break;
        } else if joins {
            at += 1;
        }
    }
    (listed, read)
}

/// The identifiers in a word. What could be a part of something longer (a time of day, a colour, a name) is none.
fn identifiers(word: &str) -> Vec<String> {
    let ends = |c: char| !c.is_alphanumeric() && c != '_';
    let begins = |c: char| ends(c) && !"}'#&".contains(c);
    let letters = word.match_indices(|c| PAGES.iter().any(|(_, letters)| letters.contains(c)));
    let found = letters.filter_map(|(start, letter)| {
        let behind = &word[start + letter.len()..];
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let identifier = &word[start..start + letter.len() + digits];
        let behind = &behind[digits..];
        let is_time =
            behind.strip_prefix(':').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let stands_alone = word[..start].chars().next_back().is_none_or(begins)
            && behind.chars().next().is_none_or(ends)
            && !is_time;
        (is_identifier(identifier) && stands_alone).then(|| identifier.to_owned())
    });
    found.collect()
}

/// What is wrong with the citations of a file.
fn wrong_citations(file: &str, text: &str, pages: &BTreeMap<String, Page>) -> Vec<String> {
    let head: Vec<&str> = text.lines().take(HEAD).collect();
    let names = |page: &str| {
        file.starts_with(REFERENCE) || head.iter().any(|line| line.contains(&format!("{REFERENCE}{page}.md")))
    };
    let mut wrong = Vec::new();
    for Citation { line, page, what, is_named } in citations(text) {
        if page.is_empty() {
            wrong.push(format!("{file}:{line}: \"{what}\" is in no page of {REFERENCE}"));
        } else if !pages.get(&page).is_some_and(|page| page.has(&what)) {
            wrong.push(format!("{file}:{line}: {REFERENCE}{page}.md has no {what}"));
        } else if !is_named && !names(&page) {
            wrong.push(format!(
                "{file}:{line}: {what} stands alone; write \"{page} {what}\", or name {REFERENCE}{page}.md in the first \
                 {HEAD} lines"
            ));
        }
    }
    wrong
}

// Links

/// The anchors of a Markdown file, as GitHub makes them of headings.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in without_code(markdown).lines().filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = (1..).map(|time| format!("{anchor}-{time}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// A Markdown text with its lines, but without blocks of code. Backticks stay, what is between them too.
fn without_code(markdown: &str) -> String {
    let mut is_code = false;
    let line = |line: &str| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if is_code || is_fence { String::new() } else { line.to_owned() }
    };
    markdown.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The targets of the links in a Markdown text, each with its line.
fn links(markdown: &str) -> Vec<(usize, String)> {
    let text = without_code(markdown);
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    let in_code = |at: usize| {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        text[line..at].matches('`').count() % 2 == 1
    };
    let inline = text.match_indices("](").filter(|(at, _)| !in_code(*at)).filter_map(|(at, mark)| {
        let target = text[at + mark.len()..].split(')').next()?;
        Some((line_of(at), target.split_whitespace().next()?.to_owned()))
    });
    let defined = text.lines().enumerate().filter_map(|(at, line)| {
        let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
        Some((at + 1, target.split_whitespace().next()?.to_owned()))
    });
    inline.chain(defined).collect()
}

/// What is wrong with the relative links of a Markdown file. `read` has the text of a Markdown file, `exists` says whether
/// there is a file or folder.
fn wrong_links(
    file: &str,
    text: &str,
    read: impl Fn(&Path) -> Option<String>,
    exists: impl Fn(&Path) -> bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, link) in links(text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) =
            link.split_once('#').map_or((link.as_str(), None), |(path, to)| (path, Some(to)));
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        let target = if path.is_empty() { PathBuf::from(file) } else { folder.join(path) };
        if !exists(&target) {
            wrong.push(format!("{file}:{line}: {link} leads to no file"));
        } else if let Some(anchor) = anchor {
            let there = read(&target).is_some_and(|text| anchors(&text).contains(anchor));
            if !there {
                wrong.push(format!("{file}:{line}: {link} leads to no heading"));
            }
        }
    }
    wrong
}

/// The folders whose files pages name as `tests/kill/crash_points.rs`.
const FOLDERS: [&str; 9] =
    ["src/", "tests/", "benches/", "examples/", "fuzz/", "docs/", "scripts/", "crates/", "proofs/"];

/// The files that a page names, each with its line.
fn named_files(markdown: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (at, line) in without_code(markdown).lines().enumerate() {
        let spans = line.split('`').skip(1).step_by(2);
        let is_path = |span: &&str| {
            FOLDERS.iter().any(|folder| span.starts_with(folder)) && !span.contains([' ', '*', '…'])
        };
        named.extend(spans.filter(is_path).map(|span| (at + 1, span.to_owned())));
    }
    named
}

// The repository

/// Every text file that people write, by its path from the root.
fn texts() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        const NOT_OURS: [&str; 5] = ["target", ".git", "corpus", "artifacts", "golden"];
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if NOT_OURS.contains(&name.as_ref()) {
                continue;
            }
            let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned());
            let is_text = ending.is_none_or(|ending| {
                ["rs", "md", "toml", "sql", "py", "sh", "html", "css"].contains(&ending.as_str())
            });
            if path.is_dir() {
                walk(&path, found);
            } else if is_text {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root(), &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
    let read = |path: PathBuf| Some((name(&path), fs::read_to_string(&path).ok()?));
    paths.into_iter().filter_map(read).collect()
}

/// The Markdown files among them.
fn markdown(texts: &[(String, String)]) -> impl Iterator<Item = &(String, String)> {
    texts.iter().filter(|(file, _)| file.ends_with(".md"))
}

fn pages() -> BTreeMap<String, Page> {
    let read = |page: &str| {
        let file = root().join(format!("{REFERENCE}{page}.md"));
        Page::read(&fs::read_to_string(&file).unwrap())
    };
    PAGES.iter().map(|(page, _)| ((*page).to_owned(), read(page))).collect()
}

#[test]
fn every_citation_leads_somewhere() {
    let pages = pages();
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for (file, text) in texts().iter().filter(|(file, _)| file != "tests/references.rs") {
        looked += citations(text).len();
        wrong.extend(wrong_citations(file, text, &pages));
    }
    assert!(wrong.is_empty(), "{} wrong citations:\n{}", wrong.len(), wrong.join("\n"));
    assert!(looked > 500, "the test looks at something: {looked}");
}

#[test]
fn every_link_leads_somewhere() {
    let texts = texts();
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for (file, text) in markdown(&texts) {
        looked += links(text).len();
        let read = |path: &Path| fs::read_to_string(root().join(path)).ok();
        wrong.extend(wrong_links(file, text, read, |path| root().join(path).exists()));
    }
    assert!(wrong.is_empty(), "{} wrong links:\n{}", wrong.len(), wrong.join("\n"));
    assert!(looked > 50, "the test looks at something: {looked}");
}

#[test]
fn pages_name_files_that_are_there() {
    let texts = texts();
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for (file, text) in
        markdown(&texts).filter(|(file, _)| file.starts_with("docs/") || file == "ARCHITECTURE.md")
    {
        let named = named_files(text);
        looked += named.len();
        let missing = named.into_iter().filter(|(_, path)| !root().join(path).exists());
        wrong.extend(missing.map(|(line, path)| format!("{file}:{line}: there is no {path}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(looked > 300, "the test looks at something: {looked}");
}

/// Numbers and letters of the reference mean one thing: no identifier is in two rows, and no section has two headings.
#[test]
fn nothing_is_defined_twice() {
    for (page, letters) in PAGES {
        let text = fs::read_to_string(root().join(format!("{REFERENCE}{page}.md"))).unwrap();
        let mut seen = BTreeSet::new();
        for line in text.lines().filter(|line| line.starts_with("##") || line.starts_with("| ")) {
            for what in Page::read(line).sections.into_iter().chain(Page::read(line).identifiers) {
                let is_own = is_section(&what) || letters.contains(&what[..1]);
                assert!(!is_own || seen.insert(what.clone()), "{page}.md defines {what} twice");
            }
        }
        assert!(seen.len() > 10, "{page}.md defines something: {seen:?}");
    }
}

// The checks above can fail

fn found(text: &str) -> Vec<String> {
    let shown = |Citation { line, page, what, is_named }| {
        let page = if is_named { page } else { format!("({page})") };
        format!("{line} {page} {what}")
    };
    citations(text).into_iter().map(shown).collect()
}

#[test]
fn citations_are_found_in_every_form() {
    for (text, expected) in [
        ("// A rule (orchestrator-api 4.3).", vec!["1 orchestrator-api 4.3"]),
        ("see `orchestrator-api 13.2`: it", vec!["1 orchestrator-api 13.2"]),
        ("[orchestrator-api 4](x.md#4)", vec!["1 orchestrator-api 4"]),
        ("orchestrator-api 9.1, 13.2", vec!["1 orchestrator-api 9.1", "1 orchestrator-api 13.2"]),
        (
            "/// Rules (orchestrator-api 4,\n/// 6 to 9 and 11).",
            vec![
                "1 orchestrator-api 4",
                "2 orchestrator-api 6",
                "2 orchestrator-api 9",
                "2 orchestrator-api 11",
            ],
        ),
        ("(orchestrator-api 4.1, lifecycle T16)", vec!["1 orchestrator-api 4.1", "1 lifecycle T16"]),
        ("the orchestrator-api\n    // 5.3 says", vec!["2 orchestrator-api 5.3"]),
        ("lifecycle T15 and nothing else", vec!["1 lifecycle T15"]),
        ("checks K1-K12; choices 6.", vec!["1 checks K1", "1 checks K12", "1 choices 6"]),
        ("//! T18 to T21: reviews", vec!["1 (lifecycle) T18", "1 (lifecycle) T21"]),
        ("&[\"I3\", \"I19\"]", vec!["1 (lifecycle) I3", "1 (lifecycle) I19"]),
        ("/// F64: one reference", vec!["1 (checks) F64"]),
        ("(K6): eight", vec!["1 (checks) K6"]),
        ("x (T1-T24)", vec!["1 (lifecycle) T1", "1 (lifecycle) T24"]),
        // As comments cited before there was a reference.
        ("(contract section 4.3)", vec!["1  contract section"]),
        ("Contract sections 5.2 and 23", vec!["1  Contract sections"]),
        ("(contract 9.1)", vec!["1  contract 9.1"]),
        ("(contract\n/// section 13.2)", vec!["1  contract section"]),
        ("the reliability rules", vec!["1  reliability rules"]),
    ] {
        assert_eq!(found(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_citation_is_left_alone() {
    for text in [
        "every lifecycle has its checks",
        "the checks. 4 of them fail",
        "the lifecycle of 3 items",
        "a contract between both",
        "format!(\"{date}T14:30:05\")",
        "at T14:30, on 2026-01-01T00:00:00Z",
        "colour #F5F5F5 and #F5, key X25519, UTF8, U+0041, Vec<T>, 'T1",
        "K123 and AT1",
    ] {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_wrong_citation_is_told_with_its_file_and_line() {
    let page = |markdown: &str| Page::read(markdown);
    let pages = BTreeMap::from([
        ("orchestrator-api".to_owned(), page("## 4 Values\n\n### 4.3 Dates\n")),
        ("lifecycle".to_owned(), page("| id |\n|---|\n| T1 | add |\n| F32, T2 | x |\n")),
        ("checks".to_owned(), page("| K1 | lost |")),
    ]);
    let wrong = |text: &str| wrong_citations("src/a.rs", text, &pages);
    for right in [
        "// (orchestrator-api 4.3)",
        "//! docs/reference/lifecycle.md\n\n// T1, T2",
        "// lifecycle T2",
        "// orchestrator-api 4, checks K1",
    ] {
        assert_eq!(wrong(right), Vec::<String>::new(), "{right}");
    }
    for (text, expected) in [
        ("\n// (orchestrator-api 4.4)", "src/a.rs:2: docs/reference/orchestrator-api.md has no 4.4"),
        ("// orchestrator-api 4.3\n// and\n// 5", "src/a.rs:3: docs/reference/orchestrator-api.md has no 5"),
        ("// lifecycle T3", "src/a.rs:1: docs/reference/lifecycle.md has no T3"),
        ("//! docs/reference/lifecycle.md\n// T99", "src/a.rs:2: docs/reference/lifecycle.md has no T99"),
        ("// checks K2", "src/a.rs:1: docs/reference/checks.md has no K2"),
        ("// choices 1", "src/a.rs:1: docs/reference/choices.md has no 1"),
        ("// contract section 4.3", "src/a.rs:1: \"contract section\" is in no page of docs/reference/"),
        ("// T1", "src/a.rs:1: T1 stands alone; write \"lifecycle T1\""),
    ] {
        let told = wrong(text);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{text}: {told:?}");
    }
}

#[test]
fn a_wrong_link_is_told_with_its_file_and_line() {
    let other = "# The page\n\n## 4.3 What's `new`, here?\n\n## Twice\n\n## Twice\n";
    let read = |path: &Path| (path == Path::new("docs/other.md")).then(|| other.to_owned());
    let exists = |path: &Path| ["docs/other.md", "docs/own.md"].iter().any(|known| path == Path::new(known));
    let wrong = |text: &str| wrong_links("docs/own.md", text, read, exists);
    for right in [
        "[a](other.md)",
        "[a\nb](other.md#the-page)",
        "[a](other.md#43-whats-new-here), [b](other.md#twice-1)",
        "[a](https://example.com/x#y)",
        "```\n[a](none.md)\n```",
        "`[a](none.md)`",
        "[a]: other.md#twice",
    ] {
        assert_eq!(wrong(right), Vec::<String>::new(), "{right}");
    }
    for (text, expected) in [
        ("\n[a](none.md)", "docs/own.md:2: none.md leads to no file"),
        ("[a](other.md#4-3)", "docs/own.md:1: other.md#4-3 leads to no heading"),
        ("[a](#here)", "docs/own.md:1: #here leads to no heading"),
        ("[a]: none.md", "docs/own.md:1: none.md leads to no file"),
        ("[a](other.md#twice-2)", "docs/own.md:1: other.md#twice-2 leads to no heading"),
    ] {
        assert_eq!(wrong(text), [expected], "{text}");
    }
    assert_eq!(
        named_files("x `src/a.rs` `a b` `tests/`\n`cargo test`"),
        [(1, "src/a.rs".to_owned()), (1, "tests/".to_owned())]
    );
}
