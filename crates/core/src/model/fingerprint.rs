//! The fingerprint of a reason: what is left of it without what differs from item to item.

/// The longest fingerprint, in characters.
pub const FINGERPRINT_LIMIT: usize = 200;

/// How much of a reason is read, in characters: what comes later does not tell two reasons apart.
const READ_LIMIT: usize = 1_000;

/// The longest quoted part, in characters.
const QUOTED_LIMIT: usize = 300;

/// A reason without what differs from item to item, so that the same failure of two items has one fingerprint. At most
/// [`FINGERPRINT_LIMIT`] characters, of the first 1,000 of the reason.
///
/// | in the reason | in the fingerprint |
/// |---|---|
/// | a number, with its sign and separators | `#` |
/// | a UUID, six or more hexadecimal digits, a mixture of letters and numbers | `<id>` |
/// | a date, a time of day | `<time>` |
/// | what stands between quotation marks | `"…"` |
/// | an e-mail address, a URL, a path of a file | `<email>`, `<url>`, `<path>` |
/// | white space | one space |
///
/// ```
/// use performer::model::fingerprint;
///
/// let one = fingerprint("Invoice INV-2041 of 'Acme' from 2026-03-01 has no total: 1,204.50 expected");
/// assert_eq!(one, "Invoice INV-# of \"…\" from <time> has no total: # expected");
/// ```
pub fn fingerprint(reason: &str) -> String {
    let letters: Vec<char> = reason.chars().take(READ_LIMIT).collect();
    let mut normalised = Normalised::default();
    let mut at = 0;
    while at < letters.len() && !normalised.is_full() {
        if let Some(end) = quoted(&letters, at) {
            normalised.push("\"…\"");
            at = end;
        } else if is_boundary(letters[at]) {
            normalised.push_char(letters[at]);
            at += 1;
        } else {
            let word = word(&letters[at..]);
            normalised.push(&replaced(word));
            at += word.len();
        }
    }
    normalised.finish()
}

/// The text in the making: white space is one space, and none at the ends.
#[derive(Default)]
struct Normalised {
    text: String,
    length: usize,
    space: bool,
}

impl Normalised {
    fn is_full(&self) -> bool {
        self.length >= FINGERPRINT_LIMIT
    }

    fn push(&mut self, text: &str) {
        text.chars().for_each(|letter| self.push_char(letter));
    }

    fn push_char(&mut self, letter: char) {
        if letter.is_whitespace() || letter.is_control() {
            self.space = !self.text.is_empty();
            return;
        }
        if std::mem::take(&mut self.space) {
            self.put(' ');
        }
        self.put(letter);
    }

    fn put(&mut self, letter: char) {
        if !self.is_full() {
            self.text.push(letter);
            self.length += 1;
        }
    }

    fn finish(self) -> String {
        self.text.trim_end().to_owned()
    }
}

/// Where a quoted part that begins here ends. An apostrophe inside a word is none.
fn quoted(letters: &[char], at: usize) -> Option<usize> {
    let closing: &[char] = match letters[at] {
        '"' => &['"'],
        '\'' => &['\''],
        '`' => &['`', '\''],
        '“' => &['”', '“'],
        '„' => &['“', '”'],
        '‘' => &['’', '‘'],
        '‚' => &['‘', '’'],
        '«' => &['»'],
        '»' => &['«'],
        '「' => &['」'],
        _ => return None,
    };
    let is_letter = |at: Option<&char>| at.is_some_and(|letter| letter.is_alphanumeric());
    if letters[at] == '\'' && at.checked_sub(1).is_some_and(|before| is_letter(letters.get(before))) {
        return None;
    }
    let end = letters.len().min(at + 1 + QUOTED_LIMIT);
    let is_end = |inside: &usize| {
        closing.contains(&letters[*inside])
            && !(matches!(letters[*inside], '\'' | '’') && is_letter(letters.get(inside + 1)))
    };
    (at + 1..end).find(is_end).map(|end| end + 1)
}

/// What ends a word: white space, brackets, and marks between words.
fn is_boundary(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control() || "()[]{}<>,;!?=|\"'`“”„‘’‚«»「」".contains(letter)
}

