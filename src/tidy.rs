//! The house rules that a compiler does not know, held by tests: headers, import directions, outside libraries in their folders.
//!
//! Reads the sources as text, comments and texts in quotes left out. It also prints, without failing, the longest files and functions:
//! `cargo test --lib tidy -- --nocapture`.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers of `lib.rs`, lowest first. A folder may use those of lower layers and itself; folders of one layer do not know each other.
const LAYERS: &[&[&str]] = &[
    &["error"],
    &["types"],
    &["state"],
    // Settings are data: `config` stands at the top of the picture, since main and cli fill it, and at the bottom of what it needs.
    &["catalog", "sql", "connect", "config"],
    &["plan"],
    &["dataflow", "serve"],
    &["engine"],
    &["wire", "http"],
    &["cli"],
];

/// Where an outside library may be named; a place with paths may name only these of it.
type Places = &'static [(&'static str, &'static [&'static str])];

/// Libraries that live in one place. Tests may use what they need to make inputs.
const LIBRARIES: &[(&str, Places)] = &[
    ("rocksdb", &[("state/", &[])]),
    ("rdkafka", &[("connect/", &[])]),
    ("timely", &[("dataflow/", &[])]),
    ("pgwire", &[("wire/", &[])]),
    ("axum", &[("http/", &[])]),
    ("hyper", &[("http/", &[])]),
    ("hyper_util", &[("http/", &[])]),
    // The engine hands system relations and session functions to the planner, in the planner's own terms.
    (
        "datafusion",
        &[
            ("plan/", &[]),
            ("serve/", &[]),
            ("dataflow/expr", &[]),
            ("dataflow/operator/window/", &[]),
            ("engine/system.rs", &[]),
            ("engine/", &["TableProvider", "ScalarUDF"]),
        ],
    ),
    ("sqlparser", &[("sql/", &[]), ("plan/", &[]), ("engine/", &[])]),
    ("tokio_postgres", &[("cli/", &[])]),
    ("rlimit", &[("cli/", &[])]),
    ("tpchgen", &[("cli/", &[])]),
    ("clap", &[("cli/", &[]), ("config.rs", &[]), ("main.rs", &[])]),
];

/// How many of the longest are shown.
const SHOWN: usize = 10;

/// One source file.
struct Source {
    /// Below `src`, with `/`.
    path: String,
    text: String,
    /// Line by line without comments and texts, up to the first tests.
    code: Vec<String>,
}

impl Source {
    /// The folder (or file at the top) that it belongs to.
    fn part(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or(&self.path);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Whether the whole file is there for tests only.
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name == "tests.rs"
            || name.ends_with("_tests.rs")
            || name.starts_with("test_")
            || self.path == "tidy.rs"
            || self.path.contains("/tests/")
    }
}

/// All files below `src`, in the order of their paths.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    assert!(paths.len() > 10, "the sources are not where they were");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let path = path.strip_prefix(&root).expect("found below it").to_string_lossy().replace('\\', "/");
        Source { path, code: code_of(&text), text }
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder of sources can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The lines before the tests, without comments and without what stands in quotes.
fn code_of(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut quoted = false;
    let mut all = text.lines().peekable();
    while let Some(line) = all.next() {
        let tests = line.trim() == "#[cfg(test)]" && all.peek().is_some_and(|next| next.contains("mod ") && next.trim_end().ends_with('{'));
        if tests {
            break;
        }
        lines.push(stripped(line, &mut quoted));
    }
    lines
}

/// A line without its comment and texts. `quoted`: whether a text goes on from the line before, and then to the next.
/// Good enough for formatted code: it knows `"…"` with escapes, not texts with `#`.
fn stripped(line: &str, quoted: &mut bool) -> String {
    let mut out = String::new();
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if *quoted => drop(characters.next()),
            '"' => *quoted = !*quoted,
            // A quote as a character is no text.
            '\'' if !*quoted && characters.peek() == Some(&'"') => drop(characters.next()),
            '/' if !*quoted && characters.peek() == Some(&'/') => break,
            _ if *quoted => {}
            _ => out.push(character),
        }
    }
    out
}

