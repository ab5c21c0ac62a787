//! Passwords in a file, as in libpq: `PGPASSFILE`, or `.pgpass` in the home directory. Each line is
//! `host:port:database:user:password`; `*` matches anything, and `\` escapes `:` and `\`.

use std::fs;
use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use performer_core::private_file::is_open_to_group_or_others;

const PORT: u16 = 5_432;

/// The password for this database, if the file has one. As in libpq, a file that its group or others may access is not
/// used.
pub(super) fn password(config: &Config) -> Option<String> {
    let named = std::env::var_os("PGPASSFILE").filter(|name| !name.is_empty()).map(PathBuf::from);
    let path = named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pgpass")))?;
    let text = fs::read_to_string(&path).ok()?;
    if is_open_to_group_or_others(&path) {
        let path = path.display();
        tracing::warn!(%path, "the file with passwords is not used, because others may read it; chmod 600 allows it");
        return None;
    }
    find(&text, &wanted(config))
}

/// Host, port, database and user.
fn wanted(config: &Config) -> [String; 4] {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        _ => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(PORT).to_string();
    let user =
        config.get_user().map(str::to_owned).or_else(|| std::env::var("USER").ok()).unwrap_or_default();
    let database = config.get_dbname().unwrap_or(&user).to_owned();
    [host, port, database, user]
}

fn find(text: &str, wanted: &[String; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [first @ .., password] = fields.as_slice() else { return None };
        let matches = |(field, wanted): (&String, &String)| field == "*" || field == wanted;
        let is_it = first.len() == wanted.len() && first.iter().zip(wanted).all(matches);
        is_it.then(|| password.clone())
    })
}

/// Five fields; colons in the last one need no escape.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field) = (Vec::new(), String::new());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if fields.len() < 4 => fields.push(std::mem::take(&mut field)),
            '\\' => field.extend(characters.next()),
            character => field.push(character),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_line_has_the_password() {
        let text = "# a remark:5432:shop:ann:no\nother:*:*:*:no\nhost:5433:*:*:no\nhost:*:shop:ann:se\\:cret:x\\\\\n*:*:*:*:any\n";
        let of = |url: &str| find(text, &wanted(&url.parse().unwrap()));
        assert_eq!(of("postgres://ann@host/shop").as_deref(), Some("se:cret:x\\"));
        assert_eq!(of("postgres://ann@elsewhere/shop").as_deref(), Some("any"));
        assert_eq!(find("host:5432:shop:ann", &wanted(&"postgres://ann@host/shop".parse().unwrap())), None);
        assert_eq!(wanted(&"postgres://ann@host".parse().unwrap())[2], "ann", "the database of a user");
    }
}