/// The word at the beginning, without a full stop or a colon behind it. A separator between digits does not end it, and a URL
/// goes on to the next space.
fn word(letters: &[char]) -> &[char] {
    let is_digit = |at: usize| letters.get(at).is_some_and(|letter| letter.is_numeric());
    let is_inside =
        |at: usize| matches!(letters[at], ',' | '’' | '\'') && at > 0 && is_digit(at - 1) && is_digit(at + 1);
    let end_at =
        |ends: &dyn Fn(usize) -> bool| (0..letters.len()).find(|at| ends(*at)).unwrap_or(letters.len());
    let mut word = &letters[..end_at(&|at| is_boundary(letters[at]) && !is_inside(at))];
    if word.windows(3).any(|three| three == [':', '/', '/']) {
        word = &letters[..end_at(&|at| letters[at].is_whitespace() || "\"'<>)`”“".contains(letters[at]))];
    }
    while let [rest @ .., '.' | ':' | ',' | ';'] = word
        && !rest.is_empty()
    {
        word = rest;
    }
    word
}

fn replaced(word: &[char]) -> String {
    let text: String = word.iter().collect();
    let has_digits = word.iter().any(|letter| letter.is_numeric());
    if text.contains("://") {
        "<url>".to_owned()
    } else if is_email(&text) {
        "<email>".to_owned()
    } else if has_digits && is_time(&text) {
        "<time>".to_owned()
    } else if is_path(&text) {
        "<path>".to_owned()
    } else if has_digits {
        without_digits(word)
    } else {
        text
    }
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && !host.contains('@') && host.trim_matches('.').contains('.')
    })
}