fn layer(part: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&part))
}

/// The words that stand behind `prefix` in a line, where `prefix` starts a path.
fn behind<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(prefix).filter_map(move |(at, _)| {
        let starts = !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':');
        starts.then(|| {
            let rest = &line[at + prefix.len()..];
            &rest[..rest.find(|end: char| !(end.is_alphanumeric() || end == '_')).unwrap_or(rest.len())]
        })
    })
}

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent = |source: &Source| !source.text.starts_with("//! ");
    report(
        &sources()
            .iter()
            .filter(|source| silent(source))
            .map(|source| format!("{}: no //! header on line 1", source.path))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn imports_only_go_down() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test() && !["main", "lib"].contains(&source.part())) {
        let own = source.part();
        let Some(height) = layer(own) else {
            broken.push(format!("{}: \"{own}\" has no layer in tidy.rs", source.path));
            continue;
        };
        for (number, line) in source.code.iter().enumerate() {
            for used in behind(line, "crate::").filter(|used| *used != own) {
                // What is not a layer is a name at the crate's root, or the start of a list: `crate::{…}` is not our style.
                if layer(used).is_none_or(|depth| depth >= height) {
                    broken.push(format!("{}:{}: {own} uses {used}, which is not below it", source.path, number + 1));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn outside_libraries_stay_in_their_folders() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (library, places) in LIBRARIES {
            for (number, line) in source.code.iter().enumerate() {
                if behind(line, &format!("{library}::")).next().is_none() {
                    continue;
                }
                let allowed = |(place, paths): &(&str, &[&str])| {
                    source.path.starts_with(place) && (paths.is_empty() || paths.iter().any(|path| line.contains(path)))
                };
                if !places.iter().any(allowed) {
                    broken.push(format!("{}:{}: {library} does not belong here", source.path, number + 1));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn nobody_unwraps() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (number, line) in source.code.iter().enumerate().filter(|(_, line)| line.contains(".unwrap()")) {
            broken.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
        }
    }
    report(&broken);
}

/// The longest files and functions, for a look now and then; it fails on nothing.
#[test]
fn the_longest_are_shown() {
    let sources = sources();
    let mut files: Vec<(usize, String)> = sources.iter().map(|source| (source.text.lines().count(), source.path.clone())).collect();
    let mut functions: Vec<(usize, String)> = sources.iter().flat_map(functions).collect();
    for (what, list) in [("files", &mut files), ("functions", &mut functions)] {
        list.sort_by(|left, right| right.cmp(left));
        println!("the longest {what}:");
        for (lines, name) in list.iter().take(SHOWN) {
            println!("{lines:6}  {name}");
        }
    }
}

/// Every function with its lines: from `fn` to the closing brace that stands under it, as the formatter puts it.
fn functions(source: &Source) -> Vec<(usize, String)> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = behind_fn(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closes = |line: &&str| line.len() == indent + 1 && line.ends_with('}');
        if line.trim_end().ends_with('}') || line.trim_end().ends_with(';') {
            continue;
        }
        if let Some(length) = lines[start..].iter().position(closes) {
            found.push((length + 1, format!("{}:{} {name}", source.path, start + 1)));
        }
    }
    found
}

/// The name of the function that a line starts, if it does.
fn behind_fn(line: &str) -> Option<&str> {
    let at = if line.trim_start().starts_with("fn ") { line.find("fn ")? } else { line.find(" fn ")? + 1 };
    let before = line[..at].trim_start();
    let only_qualifiers =
        before.split_whitespace().all(|word| ["pub", "const", "async", "unsafe"].contains(&word) || word.starts_with("pub("));
    let rest = &line[at + 3..];
    only_qualifiers.then(|| &rest[..rest.find(['(', '<']).unwrap_or(rest.len())])
}