/// An absolute path, one from here on, one of Windows, or a file in a folder.
fn is_path(text: &str) -> bool {
    let starts = ["/", "~/", "./", "../", "\\\\", "~\\", ".\\", "..\\"];
    let is_drive =
        |text: &[u8]| matches!(text, [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic());
    let last = text.rsplit(['/', '\\']).next().unwrap_or(text);
    text.len() > 1
        && (starts.iter().any(|start| text.starts_with(start) && text.len() > start.len())
            || is_drive(text.as_bytes())
            || text.contains(['/', '\\']) && last.trim_start_matches('.').contains('.'))
}

/// A date or a time of day: two numbers with `:` between them, or three with the same mark, in ISO 8601 or as people write it.
fn is_time(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_digit() || "-/.:TtZz+".contains(letter);
    if !text.chars().all(is_part) || !text.starts_with(|first: char| first.is_ascii_digit()) {
        return false;
    }
    let first = text.split(['T', 't']).next().unwrap_or(text);
    let is_date = ['-', '/', '.'].iter().any(|mark| {
        let parts: Vec<&str> = first.split(*mark).collect();
        let is_number =
            |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        parts.len() == 3 && parts.iter().all(is_number)
    });
    let clock: Vec<&str> = text.split(':').collect();
    let is_short = |part: &&str| part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_clock = clock.len() >= 2 && clock.len() <= 3 && clock[..2].iter().all(is_short);
    is_date || is_clock
}

/// A word with digits: as a whole an id, or with each number replaced.
fn without_digits(word: &[char]) -> String {
    let mut text = String::with_capacity(word.len());
    let is_number_or_mark = |letter: &char| letter.is_numeric() || "-+.,'’_%".contains(*letter);
    if is_uuid(word) {
        return "<id>".to_owned();
    }
    let word = match word {
        ['-' | '+', rest @ ..] if rest.iter().all(is_number_or_mark) => rest,
        word => word,
    };
    for part in word.chunk_by(|a, b| a.is_alphanumeric() == b.is_alphanumeric()) {
        if !part[0].is_alphanumeric() {
            text.extend(part);
        } else if is_id(part) {
            text.push_str("<id>");
        } else {
            for run in part.chunk_by(|a, b| a.is_numeric() == b.is_numeric()) {
                if run[0].is_numeric() { text.push('#') } else { text.extend(run) }
            }
        }
    }
    // The separators of one number.
    for mark in ["#.#", "#,#", "#’#"] {
        while text.contains(mark) {
            text = text.replace(mark, "#");
        }
    }
    text
}

/// Eight, four, four, four and twelve hexadecimal digits, or 32 of them.
fn is_uuid(word: &[char]) -> bool {
    let parts: Vec<&[char]> = word.split(|letter| *letter == '-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.concat().iter().all(char::is_ascii_hexdigit)
}

/// Letters and digits mixed as no word has them: hexadecimal digits, `0x…`, or letters and numbers in turn.
fn is_id(part: &[char]) -> bool {
    if let ['0', 'x' | 'X', rest @ ..] = part {
        return !rest.is_empty() && rest.iter().all(char::is_ascii_hexdigit);
    }
    let digits = part.iter().filter(|letter| letter.is_numeric()).count();
    if digits == 0 || digits == part.len() {
        return false;
    }
    let runs = part.chunk_by(|a, b| a.is_numeric() == b.is_numeric()).count();
    part.len() >= 6 && (part.iter().all(char::is_ascii_hexdigit) || runs >= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_item_to_item_is_replaced() {
        for (reason, expected) in [
            ("", ""),
            ("  the\tdisk \n is full ", "the disk is full"),
            ("Invoice 42 not found.", "Invoice # not found."),
            ("Invoice INV-2024-0017 not found", "Invoice INV-#-# not found"),
            ("-5 is less than +3; 1,204.50 and 1.204,50 and 1’204", "# is less than #; # and # and #"),
            ("99.5% of 3kg", "#% of #kg"),
            ("item 1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11 is locked", "item <id> is locked"),
            ("{1D9A1D3A-5B55-4C55-9D52-0A6D0C0F5A11}", "{<id>}"),
            ("commit 9f8e7d6c5b4a, code 0x80070005", "commit <id>, code <id>"),
            ("customer a1b2c3d4 of facade", "customer <id> of facade"),
            (
                "due 2026-03-01, at 12:30, on 01.03.2026 or 3/1/26",
                "due <time>, at <time>, on <time> or <time>",
            ),
            ("at 2026-03-01T08:00:00.123Z: late", "at <time>: late"),
            ("Vendor 'O'Neil & Sons' is \"unknown\"", "Vendor \"…\" is \"…\""),
            ("it doesn't, and can't, work", "it doesn't, and can't, work"),
            ("„Müller“ «x» “y” ‘z’ `code`", "\"…\" \"…\" \"…\" \"…\" \"…\""),
            ("an unclosed \"quote stays", "an unclosed \"quote stays"),
            ("write to jane.doe@example.com.", "write to <email>."),
            ("GET https://erp.example/api/42?x=1 failed: 503", "GET <url> failed: #"),
            ("cannot open /var/data/in-7.csv", "cannot open <path>"),
            ("cannot open C:\\Data\\in.csv or \\\\host\\share", "cannot open <path> or <path>"),
            ("in/of a file data/in.csv and/or n/a", "in/of a file <path> and/or n/a"),
            ("host 10.0.0.17:8080 timed out after 30s", "host #:# timed out after #s"),
            ("SAP2 v1.2.3", "SAP# v#"),
            ("رقم ٤٢ غير موجود", "رقم # غير موجود"),
            ("発票 42 が見つかりません「ABC」", "発票 # が見つかりません\"…\""),
            ("naïve café 👩‍👩‍👧 №7", "naïve café 👩‍👩‍👧 №#"),
        ] {
            assert_eq!(fingerprint(reason), expected, "{reason}");
        }
    }

    #[test]
    fn a_fingerprint_is_bounded_and_replaces_nothing_more_in_itself() {
        let mut random = 88_172_645_463_325_252_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below as u64).unwrap_or(0)
        };
        let pieces = [
            "a",
            "Ü",
            "'",
            "\"",
            "“",
            "„",
            " ",
            "\u{0}",
            "\n",
            "0",
            "9",
            "٣",
            "-",
            ".",
            ":",
            "/",
            "\\",
            "@",
            "x",
            "\u{10ffff}",
            "e\u{301}",
            "👩‍👧",
            ",",
            "(",
            "0x",
            "://",
        ];
        for _ in 0..3_000 {
            let reason: String = (0..next(400)).map(|_| pieces[next(pieces.len())]).collect();
            let print = fingerprint(&reason);
            assert!(print.chars().count() <= FINGERPRINT_LIMIT, "{reason:?}");
            assert!(!print.contains(char::is_control) && print.trim() == print, "{print:?}");
        }
        let long = "x".repeat(5_000);
        assert_eq!(fingerprint(&long).len(), FINGERPRINT_LIMIT);
    }
}
